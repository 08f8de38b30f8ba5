import pytest

from lamps_jax.models.chat import render_chat
from tests.fakes import END_OF_TEXT, make_tokenizer


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
