"""Texts are lines of what XLA prints for TPUs and GPUs."""

import pytest

from benchmarks.aot.hlo import collectives, copies_of, kernel_calls

TPU = """\
HloModule jit_decode, is_scheduled=true, entry_computation_layout={(bf16[513,4,16,256]{3,2,1,0:T(8,128)(2,1)})->f32[32,4096]}

%all-reduce-computation (a: f32[], b: f32[]) -> f32[] {
  ROOT %add.1 = f32[]{:T(128)} add(%a, %b)
}

ENTRY %main.1 (blocks.1: bf16[513,4,16,256]) -> f32[32,4096] {
  %copy.7 = bf16[513,4,16,256]{3,1,2,0:T(4,128)(2,1)} copy(%blocks.1), metadata={op_name="jit(decode)/scatter"}
  %copy-start.2 = (bf16[513,4,16,256]{3,2,1,0:T(8,128)(2,1)}, bf16[513,4,16,256]{3,2,1,0}, u32[]{:S(2)}) copy-start(%copy.7)
  %copy-done.2 = bf16[513,4,16,256]{3,2,1,0:T(8,128)(2,1)} copy-done(%copy-start.2)
  %copy-start.3 = (bf16[513,4,16,256]{3,2,1,0:T(8,128)(2,1)S(1)}, bf16[513,4,16,256]{3,2,1,0}, u32[]{:S(2)}) copy-start(%copy.7)
  %copy.8 = bf16[512,4,16,256]{3,2,1,0:T(8,128)(2,1)} copy(%other)
  %scatter.9 = bf16[513,4,16,256]{3,2,1,0} scatter(%blocks.1, %ids, %keys), to_apply=%region
  %paged_attention.3 = f32[32,4,256]{2,1,0:T(4,128)} custom-call(%copy-done.2), custom_call_target="tpu_custom_call"
  %custom-call.5 = s32[32]{0} custom-call(%ids), custom_call_target="AssumeGatherIndicesInBound"
  %all-reduce.4 = (f32[32,4096]{1,0:T(8,128)}, f32[32]{0}) all-reduce(%x, %y), channel_id=1, to_apply=%all-reduce-computation
  %ag = (f32[32,12600]{1,0}, f32[32,50400]{1,0}) all-gather-start(%logits), channel_id=2
  %all-gather-done.1 = f32[32,50400]{1,0} all-gather-done(%ag)
  ROOT %all-reduce.6 = f32[32,4096]{1,0:T(8,128)} all-reduce(%z), channel_id=3, to_apply=%all-reduce-computation
}
"""
GPU = """\
  %all-reduce-start.1 = f32[32,4096]{1,0} all-reduce-start(%x), channel_id=1
  %all-reduce-done.1 = f32[32,4096]{1,0} all-reduce-done(%all-reduce-start.1)
  %cc = (f32[32,4,256]{2,1,0}) custom-call(%q), custom_call_target="__gpu$xla.gpu.triton", api_version=API_VERSION_TYPED_FFI
  %gemm = (f32[32,4096]{1,0}, s8[4194304]{0}) custom-call(%a, %b), custom_call_target="__cublas$gemm"
"""


def test_a_collective_is_counted_where_it_starts_and_not_where_it_ends() -> None:
    assert collectives(TPU) == {"all-reduce": 2, "all-gather": 1}
    assert collectives(GPU) == {"all-reduce": 1}


def test_a_program_of_one_device_has_no_collectives() -> None:
    assert collectives("ROOT %add.1 = f32[8]{0} add(%a, %b)") == {}


def test_calls_of_libraries_are_not_kernels_of_ours() -> None:
    assert kernel_calls(TPU) == 1
    assert kernel_calls(GPU) == 1


@pytest.mark.parametrize(
    ("dtype", "shape", "copies"),
    [
        ("bf16", (513, 4, 16, 256), 2),
        ("bf16", (513, 16, 4, 256), 2),  # a transposed one
        ("bf16", (512, 4, 16, 256), 1),
        ("u16", (513, 4, 16, 256), 0),
        ("bf16", (513, 4, 16, 128), 0),
    ],
)
def test_only_moves_in_main_memory_of_whole_arrays_of_that_shape_and_type_are_copies(
    dtype: str, shape: tuple[int, ...], copies: int
) -> None:
    assert copies_of(TPU, dtype, shape) == copies
