"""The small tool-calling GPT-J that ships with the package, and everything that made it."""
