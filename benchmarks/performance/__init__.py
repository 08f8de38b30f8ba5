"""docs/performance.md, made from the results that are committed: ``python -m benchmarks.performance``."""
