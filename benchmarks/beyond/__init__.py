"""lamps-plus beside the systems of the papers: every ingredient alone and together, and who pays for it."""
