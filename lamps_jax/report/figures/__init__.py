"""Figures of results: each function takes runs and gives a matplotlib figure. Matplotlib is loaded when the first is drawn."""
