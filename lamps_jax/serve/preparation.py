"""From the body of a request to what the engine is asked, and how the answer will be shown."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lamps_jax.engine.options import RequestOptions
from lamps_jax.sched.request import SamplingParams
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.serve.bodies.chat import ChatBody
from lamps_jax.serve.bodies.completion import CompletionBody
from lamps_jax.serve.bodies.generation import GenerationBody
from lamps_jax.serve.constraints import constraint_of, wants_constraint
from lamps_jax.serve.encoding import Encoder, decode_tokens, encode_chat, encode_prompt, length_of
from lamps_jax.serve.replies.chat import ChatReply
from lamps_jax.serve.replies.completion import CompletionReply
from lamps_jax.serve.replies.reply import Reply
from lamps_jax.serve.slow_work import SlowWork
from lamps_jax.tools.tool import Tool


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, as far as the head of a request says.

    Attributes:
        tenant: What the client's key is called; "" without one.
        session_id: From the header.
    """

    tenant: str = ""
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready for the engine.

    Attributes:
        prompts: Each with how its tokens are chosen; the replies to one prompt stand in a row.
        options: What else is asked.
        reply: Shows what comes of it.
    """

    prompts: list[tuple[list[int], SamplingParams]]
    options: RequestOptions
    reply: Reply


@dataclass(frozen=True, slots=True)
class Preparation:
    """Prepares the requests of one application; nothing that takes long is done on the event loop.

    Attributes:
        model_name: What replies call the model.
        compiling: Compiles what replies are to be.
    """

    model_name: str
    encoder: Encoder
    compiling: SlowWork = field(default_factory=lambda: SlowWork("a schema"))

    async def completion(self, engine: AsyncEngine, body: CompletionBody, asker: Asker) -> Prepared:
        """A request for completions.

        Raises:
            RequestError: If it cannot be served.
        """
        sampling = await self._sampling(engine, body, {})
        prompts: list[tuple[list[int], SamplingParams]] = []
        echoed: list[str] = []
        for prompt in body.prompts():
            token_ids = await self.encoder.run(encode_prompt, engine, prompt, num_chars=len(prompt))
            own_seed = sampling if body.seed is not None else replace(sampling, seed=body.sampling().seed)
            prompts += [(token_ids, choice) for choice in body.choices(own_seed)]
            if body.echo:
                echoed.append(prompt if isinstance(prompt, str) else await self._text(engine, token_ids))
        reply = CompletionReply(self.model_name, body, engine.tokenizer, echoed=echoed)
        options = body.options(session_id=asker.session_id, tenant=asker.tenant, recognise_calls=not _is_only_json(sampling))
        return Prepared(prompts, options, reply)

    async def chat(self, engine: AsyncEngine, body: ChatBody, asker: Asker) -> Prepared:
        """A request for the next message of a conversation.

        Raises:
            RequestError: If it cannot be served.
        """
        client_tools = await asyncio.to_thread(body.client_tools)
        sampling = await self._sampling(engine, body, client_tools)
        recognise_calls = body.recognise_calls and not _is_only_json(sampling)
        own_tools = engine.tools if recognise_calls else {}
        definitions, num_chars = body.template_tools(), length_of(body.messages)
        token_ids = await self.encoder.run(encode_chat, engine, body.messages, definitions, own_tools, num_chars=num_chars)
        reply = ChatReply(self.model_name, body, engine.tokenizer)
        options = body.options(
            session_id=asker.session_id, tenant=asker.tenant, client_tools=client_tools, recognise_calls=recognise_calls
        )
        return Prepared([(token_ids, choice) for choice in body.choices(sampling)], options, reply)

    async def _text(self, engine: AsyncEngine, token_ids: list[int]) -> str:
        return await self.encoder.run(decode_tokens, engine, token_ids, num_chars=len(token_ids))

    async def _sampling(self, engine: AsyncEngine, body: GenerationBody, client_tools: Mapping[str, Tool]) -> SamplingParams:
        body.check_tokens(engine.vocab_size)
        sampling = body.sampling(engine.default_temperature)
        if not wants_constraint(body):
            return sampling
        return replace(sampling, constraint=await self.compiling.run(constraint_of, body, engine, client_tools))


def _is_only_json(sampling: SamplingParams) -> bool:
    """Whether a reply is nothing but JSON; what looks like a call in it is part of a text of it."""
    return sampling.constraint is not None and sampling.constraint.kind != "lark"
