"""Same content, same ids; other content, other ids."""

from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.sim.content import prompt_ids, token_ids
from lamps_jax.sim.workload import Span

VOCABULARIES = st.sampled_from([None, 50_257])


@given(key=st.text(max_size=20), shorter=st.integers(0, 50), longer=st.integers(0, 50), vocab_size=VOCABULARIES)
def test_a_shorter_span_holds_the_first_tokens_of_a_longer_one(
    key: str, shorter: int, longer: int, vocab_size: int | None
) -> None:
    ids = list(token_ids(key, shorter + longer, vocab_size=vocab_size))
    assert list(token_ids(key, shorter, vocab_size=vocab_size)) == ids[:shorter]
    assert len(ids) == shorter + longer


def test_ids_stay_within_the_vocabulary_and_within_64_bits() -> None:
    assert set(token_ids("a", 1000, vocab_size=7)) <= set(range(7))
    assert all(0 <= token_ids(str(number), 2**24)[-1] < 2**63 for number in range(1000))


def test_contents_of_different_names_have_no_token_in_common() -> None:
    ids = [token_id for number in range(100) for token_id in token_ids(str(number), 100)]
    assert len(set(ids)) == len(ids)


def test_content_without_a_name_belongs_to_its_owner() -> None:
    spans = (Span(4, "tools"), Span(3))
    one, same, other = (prompt_ids(spans, owner) for owner in ("0/0", "0/0", "1/0"))
    assert one == same and one[:4] == other[:4]
    assert not set(one[4:]) & set(other[4:])


def test_two_spans_of_a_prompt_without_names_differ() -> None:
    ids = prompt_ids((Span(3), Span(3)), "0/0")
    assert len(set(ids)) == 6
