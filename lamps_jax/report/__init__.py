"""From results documents to tables and figures, for what was simulated and what was measured alike."""
