#!/usr/bin/env bash
# Measures everything that counts on this machine's processor, in under ten minutes, into one document:
#     benchmarks/cpu.sh [DIRECTORY OF RESULTS] [OPTIONS OF benchmarks.cpu]
set -euo pipefail
cd "$(dirname "$0")/.."
python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
"$python" -m benchmarks.cpu --out "${1:-benchmarks/results}/cpu.json" "${@:2}"
