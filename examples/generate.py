"""Asks the embedded model a few questions in this process, and shows what it called.

python examples/generate.py
"""

from lamps_jax.llm import LLM

QUESTIONS = ["What is 48*37?", "Which day of the week was July 20, 1969?", "Who wrote Moby-Dick?", "Hello!"]

for generation in LLM().generate(QUESTIONS):
    print(f"{generation.prompt}\n  {generation.text}")
    for call in generation.calls:
        print(f"  {call.name}({call.written}) -> {call.result}   [{1e3 * (call.duration_s or 0):.1f} ms, {call.handling}]")
