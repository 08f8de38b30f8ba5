"""Attention over cached blocks: one interface, several implementations, chosen once at start-up."""
