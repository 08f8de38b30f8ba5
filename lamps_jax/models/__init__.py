"""The models: how each architecture computes, and how its weights and text come in from a directory."""
