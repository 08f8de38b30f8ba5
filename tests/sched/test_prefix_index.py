"""A digest stands for a block's tokens and everything before them."""

from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.sched.prefix_index import block_digest, root_digest

texts = st.lists(st.lists(st.integers(0, 2**31), min_size=2, max_size=2), min_size=1, max_size=4)


def chain(salt: str, text: list[list[int]]) -> bytes:
    digest = root_digest(salt)
    for block in text:
        digest = block_digest(digest, block)
    return digest


@given(texts, texts, st.sampled_from(["", "a", "b"]), st.sampled_from(["", "a", "b"]))
def test_digests_are_equal_just_for_the_same_text_of_the_same_tenant(first, second, salt, other_salt):
    assert (chain(salt, first) == chain(other_salt, second)) == (first == second and salt == other_salt)


def test_a_digest_is_the_same_in_every_process():
    assert chain("tenant", [[1, 2], [3, 4]]).hex() == "5e05ba30d8abdffe5bafdba07566d253"
