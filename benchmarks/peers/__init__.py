"""lamps-jax beside other engines on a CPU: the same weights, the same type, the same threads, in turns.

make peers                                          # sets up .venv-peers and measures; a quarter of an hour
.venv-peers/bin/python -m benchmarks.peers --help
"""
