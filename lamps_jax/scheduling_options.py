"""Options of the command line that say how requests are scheduled: the same when they are served and when they are simulated."""

from typing import Annotated, Literal

import typer

TokenBudgetOption = Annotated[
    int | None,
    typer.Option(
        help="Most tokens computed in one step, those of prompts and one of each running request; more suits a fast device."
    ),
]
MaxChunkTokensOption = Annotated[int | None, typer.Option(help="Most tokens of one prompt in a step.")]
AdmissionOption = Annotated[
    Literal["next-chunk", "whole-context", "predicted-peak"] | None,
    typer.Option(
        help="When a waiting request may start: if its next chunk fits, or its whole context, or all that runs with it at the "
        "size that is predicted; by default as the policy has it."
    ),
]
StarvationThresholdOption = Annotated[
    int, typer.Option(help="Steps of waiting after which a request goes first, under policies that rank; 0 for never.")
]
StarvationScopeOption = Annotated[
    Literal["waiting", "started"] | None,
    typer.Option(help="Whose waiting counts: 'waiting' for all, 'started' for requests that have run; by default as the policy."),
]
RankRefreshOption = Annotated[
    int, typer.Option(help="Steps within which ranks that drift are computed anew, some in each; 0 for never.")
]
RankPreemptionOption = Annotated[
    bool | None,
    typer.Option(
        "--rank-preemption/--no-rank-preemption",
        help="Whether a waiting request of better rank takes a running one's place; by default as the policy has it.",
    ),
]
ApplyHandlingOption = Annotated[
    Literal["at-call", "lazily"] | None,
    typer.Option(
        help="When a handling chosen ahead takes effect: 'at-call', or 'lazily', once memory is wanted; by default as the policy."
    ),
]
LookaheadOption = Annotated[
    Literal["next-call", "program"] | None,
    typer.Option(help="How far ranks foresee: 'next-call' or 'program'; by default as the policy has it."),
]
CallDurationOption = Annotated[
    Literal["expected", "elapsed"],
    typer.Option(help="What a running call is taken to last still: what is 'expected', or as long as has 'elapsed'."),
]
