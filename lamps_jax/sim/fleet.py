"""Several devices behind one queue: each request goes to one of them as it arrives, and stays there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lamps_jax.sim.player import Player, arrivals_of
from lamps_jax.sim.results import of_outcomes
from lamps_jax.sim.simulation import Simulation
from lamps_jax.sim.spec import RunSpec, described

Route = Callable[[Sequence[Player], int], Player]
"""Chooses a device for the next of the arrivals, of which so many came before."""


def in_turn(devices: Sequence[Player], count: int) -> Player:
    """One after the other, whatever they are."""
    return devices[count % len(devices)]


def by_tokens(devices: Sequence[Player], count: int) -> Player:
    """Where requests that have not ended have the fewest tokens for each that there is room for."""
    return min(devices, key=lambda device: sum(len(r.token_ids) for r in device.scheduler.requests()) / _room(device))


def by_memory_over_time(devices: Sequence[Player], count: int) -> Player:
    """Where they are predicted to take the least memory over time for each token of room; by tokens where nothing is predicted.

    What a request is predicted to take was computed when it was queued last: for one that runs it is what it had left then.
    """
    if not devices[0].scheduler.system.predicts:
        return by_tokens(devices, count)
    return min(devices, key=lambda device: _memory_over_time(device) / _room(device))


def _room(device: Player) -> int:
    return device.scheduler.blocks.capacity_tokens


def _memory_over_time(device: Player) -> float:
    return sum(r.footprint.token_s for r in device.scheduler.requests() if r.footprint is not None)


ROUTES: dict[str, Route] = {"in turn": in_turn, "tokens": by_tokens, "memory over time": by_memory_over_time}
"""Every way to choose a device, by name."""


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """What is to be simulated: a run on several devices that differ in their memory alone.

    Attributes:
        run: The arrivals, the policy, and the machine that the devices are like.
        kv_tokens: Room of each device's pool.
        route: A name of `ROUTES`.
    """

    run: RunSpec
    kv_tokens: tuple[int, ...]
    route: str

    def __post_init__(self) -> None:
        if not self.kv_tokens:
            raise ValueError("a fleet needs at least one device, got none")
        if self.route not in ROUTES:
            raise ValueError(f"unknown route {self.route!r}; use one of {', '.join(ROUTES)}")


def simulate_fleet(spec: FleetSpec) -> dict[str, Any]:
    """Runs `spec`, and gives what the results document says of a run, over all devices together.

    A device may be a step ahead of the arrival that it is looked at for, as a router's knowledge of it is a step old.
    """
    run = spec.run
    devices = [Simulation(replace(run, hardware=replace(run.hardware, kv_tokens=room)), coming=()) for room in spec.kv_tokens]
    for count, arrival in enumerate(arrivals_of(run)):
        for device in devices:
            device.run_until(arrival.time_s)
        ROUTES[spec.route](devices, count).offer(arrival)
    for device in devices:
        device.run()
    end_s = max(device.clock.now_s for device in devices) if run.drain else run.window_s
    outcomes = [outcome for device in devices for outcome in device.outcomes]
    gaps_s = [gap for device in devices for gap in device.gaps_s]
    schedulers = [device.scheduler for device in devices]
    return described(run) | {
        **of_outcomes(outcomes, gaps_s, end_s, run.objectives),
        "pool_tokens": sum(spec.kv_tokens),
        "preemptions": sum(scheduler.num_preemptions for scheduler in schedulers),
        "recomputed_tokens": sum(scheduler.num_recomputed_tokens for scheduler in schedulers),
        "promoted": sum(scheduler.num_promoted for scheduler in schedulers),
        "simulated_s": end_s,
        "devices": [
            {"kv_tokens": room, "arrived": len(device.outcomes)} for room, device in zip(spec.kv_tokens, devices, strict=True)
        ],
    }
