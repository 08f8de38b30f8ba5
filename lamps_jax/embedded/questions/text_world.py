"""Requests to the text world: fetch a thing, find out whether it is somewhere, look into a room or a container.

The calls follow one policy that needs nothing but the text so far: go to the room, take the object if it lies there,
else open the containers one after another in the order seen until it turns up. A container that the request names is opened
without looking for it among those seen: if there is none, the world says so.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from lamps_jax.embedded.questions.invented_words import invented_word
from lamps_jax.embedded.questions.phrasing import Phrasings, type_question
from lamps_jax.embedded.questions.question import Call, Question, Split, belongs_to
from lamps_jax.embedded.questions.text_world_wordings import (
    CONTAINER_PLACES,
    CONTAINERS,
    FETCH,
    FETCH_FROM_CONTAINER,
    IS_IN,
    LOOK,
    OBJECT_ADJECTIVES,
    OBJECT_NOUNS,
    ROOM_PLACES,
    ROOMS,
)
from lamps_jax.tools.text_world import HOUSE, MAX_NAME_CHARS, Container, Layout, Room, TextWorld, with_article

KIND = "text world"

MAX_QUESTION_CHARS = 120
MAX_DIALOGUE_CHARS = 380

_USUAL_DIALOGUE_CHARS = 260
_SHARE_OF_LONGER_KEPT = 0.4

_TASKS = ("fetch", "is in", "look")
_TASK_WEIGHTS = (58, 30, 12)
_SHARE_ABSENT = {"fetch": 0.25, "is in": 0.45, "look": 0.0}
_SHARE_NAMING_A_CONTAINER = 0.35
_SHARE_NO_SUCH_ROOM = 0.03
_SHARE_NO_SUCH_CONTAINER = 0.06
_SHARE_OF_TRAINING_IN_THE_HOUSE = 0.25


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody wants: `task` is "fetch", "is in" or "look"; without `container`, anywhere in the room."""

    task: str
    room: str
    container: str | None
    object: str


def generate(rng: random.Random, split: Split) -> Question:
    """A request to a random house (training) or about held-out objects in the bundled house (held out)."""
    while True:
        layout = HOUSE if split == "held_out" else _training_layout(rng)
        request = _request(rng, split, layout)
        if request is None:
            continue
        question = Question(KIND, _wording(rng, split, request), *solve(layout, request))
        if any(re.search(r"\d (more|things)", call.result) for call in question.calls):
            continue
        length = dialogue_chars(question)
        if len(question.text) > MAX_QUESTION_CHARS or length > MAX_DIALOGUE_CHARS:
            continue
        if length <= _USUAL_DIALOGUE_CHARS or rng.random() < _SHARE_OF_LONGER_KEPT:
            return question


def generate_plain(rng: random.Random, split: Split) -> Question:
    """A request in the plainest words to a small random house: what is hard in it is only whether the object is there."""
    used: set[str] = set()
    while True:
        try:
            layout = Layout((_small_room(rng, used), _small_room(rng, used)))
            break
        except ValueError:  # a name twice, or names too long for one line
            used.clear()
    room, other = layout.rooms
    there = room.all_objects
    wanted = rng.choice(there if rng.random() < 0.5 else [name for name in other.all_objects if name not in there])
    task = rng.choice(("fetch", "is in"))
    text = f"Get the {wanted} from the {room.name}." if task == "fetch" else f"Is the {wanted} in the {room.name}?"
    return Question(KIND, text, *solve(layout, Request(task, room.name, None, wanted)))


def generate_with_container(rng: random.Random, split: Split) -> Question:
    """A request that names a container, which the room lacks in half of the cases."""
    lacking = rng.random() < 0.5
    while True:
        layout = _training_layout(rng)
        mine = sorted(name for name in layout.objects if belongs_to("train", name))
        task, room = rng.choice(_TASKS), rng.choice(layout.rooms)
        names = [container.name for container in room.containers]
        if not mine or not (lacking or names):
            continue
        wanted = rng.choice(mine)
        container = _other_than(rng, _container_name, names) if lacking else rng.choice(names)
        request = Request(task, room.name, container, wanted)
        question = Question(KIND, _wording(rng, split, request), *solve(layout, request))
        if len(question.text) <= MAX_QUESTION_CHARS and dialogue_chars(question) <= _USUAL_DIALOGUE_CHARS:
            return question


def dialogue_chars(question: Question) -> int:
    """Characters of the whole dialogue: question, calls with results, answer and the marks around them."""
    calls = "".join(f" [{call.tool}({call.arguments}) -> {call.result}]" for call in question.calls)
    return len(f"Q: {question.text}\nA:{calls} {question.answer}")


def solve(layout: Layout, request: Request) -> tuple[tuple[Call, ...], str]:
    """The calls that serve `request` in a fresh world, and the answer; decisions rest on the results alone."""
    world = TextWorld(layout)
    calls: list[Call] = []

    def do(command: str) -> str:
        calls.append(Call("World", command, world.do(command)))
        return calls[-1].result

    answer = _serve(request, do)
    return tuple(calls), answer


def _serve(request: Request, do: Callable[[str], str]) -> str:
    seen = do(f"go {request.room}")
    if seen.startswith("There is no "):
        return seen
    if request.task == "look" and request.container is None:
        return seen.replace("You see", "I see")
    if request.container is None and request.object in _lying_seen(seen):
        return _serve_found(request, request.room, do)
    for container in [request.container] if request.container else _containers_seen(seen):
        opened = do(f"open {container}")
        if opened.startswith("There is no "):
            return f"There is no {container} in the {request.room}."
        if request.task == "look":
            return opened
        if request.object in _contents_seen(opened):
            return _serve_found(request, container, do)
    no = "No, the" if request.task == "is in" else "The"
    return f"{no} {request.object} is not in the {request.container or request.room}."


def _serve_found(request: Request, place: str, do: Callable[[str], str]) -> str:
    if request.task == "is in":
        return f"Yes, the {request.object} is in the {place}."
    do(f"take {request.object}")
    return f"I have the {request.object}."


def _containers_seen(description: str) -> list[str]:
    return _names_in(re.search(r"You see (an? [^.]*)\.", description))


def _lying_seen(description: str) -> list[str]:
    return _names_in(re.search(r"(?:^|\. )(An? [^.]*) lies? here\.", description))


def _contents_seen(description: str) -> list[str]:
    return _names_in(re.search(r"In the .*? (?:is|are) (an? [^.]*)\.", description))


def _names_in(listed: re.Match[str] | None) -> list[str]:
    return [re.sub("^[Aa]n? ", "", part) for part in re.split(", | and ", listed[1])] if listed else []


def _request(rng: random.Random, split: Split, layout: Layout) -> Request | None:
    """A request of random kind, or None where `layout` has nothing of that kind."""
    (task,) = rng.choices(_TASKS, _TASK_WEIGHTS)
    named = rng.random() < _SHARE_NAMING_A_CONTAINER
    mine = {name for name in layout.objects if belongs_to(split, name)}
    if not mine:
        return None
    wanted = rng.choice(sorted(mine))
    places: list[tuple[str, str | None, tuple[str, ...]]]  # room, container, what is there
    if named:
        places = [(room.name, container.name, container.objects) for room in layout.rooms for container in room.containers]
    else:
        places = [(room.name, None, room.objects if task == "look" else room.all_objects) for room in layout.rooms]
    odd = rng.random()
    if odd < _SHARE_NO_SUCH_ROOM:
        container = _container_name(rng) if named else None
        places = [(_other_than(rng, _room_name, [room.name for room in layout.rooms]), container, ())]
    elif odd < _SHARE_NO_SUCH_ROOM + _SHARE_NO_SUCH_CONTAINER and named:
        room = rng.choice(layout.rooms)
        places = [(room.name, _other_than(rng, _container_name, [container.name for container in room.containers]), ())]
    elif task == "look":
        places = [place for place in places if split == "train" or mine.intersection(place[2])]
    else:
        absent = rng.random() < _SHARE_ABSENT[task]
        places = [place for place in places if (wanted in place[2]) != absent]
    if not places:
        return None
    room_name, container_name, _ = rng.choice(places)
    return Request(task, room_name, container_name, wanted)


def _at(phrasings: Phrasings, places: Phrasings) -> Phrasings:
    return Phrasings(
        train=tuple(text.replace("{place}", place) for text in phrasings.train for place in places.train),
        held_out=tuple(text.replace("{place}", place) for text in phrasings.held_out for place in places.held_out),
    )


_IN_ROOM = {task: _at(phrasings, ROOM_PLACES) for task, phrasings in zip(_TASKS, (FETCH, IS_IN, LOOK), strict=True)}
_IN_CONTAINER = {task: _at(phrasings, CONTAINER_PLACES) for task, phrasings in zip(_TASKS, (FETCH, IS_IN, LOOK), strict=True)}


def _wording(rng: random.Random, split: Split, request: Request) -> str:
    slots = {"object": request.object, "an_object": with_article(request.object), "room": request.room}
    if request.container is None:
        return type_question(rng, split, _IN_ROOM[request.task], **slots).text
    phrasings = _IN_CONTAINER[request.task]
    if request.task == "fetch" and rng.random() < 0.25:
        phrasings = FETCH_FROM_CONTAINER
    return type_question(rng, split, phrasings, container=request.container, **slots).text


def _training_layout(rng: random.Random) -> Layout:
    """Two random rooms, or the bundled house with other objects in the places of the held-out ones."""
    used: set[str] = set()
    if rng.random() < _SHARE_OF_TRAINING_IN_THE_HOUSE:
        used.update(HOUSE.objects)

        def ours(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name if belongs_to("train", name) else _new_object(rng, used) for name in names)

        return Layout(
            tuple(
                Room(room.name, tuple(Container(c.name, ours(c.objects)) for c in room.containers), ours(room.objects))
                for room in HOUSE.rooms
            )
        )
    while True:
        try:
            rooms = (_random_room(rng, used), _random_room(rng, used))
            return Layout(rooms)
        except ValueError:  # a name twice, or names too long for one line
            used.clear()


def _random_room(rng: random.Random, used: set[str]) -> Room:
    (container_count,) = rng.choices((0, 1, 2), (12, 28, 60))
    containers = []
    for _ in range(container_count):
        (object_count,) = rng.choices((0, 1, 2, 3, 4), (14, 20, 20, 23, 23))
        containers.append(Container(_container_name(rng), tuple(_new_object(rng, used) for _ in range(object_count))))
    (lying_count,) = rng.choices((0, 1, 2), (30, 58, 12))
    return Room(_room_name(rng), tuple(containers), tuple(_new_object(rng, used) for _ in range(lying_count)))


def _small_room(rng: random.Random, used: set[str]) -> Room:
    counts = rng.choices((0, 1, 2), (35, 45, 20))[0]
    containers = (
        Container(_container_name(rng), tuple(_new_object(rng, used) for _ in range(rng.randint(1, 3)))) for _ in range(counts)
    )
    return Room(_room_name(rng), tuple(containers), (_new_object(rng, used),))


def _new_object(rng: random.Random, used: set[str]) -> str:
    """A name for an object of the training split; often one that shares a word with an object already in `used`."""
    while True:
        adjective = rng.choice(OBJECT_ADJECTIVES) if rng.random() < 0.85 else invented_word(rng)
        noun = rng.choice(OBJECT_NOUNS) if rng.random() < 0.7 else invented_word(rng)
        if used and rng.random() < 0.3:
            noun = rng.choice(sorted(used)).split()[-1]
        name = f"{adjective} {noun}" if rng.random() < 0.5 else noun
        if len(name) <= MAX_NAME_CHARS and name not in used and belongs_to("train", name):
            used.add(name)
            return name


def _room_name(rng: random.Random) -> str:
    if rng.random() < 0.8:
        return rng.choice(ROOMS)
    return rng.choice((f"{rng.choice(OBJECT_ADJECTIVES)} room", invented_word(rng)))


def _container_name(rng: random.Random) -> str:
    if rng.random() < 0.8:
        return rng.choice(CONTAINERS)
    return rng.choice((f"{rng.choice(OBJECT_ADJECTIVES)} {rng.choice(('box', 'chest', 'case'))}", invented_word(rng)))


def _other_than(rng: random.Random, draw: Callable[[random.Random], str], names: list[str]) -> str:
    while (name := draw(rng)) in names:
        pass
    return name
