"""Chat templates of models whose directories have none."""

from collections.abc import Iterable

VICUNA = """\
{%- set state = namespace(replying=false) -%}
{%- if messages and messages[0]['role'] == 'system' -%}
  {{- messages[0]['content'] + ' ' -}}
{%- else -%}
  {{- "A chat between a curious user and an artificial intelligence assistant. " -}}
  {{- "The assistant gives helpful, detailed, and polite answers to the user's questions. " -}}
{%- endif -%}
{%- for message in messages -%}
  {%- if message['role'] == 'user' -%}
    {{- (eos_token if state.replying else '') + 'USER: ' + message['content'] + ' ' -}}
    {%- set state.replying = false -%}
  {%- elif message['role'] == 'assistant' -%}
    {{- '' if state.replying else 'ASSISTANT:' -}}
    {%- set state.replying = true -%}
    {%- if message['content'] -%}{{- ' ' + message['content'] -}}{%- endif -%}
    {%- for call in message['tool_calls'] or [] -%}
      {{- ' [' + call['function']['name'] + '(' -}}
      {%- set arguments = call['function']['arguments'] -%}
      {%- if arguments is string -%}
        {{- arguments -}}
      {%- else -%}
        {%- for value in arguments.values() -%}
          {{- ('' if loop.first else ', ') + (value if value is string else value | tojson) -}}
        {%- endfor -%}
      {%- endif -%}
      {{- ') ->' -}}
    {%- else -%}
      {{- eos_token -}}
      {%- set state.replying = false -%}
    {%- endfor -%}
  {%- elif message['role'] == 'tool' and state.replying -%}
    {{- ' ' + message['content'] + ']' -}}
  {%- elif not (message['role'] == 'system' and loop.first) -%}
    {{- raise_exception("Vicuna takes a system message first, and then messages of users, its own, and results right behind "
        + "its calls, not a message of role '" + message['role'] + "' at place " + loop.index0 | string) -}}
  {%- endif -%}
{%- endfor -%}
{{- 'ASSISTANT:' if add_generation_prompt and not state.replying else '' -}}
"""
"""The template of Vicuna from version 1.1 on; the beginning-of-text token belongs before it.

Vicuna was trained on no calls. They and their results stand in it as the engine writes them, ``[Name(arguments) -> result]``.
Tools are not listed: a system message has to say what there is and how it is called.

Source: FastChat, ``fastchat/conversation.py``, ``vicuna_v1.1`` (separator style ``ADD_COLON_TWO``).
"""


def built_in_template(model_names: Iterable[str]) -> str | None:
    """The template for a model with one of these names; None if there is none.

    A Vicuna is known by "vicuna" in its name, in any letter case, for its files are those of a Llama.
    """
    return VICUNA if any("vicuna" in name.lower() for name in model_names) else None
