import pytest

from lamps_jax.tools.docstring import argument_descriptions, first_paragraph


@pytest.mark.parametrize(
    ("docstring", "paragraph"),
    [
        ("", ""),
        ("One line.", "One line."),
        ("Two\n    lines.\n\n    Another paragraph.", "Two lines."),
        ("\n    Begins below.\n    \n    More.", "Begins below."),
    ],
)
def test_the_first_paragraph_is_put_on_one_line(docstring: str, paragraph: str):
    assert first_paragraph(docstring) == paragraph


def test_each_argument_is_described_by_its_entry_and_the_lines_below():
    described = argument_descriptions(
        """Does it.

        Args:
            city: Where it is: a name,
                or a postcode.
            days (int, optional): How many.

            unit: celsius or kelvin

        Returns:
            days: not this
        """
    )
    assert described == {"city": "Where it is: a name, or a postcode.", "days": "How many.", "unit": "celsius or kelvin"}


@pytest.mark.parametrize("docstring", ["", "Args: none to speak of", "Text.\n\ncity: a name", "Args:\n    not an entry"])
def test_where_there_is_no_such_section_nothing_is_described(docstring: str):
    assert argument_descriptions(docstring) == {}
