"""The numbers behind the generators: what requests of each type look like, and where that is known from.

`SINGLE_API` and `MULTI_API` hold the statistics of the released traces (Apache-2.0), counted with GPT-J's tokenizer: mean,
deviation, least and most. The tests compute them again from the traces where these lie at hand. Nothing else of a trace is here.
"""

from dataclasses import dataclass

from lamps_jax.sim.distributions import BetaBinomial, Constant, Distribution, Lognormal, Mixture

GPTJ_CONTEXT_TOKENS = 2048
"""The longest context of InferCept's and LAMPS's runs."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What leads to a call, and the call."""

    generated: Distribution
    call: str
    duration_s: Distribution
    returned: Distribution


@dataclass(frozen=True, slots=True)
class Profile:
    """Requests of one type.

    Attributes:
        weight: Share of the workload, relative to the other profiles.
        num_rounds: How often the phases of `round` are gone through.
        first_generated: Of the first segment, where it differs from the round's.
        last_generated: Behind the last call; None if the request ends in that call.
        final_tokens: Context that the last return fills up exactly, so that what calls return is divided among them.
    """

    request_type: str
    weight: float
    prompt: Distribution
    num_rounds: BetaBinomial | Constant
    round: tuple[Phase, ...]
    first_generated: Distribution | None = None
    last_generated: Distribution | None = None
    final_tokens: int | None = None


_MATH_PROMPT, _MATH_FIRST = Lognormal(405.4, 18.4, 369, 483), Lognormal(153.1, 106.2, 32, 518)
_QA_PROMPT, _QA_FIRST = Lognormal(933.5, 6.86, 922, 955), Lognormal(254.3, 147.8, 17, 714)
_CHAT_PROMPT, _CHAT_FIRST = Lognormal(108.0, 262.7, 0, 1728), Lognormal(56.0, 16.6, 4, 117)
_CHAT_LATER, _CHAT_REPLY_S = Lognormal(59.6, 17.5, 0, 121), Lognormal(28.23, 18.35, 3.0, 60)
_CHAT_RETURNED = Lognormal(39.7, 112.2, -1, 1354)
_VE_S = Lognormal(0.0851, 0.01468, 0.05, 0.1108)

MULTI_API: tuple[Profile, ...] = (
    Profile(
        "math",
        98,
        _MATH_PROMPT,
        BetaBinomial(2.81, 1.32, 1, 4),
        (Phase(Lognormal(116.6, 76.7, 19, 456), "math", Lognormal(8.33e-5, 4.80e-5, 0, 6.0e-4), Lognormal(21.0, 4.88, 15, 51)),),
        _MATH_FIRST,
        Lognormal(110.6, 224.6, 12, 1353),
    ),
    Profile(
        "qa",
        50,
        _QA_PROMPT,
        BetaBinomial(3.04, 1.18, 1, 4),
        (Phase(Lognormal(157.1, 87.5, 33, 475), "qa", Lognormal(0.709, 0.209, 0, 1.03), Lognormal(56.7, 8.5, 32, 81)),),
        _QA_FIRST,
        Lognormal(166.2, 178.1, 37, 910),
    ),
    Profile(
        "ve",
        54,
        Constant(1973),
        BetaBinomial(5.35, 1.02, 4, 8),
        (Phase(Constant(4), "ve", _VE_S, Lognormal(10.2, 10.7, -1, 43)),),
        # In the trace 2,049, one more than the released engine lets a context have.
        final_tokens=GPTJ_CONTEXT_TOKENS - 1,
    ),
    Profile(
        "chatbot",
        65,
        _CHAT_PROMPT,
        BetaBinomial(3.46, 1.96, 1, 8),
        (Phase(_CHAT_LATER, "chatbot", _CHAT_REPLY_S, _CHAT_RETURNED),),
        _CHAT_FIRST,
        Lognormal(304.4, 250.8, 0, 1164),
    ),
    Profile(
        "image",
        65,
        _CHAT_PROMPT,
        BetaBinomial(3.46, 1.96, 1, 8),
        (
            Phase(_CHAT_LATER, "image", Lognormal(11.54, 0.926, 9.1, 13.7), Constant(8)),
            Phase(Constant(7), "image reply", _CHAT_REPLY_S, _CHAT_RETURNED),
        ),
        _CHAT_FIRST,
    ),
    Profile(
        "tts",
        65,
        _CHAT_PROMPT,
        BetaBinomial(3.46, 1.96, 1, 8),
        (
            Phase(_CHAT_LATER, "tts", Lognormal(6.06, 2.66, 0, 13.0), Constant(9)),
            Phase(Constant(7), "tts reply", _CHAT_REPLY_S, _CHAT_RETURNED),
        ),
        _CHAT_FIRST,
    ),
)
"""InferCept's mixture. The chats, pictures and voices are the same conversations: the latter two wait twice a round, for the tool
and for the person. Requests of ALFWorld ("ve") end when their context is full.

Source: the released trace of Multi-API, 397 requests.
"""

_ONCE = Constant(1)

SINGLE_API: tuple[Profile, ...] = (
    Profile(
        "math",
        98,
        _MATH_PROMPT,
        _ONCE,
        (Phase(_MATH_FIRST, "math", Lognormal(8.91e-5, 5.84e-5, 2.3e-5, 6.03e-4), Lognormal(21.0, 3.31, 16, 34)),),
        None,
        Lognormal(121.6, 196.7, 12, 1353),
    ),
    Profile(
        "qa",
        50,
        _QA_PROMPT,
        _ONCE,
        (Phase(_QA_FIRST, "qa", Lognormal(0.661, 0.263, 0, 0.994), Lognormal(56.2, 10.2, 32, 81)),),
        None,
        Lognormal(222.3, 183.7, 33, 910),
    ),
    Profile("ve", 54, Constant(1973), _ONCE, (Phase(Constant(4), "ve", _VE_S, Constant(2)),), None, Constant(4)),
    Profile(
        "chatbot",
        65,
        _CHAT_PROMPT,
        _ONCE,
        (Phase(_CHAT_FIRST, "chatbot", Lognormal(28.96, 19.17, 4.0, 60), Lognormal(60.1, 189.9, -1, 1354)),),
        None,
        Lognormal(116.6, 177.9, 4, 1164),
    ),
    Profile(
        "image",
        65,
        _CHAT_PROMPT,
        _ONCE,
        (Phase(_CHAT_FIRST, "image", Lognormal(11.48, 0.920, 9.3, 13.6), Constant(8)),),
        None,
        Constant(7),
    ),
    Profile(
        "tts",
        65,
        _CHAT_PROMPT,
        _ONCE,
        (Phase(_CHAT_FIRST, "tts", Lognormal(5.77, 2.64, 1.3, 12.2), Constant(9)),),
        None,
        Constant(7),
    ),
)
"""The first call of each request of the mixture, and the segment behind it.

Source: the released trace of Single-API, 397 requests.
"""


@dataclass(frozen=True, slots=True)
class ToolBenchProfile:
    """Requests that search among many tools.

    Attributes:
        num_calls: Published: 2.45 ± 1.81.
        tool_s: Published: 1.72 ± 3.33 s. Drawn once per tool, since the released code reads a measured latency for each.
        num_tools: Published: "over 16,000 real-world APIs".
        prompt: Not published but for the limit of 2,048 tokens; an assumption, as are the next two.
        generated: Mostly 10 to 60 tokens, as the accuracy per bin of the published predictor implies.
        returned: Tool answers, shortened.
    """

    num_calls: BetaBinomial
    tool_s: Lognormal
    num_tools: int
    prompt: Lognormal
    generated: Lognormal
    returned: Lognormal


TOOLBENCH = ToolBenchProfile(
    num_calls=BetaBinomial(2.45, 1.81, 1, 12),
    tool_s=Lognormal(1.72, 3.33),
    num_tools=16_000,
    prompt=Lognormal(900.0, 350.0, 200, 1900),
    generated=Lognormal(45.0, 35.0, 5, 500),
    returned=Lognormal(90.0, 90.0, 0, 600),
)
"""Source: LAMPS (NeurIPS 2025), section 4 and table 1; the trace itself is not public."""


@dataclass(frozen=True, slots=True)
class AgentProfile:
    """Sessions of a coding agent.

    Attributes:
        num_turns: Requests per session.
        fresh_share: Sessions that begin anew; the others go on from a long history.
        common_tokens: Tools and system prompt, which all sessions have.
        compaction_tokens: Context at which a session that began anew is compacted to what a new one has.
        resumed_compaction_tokens: The same for the others.
        reply: Tokens per request.
        added: Tokens that a prompt has behind the reply before it: results of tools, or what the user wrote.
        user_share: Requests that a user's message begins, not a tool's result.
    """

    num_turns: Distribution
    fresh_share: float
    fresh_prompt: Distribution
    resumed_prompt: Distribution
    common_tokens: int
    compaction_tokens: int
    resumed_compaction_tokens: int
    reply: Distribution
    added: Distribution
    tool_s: Distribution
    user_s: Distribution
    user_share: float


AGENT = AgentProfile(
    num_turns=Lognormal(61.2, 64.3, 1.5, 600),
    fresh_share=0.68,
    fresh_prompt=Mixture(((1.0, 18_500, 0.35),), most=100_000),
    resumed_prompt=Mixture(((1.0, 150_000, 0.8),), most=800_000),
    common_tokens=15_330,
    compaction_tokens=200_000,
    resumed_compaction_tokens=450_000,
    reply=Mixture(((1.0, 218, 1.19),), most=32_000),
    added=Mixture(((1.0, 292, 1.8),), most=20_000),
    tool_s=Mixture(((0.8, 7.5, 0.75), (0.2, 70, 1.5)), most=3_600),
    user_s=Mixture(((0.75, 65, 1.0), (0.25, 1_400, 1.0)), most=14_400),
    user_share=0.146,
)
"""Fitted to quantiles of the agent gaps, 340 sessions of a coding agent (callanjfox/kv-cache-tester, Apache-2.0).

At the 25th, 50th, 75th, 90th and 99th per cent these are: gaps after a tool's use 5, 9, 20, 77, 622 s; gaps before a user's
message 33, 91, 314, 2,186, 6,640 s; replies 138, 216, 431, 897, 3,603 tokens; additions 47, 292, 1,065, 3,169, 17,133 tokens.
"""
