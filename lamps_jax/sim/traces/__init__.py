"""Readers of published traces. Each module knows one family of formats; `read` finds out which one a file has."""
