"""The paper's claims beside what came out: sentences whose figures are computed, so that they cannot outlive the results."""

from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.reproduction import paper, studies
from benchmarks.reproduction.case import GPTJ, VICUNA
from benchmarks.reproduction.paper import Scale
from benchmarks.reproduction.pool import Results
from benchmarks.reproduction.tables import (
    ALL_E2E_MEAN,
    ALL_E2E_P99,
    E2E_MEAN,
    E2E_MEDIAN,
    E2E_P99,
    TTFT_MEAN,
    TTFT_P99,
    change,
    changes,
    comparison,
    finished_of_type,
    percent,
    preemptions_each,
    promoted_share,
    span,
    throughput,
    value,
)
from lamps_jax.report.runs import Comparison, Quantity, finished_share

OVERLOADED = 0.95
"""A system that finishes a smaller share of what arrives in the window is overloaded."""


class Claim(NamedTuple):
    """One sentence of the paper, and ours.

    Attributes:
        verdict: "holds", "holds in part" or "does not hold".
    """

    where: str
    stated: str
    ours: str
    verdict: str


def _verdict(*parts: bool) -> str:
    return "holds" if all(parts) else "holds in part" if any(parts) else "does not hold"


def as_markdown(found: list[Claim]) -> str:
    """The table."""
    lines = ["| where | the paper | here, by its protocol | |", "|---|---|---|---|"]
    lines += [f"| {claim.where} | {claim.stated} | {claim.ours} | **{claim.verdict}** |" for claim in found]
    return "\n".join(lines)


def claims(scale: Scale, results: Results) -> list[Claim]:
    """What the text of the paper says in numbers."""

    def of(model: str, dataset: str) -> Comparison:
        return comparison(paper.latencies(scale, model, dataset), results)

    low, high = scale.rates[0], [rate for rate in scale.rates if rate >= 4][:2]
    main = [of(model, dataset) for model, dataset in (*paper.FIGURE_5, *paper.FIGURE_13)]
    loaded = [(each, rate) for each in main for rate in scale.rates if _is_overloaded(each, rate)]
    e2e, ttft = ([change(each, rate, quantity) for each, rate in loaded] for quantity in (E2E_MEAN, TTFT_MEAN))
    single, multi, tools = ([of(model, name) for model in ("GPT-J-6B", "Vicuna-13B")] for name in paper.DATASETS)
    rising = [change(each, rate, E2E_MEAN) for each in single for rate in high if _is_overloaded(each, rate)]
    at_low, at_low_vllm = change(single[0], low, TTFT_MEAN), change(single[0], low, TTFT_MEAN, against="vllm")
    multi_ttft, multi_e2e = changes(multi, TTFT_MEAN), changes(multi, E2E_MEAN)
    tool_ttft, tool_e2e = [change(each, low, TTFT_MEAN) for each in tools], [change(each, low, E2E_MEAN) for each in tools]
    ablation = comparison(paper.breakdown(scale), results)
    handling = changes([ablation], E2E_MEAN, system="lamps without scheduling")
    ordered = changes([ablation], E2E_MEAN, against="lamps without scheduling")
    halves = comparison(paper.mixed(scale), results)
    best_of_mixed = [value(halves, "lamps", rate, E2E_MEAN) for rate in scale.rates]
    others_of_mixed = [min(value(halves, name, rate, E2E_MEAN) for name in ("vllm", "infercept")) for rate in scale.rates]
    errors = comparison(paper.errors(scale), results)
    losses = [_loss(errors, rate) for rate in scale.noise_rates]
    thresholds = comparison(paper.starvation(scale), results)
    tails = {name: [value(thresholds, name, rate, E2E_P99) for rate in scale.threshold_rates] for name in thresholds.systems}
    return [
        Claim(
            "abstract, against InferCept",
            f"mean E2E {_minus(27)} to {_minus(85)}, mean TTFT {_minus(4)} to {_minus(96)}",
            f"where InferCept is overloaded: E2E {span(e2e)}, TTFT {span(ttft)}",
            _verdict(max(e2e) < -0.2, max(ttft) < -0.04),
        ),
        Claim(
            f"Single-API, GPT-J-6B, {low:g} req/s",
            f"TTFT {_minus(4)} to {_minus(5)} against InferCept, {_minus(18)} to {_minus(23)} against vLLM; E2E {_minus(1)}",
            f"TTFT {percent(at_low)} and {percent(at_low_vllm)}; E2E {percent(change(single[0], low, E2E_MEAN))}; nobody waits",
            _verdict(at_low < 0, at_low_vllm < 0),
        ),
        Claim(
            "Single-API, 4 to 5 req/s",
            "latency up to 80 to 90 % lower",
            f"where InferCept is overloaded: E2E {span(rising)}" if rising else "InferCept is not overloaded",
            _verdict(bool(rising) and min(rising) < -0.7),
        ),
        Claim(
            "Multi-API",
            f"TTFT more than {_minus(89)}, E2E up to {_minus(78)}",
            f"TTFT {span(multi_ttft)}, E2E {span(multi_e2e)}",
            _verdict(max(multi_ttft) < -0.85, min(multi_e2e) < -0.7),
        ),
        Claim(
            f"ToolBench, {low:g} req/s",
            f"TTFT {_minus(75)} to {_minus(99)}, E2E more than {_minus(60)}",
            f"TTFT {span(tool_ttft)}, E2E {span(tool_e2e)} (GPT-J-6B, Vicuna-13B)",
            _verdict(max(tool_ttft) < -0.7, max(tool_e2e) < -0.6, min(tool_e2e) < -0.6),
        ),
        Claim(
            "breakdown, Multi-API, Vicuna-13B",
            "handling alone slightly worse than InferCept; with the order of service everything is better",
            f"E2E {span(handling)} for the handling alone, {span(ordered)} more with the order",
            _verdict(max(abs(each) for each in handling) < 0.1, max(ordered) < -0.3),
        ),
        Claim(
            "errors of predictions",
            "median latency rises and throughput falls with the error, most at 8 to 10 req/s",
            f"errors of 50 % cost {span(losses)} of throughput",
            _verdict(max(losses) < 0, min(losses) in losses[len(losses) // 2 :]),
        ),
        Claim(
            "half of the requests without calls",
            "LAMPS best in mean latency",
            f"E2E {span([mine / other - 1 for mine, other in zip(best_of_mixed, others_of_mixed, strict=True)])} against the "
            "next best",
            _verdict(all(mine < other for mine, other in zip(best_of_mixed, others_of_mixed, strict=True))),
        ),
        Claim(
            "starvation threshold",
            "lowers the tail and raises throughput; 100 is the best balance",
            f"P99 with 100 against none: {span(_ratios(tails['threshold 100'], tails['off']))}; "
            f"throughput {span(changes([thresholds], throughput, system='threshold 100', against='off'))}",
            _verdict(
                all(mine < other for mine, other in zip(tails["threshold 100"], tails["off"], strict=True)),
                min(changes([thresholds], throughput, system="threshold 100", against="off")) > 0,
            ),
        ),
    ]


def _is_overloaded(found: Comparison, rate: float) -> bool:
    return value(found, "infercept", rate, finished_share) < OVERLOADED


def _loss(errors: Comparison, rate: float) -> float:
    first, last = errors.systems[0], errors.systems[-1]
    return change(errors, rate, throughput, system=last, against=first)


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [mine / other - 1 for mine, other in zip(ours, theirs, strict=True)]


def _minus(percentage: int) -> str:
    return percent(-percentage / 100)


def _seconds(found: Comparison, system: str, quantity: Quantity) -> str:
    """Over the rates."""
    return span([value(found, system, rate, quantity) for rate in found.rates if rate is not None], lambda each: f"{each:,.0f} s")


def of_figure_5(scale: Scale, results: Results) -> str:
    """The panels in words."""
    lines = []
    for model, dataset in paper.FIGURE_5:
        found = comparison(paper.latencies(scale, model, dataset), results)
        lines.append(
            f"- {model}, {dataset}: E2E {span(changes([found], E2E_MEAN))}, TTFT {span(changes([found], TTFT_MEAN))} against "
            "InferCept; "
            f"over every arrival E2E {span(changes([found], ALL_E2E_MEAN))}, its P99 {span(changes([found], ALL_E2E_P99))}; "
            f"throughput {span(changes([found], throughput))}."
        )
    return (
        "\n".join(lines) + "\n\n"
        "Where the paper has more: at its lowest rates GPT-J-6B is not overloaded here on Single-API and just so on "
        "ToolBench-like, and "
        "without a queue there is nothing to order. There LAMPS can be *worse* than InferCept: its wastes price a swap as "
        "the paper's "
        "equation does, as if it stopped the batch, so that it keeps calls of a second or two on the device, where InferCept "
        "moves "
        "contexts to the host while steps run."
    )


def of_figure_6(found: Comparison) -> str:
    """The ablation in words."""
    alone = changes([found], E2E_MEAN, system="lamps without scheduling")
    known = changes([found], E2E_MEAN, system="infercept, durations known")
    artifact = changes([found], E2E_MEAN, system="lamps-artifact", against="lamps")
    return (
        f"Choosing the handling ahead changes little by itself: E2E {span(alone)} against InferCept, which chooses in every "
        "step. Nearly "
        "everything comes from the order of service: "
        f"{span(changes([found], E2E_MEAN, against='lamps without scheduling'))}. To tell "
        f"InferCept how long calls last, as its released code does, changes {span(known)}. The score, wastes and constants "
        "of the code "
        f"released with the paper (`lamps-artifact`) take {span(artifact)} the mean latency of what the text describes: it "
        "admits a "
        "request when its next chunk fits, and always recomputes what gives way."
    )


def of_figure_7(found: Comparison, at_3: Comparison) -> str:
    """Errors in words."""
    first, last = found.systems[0], found.systems[-1]
    medians = changes([found], E2E_MEDIAN, system=last, against=first)
    throughputs = changes([found], throughput, system=last, against=first)
    everyone = changes([found], ALL_E2E_MEAN, system=last, against=first)
    tails = [value(at_3, name, 3.0, E2E_P99) for name in at_3.systems]
    firsts = [value(at_3, name, 3.0, TTFT_P99) for name in at_3.systems]
    return (
        f"Errors of 50 % change the median latency by {span(medians)}, throughput by {span(throughputs)}, and the mean over "
        "every "
        f"arrival by {span(everyone)}. At 3 requests a second the P99 is {span(tails, _whole_seconds)} for errors of 5 to 60 "
        "%, and that of "
        f"the time to the first token {span(firsts, _whole_seconds)}; the paper's axes have 418 to 422 s and 100 to 120 s "
        "there. The "
        "error is normal with that share of the true value as its *deviation*, as in the released code."
    )


def _whole_seconds(each: float) -> str:
    return f"{each:,.0f} s"


def of_figure_9(found: Comparison) -> str:
    """Calls in words."""
    finished = {name: value(found, name, paper.CALLS_RATE_RPS, lambda run: run.finished) for name in found.systems}
    return (
        f"At {paper.CALLS_RATE_RPS:g} requests a second, in {paper.CALLS_WINDOW_S:.0f} s: {finished['without calls']:.0f} "
        "requests finish "
        f"without calls, {finished['preserve']:.0f} if calls keep their memory, {finished['discard']:.0f} if they give it up "
        "and "
        "compute it again. The paper's figure ends at 150 finished requests, at a rate that it does not state, and has the "
        "same order."
    )


def of_figure_10(found: Comparison) -> str:
    """The mixed workload in words."""
    return (
        f"LAMPS against InferCept: E2E {span(changes([found], E2E_MEAN))}, over every arrival "
        f"{span(changes([found], ALL_E2E_MEAN))}, throughput {span(changes([found], throughput))}. Requests without calls "
        "are ranked in "
        "the same queue, by the memory that they will take over time."
    )


def of_figures_11_12(scale: Scale, results: Results) -> str:
    """TinyLlama in words."""
    multi, tools = (comparison(paper.latencies(scale, *pair), results) for pair in paper.FIGURES_11_12)
    return (
        "A model so small is not overloaded at these rates: only vLLM, which computes every context again after each call, "
        "has a queue "
        f"on Multi-API. There the mean latency is {_seconds(multi, 'lamps', E2E_MEAN)} under LAMPS and "
        f"{_seconds(multi, 'infercept', E2E_MEAN)} "
        "under InferCept, "
        f"nearly all of it calls; the paper's axis has 100 to 200 s. On ToolBench-like it is {_span_of(tools, 'lamps')} s, "
        "on the paper's "
        "axis 6.75 to 7.25 s. Between InferCept and LAMPS there is next to nothing to gain: the order of a queue that is "
        "empty does not "
        "matter."
    )


def _span_of(found: Comparison, system: str) -> str:
    return span([value(found, system, rate, E2E_MEAN) for rate in found.rates if rate is not None], lambda each: f"{each:.2f}")


def of_figure_13(scale: Scale, results: Results) -> str:
    """The large model in words."""
    found = [comparison(paper.latencies(scale, *pair), results) for pair in paper.FIGURE_13]
    shares = [value(each, "lamps", rate, finished_share) for each in found for rate in each.rates if rate is not None]
    return (
        f"LAMPS against InferCept: E2E {span(changes(found, E2E_MEAN))}, TTFT {span(changes(found, TTFT_MEAN))}; over every "
        "arrival "
        f"{span(changes(found, ALL_E2E_MEAN))}. A device with room for 9,000 tokens is overloaded many times over at these "
        "rates: "
        f"{span(shares, lambda each: f'{100 * each:.0f} %')} of what arrives finishes in the window, so that the paper's "
        "statistic is of a "
        "small and cheap part of the requests."
    )


def of_figure_16(found: Comparison, scale: Scale) -> str:
    """Thresholds in words, by the paper's protocol."""
    tails = _ratios(*([value(found, name, rate, E2E_P99) for rate in scale.threshold_rates] for name in ("threshold 100", "off")))
    promoted = [value(found, "threshold 100", rate, promoted_share) for rate in scale.threshold_rates]
    return (
        f"With a threshold of 100 the P99 of what finishes changes by {span(tails)} against none, the throughput by "
        f"{span(changes([found], throughput, system='threshold 100', against='off'))}. It promotes "
        f"{span(promoted, lambda each: f'{100 * each:.0f} %')} of all requests: see below."
    )


def of_figure_17(found: Comparison) -> str:
    """The first minutes in words."""
    last = {name: [value(found, name, rate, E2E_MEAN) for rate in found.rates if rate is not None] for name in found.systems}
    ends = ", ".join(f"{name} {span(values, _whole_seconds)}" for name, values in last.items())
    return (
        f"Mean latency after {paper.OCCUPATION_WINDOW_S:.0f} s: {ends}; the paper's axes end at 60 to 80 s for vLLM and 40 "
        "to 60 s for the "
        "others. All three keep the device's memory full; only InferCept and LAMPS use the host's."
    )


def of_survivors(multi: Comparison, drained: Mapping[str, Comparison]) -> str:
    """Who is counted."""
    rates = [rate for rate in multi.rates if rate is not None]

    def shares(kind: str, system: str) -> str:
        return span(
            [value(multi, system, rate, lambda run: finished_of_type(run, kind=kind)) for rate in rates],
            lambda each: f"{100 * each:.0f} %",
        )

    windowed, everyone = changes([multi], E2E_P99), changes([multi], ALL_E2E_P99)
    means = {name: changes([each], E2E_MEAN) for name, each in drained.items()}
    tails = {name: changes([each], E2E_P99) for name, each in drained.items()}
    return (
        "**An independent study says that LAMPS's gain in the tail is survivor bias. Confirmed.** By the paper's protocol "
        "its P99 "
        f"on Multi-API with GPT-J-6B changes by {span(windowed)} against InferCept; over every arrival by {span(everyone)} "
        "or more, as "
        f"these are lower bounds. Cheap requests finish and dear ones do not: of ALFWorld's {shares('ve', 'lamps')} finish, "
        "of questions "
        f"{shares('qa', 'lamps')} (InferCept: {shares('ve', 'infercept')} and {shares('qa', 'infercept')}).\n\n"
        f"Served to the end, everything that arrived counts: the mean changes by {span(means[GPTJ])} (GPT-J-6B) and "
        f"{span(means[VICUNA])} "
        f"(Vicuna-13B), the P99 by {span(tails[GPTJ])} and {span(tails[VICUNA])}. The gain in the mean is real; the tail "
        "pays for it."
    )


def of_threshold(found: Comparison) -> str:
    """Whom the threshold guards."""
    (rate,) = (each for each in found.rates if each is not None)
    promoted = {name: value(found, name, rate, promoted_share) for name in found.systems}
    tails = {name: value(found, name, rate, E2E_P99) for name in found.systems}
    means = {name: value(found, name, rate, E2E_MEAN) for name in found.systems}
    told = ", ".join(
        f"{name}: {100 * promoted[name]:.0f} % promoted, mean {means[name]:,.0f} s, P99 {tails[name]:,.0f} s"
        for name in found.systems
    )
    least, most = min(tails.values()), max(tails.values())
    spread = "the tail hardly moves" if most < 1.1 * least else f"the P99 lies between {least:,.0f} and {most:,.0f} s"
    return (
        "**The study says that a threshold of 100 steps promotes nearly everybody in overload, and so guards nobody. "
        f"{'Confirmed' if promoted['threshold 100'] > 0.8 else 'Not confirmed'}.** Drained: {told}. A hundred steps are a "
        "few seconds, "
        f"and in overload everybody waits for longer; among those promoted the order is by memory over time again. Over all "
        f"thresholds {spread}."
    )


def of_admission(large: Comparison, small: Comparison) -> str:
    """What admitting by the next chunk costs."""

    def effect(found: Comparison, name: str, rule: str) -> str:
        (rate,) = (each for each in found.rates if each is not None)
        e2e = change(found, rate, E2E_MEAN, system=f"{name}, {rule}", against=f"{name}, next-chunk")
        evicted = [value(found, f"{name}, {each}", rate, preemptions_each) for each in ("next-chunk", rule)]
        return f"{percent(e2e)} (evictions a request {evicted[0]:.2f} to {evicted[1]:.2f})"

    lines = [
        f"- {name}: whole context against next chunk {effect(large, name, 'whole-context')} with the large pool and "
        f"{effect(small, name, 'whole-context')} with the small one; predicted peak {effect(large, name, 'predicted-peak')} "
        "and "
        f"{effect(small, name, 'predicted-peak')}."
        for name in paper.SYSTEMS
    ]
    return (
        "**The study says that part of the baselines' loss is thrash, from admitting a request when only its next chunk "
        "fits.** "
        "Mean latency, drained:\n\n" + "\n".join(lines)
    )


def of_durations(found: Comparison) -> str:
    """Spread of durations in words."""
    (rate,) = (each for each in found.rates if each is not None)
    gains = {
        spread: (
            change(found, rate, E2E_MEAN, system=f"lamps, spread {spread}", against=f"infercept, spread {spread}"),
            change(found, rate, E2E_MEAN, system=f"lamps, class means, spread {spread}", against=f"infercept, spread {spread}"),
        )
        for spread in ("1", "2", "4")
    }
    told = "; ".join(f"spread {name}: {percent(known)} and {percent(means)}" for name, (known, means) in gains.items())
    return (
        "Means of the types stay, deviations grow. Mean latency of LAMPS against InferCept if it knows every length and "
        "duration, and "
        f"if it knows the means of the types alone: {told}. (Class means are learned from half of the scripts, and the other "
        "half "
        "arrives, so that its arrivals are others.)"
    )


def of_heterogeneous(found: Comparison) -> str:
    """Very different requests in words."""
    rates = [rate for rate in found.rates if rate is not None]
    refused = [value(found, "lamps", rate, lambda run: run.refused / run.arrived) for rate in rates]
    return (
        f"{span(refused, lambda each: f'{100 * each:.1f} %')} of the requests can never fit, are refused at once and "
        "counted; everything "
        f"else is served to its end. LAMPS against InferCept at {', '.join(f'{rate:g}' for rate in rates)} requests a "
        "second: mean E2E "
        f"{', '.join(percent(change(found, rate, E2E_MEAN)) for rate in rates)}; P99 "
        f"{', '.join(percent(change(found, rate, E2E_P99)) for rate in rates)}."
    )


def of_two_devices(found: Comparison) -> str:
    """Ways to choose a device in words."""
    rates = [rate for rate in found.rates if rate is not None]
    rooms = " and ".join(f"{room:,}" for room in studies.DEVICES)

    def gain(system: str, against: str, quantity: Quantity) -> str:
        return ", ".join(percent(change(found, rate, quantity, system=system, against=against)) for rate in rates)

    return (
        f"Two devices as fast as each other, with room for {rooms} tokens, at {' and '.join(f'{rate:g}' for rate in rates)} "
        "requests a "
        "second in all; a request goes to one of them as it arrives. Under LAMPS, to choose the one whose unfinished "
        "requests have the "
        "fewest tokens for its room changes the mean against taking turns by "
        f"{gain('lamps, tokens', 'lamps, in turn', E2E_MEAN)}, the "
        f"P99 by {gain('lamps, tokens', 'lamps, in turn', E2E_P99)}; the one with the least predicted memory over time for "
        "its room by "
        f"{gain('lamps, memory over time', 'lamps, in turn', E2E_MEAN)} and "
        f"{gain('lamps, memory over time', 'lamps, in turn', E2E_P99)}. For InferCept tokens change "
        f"{gain('infercept, tokens', 'infercept, in turn', E2E_MEAN)} and "
        f"{gain('infercept, tokens', 'infercept, in turn', E2E_P99)}."
    )
