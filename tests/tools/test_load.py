import json
import sys
from pathlib import Path

import psutil
import pytest

from lamps_jax.tools.builtin import BUILTIN_TOOLS
from lamps_jax.tools.load import LoadedTools, load_tools
from lamps_jax.tools.toml_file import read_toml_file
from tests.docs.markdown import blocks
from tests.tools.calls import Caller
from tests.tools.endpoints import endpoints

EXAMPLES = Path(__file__).parents[2] / "examples"
RAW = Path(__file__).with_name("mcp_raw.py")

ONE = "from lamps_jax.tools.define import tool\n@tool\ndef {name}() -> str:\n    return ''\n"
HTTP = '[[http]]\nname = "{name}"\nurl = "http://127.0.0.1:9/"\n'
MCP = '[[mcp]]\nname = "{name}"\ncommand = {command}\nargs = [{raw}]\n'.replace("{command}", json.dumps(sys.executable)).replace(
    "{raw}", json.dumps(str(RAW))
)


def written(path: Path, text: str, name: str) -> Path:
    path.write_text(text.replace("{name}", name))
    return path


def names(loaded: LoadedTools) -> list[str]:
    with loaded:
        return [tool.name for tool in loaded.tools]


def test_without_files_there_are_the_built_in_tools_if_any():
    assert load_tools([], builtin=BUILTIN_TOOLS).tools == BUILTIN_TOOLS
    assert load_tools([]).tools == ()


def test_files_add_to_the_built_in_tools_in_their_order(tmp_path: Path):
    files = [written(tmp_path / "b.toml", HTTP, "second"), written(tmp_path / "a.py", ONE, "third")]
    built_in = [tool.name for tool in BUILTIN_TOOLS]
    assert names(load_tools(files, builtin=BUILTIN_TOOLS)) == [*built_in, "second", "third"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.py": (ONE, "Search")}, "there is a tool called Search in the built-in tools and in .*a.py"),
        ({"a.py": (ONE, "same"), "b.toml": (HTTP, "same")}, "there is a tool called same in .*a.py and in .*b.toml; rename one"),
        ({"a.toml": (HTTP * 2, "same")}, "there is a tool called same twice in .*a.toml"),
        ({"a.py": (ONE, "tool0"), "b.toml": (MCP, "raw")}, "called tool0 in .*a.py and in the MCP server raw of .*b.toml"),
        ({"a.yaml": (HTTP, "same")}, r"tools come from files whose names end in \.py or \.toml, got .*a.yaml"),
    ],
)
def test_files_that_do_not_go_together_are_told(files: dict[str, tuple[str, str]], said: str, tmp_path: Path):
    before = len(psutil.Process().children())
    with pytest.raises(ValueError, match=said):
        load_tools([written(tmp_path / file, text, name) for file, (text, name) in files.items()], builtin=BUILTIN_TOOLS)
    assert len(psutil.Process().children()) == before


def test_a_file_may_bind_a_built_in_tool(tmp_path: Path):
    path = written(tmp_path / "a.py", "from lamps_jax.tools.search import SEARCH\n", "")
    assert names(load_tools([path], builtin=BUILTIN_TOOLS)) == [tool.name for tool in BUILTIN_TOOLS]


def test_stopping_ends_the_servers_and_does_no_harm_the_second_time(tmp_path: Path):
    before = len(psutil.Process().children())
    loaded = load_tools([written(tmp_path / "a.toml", MCP, "raw")])
    assert len(psutil.Process().children()) == before + 1
    loaded.stop()
    loaded.stop()
    assert len(psutil.Process().children()) == before


def test_the_tools_of_the_python_example_are_called(caller: Caller):
    with load_tools([EXAMPLES / "tools.py"]) as loaded:
        tools = {tool.name: tool for tool in loaded.tools}
    assert caller.result(tools["roman"], number=14) == "XIV"
    assert caller.error(tools["roman"], number=40) == "error: give a number from 1 to 39"
    assert json.loads(caller.result(tools["temperature"], city="Rome", unit="kelvin"))["degrees"] == 291.65
    assert tools["temperature"].parameters["properties"]["unit"] == {
        "type": "string",
        "enum": ["celsius", "kelvin"],
        "default": "celsius",
        "description": "What the temperature is measured in.",
    }


def test_the_tools_of_the_toml_example_are_called(caller: Caller, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    with endpoints() as server:
        monkeypatch.setenv("PACKAGE_INDEX", server.url)
        with load_tools([EXAMPLES / "tools.toml"]) as loaded:
            tools = {tool.name: tool for tool in loaded.tools}
            assert sorted(tools) == ["notes_add_note", "notes_list_notes", "package_summary"]
            assert caller.result(tools["package_summary"], package="httpx") == "The next generation HTTP client."
            assert caller.result(tools["notes_add_note"], text="milk") == "kept as number 1"
            assert caller.result(tools["notes_list_notes"]) == "Shopping:\nmilk"


def test_the_documented_tables_are_those_of_the_example_or_load_as_they_are(tmp_path: Path):
    example = (EXAMPLES / "tools.toml").read_text()
    http, stdio, remote = blocks(EXAMPLES.parent / "docs" / "tools.md", "toml")
    assert http in example and stdio in example
    (server,) = read_toml_file(written(tmp_path / "a.toml", remote, ""), {"TOOLS_TOKEN": "1"}).mcp
    assert server.headers == {"Authorization": "Bearer 1"}
