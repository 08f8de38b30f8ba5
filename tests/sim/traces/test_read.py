"""A format is known by what stands in the file; what is known by nothing is refused."""

from pathlib import Path

import pytest

from lamps_jax.sim.traces.read import FORMATS, read_trace
from lamps_jax.sim.traces.record import TraceError

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-01-01 00:00:00,5,7\n"


def written(folder: Path, content: bytes) -> Path:
    path = folder / "trace.dat"
    path.write_bytes(content)
    return path


def test_a_workload_is_named_after_its_file_and_the_ending_does_not_matter(tmp_path: Path) -> None:
    assert read_trace(written(tmp_path, AZURE.encode())).name == "trace"


def test_a_byte_order_mark_and_windows_lines_do_no_harm(tmp_path: Path) -> None:
    text = "\ufeff" + AZURE.replace("\n", "\r\n")
    assert read_trace(written(tmp_path, text.encode())).scripts[0].num_prompt_tokens == 5


def test_blank_lines_between_records_do_no_harm(tmp_path: Path) -> None:
    line = b'{"timestamp": 0, "input_length": 5, "output_length": 7}'
    assert len(read_trace(written(tmp_path, b"\n" + line + b"\n\n" + line + b"\n")).scripts) == 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "trace.dat is empty"),
        (b" \n\n", "trace.dat is empty"),
        (b"\xff\xfe\x00", "trace.dat is not text in UTF-8"),
        (b"time,tokens\n1,2\n", "has the fields time, tokens, which is none of the known formats"),
        (b'{"time": 1}', "has the fields time, which is none of the known formats"),
        (b"[1, 2]", r"begins with \[1, 2\], which is none of the known formats"),
        (b"{}", "has the fields , which is none of the known formats"),
        (b'{"a": \n', "line 2: is not JSON"),
        (b'{"timestamp": 0, "input_length": 5, "output_length": 7}\n{"timestamp": 0,\n', "line 2: is not JSON"),
        (b'{"timestamp": 0, "input_length": 5, "output_length": 7}\n[]\n', r"line 2: must be an object, got \[\]"),
        (AZURE.splitlines()[0].encode(), "trace.dat has a header and no row"),
    ],
)
def test_what_is_no_trace_is_an_error_that_names_the_file(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(TraceError, match=problem):
        read_trace(written(tmp_path, content))


def test_an_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as error:
        read_trace(written(tmp_path, b"time,tokens\n1,2\n"))
    assert all(name in str(error.value) for name in FORMATS)


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_trace(tmp_path / "absent")
