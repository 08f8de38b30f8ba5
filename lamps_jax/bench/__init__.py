"""The simulator's runs on real machines: an engine in this process, or a server behind a URL."""
