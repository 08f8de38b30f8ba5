import json
from pathlib import Path

import pytest

from lamps_jax.tools.http_tools import HttpToolConfig
from lamps_jax.tools.mcp_config import McpServerConfig
from lamps_jax.tools.toml_file import read_toml_file

WEATHER = """
[[http]]
name = "weather"
url = "https://weather.example/v1/{city}"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tools.toml"
    path.write_text(text)
    return path


def test_a_file_describes_endpoints_and_servers(tmp_path: Path):
    path = written(
        tmp_path,
        """
[[http]]
name = "weather"
description = "Says the weather."
url = "https://weather.example/v1/{city}?key=${KEY}"
method = "POST"
headers = { Authorization = "Bearer ${KEY}", Plain = "$KEY {KEY}" }
timeout_s = 5
max_concurrency = 4
max_retries = 2
retry_delay_s = 0.25
max_result_chars = 300
result = "/current"
[http.parameters]
required = ["city"]
properties = { city = { type = "string", description = "${KEY}" } }

[[mcp]]
name = "files"
command = "${PROGRAM}"
args = ["--root", "${KEY}"]
env = { TOKEN = "${KEY}" }
cwd = "data"
allow = ["read"]
prefix = "fs_"
start_timeout_s = 3.5

[[mcp]]
name = "remote"
url = "https://tools.example/mcp"
headers = { X-Key = "${KEY}" }
max_retries = 1
""",
    )
    content = read_toml_file(path, {"KEY": "s3cret", "PROGRAM": "npx"})
    assert content.http == (
        HttpToolConfig(
            "weather",
            "https://weather.example/v1/{city}?key=s3cret",
            description="Says the weather.",
            method="POST",
            headers={"Authorization": "Bearer s3cret", "Plain": "$KEY {KEY}"},
            parameters={"required": ["city"], "properties": {"city": {"type": "string", "description": "${KEY}"}}},
            result="/current",
            timeout_s=5.0,
            max_concurrency=4,
            max_retries=2,
            retry_delay_s=0.25,
            max_result_chars=300,
        ),
    )
    files, remote = content.mcp
    assert files == McpServerConfig(
        "files",
        command="npx",
        args=["--root", "s3cret"],
        env={"TOKEN": "s3cret"},
        cwd=str(tmp_path / "data"),
        allow=["read"],
        prefix="fs_",
        start_timeout_s=3.5,
    )
    assert remote == McpServerConfig("remote", url="https://tools.example/mcp", headers={"X-Key": "s3cret"}, max_retries=1)


def test_the_parameters_may_stand_in_a_file_beside_it(tmp_path: Path):
    schema = {"properties": {"city": {"type": "string"}}, "required": ["city"]}
    (tmp_path / "weather.json").write_text(json.dumps(schema))
    path = written(tmp_path, WEATHER + 'parameters = "weather.json"')
    assert read_toml_file(path).http[0].parameters == schema


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "tools.toml has no tools; write them as tables [[http]] or [[mcp]]"),
        ("[[http]", "cannot load tools from .*tools.toml: Expected"),
        ("[[htpp]]", "there is no 'htpp'; known are [[http]] and [[mcp]]"),
        ("[http]\nname = 'a'", "http must be written as tables [[http]]"),
        ("http = [1]", "http must be written as tables [[http]]"),
        ("[[http]]\nurl = 'http://a/'", "[[http]] number 1: name: "),
        ("[[http]]\nname = 'a'", "[[http]] a: url: "),
        (WEATHER, "[[http]] weather: the url has {city}, so city must be one of the parameters and required"),
        (WEATHER + "colour = 'red'", "[[http]] weather: there is no 'colour' here; look the names up in docs/tools.md"),
        (WEATHER + "timeout_s = '5'", "[[http]] weather: timeout_s: Input should be a valid number"),
        (WEATHER + "max_retries = 1.5", "[[http]] weather: max_retries: "),
        (WEATHER + "headers = { A = '${NOT_SET}' }", "weather: headers needs the environment variable NOT_SET, which is not set"),
        (WEATHER + "parameters = 'absent.json'", "[[http]] weather: cannot read the parameters in "),
        (WEATHER + "parameters = 'tools.toml'", "[[http]] weather: cannot read the parameters in "),
        (WEATHER + "parameters = { properties = 3 }", "[[http]] weather: the parameters are no JSON schema: $.properties"),
        ("[[mcp]]\nname = 'a'", "[[mcp]] a: give either command, for a server to start, or url"),
        ("[[mcp]]\nname = 'a'\ncommand = 'b'\nurl = 'http://c'", "[[mcp]] a: give either command"),
        ("[[mcp]]\nname = 'a'\nurl = 'http://c'\nargs = ['b']", "args, env and cwd belong to a command"),
        ("[[mcp]]\nname = 'a'\ncommand = 'b'\nheaders = { c = 'd' }", "headers belong to a url"),
        ("[[mcp]]\nname = 'a'\nurl = 'c'", "url must begin with http:// or https://"),
        ("[[mcp]]\nname = 'a'\ncommand = 'b'\nstart_timeout_s = 0", "start_timeout_s must be positive, got 0.0"),
        ("[[mcp]]\nname = 'a'\ncommand = ['b']", "[[mcp]] a: command: Input should be a valid string"),
    ],
)
def test_what_is_wrong_is_told_in_a_line_with_its_place(text: str, said: str, tmp_path: Path):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        read_toml_file(written(tmp_path, text), {})
    message = str(raised.value)
    assert all(part in message for part in said.split(".*"))
    assert "tools.toml" in message and "\n" not in message


def test_a_secret_is_not_part_of_what_is_told(tmp_path: Path):
    path = written(tmp_path, "[[mcp]]\nname = 'a'\nurl = '${SECRET}'")
    with pytest.raises(ValueError, match="url must begin") as raised:
        read_toml_file(path, {"SECRET": "s3cret"})
    assert "s3cret" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"cannot load tools from .*absent\.toml: .*No such file"):
        read_toml_file(tmp_path / "absent.toml")
