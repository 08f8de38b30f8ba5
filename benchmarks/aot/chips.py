"""The accelerators that programs are compiled for, described well enough for their compilers."""

import os
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental import topologies

GB, GIB = 10**9, 2**30


@dataclass(frozen=True, slots=True)
class Gpu:
    """What XLA must know of an NVIDIA GPU, from its data sheet and device properties.

    Attributes:
        capability: Major compute capability.
        cores: Streaming multiprocessors.
        fpus: 32-bit floating point units of each.
        shared_bytes: Shared memory of each.
        block_shared_bytes: What one thread block may have of it when it asks.
    """

    name: str
    capability: int
    cores: int
    fpus: int
    clock_ghz: float
    bandwidth: int
    cache_bytes: int
    shared_bytes: int
    block_shared_bytes: int
    memory_bytes: int

    def target_config(self) -> str:
        """The text that a compile-only topology is made of."""
        return f"""
            gpu_device_info {{
              threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
              shared_memory_per_block: 49152 shared_memory_per_core: {self.shared_bytes}
              shared_memory_per_block_optin: {self.block_shared_bytes}
              core_count: {self.cores} fpus_per_core: {self.fpus} clock_rate_ghz: {self.clock_ghz}
              block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
              thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
              memory_bandwidth: {self.bandwidth} l2_cache_size: {self.cache_bytes} device_memory_size: {self.memory_bytes}
              registers_per_core_limit: 65536 registers_per_block_limit: 65536
              cuda_compute_capability {{ major: {self.capability} }}
              runtime_version: "12.9.0" compile_time_toolkit_version: "12.9.0" driver_version: "12.9.0" dnn_version: "9.10.0"
            }}
            platform_name: "CUDA"
            runtime_version {{ major: 12 minor: 9 patch: 0 }}
            dnn_version_info {{ major: 9 minor: 10 }}
            device_description_str: "{self.name}"
        """


@dataclass(frozen=True, slots=True)
class Chip:
    """A target of compilation.

    Attributes:
        memories: Bytes of device memory of each variant that is sold, by the size in its data sheet.
        gpu: What its compiler must be told; None for a TPU, which its compiler knows by `name`.
    """

    name: str
    title: str
    memories: dict[str, int]
    gpu: Gpu | None = None

    def devices(self, count: int) -> list[Any]:
        """`count` devices that can be compiled for and nothing else."""
        if self.gpu is not None:
            description = topologies.get_topology_desc(
                self.name, "cuda", target_config=self.gpu.target_config(), topology=f"1x1x{count}"
            )
        else:
            _describe_tpu_host()
            description = topologies.get_topology_desc(f"{self.name}:{TPU_GRIDS[count]}", "tpu")
        return list(description.devices)[:count]

    @property
    def backend(self) -> str:
        """What `jax.default_backend` says where the chip is."""
        return "gpu" if self.gpu is not None else "tpu"

    @property
    def compiler_options(self) -> dict[str, str]:
        """Options without which nothing compiles: trying out variants on the device is not possible without one."""
        return {"xla_gpu_autotune_level": "0"} if self.gpu is not None else {}


TPU_GRIDS = {1: "2x2", 2: "2x2", 4: "2x2", 8: "2x4"}
"""The smallest grid of chips that holds so many; a host has four, or eight."""


def _describe_tpu_host() -> None:
    """Tells the TPU library what it would ask of the machine, and that there is no TPU to be kept from others."""
    for name, value in {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # two processes would share a TPU badly, but may both compile
    }.items():
        os.environ.setdefault(name, value)


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v5e", "TPU v5e", {"16 GB": 16 * GIB}),
        Chip("v6e", "TPU v6e", {"32 GB": 32 * GIB}),
        Chip(
            "a100",
            "NVIDIA A100",
            {"40 GB": 40 * GB, "80 GB": 80 * GB},
            Gpu(
                "NVIDIA A100-SXM4-80GB", 8, cores=108, fpus=64, clock_ghz=1.41, bandwidth=2_039 * GB, cache_bytes=40 * 2**20,
                shared_bytes=167_936, block_shared_bytes=166_912, memory_bytes=85_100_068_864,
            ),
        ),
        Chip(
            "h200",
            "NVIDIA H200",
            {"141 GB": 141 * GB},
            Gpu(
                "NVIDIA H200", 9, cores=132, fpus=128, clock_ghz=1.98, bandwidth=4_800 * GB, cache_bytes=50 * 2**20,
                shared_bytes=233_472, block_shared_bytes=232_448, memory_bytes=151_397_597_184,
            ),
        ),
    )
}  # fmt: skip
"""Targets by name."""


def use_host_only() -> None:
    """Keeps JAX from looking for accelerators of this machine; to be called before JAX is used."""
    jax.config.update("jax_platforms", "cpu")
