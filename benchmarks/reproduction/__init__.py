"""LAMPS's evaluation, figure by figure, in simulation: `python -m benchmarks.reproduction` writes docs/reproduction.md.

`case` says what one run is, `paper` which runs the paper's figures need, and `studies` which the questions that it leaves open;
`pool` runs what has not been run yet, and `document` tells, with `tables` and `figures`, what came of it.
"""
