"""A server under everything that can go wrong, for as long as one likes: ``python -m benchmarks.soak --help``."""
