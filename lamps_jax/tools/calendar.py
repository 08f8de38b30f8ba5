"""The Calendar tool: weekdays, spans between dates, and dates some time before or after another."""

import calendar
import re
from collections.abc import Callable
from datetime import date, timedelta

from lamps_jax.tools.tool import Tool, ToolError, one_string

MAX_QUERY_CHARS = 120
_MONTHS = tuple(name.lower() for name in calendar.month_name)
_COUNT_WORDS = "zero one two three four five six seven eight nine ten eleven twelve"
_RELATIVE_DAYS = {"today": 0, "now": 0, "tomorrow": 1, "yesterday": -1}

_MONTH = r"(?P<month>[a-z]{3,9})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"
_DATE_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"{_YEAR}[-/.](?P<month>\d{{1,2}})[-/.](?P<day>\d{{1,2}})",
        rf"(?P<month>\d{{1,2}})[-/](?P<day>\d{{1,2}})[-/]{_YEAR}",
        rf"(?P<day>\d{{1,2}})\.(?P<month>\d{{1,2}})\.{_YEAR}",
        rf"{_MONTH} (?:the )?{_DAY}(?:,? (?:of )?{_YEAR})?",
        rf"{_DAY} (?:of )?{_MONTH}(?:,? (?:of )?{_YEAR})?",
    )
)
_SPAN = r"(?P<count>\d{1,6}|[a-z]+) (?P<unit>day|week|month|year)s?"
_MOVES = (
    re.compile(rf"(?P<date>.+?) ?(?P<sign>[-+]|plus|minus) ?{_SPAN}"),
    re.compile(rf"{_SPAN} (?P<sign>after|from|before) (?P<date>.+)"),
)


def make_calendar(today: Callable[[], date] = date.today) -> Tool:
    """The Calendar tool, with `today` asked anew at every call."""

    def answer(query: str) -> str:
        return _answer(query, today())

    return Tool(
        name="Calendar",
        description="Reads today, weekday DATE, days from DATE to DATE, DATE + 10 days, leap YEAR, days in MONTH YEAR.",
        parameters=one_string("query", "One of the forms above; dates such as 2024-03-15 or March 15, 2024"),
        function=answer,
        timeout_s=2.0,
        max_result_chars=80,
    )


def _answer(query: str, today: date) -> str:
    text = " ".join(query.lower().split()).rstrip("?!. ")
    if len(text) > MAX_QUERY_CHARS:
        raise ToolError(f"query too long: {len(text)} characters, at most {MAX_QUERY_CHARS}")
    if match := re.fullmatch(r"(?:leap|leap year) (\d{1,4})", text):
        return "yes" if calendar.isleap(int(match.group(1))) else "no"
    if match := re.fullmatch(r"days in (?:([a-z]+)\.?,? (?:of )?)?(\d{4})", text):
        return _length(match.group(1), int(match.group(2)))
    if match := re.fullmatch(r"weekday (?:of |on )?(.+)", text):
        return f"{_read_date(match.group(1), today):%A}"
    if match := re.fullmatch(r"(day|week)s (?:from|between|since|until|to) (.+)", text):
        return _distance(match.group(1), match.group(2), today)
    for form in _MOVES:
        match = form.fullmatch(text)
        if match and (count := _count(match.group("count"))) is not None:
            back = match.group("sign") in ("-", "minus", "before")
            moved = _moved(_read_date(match.group("date"), today), -count if back else count, unit=match.group("unit"))
            return _written(moved)
    return _written(_read_date(text, today))


def _length(month_name: str | None, year: int) -> str:
    if year == 0:
        raise ToolError("no such year: 0")
    if month_name is None:
        return "366 days" if calendar.isleap(year) else "365 days"
    return f"{calendar.monthrange(year, _month_number(month_name))[1]} days"


def _distance(unit: str, ends: str, today: date) -> str:
    """How far apart two dates are, never negative, so that the order in which they are named does not matter."""
    parts = re.split(r" (?:to|and|until|till) ", ends)
    if len(parts) > 2:
        raise ToolError("a span needs two dates: days from DATE to DATE")
    start, end = _read_date(parts[0], today), _read_date(parts[1], today) if len(parts) == 2 else today
    days = abs((end - start).days)
    if unit == "day":
        return _counted(days, "day")
    weeks, rest = divmod(days, 7)
    return f"{_counted(weeks, 'week')} and {_counted(rest, 'day')}" if rest else _counted(weeks, "week")


def _moved(start: date, count: int, *, unit: str) -> date:
    """`start` moved by `count` units; a month or year that lacks the day gives the last day of its month."""
    try:
        if unit in ("day", "week"):
            return start + timedelta(days=count * (7 if unit == "week" else 1))
        months = start.year * 12 + start.month - 1 + count * (12 if unit == "year" else 1)
        year, month = months // 12, months % 12 + 1
        return date(year, month, min(start.day, calendar.monthrange(year, month)[1]))
    except (ValueError, OverflowError):
        raise ToolError("that date is outside the years 1 to 9999") from None


def _read_date(text: str, today: date) -> date:
    """The date that `text` names; one without a year is in the year of `today`."""
    plain = text.strip(" ,").removeprefix("the ")
    if plain in _RELATIVE_DAYS:
        return _moved(today, _RELATIVE_DAYS[plain], unit="day")
    plain = re.sub(r"(?:,? this year)$", "", plain)
    plain = re.sub(r"^(?:mon|tues|wednes|thurs|fri|satur|sun)day,? (?:the )?", "", plain)
    for form in _DATE_FORMS:
        if match := form.fullmatch(plain):
            month = match.group("month")
            year = int(match.group("year") or today.year)
            try:
                return date(year, int(month) if month.isdigit() else _month_number(month), int(match.group("day")))
            except ValueError:
                raise ToolError(f"no such date: {_capitalised(text)}") from None
    raise ToolError(f"cannot read the date {text[:40]!r}; write 2024-03-15 or March 15, 2024")


def _month_number(name: str) -> int:
    matches = [number for number, month in enumerate(_MONTHS) if number and month.startswith(name)]
    if name == "sept":
        return 9
    if len(name) < 3 or len(matches) != 1:
        raise ToolError(f"no such month: {name}")
    return matches[0]


def _count(text: str) -> int | None:
    if text.isdigit():
        return int(text)
    if text in ("a", "an"):
        return 1
    words = _COUNT_WORDS.split()
    return words.index(text) if text in words else None


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _written(day: date) -> str:
    return f"{day.isoformat()}, a {day:%A}"


def _capitalised(text: str) -> str:
    return re.sub(r"\b[a-z]{3,}", lambda word: word.group().capitalize(), text)


CALENDAR = make_calendar()
