"""Seconds and memory of loading a checkpoint, against a plain read of the same files.

    python -m benchmarks.load --parameters 6b --format safetensors,bin --quantize none,int8

The checkpoint has GPT-J's shape in bfloat16 and random contents; it is written where there is none, in shards of 2 GB, and
deleted afterwards unless `--keep` says otherwise. Each load happens in a process of its own. Its memory is what Linux reports:
the highest resident size while loading (VmHWM, counted from the start of the load, files mapped into memory included), and the
resident size (VmRSS) before and after. What the peak has above the end is the overshoot: the largest tensor and a gigabyte are
allowed.

The limit is the time in which the same files are read from beginning to end and thrown away, with the page cache in the same
state: cold, after the kernel was told to forget the files, or warm, after they were read once.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.document import write_document
from benchmarks.shapes import GPTJ_6B, GPTJ_200M
from lamps_jax.models.checkpoint import read_checkpoint
from lamps_jax.models.gptj import GPTJ, HF_NAMES, GPTJConfig
from lamps_jax.models.registry import load_model
from lamps_jax.models.weights import abstract_parameters, hf_names

SHAPES = {"6b": GPTJ_6B, "200m": GPTJ_200M}
"""GPT-J-6B's shape, and a small one of the same kind."""

SHARD_BYTES = 2 * 10**9
"""Most bytes of one file, unless a tensor alone has more."""

READ_BYTES = 8 * 2**20
"""Bytes that the plain read asks for at a time."""


def write_checkpoint(directory: Path, config: GPTJConfig, file_format: str) -> None:
    """Writes a random checkpoint into `directory`; ``config.json`` comes last and says that the others are complete."""
    abstract = abstract_parameters(lambda: GPTJ(config, dtype="bfloat16", rngs=nnx.Rngs(0)))[1]
    names = hf_names(HF_NAMES, abstract, config.num_layers)
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    size = 0
    for name, wanted in abstract.items():
        if shards[-1] and size + 2 * wanted.size > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][names[name]] = wanted.shape
        size += 2 * wanted.size
    needed, free = sum(2 * wanted.size for wanted in abstract.values()), shutil.disk_usage(directory).free
    if needed > 0.95 * free:
        raise OSError(
            f"the checkpoint takes {needed / 1e9:.0f} GB and {directory} has {free / 1e9:.0f} GB free; give a --directory"
        )
    block = (0.02 * np.random.default_rng(0).standard_normal(2**25, np.float32)).astype(jnp.bfloat16)
    stem, end, write = {
        "safetensors": ("model", "safetensors", write_safetensors),
        "bin": ("pytorch_model", "bin", write_torch_file),
    }[file_format]
    shard_of = {}
    for number, shard in enumerate(shards, 1):
        path = directory / f"{stem}-{number:05}-of-{len(shards):05}.{end}"
        write(path, shard, block)
        shard_of |= dict.fromkeys(shard, path.name)
    (directory / f"{stem}.{end}.index.json").write_text(json.dumps({"metadata": {"total_size": needed}, "weight_map": shard_of}))
    (directory / "config.json").write_text(json.dumps(config.to_hf(dtype="bfloat16")))


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]], block: np.ndarray) -> None:
    """Writes tensors of `shapes` that repeat `block`, without ever holding one."""
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = memoryview(block.view(np.uint8).data)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for begin in range(0, end, len(data)):
            file.write(data[: end - begin])
        file.flush()
        os.fsync(file.fileno())  # only what is on the disk can be dropped from the page cache


def write_torch_file(path: Path, shapes: dict[str, tuple[int, ...]], block: np.ndarray) -> None:
    """Writes tensors of `shapes` that repeat `block` with PyTorch, which holds one shard."""
    import torch

    values = torch.from_numpy(block.view(np.int16)).view(torch.bfloat16)
    tensors = {}
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        tensors[name] = values.repeat(-(-size // len(values)))[:size].clone().reshape(shape)
    with path.open("wb") as file:
        torch.save(tensors, file)
        file.flush()
        os.fsync(file.fileno())


def memory_bytes(key: str) -> int:
    """An entry of this process's ``/proc/self/status``."""
    return 1024 * int(Path("/proc/self/status").read_text().partition(f"{key}:")[2].split()[0])


def measure_load(directory: Path, dtype: str, quantize: str | None) -> dict[str, Any]:
    """Seconds and memory of loading a checkpoint; for a process that does nothing else."""
    jax.block_until_ready(jax.device_put(np.zeros(1)))  # whatever a device needs to be ready
    before = memory_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from here
    start = time.perf_counter()
    model = load_model(directory, dtype=dtype, quantize=quantize)
    jax.block_until_ready(model.weights)
    seconds = time.perf_counter() - start
    peak, after = memory_bytes("VmHWM"), memory_bytes("VmRSS")
    return {
        "load_s": seconds, "peak_bytes": peak, "peak_measure": "VmHWM", "resident_before_bytes": before,
        "resident_bytes": after, "overshoot_bytes": peak - after, "weight_bytes": model.weight_bytes,
    }  # fmt: skip


def plain_read(files: list[Path]) -> float:
    """Seconds to read `files` from beginning to end."""
    buffer = memoryview(bytearray(READ_BYTES))
    start = time.perf_counter()
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - start


def prepare_cache(files: list[Path], state: str) -> None:
    """Makes the page cache forget `files`, or know them."""
    if state == "warm":
        plain_read(files)
        return
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def checkpoint(directory: Path | None, config: GPTJConfig, file_format: str, *, keep: bool) -> Iterator[Path]:
    """A directory with a checkpoint; one that is made here goes again unless it is to be kept."""
    path = directory or Path(tempfile.gettempdir()) / f"lamps-jax-load-{config.num_layers}-{config.hidden_size}-{file_format}"
    if (path / "config.json").exists():
        print(f"using the checkpoint in {path}")
        yield path
        return
    if path.exists() and any(path.iterdir()):
        raise FileExistsError(f"{path} is not empty and holds no config.json; give another --directory or delete it")
    path.mkdir(parents=True, exist_ok=True)
    try:
        print(f"writing a checkpoint into {path}")
        write_checkpoint(path, config, file_format)
        yield path
    finally:
        if not keep:
            shutil.rmtree(path)


def fits_warm(directory: Path) -> bool:
    """Whether memory has room for the checkpoint in the page cache and as much again for the weights; says so if not."""
    size = sum(tensor.nbytes for tensor in read_checkpoint(directory).values())
    meminfo = Path("/proc/meminfo").read_text()
    available = 1024 * int(meminfo.partition("MemAvailable:")[2].split()[0])
    if 2 * size > 0.9 * available:
        print(
            f"no run with a warm page cache: two times {size / 1e9:.1f} GB do not fit in {available / 1e9:.1f} GB of free memory"
        )
    return 2 * size <= 0.9 * available


def measure(directory: Path, *, dtype: str, quantize: str | None, cache: str, repeats: int) -> dict[str, Any]:
    """The median of several loads and of as many plain reads in between, and the largest memory of all."""
    tensors = read_checkpoint(directory)
    files = sorted({tensor.path for tensor in tensors.values()})
    loads, reads = [], []
    for _ in range(repeats):
        prepare_cache(files, cache)
        reads.append(plain_read(files))
        prepare_cache(files, cache)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            loads.append(process.submit(measure_load, directory, dtype, quantize).result())
    size = sum(path.stat().st_size for path in files)
    load_s, read_s = statistics.median(load["load_s"] for load in loads), statistics.median(reads)
    return {
        **max(loads, key=lambda load: load["overshoot_bytes"]),
        "cache": cache, "dtype": dtype, "quantize": quantize, "file_bytes": size, "files": len(files),
        "parameters": sum(int(np.prod(tensor.shape)) for tensor in tensors.values()),
        "largest_tensor_bytes": max(tensor.nbytes for tensor in tensors.values()),
        "load_s": load_s, "load_bytes_per_s": size / load_s, "all_load_s": [load["load_s"] for load in loads],
        "read_s": read_s, "read_bytes_per_s": size / read_s, "all_read_s": reads,
        "share_of_read_bandwidth": read_s / load_s,
    }  # fmt: skip


def main() -> None:
    """Measures, prints a table and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/load.json"), help="where to write the results")
    parser.add_argument("--directory", type=Path, help="where the checkpoint is, or is written; by default a temporary directory")
    parser.add_argument("--keep", action="store_true", help="do not delete a checkpoint that was written here")
    parser.add_argument("--parameters", choices=SHAPES, default="6b", help="size of the model")
    parser.add_argument("--small", action="store_true", help="short for --parameters 200m")
    parser.add_argument("--format", default="safetensors", help="safetensors, bin or both with a comma")
    parser.add_argument("--dtype", default="bfloat16", help="type of the loaded matrices")
    parser.add_argument("--quantize", default="none", help="none, int8 or both with a comma")
    parser.add_argument("--cache", default="cold,warm", help="states of the page cache")
    parser.add_argument("--repeats", type=int, default=3, help="loads and reads of which the median counts")
    arguments = parser.parse_args()
    config = SHAPES["200m" if arguments.small else arguments.parameters]
    formats = arguments.format.split(",")
    if arguments.directory and len(formats) > 1:
        parser.error(f"--directory holds one checkpoint, and --format asks for {arguments.format}")
    for option, known in (("format", {"safetensors", "bin"}), ("quantize", {"none", "int8"}), ("cache", {"cold", "warm"})):
        if unknown := {*getattr(arguments, option).split(",")} - known:
            parser.error(f"--{option} must be of {', '.join(sorted(known))}, got {', '.join(sorted(unknown))}")
    runs = []
    for file_format in formats:
        with checkpoint(arguments.directory, config, file_format, keep=arguments.keep) as directory:
            for quantize, cache in itertools.product(arguments.quantize.split(","), arguments.cache.split(",")):
                if cache == "warm" and not fits_warm(directory):
                    continue
                method = None if quantize == "none" else quantize
                run = measure(directory, dtype=arguments.dtype, quantize=method, cache=cache, repeats=arguments.repeats)
                runs.append({"format": file_format, **run})
    print(
        f"{'format':12} {'type':9} {'cache':5} {'GB':>6} {'load s':>7} {'GB/s':>6} {'read GB/s':>9} {'of read':>8} "
        f"{'peak GB':>8} {'after GB':>8} {'over MB':>8} {'largest MB':>10}"
    )
    for run in runs:
        print(
            f"{run['format']:12} {run['quantize'] or run['dtype']:9} {run['cache']:5} {run['file_bytes'] / 1e9:6.2f} "
            f"{run['load_s']:7.2f} {run['load_bytes_per_s'] / 1e9:6.2f} {run['read_bytes_per_s'] / 1e9:9.2f} "
            f"{run['share_of_read_bandwidth']:8.2f} {run['peak_bytes'] / 1e9:8.2f} {run['resident_bytes'] / 1e9:8.2f} "
            f"{run['overshoot_bytes'] / 1e6:8.1f} {run['largest_tensor_bytes'] / 1e6:10.1f}"
        )
    write_document(arguments.out, "load", runs)


if __name__ == "__main__":
    main()
