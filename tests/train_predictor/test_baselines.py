"""Baselines: what each can learn, and what it cannot."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.special import log_softmax

from lamps_jax.train_predictor.baselines import BASELINES, BagOfWords, ByKey, Constant, PromptLength
from lamps_jax.train_predictor.data import Examples
from lamps_jax.train_predictor.evaluate import accuracy_within, negative_log_likelihood, report
from lamps_jax.train_predictor.lengths import Bins, mean, median

BINS = Bins(width_tokens=10, count=8)


def examples_of(token_ids: Sequence, lengths: Sequence[int], keys: Sequence[str]) -> Examples:
    tokens = np.concatenate([np.zeros(0, int), *token_ids]).astype(np.int32)
    return Examples(tokens, np.cumsum([len(ids) for ids in token_ids], dtype=int), np.asarray(lengths, int), tuple(keys), 0)


def texts(examples: Examples) -> list[np.ndarray]:
    return [examples.token_ids(place) for place in range(len(examples))]


def prompts(lengths: list[int], *, token_ids: list[list[int]] | None = None, keys: list[str] | None = None) -> Examples:
    return examples_of(token_ids or [[1]] * len(lengths), lengths, keys or [""] * len(lengths))


def random_prompts(number: int, *, seed: int) -> Examples:
    """Lengths that depend on the key, on how long the prompt is, and on whether it holds token 7."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 200, size=number)
    token_ids = [rng.integers(10, 500, size=size).astype(np.int32) for size in sizes]
    marked = rng.random(number) < 0.5
    token_ids = [np.append(ids, 7) if mark else ids for ids, mark in zip(token_ids, marked, strict=True)]
    keys = rng.choice(["search", "sum", ""], size=number)
    lengths = 5 * np.log(sizes) + 20 * marked + 10 * (keys == "sum") + rng.integers(12, size=number)
    return examples_of(token_ids, lengths.astype(int), keys.tolist())


@pytest.fixture(scope="module", params=BASELINES)
def fitted(request: pytest.FixtureRequest):
    return BASELINES[request.param].fit(BINS, random_prompts(300, seed=0))


def test_every_baseline_gives_distributions_without_impossible_bins(fitted) -> None:
    rows = fitted.probabilities(random_prompts(50, seed=1))
    assert rows.shape == (50, BINS.count)
    np.testing.assert_allclose(rows.sum(1), 1.0)
    assert rows.min() > 0


def test_every_baseline_predicts_without_a_look_at_the_length(fitted) -> None:
    examples = random_prompts(50, seed=1)
    other = examples_of(texts(examples), [0] * 50, examples.keys)
    np.testing.assert_array_equal(fitted.probabilities(examples), fitted.probabilities(other))


def test_every_baseline_predicts_an_example_the_same_in_any_company(fitted) -> None:
    examples = random_prompts(50, seed=1)
    alone = examples_of(texts(examples)[3:4], [0], examples.keys[3:4])
    np.testing.assert_allclose(fitted.probabilities(examples)[3:4], fitted.probabilities(alone))


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_fitted_twice_is_the_same(name: str) -> None:
    train, test = random_prompts(300, seed=0), random_prompts(50, seed=1)
    first, second = (BASELINES[name].fit(BINS, train).probabilities(test) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "constant"])
def test_a_baseline_that_knows_something_beats_the_constant_one(name: str) -> None:
    train, test = random_prompts(2000, seed=0), random_prompts(500, seed=1)
    likelihoods = [
        negative_log_likelihood(BINS, test.lengths, baseline.fit(BINS, train).probabilities(test))
        for baseline in (BASELINES[name], Constant)
    ]
    assert likelihoods[0] < likelihoods[1] - 0.02


def test_all_baselines_fit_into_one_report() -> None:
    train, test = random_prompts(300, seed=0), random_prompts(50, seed=1)
    rows = {name: baseline.fit(BINS, train).probabilities(test) for name, baseline in BASELINES.items()}
    assert list(report(BINS, test.lengths, rows)["predictors"]) == list(BASELINES)


def test_constant_has_the_shares_of_training_lengths_and_one_example_spread_over_all() -> None:
    rows = Constant.fit(BINS, prompts([1, 2, 3, 15, 500])).probabilities(prompts([0, 0]))
    expected = [(count + 1 / 8) / 6 for count in (3, 1, 0, 0, 0, 0, 0, 1)]
    np.testing.assert_allclose(rows, [expected, expected])


def test_a_key_has_the_shares_of_its_own_lengths_drawn_towards_those_of_all() -> None:
    train = prompts([5] * 30 + [75] * 10, keys=["a"] * 30 + ["b"] * 10)
    baseline = ByKey.fit(BINS, train, strength=10.0)
    pooled = Constant.fit(BINS, train).probabilities(prompts([0]))[0]
    of_a, of_b, of_new = baseline.probabilities(prompts([0] * 3, keys=["a", "b", "new"]))
    np.testing.assert_allclose(of_a, (30 * np.eye(8)[0] + 10 * pooled) / 40)
    np.testing.assert_allclose(of_b, (10 * np.eye(8)[7] + 10 * pooled) / 20)
    np.testing.assert_allclose(of_new, pooled)


def test_the_empty_key_is_one_like_others() -> None:
    baseline = ByKey.fit(BINS, prompts([5] * 50 + [75] * 50, keys=[""] * 50 + ["b"] * 50))
    assert baseline.probabilities(prompts([0]))[0].argmax() == 0


def test_prompt_length_finds_the_line_and_spreads_what_is_left_around_it() -> None:
    bins, rng = Bins(width_tokens=10, count=30), np.random.default_rng(0)

    def examples(number: int) -> Examples:
        sizes = rng.integers(1, 1000, size=number)
        lengths = (30 + 20 * np.log(sizes) + 8 * rng.standard_normal(number)).clip(0).astype(int)
        return prompts(lengths.tolist(), token_ids=[[0] * size for size in sizes])

    baseline, test = PromptLength.fit(bins, examples(2000)), examples(1000)
    assert baseline.slope == pytest.approx(20, abs=1) and baseline.intercept == pytest.approx(30, abs=4)
    rows = baseline.probabilities(test)
    expected = [30 + 20 * np.log(len(ids)) for ids in texts(test)]
    np.testing.assert_allclose(mean(bins, rows), expected, atol=4)
    np.testing.assert_allclose(median(bins, rows), expected, atol=4)


def test_prompt_length_counts_each_residual_in_the_bin_it_falls_into() -> None:
    train, test = random_prompts(40, seed=0), random_prompts(10, seed=1)
    baseline = PromptLength.fit(BINS, train)
    logs = np.log([len(ids) for ids in texts(train)])
    slope, intercept = np.polyfit(logs, np.minimum(train.lengths, 80), 1)
    left_over = np.minimum(train.lengths, 80) - slope * logs - intercept
    for ids, row in zip(texts(test), baseline.probabilities(test), strict=True):
        counts = np.zeros(8)
        for residual in left_over:
            counts[int(np.clip((slope * np.log(len(ids)) + intercept + residual) // 10, 0, 7))] += 1
        np.testing.assert_allclose(row, (counts + baseline.pooled) / 41, atol=1e-9)


def test_prompts_of_one_length_leave_the_distribution_of_all() -> None:
    train = prompts([5, 5, 25, 25, 25])
    rows = PromptLength.fit(BINS, train).probabilities(prompts([0]))
    np.testing.assert_allclose(rows[0], (5 * np.bincount([0, 0, 2, 2, 2], minlength=8) / 5 + _pooled(train)) / 6)


def _pooled(train: Examples) -> np.ndarray:
    return Constant.fit(BINS, train).probabilities(prompts([0]))[0]


def test_bag_of_words_finds_the_word_that_tells() -> None:
    rng = np.random.default_rng(0)

    def examples(number: int) -> Examples:
        tells = rng.integers(3, size=number)
        noise = rng.integers(10, 60, size=(number, 20))
        return prompts(
            (tells * 30 + 4).tolist(), token_ids=[[int(t), *ids.tolist()] for t, ids in zip(tells, noise, strict=True)]
        )

    test = examples(200)
    rows = BagOfWords.fit(BINS, examples(600)).probabilities(test)
    assert accuracy_within(BINS, test.lengths, rows, 0) > 0.97


def test_bag_of_words_is_where_its_loss_has_no_slope() -> None:
    train = random_prompts(120, seed=0)
    found = BagOfWords.fit(BINS, train, max_words=20, penalty=3.0, max_iterations=5000)
    labels = BINS.labels(train.lengths)

    def loss(weights: np.ndarray, bias: np.ndarray) -> float:
        total = 1.5 * (weights**2).sum()
        for ids, label in zip(texts(train), labels, strict=True):
            counts = np.log1p([(np.asarray(ids) == word).sum() for word in found.words])
            total -= log_softmax(counts @ weights + bias)[label]
        return total

    least = loss(found.weights, found.bias)
    rng = np.random.default_rng(2)
    for _ in range(20):
        assert loss(found.weights + 0.02 * rng.standard_normal(found.weights.shape), found.bias) > least
        assert loss(found.weights, found.bias + 0.05 * rng.standard_normal(8)) > least


def test_bag_of_words_counts_the_commonest_words_and_of_equals_the_lower() -> None:
    train = prompts([5, 25, 45, 45], token_ids=[[9, 9, 9], [4, 3], [4, 9], [5, 3, 3]])
    assert BagOfWords.fit(BINS, train, max_words=2).words.tolist() == [3, 4]
    assert BagOfWords.fit(BINS, train, max_words=10).words.tolist() == [3, 4, 5, 9]


def test_bag_of_words_knows_only_the_distribution_of_all_of_unknown_words() -> None:
    train = prompts([5, 25] * 20, token_ids=[[1], [2]] * 20)
    rows = BagOfWords.fit(BINS, train).probabilities(prompts([0], token_ids=[[30_000, 99]]))
    np.testing.assert_allclose(rows[0, [0, 2]], 0.5, atol=0.02)


@pytest.mark.parametrize("name", BASELINES)
def test_lengths_of_one_bin_teach_nothing(name: str) -> None:
    with pytest.raises(ValueError, match=r"all 3 lie in bin 1; use narrower or more bins than 8 of 10"):
        BASELINES[name].fit(BINS, prompts([11, 12, 19]))


@pytest.mark.parametrize(
    ("token_ids", "lengths", "keys", "message"),
    [
        ([], [], [], r"at least one, got shape \(0,\)"),
        ([[1]], [1, 22], ["", ""], "'texts': 1, 'lengths': 2, 'keys': 2"),
        ([[1], [2]], [1, 22], [""], "'keys': 1"),
        ([[1], []], [1, 22], ["", ""], "text 1 has none"),
        ([[1]], [-4], [""], "negative, got -4"),
    ],
)
def test_examples_that_do_not_fit_are_refused(token_ids: list, lengths: list, keys: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Constant.fit(BINS, examples_of(token_ids, lengths, keys))
