from collections import Counter

from lamps_jax.tools.encyclopedia import FACTS, articles, write_article


def test_there_are_at_least_three_hundred_and_twenty_articles_of_every_kind_some():
    assert len(articles()) >= 320
    assert min(Counter(article.kind for article in articles())[kind] for kind in FACTS) >= 20


def test_titles_are_unique_whatever_their_capitals():
    assert len({article.title.lower() for article in articles()}) == len(articles())


def test_every_fact_and_the_title_stand_in_the_text():
    for article in articles():
        assert tuple(article.facts) == FACTS[article.kind]
        for value in article.facts.values():
            assert value and value.lower() in article.text.lower(), article
        assert article.title.lower() in article.text.lower(), article


def test_every_fact_but_the_pronoun_stands_in_the_text_with_the_same_capitals():
    for article in articles():
        assert all(value in article.text for name, value in article.facts.items() if name != "pronoun"), article


def test_texts_are_short_sentences_of_plain_ascii_that_cannot_be_taken_for_a_call():
    for article in articles():
        assert 55 <= len(article.text) <= 150, article
        assert article.text.isascii() and article.text.isprintable()
        assert article.text[0].isupper() or article.text[0].isdigit()
        assert article.text.endswith(".")
        assert not {"[", "]", "\t"} & set(article.text) and "->" not in article.text
        assert not {"[", "]", ")", "("} & set(article.title)


def test_years_are_in_order_and_in_the_past():
    for article in articles():
        years = [int(article.facts[name]) for name in ("born", "died", "year") if name in article.facts]
        assert years == sorted(years)
        assert all(1000 <= year <= 2025 for year in years), article


def test_articles_of_a_kind_are_written_in_several_ways():
    for kind in FACTS:
        starts = {article.text.replace(article.title, "").split()[0] for article in articles() if article.kind == kind}
        assert len(starts) >= 2, kind


def test_the_same_facts_give_the_same_article():
    for article in articles()[::10]:
        assert write_article(article.kind, article.title, article.facts) == article
