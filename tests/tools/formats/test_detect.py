from typing import Any

import pytest

from lamps_jax.embedded.text import CHAT_TEMPLATE
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.tools.formats.detect import FORMATS, detect_format, format_named
from tests.fakes import make_tokenizer
from tests.models.tool_templates import HERMES, LLAMA, QWEN

QWEN_CODER = "{% for t in tools %}{{ t.arguments }}{% endfor %}<tool_call>\n<function=name>\n<parameter=x>"
GLM = "{{ tools }} {{ tool_call.arguments }} <tool_call>name\n<arg_key>x</arg_key>"


def model(template: Any, *names: str) -> Tokenizer:
    hf = make_tokenizer().hf
    hf.chat_template = template
    return Tokenizer(hf, model_names=names)


@pytest.mark.parametrize(
    ("template", "names", "found"),
    [
        (HERMES, (), "hermes"),
        (QWEN, (), "hermes"),
        ({"default": "{{ messages }}", "tool_use": HERMES}, (), "hermes"),
        (LLAMA, (), "llama3"),
        (CHAT_TEMPLATE, (), "inline"),
        (None, ("vicuna-7b",), "inline"),
        (None, ("ToolLLaMA-2-7b-v2", ""), "react"),
        ("{{ messages }} Action Input:", (), "react"),
        (QWEN_CODER, (), "inline"),
        (GLM, (), "inline"),
        (None, (), "inline"),
    ],
)
def test_the_format_is_what_the_template_writes(template: Any, names: tuple[str, ...], found: str):
    assert detect_format(model(template, *names)).name == found
    assert format_named("auto", model(template, *names)).name == found


def test_a_format_may_be_named():
    assert {name: format_named(name, model(QWEN)).name for name in FORMATS} == {name: name for name in FORMATS}


def test_another_name_is_refused_with_the_right_ones():
    with pytest.raises(ValueError, match="must be auto, inline, react, hermes, llama3, got 'xml'"):
        format_named("xml", model(QWEN))


@pytest.mark.parametrize("name", ["hermes", "llama3"])
def test_a_model_whose_template_knows_no_tools_can_have_no_format_that_needs_it(name: str):
    with pytest.raises(ValueError, match=r"whose chat template knows tools.*use react or inline"):
        format_named(name, model("{% for message in messages %}{{ message.content }}{% endfor %}"))
