#!/usr/bin/env bash
# Measures everything that counts on this machine's accelerator, in under ten minutes:
#     benchmarks/gpu.sh [DIRECTORY OF RESULTS] [OPTIONS OF benchmarks.accelerator]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmarks/results}/accelerator.json
python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
rm -f "$out"
# The first model is served beside transformers' PyTorch, which needs memory of its own.
XLA_PYTHON_CLIENT_MEM_FRACTION=0.62 "$python" -m benchmarks.accelerator --out "$out" --models gpt-j-6b --budget 330 "${@:2}"
XLA_PYTHON_CLIENT_MEM_FRACTION=0.92 "$python" -m benchmarks.accelerator --out "$out" --models vicuna-13b --budget 160 \
    --parts decode,prefill,kernels --append "${@:2}"
