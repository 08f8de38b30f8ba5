"""The HTTP server: the OpenAI bodies, the engine on a thread of its own behind asyncio, the application and its page."""
