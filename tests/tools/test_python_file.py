from pathlib import Path

import pytest

from lamps_jax.tools.python_file import tools_of_python_file

HEAD = "from lamps_jax.tools.define import tool\n"


def names(path: Path) -> list[str]:
    return [tool.name for tool in tools_of_python_file(path)]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my_tools.py"
    path.write_text(text)
    return path


def test_decorated_functions_and_tools_bound_to_public_names_are_the_tools_of_a_file(tmp_path: Path):
    path = written(
        tmp_path,
        HEAD
        + """
from lamps_jax.tools.tool import Tool, one_string

@tool
def first(text: str) -> str:
    return helper(text)

def helper(text: str) -> str:
    return text.upper()

second = Tool("Second", "", one_string("text", ""), helper)
same_again = second
_hidden = Tool("Hidden", "", one_string("text", ""), helper)
""",
    )
    assert names(path) == ["first", "Second"]
    assert tools_of_python_file(path)[0].function(text="abc") == "ABC"


def test_hints_that_are_texts_are_read(tmp_path: Path):
    path = written(
        tmp_path,
        "from __future__ import annotations\nimport dataclasses\n"
        + HEAD
        + "@dataclasses.dataclass\nclass P:\n    x: int\n@tool\ndef f(p: P) -> int:\n    return p.x\n",
    )
    assert tools_of_python_file(path)[0].function(p={"x": 3}) == "3"


def test_two_files_of_one_name_are_two_modules(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder, HEAD + f"@tool\ndef {folder}() -> str:\n    return __name__\n")
    first, second = (tools_of_python_file(tmp_path / folder / "my_tools.py")[0] for folder in ("a", "b"))
    assert first.function() != second.function()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_module", "my_tools.py: line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("\n\nx = 1 / 0", "my_tools.py: line 3: ZeroDivisionError: division by zero"),
        ("def f(:\n", "my_tools.py: SyntaxError: .*my_tools.py, line 1"),
        ("import sys; sys.exit(3)", "my_tools.py: line 1: SystemExit: 3"),
        (HEAD, "my_tools.py has no tools; decorate a function with @tool of lamps_jax.tools.define"),
        (HEAD + "@tool\ndef f(x):\n    pass\n", "my_tools.py:2: the function f has no type hint for 'x'"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_line(text: str, said: str, tmp_path: Path):
    with pytest.raises(ValueError, match=said):
        tools_of_python_file(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"cannot load tools from .*absent\.py: there is no such file"):
        tools_of_python_file(tmp_path / "absent.py")
