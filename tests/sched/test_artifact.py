"""The released code's numbers, against values that were worked out apart from this code, and against its known oddities."""

import pytest

from lamps_jax.sched.artifact import AS_RELEASED, GPTJ_6B_BENCH, ArtifactConstants, ArtifactSegment, Running, artifact_score, artifact_wastes
from lamps_jax.sched.request import Handling

P, D, S = Handling.PRESERVE, Handling.DISCARD, Handling.SWAP
IDLE, BUSY = Running(), Running(inflight_tokens=50, held_tokens=25_600)
MATH, QA = ArtifactSegment(405, 153, 21, 8.3e-5), ArtifactSegment(934, 254, 57, 0.71)
VE, CHAT, IMAGE = ArtifactSegment(1973, 4, 2, 0.085), ArtifactSegment(108, 56, 40, 28.2), ArtifactSegment(108, 56, 8, 11.5)
SEGMENTS = {"math": MATH, "QA": QA, "VE": VE, "chat": CHAT, "image": IMAGE}


def to_the_digits_of(text: str) -> object:
    return pytest.approx(float(text), abs=0.5000001 * 10.0 ** -len(text.partition(".")[2]))


@pytest.mark.parametrize(
    ("name", "running", "preserve", "discard", "swap", "choice", "score"),
    [
        ("math", IDLE, "0.0478", "14.0175", "52.9943", P, "74.390"),
        ("QA", IDLE, "863.36", "75.248", "335.631", D, "371.712"),
        ("VE", IDLE, "168.64", "187.869", "912.680", P, "577.523"),
        ("chat", IDLE, "5414.4", "1.5041", "17.6648", D, "37.171"),
        ("image", IDLE, "2208", "1.5041", "17.6648", D, "37.171"),
        ("math", BUSY, "0.0478", "614.894", "2378.703", P, "64.710"),
        ("QA", BUSY, "863.36", "1337.261", "7312.757", P, "1041.182"),
        ("VE", BUSY, "168.64", "2239.533", "12541.224", P, "524.283"),
        ("chat", BUSY, "5414.4", "202.044", "2343.374", D, "32.331"),
        ("image", BUSY, "2208", "202.044", "2343.374", D, "32.331"),
    ],
)
def test_wastes_choice_and_score_are_those_of_the_released_code(
    name: str, running: Running, preserve: str, discard: str, swap: str, choice: Handling, score: str
):
    wastes = artifact_wastes(SEGMENTS[name], running)
    assert wastes.preserve == to_the_digits_of(preserve)
    assert wastes.discard == to_the_digits_of(discard)
    assert wastes.swap == to_the_digits_of(swap)
    handling, _ = wastes.least()
    assert handling is choice
    assert artifact_score(SEGMENTS[name], handling, running) == to_the_digits_of(score)
