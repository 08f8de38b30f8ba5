import calendar
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.tools.calendar import CALENDAR, make_calendar
from lamps_jax.tools.tool import ToolError

TODAY = date(2024, 3, 15)
ask = make_calendar(lambda: TODAY).function
dates = st.dates(date(1000, 1, 1), date(2999, 12, 31))


@pytest.mark.parametrize(
    "spelling",
    [
        "2024-03-15",
        "March 15, 2024",
        "march 15 2024",
        "MARCH 15TH, 2024",
        "15 March 2024",
        "15th of March 2024",
        "the 15th of March, 2024",
        "Mar 15 2024",
        "Mar. 15, 2024",
        "15 mar 2024",
        "3/15/2024",
        "03/15/2024",
        "15.03.2024",
        "2024/3/15",
        "Friday, March 15, 2024",
        "March 15",
        "the 15th of March this year",
        "today",
    ],
)
def test_every_spelling_names_the_same_day(spelling: str) -> None:
    assert ask(query=f"weekday {spelling}") == "Friday"
    assert ask(query=f"{spelling} + 10 days") == "2024-03-25, a Monday"
    assert ask(query=f"days from {spelling} to 2024-03-16") == "1 day"
    assert ask(query=f"days from 2024-03-10 to {spelling}") == "5 days"
    assert ask(query=spelling) == "2024-03-15, a Friday"


@given(dates)
def test_weekdays_are_those_of_datetime(day: date) -> None:
    assert ask(query=f"weekday {day.isoformat()}") == f"{day:%A}"
    assert ask(query=f"Weekday {day:%B} {day.day}, {day.year}?") == f"{day:%A}"


@given(dates, dates)
def test_a_difference_counts_days_in_either_order(start: date, end: date) -> None:
    days = abs((end - start).days)
    expected = "1 day" if days == 1 else f"{days} days"
    assert ask(query=f"days from {start} to {end}") == expected
    assert ask(query=f"days between {end} and {start}") == expected


@given(dates, st.integers(0, 9999))
def test_days_and_weeks_are_added_and_subtracted(start: date, count: int) -> None:
    for days, unit in ((1, "days"), (7, "weeks")):
        later, earlier = start + timedelta(days * count), None
        assert ask(query=f"{start} + {count} {unit}") == f"{later}, a {later:%A}"
        if days * count < (start - date.min).days:
            earlier = start - timedelta(days * count)
            assert ask(query=f"{start} - {count} {unit}") == f"{earlier}, a {earlier:%A}"


@given(dates, st.integers(0, 500))
def test_months_keep_the_day_or_take_the_last_of_the_month(start: date, count: int) -> None:
    year, month = start.year, start.month
    for _ in range(count):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    expected = date(year, month, min(start.day, calendar.monthrange(year, month)[1]))
    assert ask(query=f"{start} + {count} months") == f"{expected}, a {expected:%A}"


@given(st.integers(1, 9999))
def test_a_year_is_leap_when_it_has_a_29th_of_february(year: int) -> None:
    try:
        date(year, 2, 29)
        expected = "yes"
    except ValueError:
        expected = "no"
    assert ask(query=f"leap {year}") == expected


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("today", "2024-03-15, a Friday"),
        ("Tomorrow", "2024-03-16, a Saturday"),
        ("yesterday", "2024-03-14, a Thursday"),
        ("today - 3 weeks", "2024-02-23, a Friday"),
        ("10 days after March 15, 2024", "2024-03-25, a Monday"),
        ("two weeks before today", "2024-03-01, a Friday"),
        ("a week from now", "2024-03-22, a Friday"),
        ("2024-02-29 + 1 year", "2025-02-28, a Friday"),
        ("2024-01-31 plus a month", "2024-02-29, a Thursday"),
        ("2024-01-31 - 11 months", "2023-02-28, a Tuesday"),
        ("days until 1 April 2024", "17 days"),
        ("weeks from 2024-01-01 to 2024-01-20", "2 weeks and 5 days"),
        ("weeks from 2024-01-01 to 2024-01-08", "1 week"),
        ("days in February 2023", "28 days"),
        ("days in Sept 2023", "30 days"),
        ("days in 2024", "366 days"),
        ("leap 1900", "no"),
    ],
)
def test_queries_are_answered(query: str, answer: str) -> None:
    assert ask(query=query) == answer


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("weekday February 30, 2023", "no such date: February 30, 2023"),
        ("weekday 13/13/2024", "no such date: 13/13/2024"),
        ("weekday Marble 3, 2024", "no such month: marble"),
        ("days in foo 2024", "no such month: foo"),
        ("weekday soon", "cannot read the date 'soon'"),
        ("9999-12-31 + 1 day", "outside the years"),
        ("2024-03-15 - 999999 years", "outside the years"),
        ("", "cannot read the date"),
        ("today" * 40, "query too long"),
    ],
)
def test_errors_name_what_is_wrong(query: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        ask(query=query)


@given(st.text(alphabet="0123456789-/+., adeforkmnostuwyMarch", max_size=60))
def test_any_text_gives_a_short_result_or_a_short_error(query: str) -> None:
    try:
        assert len(ask(query=query)) <= 60
    except ToolError as error:
        assert len(str(error)) <= 120


def test_today_is_asked_at_every_call() -> None:
    days = iter((date(2024, 1, 1), date(2024, 1, 2)))
    tool = make_calendar(lambda: next(days))
    assert tool.function(query="today") == "2024-01-01, a Monday"
    assert tool.function(query="today") == "2024-01-02, a Tuesday"


def test_the_tool_takes_one_query() -> None:
    assert CALENDAR.parameter_names == ("query",)
    assert CALENDAR.function(query="leap 2000") == "yes"
