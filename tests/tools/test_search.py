import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamps_jax.tools.encyclopedia import Article, articles
from lamps_jax.tools.search import NOTHING_FOUND, SEARCH, make_search
from lamps_jax.tools.tool import ToolError
from tests.properties import examples

TEXTS = {article.text for article in articles()}


@pytest.mark.parametrize("typed", ["{}", "{}?", '"{}"', "'{}' ", "the {}", " {}\n", "{}!?."])
def test_every_title_finds_its_own_article(typed):
    for article in articles():
        for title in (article.title, article.title.lower(), article.title.upper()):
            assert SEARCH.function(query=typed.format(title)) == article.text


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("who wrote Pride and Prejudice", "Pride and Prejudice"),
        ("Marie Curie Nobel", "Marie Curie"),
        ("Émile Zola", "Emile Zola"),
        ("capital of Peru", "Peru"),
        ("Jane Eyre author", "Jane Eyre"),
        ("moby dick", "Moby-Dick"),
        ("Uncle Toms Cabin", "Uncle Tom's Cabin"),
    ],
)
def test_more_or_other_words_than_the_title_find_the_article(query, title):
    (expected,) = [article.text for article in articles() if article.title == title]
    assert SEARCH.function(query=query) == expected


@pytest.mark.parametrize("query", ["Zorbulax of the North", "qqqq", "the", "?!", "Jane Doe", '"', "* OR NEAR(", "東京"])
def test_what_is_not_in_the_encyclopedia_is_not_found(query):
    assert SEARCH.function(query=query) == NOTHING_FOUND


@pytest.mark.parametrize("query", ["", "   ", "\n"])
def test_an_empty_query_is_an_error_that_the_model_can_read(query):
    with pytest.raises(ToolError, match="empty query"):
        SEARCH.function(query=query)


@settings(max_examples=examples(150), deadline=None)
@given(st.text(min_size=1) | st.text(alphabet="\"'*():^-+ANDORNEAT{}\\;%\0 ", min_size=1))
def test_any_text_gives_an_article_or_nothing(query):
    if query.strip():
        assert SEARCH.function(query=query) in TEXTS | {NOTHING_FOUND}


def test_a_very_long_query_is_answered():
    assert SEARCH.function(query=" ".join(f"word{number}" for number in range(20_000))) == NOTHING_FOUND


def test_the_first_calls_may_come_from_many_threads_at_once():
    search = make_search()
    some = articles()[::3]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda article: search.function(query=article.title), some)) == [article.text for article in some]


def test_a_title_counts_for_more_than_the_text():
    about = Article("Silver mine", "A hole in the ground where people dig for a metal.", "place", {})
    mentions = Article("Town", "The silver mine is near the silver mine of silver.", "place", {})
    assert make_search(lambda: (mentions, about)).function(query="silver mine old") == about.text


def test_importing_the_module_reads_no_articles():
    code = "import lamps_jax.tools.search, lamps_jax.tools.encyclopedia as e; assert e.articles.cache_info().currsize == 0"
    subprocess.run([sys.executable, "-c", code], check=True)
