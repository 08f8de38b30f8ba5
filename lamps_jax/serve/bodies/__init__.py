"""The bodies of requests: which fields there are, what they may hold, and what the engine makes of them."""
