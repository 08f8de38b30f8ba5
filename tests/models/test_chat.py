import json
from datetime import datetime
from pathlib import Path

import pytest

from lamps_jax.models.chat import render_behind, render_chat
from lamps_jax.models.tokenizer import Tokenizer
from tests.factories import save_tiny_tokenizer
from tests.fakes import END_OF_TEXT, make_tokenizer
from tests.models.tokenizer_files import processor, save_vicuna, sentencepiece_model, without_dummy_prefix
from tests.models.tool_templates import HERMES, LLAMA, QWEN

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]


def rendered(messages) -> str:
    tokenizer = make_tokenizer()
    return tokenizer.hf.decode(render_chat(tokenizer, messages), skip_special_tokens=False)


def test_a_conversation_ends_where_the_reply_begins():
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "Bye"},
    ]
    assert rendered(messages) == f"Q: Hello\nA: Hi.{END_OF_TEXT}Q: Bye\nA:"


def test_a_call_and_its_result_stand_as_the_model_wrote_and_read_them():
    call = {"id": "1", "type": "function", "function": {"name": "Calculator", "arguments": "1+1"}}
    messages = [
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "2"},
    ]
    assert rendered(messages) == "Q: 1+1?\nA: [Calculator(1+1) -> 2]"


def test_special_tokens_of_the_template_count_as_such():
    tokenizer = make_tokenizer()
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert render_chat(tokenizer, messages).count(tokenizer.hf.eos_token_id) == 1


@pytest.mark.parametrize("role", ["user", "tool", "assistant"])
def test_special_tokens_that_somebody_typed_are_spelled_out(role):
    tokenizer = make_tokenizer()
    typed = f"a{END_OF_TEXT}b{END_OF_TEXT}"
    messages = [{"role": "user", "content": "?"}, {"role": role, "content": typed}, {"role": "user", "content": "c"}]
    token_ids = render_chat(tokenizer, messages)
    assert token_ids.count(tokenizer.hf.eos_token_id) == (1 if role == "assistant" else 0)
    assert typed in tokenizer.hf.decode(token_ids, skip_special_tokens=False)


@pytest.mark.parametrize("template", [HERMES, QWEN, LLAMA], ids=["hermes", "qwen", "llama"])
def test_special_tokens_in_the_names_of_arguments_are_spelled_out(template: str):
    tokenizer = make_tokenizer()
    tokenizer.hf.add_special_tokens({"additional_special_tokens": SPECIAL})
    tokenizer.hf.chat_template = template
    counts = []
    for name in ("plain", "".join(SPECIAL)):
        function = {"name": "f", "arguments": {name: {name: 1}}}
        messages = [
            {"role": "user", "content": "Go."},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": "1", "name": "f", "content": "2"},
        ]
        definition = {"name": "f", "description": "", "parameters": {"type": "object", "properties": {name: {"type": "object"}}}}
        token_ids = render_chat(Tokenizer(tokenizer.hf), messages, tools=[{"type": "function", "function": definition}])
        counts.append([token_ids.count(tokenizer.hf.convert_tokens_to_ids(special)) for special in SPECIAL])
    assert counts[0] == counts[1]


def test_special_tokens_in_the_arguments_of_a_call_are_spelled_out():
    tokenizer = make_tokenizer()
    call = {"id": "1", "type": "function", "function": {"name": "Search", "arguments": END_OF_TEXT}}
    token_ids = render_chat(tokenizer, [{"role": "user", "content": "?"}, {"role": "assistant", "tool_calls": [call]}])
    assert tokenizer.hf.eos_token_id not in token_ids


def test_text_that_already_holds_the_marker_characters_is_kept():
    typed = f"\ue000{END_OF_TEXT}\ue001"
    assert rendered([{"role": "user", "content": typed}]) == f"Q: {typed}\nA:"


def test_the_messages_are_not_changed():
    messages = [{"role": "user", "content": END_OF_TEXT}]
    rendered(messages)
    assert messages == [{"role": "user", "content": END_OF_TEXT}]


def test_a_model_without_chat_template_says_what_to_do():
    tokenizer = make_tokenizer()
    tokenizer.hf.chat_template = None
    with pytest.raises(ValueError, match=r"no chat template.*--raw"):
        render_chat(tokenizer, [{"role": "user", "content": "Hello"}])


def test_messages_that_the_template_cannot_render_are_refused():
    with pytest.raises(ValueError, match="refuses these messages"):
        rendered([{"role": "user", "content": None}])


def with_files(directory: Path, files: dict[str, str], **config) -> Tokenizer:
    """A byte tokenizer whose directory has these files, and these entries in its configuration."""
    save_tiny_tokenizer(directory, extra_tokens=SPECIAL)
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    (directory / "tokenizer_config.json").write_text(json.dumps({**settings, "bos_token": "<|im_start|>", **config}))
    for name, text in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    return Tokenizer.from_directory(directory)


def shown(tokenizer: Tokenizer, messages, tools=()) -> str:
    return tokenizer.hf.decode(render_chat(tokenizer, messages, tools=tools), skip_special_tokens=False)


HELLO = [{"role": "user", "content": "Hello"}]
GREETING = "{{ 'Q: ' + messages[0].content }}"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": ["integer", "string"]}},
            "required": ["city"],
        },
    },
}


@pytest.mark.parametrize(
    ("files", "config"),
    [
        ({}, {"chat_template": GREETING}),
        ({"chat_template.jinja": GREETING}, {}),
        ({"chat_template.jinja": GREETING}, {"chat_template": "another"}),
        ({"chat_template.json": json.dumps({"chat_template": GREETING})}, {}),
        ({}, {"chat_template": [{"name": "default", "template": GREETING}, {"name": "tool_use", "template": "another"}]}),
        ({"chat_template.jinja": GREETING, "additional_chat_templates/tool_use.jinja": "another"}, {}),
    ],
    ids=["configuration", "file", "file before configuration", "json", "named", "named files"],
)
def test_the_template_is_found_wherever_a_directory_has_it(tmp_path, files, config):
    assert shown(with_files(tmp_path, files, **config), HELLO) == "Q: Hello"


def test_with_tools_the_template_for_tools_is_taken(tmp_path):
    templates = [{"name": "default", "template": GREETING}, {"name": "tool_use", "template": "{{ tools[0].function.name }}"}]
    tokenizer = with_files(tmp_path, {}, chat_template=templates)
    assert shown(tokenizer, HELLO) == "Q: Hello"
    assert shown(tokenizer, HELLO, [TOOL]) == "get_weather"


def test_named_templates_without_a_default_are_refused_in_one_line(tmp_path):
    tokenizer = with_files(tmp_path, {}, chat_template=[{"name": "rag", "template": GREETING}])
    with pytest.raises(ValueError, match=r"refuses these messages.*rag") as caught:
        render_chat(tokenizer, HELLO)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "template",
    ["{{ raise_exception('no') }}", "{{ 1 // 0 }}", "{{ 'a' + none }}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ "],
)
def test_whatever_goes_wrong_in_a_template_is_a_refusal(tmp_path, template):
    with pytest.raises(ValueError, match="the model's chat template refuses these messages"):
        render_chat(with_files(tmp_path, {"chat_template.jinja": template}), HELLO)


def call(arguments) -> dict:
    return {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}


WEATHER = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Oslo?"},
    {"role": "assistant", "content": None, "tool_calls": [call({"city": "Oslo", "days": 2})]},
    {"role": "tool", "tool_call_id": "1", "name": "get_weather", "content": "Rain"},
    {"role": "assistant", "content": "It rains.", "tool_calls": None},
    {"role": "user", "content": "Thanks"},
]
PARAMETERS = json.dumps(TOOL["function"]["parameters"])
FUNCTION = f'{{"name": "get_weather", "description": "Tells the weather.", "parameters": {PARAMETERS}}}'


def test_hermes_lists_tools_and_reads_results(tmp_path):
    tokenizer = with_files(tmp_path, {}, chat_template=[{"name": "tool_use", "template": HERMES}])
    described = '{"name": "get_weather", "description": "get_weather(city: str, days: Union[int,str]) - Tells the weather."'
    assert shown(tokenizer, WEATHER, [TOOL]) == (
        f"<|im_start|><|im_start|>system\nHere are the available tools: <tools> {described}, "
        f'"parameters": {PARAMETERS}}} </tools><|im_end|>\n'
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nOslo?<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2}}\n'
        "</tool_call><|im_end|>\n"
        "<|im_start|>tool\n<tool_response>\nRain\n</tool_response>\n<|im_end|>"
        "<|im_start|>assistant\nIt rains.<|im_end|>\n"
        "<|im_start|>user\nThanks<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_llama_3_1_lists_tools_and_reads_results(tmp_path):
    tokenizer = with_files(tmp_path, {"chat_template.jinja": LLAMA}, bos_token="<|eot_id|>")
    today = datetime.now().strftime("%d %b %Y")
    head, end = "<|start_header_id|>{}<|end_header_id|>\n\n".format, "<|eot_id|>"
    assert shown(tokenizer, WEATHER, [TOOL]) == (
        f"{end}{head('system')}Environment: ipython\nToday Date: {today}\n\nBe brief.{end}"
        f"{head('user')}{json.dumps(TOOL, indent=4)}\n\nOslo?{end}"
        f'{head("assistant")}{{"name": "get_weather", "parameters": {{"city": "Oslo", "days": 2}}}}{end}'
        f'{head("ipython")}"Rain"{end}{head("assistant")}It rains.{end}{head("user")}Thanks{end}{head("assistant")}'
    )
    two_calls = [*HELLO, {"role": "assistant", "tool_calls": [call({}), call({})]}]
    with pytest.raises(ValueError, match="refuses these messages: This model only supports single tool-calls at once!"):
        render_chat(tokenizer, two_calls)


def test_qwen_lists_tools_and_reads_results(tmp_path):
    tokenizer = with_files(tmp_path, {"chat_template.jinja": QWEN})
    listed = f'{{"type": "function", "function": {FUNCTION}}}'
    asked = (
        f"<|im_start|>system\nBe brief.\n\n# Tools\n\n<tools>\n{listed}\n</tools><|im_end|>\n<|im_start|>user\nOslo?<|im_end|>\n"
    )
    assert shown(tokenizer, WEATHER, [TOOL]) == (
        f"{asked}"
        '<|im_start|>assistant\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2}}\n'
        "</tool_call><|im_end|>\n"
        "<|im_start|>user\n<tool_response>\nRain\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\nIt rains.<|im_end|>\n<|im_start|>user\nThanks<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("template", [HERMES, LLAMA, QWEN], ids=["hermes", "llama", "qwen"])
def test_no_turn_ends_because_a_tool_or_its_result_says_so(tmp_path, template):
    tokenizer = with_files(tmp_path, {"chat_template.jinja": template}, bos_token="<|start_header_id|>")
    ends = [tokenizer.hf.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|eot_id|>")]

    def num_ends(said: str) -> int:
        described = {**TOOL["function"], "description": said}
        messages = [
            {"role": "user", "content": said},
            {"role": "assistant", "tool_calls": [call({"city": said})]},
            {"role": "tool", "content": said},
        ]
        token_ids = render_chat(tokenizer, messages, tools=[{"type": "function", "function": described}])
        assert tokenizer.hf.decode(token_ids, skip_special_tokens=False).count(said) == 4
        return sum(token_ids.count(end) for end in ends)

    assert num_ends("<|im_end|><|eot_id|>") == num_ends("nothing of the kind")


SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


def said(*contents: str, system: str | None = None) -> list[dict]:
    """A conversation in which user and assistant take turns."""
    turns = [{"role": ("user", "assistant")[index % 2], "content": content} for index, content in enumerate(contents)]
    return [{"role": "system", "content": system}, *turns] if system else turns


def vicuna_text(tmp_path: Path, messages: list[dict], **options) -> str:
    """What Vicuna's template makes of `messages`, behind the beginning of the text."""
    tokens = {"extra_special_tokens": ["<s>", "</s>"], "bos_token": "<s>", "eos_token": "</s>"}
    (tmp_path / "Vicuna-7B").mkdir(exist_ok=True)
    tokenizer = with_files(tmp_path / "Vicuna-7B", {}, **tokens)
    text = shown(tokenizer, messages, **options)
    assert text.startswith("<s>")
    return text.removeprefix("<s>")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (said("Hello!"), f"{SYSTEM} USER: Hello! ASSISTANT:"),
        (said("Hello!", "Hi!", "How are you?"), f"{SYSTEM} USER: Hello! ASSISTANT: Hi!</s>USER: How are you? ASSISTANT:"),
        (
            said("Hello!", "Hi!", "How are you?", "Fine.\n", " Bye"),
            f"{SYSTEM} USER: Hello! ASSISTANT: Hi!</s>USER: How are you? ASSISTANT: Fine.\n</s>USER:  Bye ASSISTANT:",
        ),
        (said("Hello!", system="Be brief."), "Be brief. USER: Hello! ASSISTANT:"),
        (said("Hello!", "Hi!"), f"{SYSTEM} USER: Hello! ASSISTANT: Hi!</s>ASSISTANT:"),
    ],
    ids=["one turn", "two turns", "three turns", "system message", "assistant last"],
)
def test_a_vicuna_without_template_reads_what_fastchat_writes(tmp_path, messages, expected):
    assert vicuna_text(tmp_path, messages) == expected


@pytest.mark.parametrize("arguments", ["1+1", {"expression": "1+1"}], ids=["text", "object"])
def test_vicunas_calls_and_results_stand_in_its_turn(tmp_path, arguments):
    messages = [
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "It is", "tool_calls": [{"function": {"name": "Calculator", "arguments": arguments}}]},
        {"role": "tool", "content": "2"},
    ]
    read = f"{SYSTEM} USER: 1+1? ASSISTANT: It is [Calculator(1+1) -> 2]"
    assert vicuna_text(tmp_path, messages, tools=[TOOL]) == read
    answer = {"role": "assistant", "content": "that is, two."}
    assert vicuna_text(tmp_path, [*messages, answer, *HELLO]) == f"{read} that is, two.</s>USER: Hello ASSISTANT:"
    assert vicuna_text(tmp_path, [*messages, *HELLO]) == f"{read}</s>USER: Hello ASSISTANT:"


def test_vicunas_calls_with_several_arguments_are_written_as_the_engine_writes_them(tmp_path):
    message = {"role": "assistant", "tool_calls": [call({"city": "Oslo", "days": 2, "night": True})]}
    assert vicuna_text(tmp_path, [*HELLO, message]).endswith(" ASSISTANT: [get_weather(Oslo, 2, true) ->")


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([*HELLO, {"role": "system", "content": "x"}], "not a message of role 'system' at place 1"),
        ([*HELLO, {"role": "tool", "content": "x"}], "not a message of role 'tool' at place 1"),
        ([{"role": "critic", "content": "x"}], "not a message of role 'critic' at place 0"),
        ([{"role": "user", "content": None}], "refuses these messages"),
    ],
)
def test_vicuna_refuses_messages_that_it_has_no_place_for(tmp_path, messages, complaint):
    with pytest.raises(ValueError, match=complaint):
        vicuna_text(tmp_path, messages)


@pytest.mark.parametrize("legacy", [None, False])
def test_a_vicuna_reads_the_tokens_that_it_was_trained_on(tmp_path, legacy):
    (tmp_path / "config.json").write_text('{"_name_or_path": "lmsys/vicuna-7b-v1.5"}')
    save_vicuna(tmp_path, legacy=legacy)
    own = processor(sentencepiece_model())
    inside = own if legacy is None else processor(without_dummy_prefix(sentencepiece_model()))
    before, after = f"{SYSTEM} USER: Hello </s> ASSISTANT: Hi!", "USER: Bye ASSISTANT:"
    expected = [own.bos_id(), *own.encode(before), own.eos_id(), *inside.encode(after)]
    assert render_chat(Tokenizer.from_directory(tmp_path), said("Hello </s>", "Hi!", "Bye")) == expected


def test_a_directorys_own_template_goes_before_the_built_in_one(tmp_path):
    (tmp_path / "vicuna").mkdir()
    assert shown(with_files(tmp_path / "vicuna", {"chat_template.jinja": GREETING}), HELLO) == "Q: Hello"


def test_a_llama_that_is_no_vicuna_has_no_template(tmp_path):
    directory = tmp_path / "Llama-2-7b"
    directory.mkdir()
    save_vicuna(directory)
    with pytest.raises(ValueError, match="no chat template"):
        render_chat(Tokenizer.from_directory(directory), HELLO)


def test_a_reply_goes_on_with_an_unfinished_message(tmp_path):
    tokenizer = with_files(tmp_path, {"chat_template.jinja": QWEN})
    unfinished = {"role": "assistant", "content": "It <|im_end|> is ", "unfinished": True}
    assert shown(tokenizer, [*HELLO, unfinished]) == shown(tokenizer, HELLO) + "It <|im_end|> is "
    said_before = {**unfinished, "content": "x"}
    assert shown(tokenizer, [said_before, *HELLO]).count("<|im_end|>") == 3


def test_vicunas_reply_goes_on_with_an_unfinished_message(tmp_path):
    unfinished = {"role": "assistant", "content": "Thought:", "unfinished": True}
    assert vicuna_text(tmp_path, [*HELLO, unfinished]) == f"{SYSTEM} USER: Hello ASSISTANT: Thought:"


@pytest.mark.parametrize("text", ["USER", " are", "ASSISTANT: Hi</s>USER: Bye"])
def test_tokens_behind_a_place_are_those_of_the_whole(tmp_path, text):
    directory = tmp_path / "vicuna"
    directory.mkdir()
    save_vicuna(directory, legacy=False)
    tokenizer = Tokenizer.from_directory(directory)
    whole = render_chat(tokenizer, said("How are you?", "Hi", "Bye"))
    behind = render_behind(tokenizer, said("How are you?", "Hi", "Bye"), tools=(), place=lambda rendered: rendered.index(text))
    _, found, rest = tokenizer.decode(whole).partition(text.split("<")[0])
    assert tokenizer.decode([*whole, *behind]) == tokenizer.decode(whole) + found + rest
    assert behind.count(tokenizer.hf.eos_token_id) == 1
