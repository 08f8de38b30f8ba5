"""What the replies of both endpoints for text have in common."""

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from lamps_jax.engine.events import Event, RequestOutput
from lamps_jax.metrics import latencies

Json = dict[str, Any]


class Reply(Protocol):
    """How one endpoint shows what its requests yield."""

    def whole(self, outputs: Sequence[RequestOutput]) -> Json:
        """The body of a response that is not streamed."""
        ...

    def chunks(self, index: int, event: Event) -> Iterator[Json]:
        """What one event of the request of that index adds to a stream."""
        ...

    def usage_chunk(self, outputs: Sequence[RequestOutput]) -> Json:
        """The last chunk of a stream that was asked for its usage."""
        ...


def head(prefix: str, kind: str, model: str) -> Json:
    """How a body begins, and each chunk of a stream."""
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": None,
    }


def usage(outputs: Sequence[RequestOutput], *, num_choices: int) -> Json:
    """Tokens in and out; the results of tools count as neither, and a prompt counts once, however many replies it has.

    Args:
        outputs: Of each prompt its `num_choices` replies in a row.
    """
    firsts = outputs[::num_choices]
    prompt_tokens = sum(output.num_prompt_tokens for output in firsts)
    completion_tokens = sum(len(output.token_ids) for output in outputs)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": sum(output.num_cached_prompt_tokens for output in firsts),
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def finish_reason(output: RequestOutput) -> str:
    """Why a request that has ended did."""
    assert output.finish_reason is not None
    return output.finish_reason.value


def account(output: RequestOutput) -> Json:
    """The calls that the server ran, and the timings."""
    return {"calls": [call.as_dict() for call in output.calls if not call.is_clients], **timings(output)}


def timings(output: RequestOutput) -> Json:
    """How long the parts of a request took."""
    return {"timings": latencies(output.timestamps, len(output.token_ids)).as_dict()}
