"""Questions that need the Calendar: weekdays, spans, dates before and after, today, leap years, lengths of months.

The call repeats dates and spans as typed (``weekday March 15, 2024``). The answer is the result alone. Whatever depends
on today's date has a random one in its result, so that the model can only read it there.
"""

import calendar
import random
from datetime import date, timedelta

from lamps_jax.embedded.questions.phrasing import Phrasings, Typed, type_question
from lamps_jax.embedded.questions.question import Call, Question, Split, belongs_to
from lamps_jax.tools.calendar import make_calendar

MAX_QUESTION_CHARS = 160

WORDINGS = {
    "weekday {date}": Phrasings(
        train=(
            "(What|Which) day of the week (is|was|will be) {date}?",
            "(What|Which) weekday (is|was|falls on) {date}?",
            "What day (is|was|will it be|was it) (on|) {date}?",
            "On (what|which) (day|weekday|day of the week) (does|did|will) {date} (fall|come)?",
            "On (what|which) (day|weekday|day of the week) (is|was) {date}?",
            "{date} (is|was|falls on|fell on) (what|which) (day|weekday|day of the week)?",
            "{date} - (what|which) (day|weekday|day of the week) (is|was) (it|that)?",
            "(Tell me|Give me|Find|Show me) the (weekday|day of the week) (of|for|on) {date}.",
            "(Can|Could) you tell me (what|which) (day|weekday|day of the week) {date} (is|was|falls on)?",
            "Do you know (what|which) (day|weekday|day of the week) {date} (is|was|falls on)?",
            "I (need|want|would like) to know (what|which) (weekday|day of the week) {date} (is|was|falls on).",
            "I was born on {date}. What (day|weekday|day of the week) was (that|it)?",
            "My (meeting|exam|appointment|flight) is on {date}. What (day|weekday|day of the week) is that?",
            "(Weekday|Day of the week|Day) (of|for|on) {date}?",
            "Is {date} a (Monday|Tuesday|Wednesday|Thursday|Friday|weekday) or (what|which day is it)?",
            "(What|Which) day does {date} (fall|land) on?",
            "We (married|moved|met|arrived) on {date}. (What|Which) day of the week was (it|that)?",
            "Look up (what|which) (day|weekday) {date} (is|was).",
            "Was {date} a (Saturday|Sunday|Monday|Friday) or some other day?",
            "(What|Which) (weekday|day of the week) did (you|people|they) have on {date}?",
            "(What|Which) day of the week (will|does) {date} (be|land on|fall on|come on)?",
            "Let me (know|hear|see) (the day of the week of|which day it is on|what day it was on) {date}.",
            "(Could|Can|Would) you (look up|say|work out) the (weekday|day of the week|day) (for|of) {date}?",
            (
                "(My|Our) (sister in law|brother|son|mother|friend|dog) was born on {date}. (Which day|What weekday|What "
                "day) was (it|that)?"
            ),
            (
                "The (show|concert|party|match|wedding|game|play) is on {date}. (What|Which) (weekday|day of the "
                "week|day) (is that|will it be)?"
            ),
            "(I was|She was|He was|They were) born on {date}, (which weekday|what day of the week) was (it|that)?",
            "{date}: (what|which) (day|weekday|day of the week) (is that|is it|was it)?",
            "{date}: (weekday|day of the week)?",
            "(Would|Might) you know (what|which) (day|weekday) {date} (is|was)?",
        ),
        held_out=(
            "Which day of the week did {date} land on?",
            "What weekday did we have on {date}?",
            "Let me know the weekday for {date}.",
            "My sister was born on {date}. Which weekday was that?",
            "Could you find the day of the week of {date}?",
            "The concert is on {date}. Which day of the week will that be?",
        ),
    ),
    "days from {date} to {end}": Phrasings(
        train=(
            "How many days (are there|are|lie|is it|passed) (between|from) {date} (and|to) {end}?",
            "(What is|Find|Calculate|Tell me) the number of days (between|from) {date} (and|to) {end}.",
            "How (long|many days) is it from {date} (to|until|till) {end}?",
            "(Count|Calculate|Work out|Compute) the days (between|from) {date} (and|to|until) {end}.",
            "(Days|Number of days) (between|from) {date} (and|to|until) {end}?",
            "What is the difference (in days|) between {date} and {end}?",
            "How far apart are {date} and {end} (in days|)?",
            "(Can|Could) you (count|tell me) (the|how many) days (from|between) {date} (to|and) {end}?",
            "From {date} (to|until|till) {end}, how many days is (that|it)?",
            "My (trip|holiday|visit|course) (starts|begins) on {date} and ends on {end}. How many days is (that|it)?",
            "How many days (did|do) I (have|wait|stay) from {date} (to|until) {end}?",
            "I (arrive|arrived) on {date} and (leave|left) on {end}. How many days is that?",
            "The project runs from {date} to {end}. How (long|many days) is that?",
            "{date} (to|until) {end}, how many days?",
            "How many days (apart|away from each other) are {date} and {end}?",
            "How many days (go by|elapse|come) (from|between) {date} (and|to) {end}?",
            "How many days (does|do) {date} and {end} (differ by|differ)?",
            "By how many days are {date} and {end} (separated|apart)?",
            "(What separates|What is the separation of|What is the time between) {date} and {end} in days?",
            "What is the (gap|length|span|time|interval) in days (between|from) {date} (and|to) {end}?",
            "(Show|Send|Name) me the (number of days|days|day count) (between|from) {date} (and|to) {end}.",
            (
                "The (trip|term|sale|show|school|work) (begins|starts|began) on {date} and (ends|stops|goes|lasts|"
                "runs) (until|on|to) {end}. How many days (is it|are that|is that)?"
            ),
            "The (course|lesson|camp) runs from {date} (until|till) {end}. How many days (is it|are that)?",
            "{date} and {end}: how many days (between|apart|lie between them|separate them|separate the two)?",
            "Which number of days separates {date} (and|from) {end}?",
            "Tell me how many days separate {date} (and|from) {end}.",
            "How many days is {end} (away|separated) from {date}?",
            "(Between|Separating) {date} and {end}, how many days (are there|lie|pass)?",
            "How many days must I wait from {date} (until|to) {end}?",
        ),
        held_out=(
            "How many days separate {date} and {end}?",
            "How many days pass between {date} and {end}?",
            "What is the distance in days from {date} to {end}?",
            "The course begins on {date} and runs until {end}. How many days are there?",
            "Give me the days between {date} and {end}.",
        ),
    ),
    "weeks from {date} to {end}": Phrasings(
        train=(
            "How many weeks (are there|are|is it|passed|lie) (between|from) {date} (and|to) {end}?",
            "(What is|Find|Calculate|Tell me) the number of weeks (between|from) {date} (and|to) {end}.",
            "(Count|Work out) the weeks (between|from) {date} (and|to|until) {end}.",
            "From {date} (to|until) {end}, how many weeks is (that|it)?",
            "What is the difference in weeks between {date} and {end}?",
            "How many weeks (apart|away from each other) are {date} and {end}?",
            "Tell me how many weeks separate {date} (and|from) {end}.",
            "How many weeks (pass|go by|come|elapse) (between|from) {date} (and|to) {end}?",
            "By how many weeks are {date} and {end} (separated|apart)?",
            "(Show|Name|Tell) me the (number of weeks|weeks) (between|from) {date} (and|to) {end}.",
            "{date} and {end}: how many weeks (between|apart|lie between them|separate them|separate the two)?",
        ),
        held_out=("How many weeks separate {date} and {end}?", "Give me the weeks between {date} and {end}."),
    ),
    "{date} + {span}": Phrasings(
        train=(
            "(What|Which) (date|day) (is|was|comes|falls|will it be) {span} (after|from) {date}?",
            "What is the date {span} (after|from) {date}?",
            "(Add|Can you add|Please add) {span} to {date}.",
            "(What|Which) (date|day) do (I|you|we) get (if|when) (I|you|we) add {span} to {date}?",
            "If (I|we) start on {date}, what (date|day) is it {span} later?",
            "{span} after {date} is (what|which) (date|day)?",
            "{date} plus {span} (is|gives|makes) what (date|day)?",
            "(Find|Tell me|Give me|Calculate) the (date|day) {span} (after|from) {date}.",
            "A (course|job|trip) starts on {date} and (lasts|takes) {span}. When does it end?",
            "I (ordered|bought|started) it on {date} and have {span}. When (is it over|does it end|is the deadline)?",
            "When is {span} (after|from) {date}?",
            "What is {date} plus {span}?",
            "Counting {span} from {date}, what (date|day) is it?",
            "The (contract|ticket|pass) is valid for {span} from {date}. When does it (end|expire)?",
            "(Starting|Beginning|Counting|Going) (on|from) {date}, (what|which) (day|date) is (it|) {span} (later|after|on)?",
            "(Which|What) (date|day) comes {span} (after|later than) {date}?",
            "What (will|would) (be the day|the date be|it be) {span} (from|after|later than) {date}?",
            (
                "My (passport|ticket|card|visa|lease|permit) (starts|begins|is valid) (on|from) {date} (and is good "
                "for|for|and lasts) {span}. When does it (end|expire|run out)?"
            ),
            "(Work|Figure) out the date {span} (after|from|later than) {date}.",
            "Work out what (day|date) it is {span} after {date}.",
            "{span} on from {date}, (what|which) (day|date) (is it|comes)?",
            (
                "(Going|Moving|Counting) {span} (forward|ahead|on) from {date}, (which|what) (date|day) (is it|do I "
                "reach|is that)?"
            ),
            "I go {span} (forward|ahead) from {date}. (Which|What) (date|day) is (it|that)?",
            "{date}: (which|what) (date|day) is {span} (later|after that|after)?",
        ),
        held_out=(
            "Starting on {date}, which date comes {span} later?",
            "What will be the date {span} after {date}?",
            "My visa starts on {date} and is valid for {span}. When does it end?",
            "Work out the day {span} after {date}.",
        ),
    ),
    "{date} - {span}": Phrasings(
        train=(
            "(What|Which) (date|day) (is|was|comes|falls) {span} before {date}?",
            "What (is|was) the date {span} before {date}?",
            "(Subtract|Take|Can you subtract|Please subtract) {span} from {date}.",
            "(What|Which) (date|day) do (I|you|we) get (if|when) (I|you|we) (take|subtract) {span} from {date}?",
            "{span} before {date} is (what|which) (date|day)?",
            "{date} minus {span} (is|gives|makes) what (date|day)?",
            "(Find|Tell me|Give me|Calculate) the (date|day) {span} before {date}.",
            "The (exam|party|deadline) is on {date}. I need {span} to prepare. When do I start?",
            "When (is|was) {span} before {date}?",
            "What is {date} minus {span}?",
            "Going back {span} from {date}, what (date|day) is it?",
            "If it ends on {date} and (lasted|took) {span}, when did it start?",
            (
                "(Going|Counting|Moving|Stepping) {span} (back|backwards|earlier) from {date}, (what|which) (day|"
                "date) (is it|is that|do I reach)?"
            ),
            "(Go|Count|Step|Move) (back|backwards) {span} from {date}, (which|what) date (is it|comes|do I get)?",
            "I go {span} back from {date}. (Which|What) (date|day) is (it|that)?",
            "{span} back from {date}, (what|which) (day|date) (is it|comes|was it)?",
            "What (would|will) (be the day|the date be|it be) {span} (before|earlier than) {date}?",
            (
                "The (test|trip|wedding|show|meeting|race) is on {date}. I (must|have to|need to) (pay|start|"
                "train|order) {span} (before|earlier). (Which|What) (day|date) is (that|it)?"
            ),
            "(Work|Figure) out the (day|date) {span} (before|earlier than) {date}.",
            "{date}: (which|what) (date|day) (is|was) {span} (earlier|before that|before)?",
            "(Which|What) (date|day) (was|comes|is) {span} earlier than {date}?",
        ),
        held_out=(
            "Going {span} back from {date}, which date comes?",
            "What would be the date {span} before {date}?",
            "The wedding is on {date}. I have to book {span} before. Which date is that?",
        ),
    ),
    "today": Phrasings(
        train=(
            "(What|Which) (day|date) is (it|) today?",
            "What is (today's date|the date today|the current date|the date)?",
            "What's (today's date|the date today|the date|today)?",
            "(Tell me|Give me|Show me) (today's date|the current date|the date|what day it is).",
            "(Can|Could) you tell me (today's date|what day it is|what day it is today|the date)?",
            "Do you know (today's date|what day it is|what day it is today|the date)?",
            "What (weekday|day of the week) is (it|) today?",
            "Today is (what|which) (day|date)?",
            "What day do we have today?",
            "(Today's date|Date today|Current date|Date of today)?",
            "I forgot (what day it is|today's date|the date).",
            "Is (it|today) a (Monday|Friday|Sunday|weekend) or what?",
            "(Which|What) (day|weekday) do (we|you) have (today|now)?",
            "(What|Which) date (do we have|is it) (now|right now)?",
            "Please (tell me|give me|say) (today's date|what day it is|the date of today).",
            "(Let me know|Say|Remind me) (what day it is|what the date is|what date it is|of today's date).",
            "Remind me (of the date|what the date is today|which day it is).",
            "What day is today, (please|tell me|can you say)?",
            "Do you know (the day|what date today is|which date it is)?",
        ),
        held_out=(
            "Which date do we have today?",
            "Please let me know today's date.",
            "What date is today, do you know?",
            "Remind me what day it is today.",
        ),
    ),
    "tomorrow": Phrasings(
        train=(
            "(What|Which) (day|date|weekday) is (it|) tomorrow?",
            "What (day|date) will (it be tomorrow|tomorrow be)?",
            "(What is|What's|Tell me) (tomorrow's date|the date tomorrow|the date of tomorrow).",
            "(What|Which) (day|weekday) do we have tomorrow?",
            "(Let me know|Say|Remind me) (what date it is tomorrow|of tomorrow's date|what tomorrow's date is).",
            "Which (day|date) will we have tomorrow?",
        ),
        held_out=("Which date do we have tomorrow?", "Remind me what day it is tomorrow."),
    ),
    "yesterday": Phrasings(
        train=(
            "(What|Which) (day|date|weekday) was (it|) yesterday?",
            "(What was|What's|Tell me) (yesterday's date|the date yesterday|the date of yesterday).",
            "(What|Which) (day|weekday) did we have yesterday?",
            "(Let me know|Say|Remind me) (what date it was yesterday|of yesterday's date|what yesterday's date was).",
            "What (day|date) did we have yesterday?",
        ),
        held_out=("Which date did we have yesterday?", "Remind me what day it was yesterday."),
    ),
    "today + {span}": Phrasings(
        train=(
            "(What|Which) (day|date) (is it|will it be) in {span}?",
            "What (is|will be) the date (in {span}|{span} from now|{span} from today)?",
            "In {span}, what (day|date) (is it|will it be)?",
            "(Tell me|Give me) the date {span} from (now|today).",
            "(What|Which) (day|date) is {span} from (now|today)?",
            "(What|Which) (day|weekday) do we have in {span}?",
            "(Which|What) (day|date) will we have (in {span}|{span} from now|{span} from today)?",
            "Today plus {span} (is|gives) (what|which) (day|date)?",
            "(Add|Please add) {span} to (today|today's date).",
            "What do I get for today plus {span}?",
            "(Which|What) (date|day) (comes|is) {span} after today?",
        ),
        held_out=("Which date do we have in {span}?", "What is today plus {span}?"),
    ),
    "today - {span}": Phrasings(
        train=(
            "(What|Which) (day|date) was (it|) {span} ago?",
            "What was the date {span} ago?",
            "{span} ago was (what|which) (day|date)?",
            "(Tell me|Give me) the date {span} ago.",
            "(What|Which) (day|weekday) did we have {span} ago?",
            "(Which|What) (day|date) (was|is) {span} before (today|now)?",
            "Today minus {span} (is|gives|was) (what|which) (day|date)?",
            "What (date|day) is today minus {span}?",
            "What do I get for today minus {span}?",
            "(Subtract|Take|Please subtract) {span} from (today|today's date).",
            "{span} back from today, (which|what) (day|date) was it?",
            "Going back {span} from today, what (day|date) (is it|was it)?",
        ),
        held_out=("Which date did we have {span} ago?", "What is today minus {span}?"),
    ),
    "days from today to {date}": Phrasings(
        train=(
            "How many days (are there|are left|are|is it|) (until|till|to) {date}?",
            "How (long|many days) (is it|do we have|do I have) (until|till|to) {date}?",
            "How many days (are there|is it) from today (to|until) {date}?",
            "How many days (have passed|is it|passed) since {date}?",
            "(Count|Tell me|Calculate) the days (until|till|since) {date}.",
            "(Days|Number of days) (until|till|since) {date}?",
            "How many days (must|do|should) (we|you) wait (until|till|for) {date}?",
            "How (long|many days) (must|do|should) I (still|) wait (till|for) {date}?",
            (
                "How many days (have gone|have gone by|went by|did pass|went past) (after|from|since) (the day of|"
                "the date of|) {date} (to|until|till) today?"
            ),
            "How many days (went by|went past|did go by|have elapsed|lie behind us) since {date}?",
            "How many days (away|off|ago) (is|was) {date}?",
            "(Give|Show) me the days (until|till|since) {date}.",
            "{date}: how many days (to go|are left|until then|is that from today)?",
        ),
        held_out=("How many days must I wait until {date}?", "How many days have gone by since {date}?"),
    ),
    "leap {year}": Phrasings(
        train=(
            "(Is|Was|Will) {year} (be|) a leap year?",
            "(Tell me|Check|Do you know) (if|whether) {year} (is|was|will be) a leap year.",
            "(Can|Could) you (check|tell me) (if|whether) {year} (is|was) a leap year?",
            "{year}: leap year or not?",
            "Does {year} have (a February 29|a leap day|366 days)?",
            "Is there a (leap day|February 29|29th of February) in {year}?",
            "Is the year {year} a leap year?",
            "(Would|Should|Does|Did|Will) {year} (count|be counted|go|rank) (as|like) a leap year(, yes or no|, tell me)?",
            "(Is|Was) {year} (one|among) the leap years or not?",
            "(Is|Was) {year} (counted as|known as|called|really) a leap year?",
            "Is {year} (in|on) the list of leap years?",
            "Did {year} (have|get) (a 29th of February|a February 29|366 days|an extra day)?",
            "(Does|Will) {year} have (a leap day|a 29th of February|an extra day)?",
            "I (wonder|want to know) (if|whether) {year} (is|was) a leap year.",
            "{year}, is (it|that) a leap year?",
        ),
        held_out=(
            "Would {year} count as a leap year?",
            "Is {year} one of the leap years?",
            "Did {year} have a leap day?",
        ),
    ),
    "days in {month} {year}": Phrasings(
        train=(
            "How many days (are there in|are in|does|did) {month} {year} (have|)?",
            "How (long|many days) (is|was|has) {month} {year}?",
            "(What is|Tell me|Find) the number of days in {month} {year}.",
            "{month} {year} has how many days?",
            "(Tell me|Do you know) how many days {month} {year} (has|had).",
            "How many days (will there be|would there be|will be|were there) in {month} {year}?",
            "How many days (had|has|must|can) {month} {year} (have|)?",
            "(Give|Show|Name) me (how many days|the days) {month} {year} (has|had).",
            "What number of days (does|did|will) {month} {year} have?",
            "{month} {year}: how many days?",
            "The number of days in {month} {year} (is what|, please)?",
        ),
        held_out=("How many days will {month} {year} have?", "Give me the number of days in {month} {year}."),
    ),
}

_WEIGHTS = (26, 17, 3, 15, 10, 7, 2, 2, 4, 2, 5, 6, 4)
_SPELLINGS = (
    (14, "{iso}"),
    (16, "{month} {day}, {year}"),
    (8, "{month} {day} {year}"),
    (9, "{day} {month} {year}"),
    (6, "{short} {day}, {year}"),
    (4, "{short} {day} {year}"),
    (4, "{day} {short} {year}"),
    (7, "{month} {ordinal}, {year}"),
    (3, "{month} {ordinal} {year}"),
    (5, "{ordinal} of {month} {year}"),
    (5, "the {ordinal} of {month} {year}"),
    (3, "the {ordinal} of {month}, {year}"),
    (3, "{ordinal} {month} {year}"),
    (10, "{month_number}/{day}/{year}"),
    (3, "{month_number:02}/{day:02}/{year}"),
    (2, "{day:02}.{month_number:02}.{year}"),
)
_YEARLESS_SPELLINGS = ("{month} {day}", "{month} {ordinal}", "{day} {month}", "the {ordinal} of {month}")
_SMALL_COUNTS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_LONGEST_SPAN = {"day": 400, "week": 60, "month": 30, "year": 50}


def generate(rng: random.Random, split: Split) -> Question:
    """A question of kind ``calendar`` whose wording and dates both belong to `split`."""
    pattern = rng.choices(tuple(WORDINGS), _WEIGHTS)[0]
    while True:
        today = _day(rng, split)
        start = _day(rng, split)
        if "today" in pattern:
            start = _near(rng, split, today)
        spelling = _spelling(rng)
        if "weekday" in pattern or "today" in pattern:
            spelling = _without_year(rng, split, start, spelling=spelling)
        values = {
            "date": _spelled(start, spelling),
            "end": _spelled(_near(rng, split, start), spelling if rng.random() < 0.6 else _spelling(rng)),
            "span": _span(rng, split),
            **_month_and_year(rng, split, pattern),
        }
        slots = {name: value for name, value in values.items() if f"{{{name}}}" in pattern}
        typed = type_question(rng, split, WORDINGS[pattern], **slots)
        if len(typed.text) <= MAX_QUESTION_CHARS:
            arguments = pattern.format(**typed.slots)
            return _answered(typed, arguments, today=today)


def _answered(typed: Typed, arguments: str, *, today: date) -> Question:
    tool = make_calendar(lambda: today)
    result = tool.function(query=arguments)
    return Question("calendar", typed.text, (Call(tool.name, arguments, result),), result)


def _day(rng: random.Random, split: Split) -> date:
    """A date of `split`, more often than not within some decades of the year 2000."""
    while True:
        year = rng.randint(1960, 2040) if rng.random() < 0.8 else rng.randint(1800, 2199)
        day = date(year, 1, 1) + timedelta(days=rng.randrange(365 + calendar.isleap(year)))
        if belongs_to(split, day.isoformat()):
            return day


def _near(rng: random.Random, split: Split, start: date) -> date:
    """A later date of `split`, most often within a year; now and then an earlier one."""
    while True:
        days = rng.randint(1, rng.choice((30, 100, 365, 1500)))
        day = start + timedelta(days=-days if rng.random() < 0.15 else days)
        if belongs_to(split, day.isoformat()):
            return day


def _spelling(rng: random.Random) -> str:
    return rng.choices([text for _, text in _SPELLINGS], [weight for weight, _ in _SPELLINGS])[0]


def _without_year(rng: random.Random, split: Split, day: date, *, spelling: str) -> str:
    """Now and then a spelling that leaves the year out, for a day that `split` owns in every year."""
    if rng.random() < 0.15 and f"{day:%m-%d}" != "02-29" and belongs_to(split, f"{day:%m-%d}"):
        return rng.choice(_YEARLESS_SPELLINGS)
    return spelling


def _spelled(day: date, spelling: str) -> str:
    return spelling.format(
        iso=day.isoformat(),
        year=day.year,
        day=day.day,
        ordinal=f"{day.day}{_ordinal_ending(day.day)}",
        month=calendar.month_name[day.month],
        short=calendar.month_abbr[day.month],
        month_number=day.month,
    )


def _ordinal_ending(number: int) -> str:
    return "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _span(rng: random.Random, split: Split) -> str:
    """A length of time such as ``10 days``, ``two weeks`` or ``a month``; those in digits belong to `split`."""
    while True:
        unit = rng.choices(("day", "week", "month", "year"), (55, 22, 13, 10))[0]
        style = rng.random()
        if style < 0.05:
            return f"a {unit}"
        if style < 0.15:
            return f"{rng.choice(_SMALL_COUNTS)} {unit}s"
        count = rng.randint(1, min(_LONGEST_SPAN[unit], rng.choice((12, 40, 100, 400))))
        if belongs_to(split, f"{count} {unit}"):
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _month_and_year(rng: random.Random, split: Split, pattern: str) -> dict[str, str]:
    while True:
        year = rng.randint(1960, 2060) if rng.random() < 0.6 else rng.randint(1600, 2400)
        if rng.random() < 0.4:
            year -= year % 4
        month = rng.choice((2, 2, 2, *range(1, 13)))
        if belongs_to(split, f"{year}-{month:02}" if "month" in pattern else str(year)):
            names = calendar.month_abbr if rng.random() < 0.15 else calendar.month_name
            return {"month": names[month], "year": str(year)}
