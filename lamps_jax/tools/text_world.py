"""A small text world: rooms to walk through, containers to open, objects to take and drop, one short line at a time."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lamps_jax.tools.tool import Tool, ToolError, one_string

MAX_RESULT_CHARS = 110
"""No command is answered with more characters than this; longer lists say how many things they leave out."""

MAX_NAME_CHARS = 16
"""Longest name of a room, a container or an object."""

_MAX_CONTAINER_LIST_CHARS = 40  # leaves room in a line for the room's name and for what lies there
_MAX_ECHO_CHARS = 30

_ARTICLE = r"(?:(?:the|a|an|my) )?"
_COMMANDS = tuple(
    (verb, re.compile(pattern))
    for verb, pattern in (
        ("look", r"(?:look|l|look around|where am i)"),
        ("inventory", r"(?:inventory|i|inv|what do i have)"),
        ("go", rf"(?:go|walk|move|run|enter)(?: back)?(?: (?:to|into|in))? {_ARTICLE}(?P<name>.+)"),
        ("open", rf"(?:open|look in|look into|search) {_ARTICLE}(?P<name>.+)"),
        ("take", rf"(?:take|get|grab|pick up|fetch) {_ARTICLE}(?P<name>.+)"),
        ("drop", rf"(?:drop|put down|leave) {_ARTICLE}(?P<name>.+)"),
    )
)


@dataclass(frozen=True, slots=True)
class Container:
    """Something in a room that can be opened, and the objects in it at the start."""

    name: str
    objects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """A room, its containers and the objects that lie openly in it at the start."""

    name: str
    containers: tuple[Container, ...] = ()
    objects: tuple[str, ...] = ()

    @property
    def all_objects(self) -> tuple[str, ...]:
        """The objects that lie openly, then those in containers."""
        return self.objects + tuple(name for container in self.containers for name in container.objects)


@dataclass(frozen=True, slots=True)
class Layout:
    """Rooms, each reachable from each other; the player starts in the first. Names are lower case.

    Raises:
        ValueError: If there is no room; if a name stands twice (room or object in the layout, container in its room);
            if a name or a room's list of containers is too long for one line.
    """

    rooms: tuple[Room, ...]

    def __post_init__(self) -> None:
        if not self.rooms:
            raise ValueError("a layout needs at least one room, got none")
        _check_distinct("room", [room.name for room in self.rooms])
        _check_distinct("object", self.objects)
        for room in self.rooms:
            containers = [container.name for container in room.containers]
            _check_distinct(f"container in the {room.name}", containers)
            _check_lengths([room.name, *containers, *room.all_objects])
            if len(_listed(containers)) > _MAX_CONTAINER_LIST_CHARS:
                raise ValueError(
                    f"the containers of a room must fit in {_MAX_CONTAINER_LIST_CHARS} characters, "
                    f"got {_listed(containers)!r} in the {room.name}; use fewer or shorter names"
                )

    @property
    def objects(self) -> tuple[str, ...]:
        """Every object, room by room."""
        return tuple(name for room in self.rooms for name in room.all_objects)


class TextWorld:
    """The state of one game: where the player is, what has been opened, where each object is.

    An object is in exactly one place: the player's hands, a room's floor, or a container.
    """

    def __init__(self, layout: Layout) -> None:
        """Sets everything as `layout` has it, with the player in its first room."""
        self.room = layout.rooms[0].name
        self.held: list[str] = []
        self.opened: set[tuple[str, str]] = set()
        self.lying = {room.name: list(room.objects) for room in layout.rooms}
        self.contents = {
            (room.name, container.name): list(container.objects) for room in layout.rooms for container in room.containers
        }
        self._acts: dict[str, Callable[[str], str]] = {
            "go": self._go,
            "open": self._open,
            "take": self._take,
            "drop": self._drop,
        }

    def do(self, command: str) -> str:
        """What happens on `command`, in one line of at most `MAX_RESULT_CHARS` characters.

        Raises:
            ToolError: If the command is none that the world knows.
        """
        words = " ".join(re.sub(r"[^\w' -]", " ", command.lower()).split())
        for verb, pattern in _COMMANDS:
            if match := pattern.fullmatch(words):
                if verb == "look":
                    return self._describe(f"You are in the {self.room}. ")
                if verb == "inventory":
                    return _fill("You have ", self.held, ".") if self.held else "You have nothing."
                return self._acts[verb](match["name"])
        raise ToolError(f"I do not know the command '{_echo(words)}'; use look, go, open, take, drop or inventory.")

    def _go(self, name: str) -> str:
        if name not in self.lying:
            return f"There is no {_echo(name)} here."
        self.room = name
        return self._describe()

    def _open(self, name: str) -> str:
        place = (self.room, name)
        if place not in self.contents:
            return f"There is no {_echo(name)} to open here."
        self.opened.add(place)
        objects = self.contents[place]
        if not objects:
            return f"The {name} is empty."
        return _fill(f"In the {name} {'is' if len(objects) == 1 else 'are'} ", objects, ".")

    def _take(self, name: str) -> str:
        if name in self.held:
            return f"You have the {name} already."
        for objects in self._within_reach():
            if name in objects:
                objects.remove(name)
                self.held.append(name)
                return "Taken."
        if (self.room, name) in self.contents:
            return f"The {name} cannot be taken."
        return f"You see no {_echo(name)} here."

    def _drop(self, name: str) -> str:
        if name not in self.held:
            return f"You have no {_echo(name)}."
        self.held.remove(name)
        self.lying[self.room].append(name)
        return "Dropped."

    def _within_reach(self) -> list[list[str]]:
        opened = [objects for place, objects in self.contents.items() if place[0] == self.room and place in self.opened]
        return [self.lying[self.room], *opened]

    def _describe(self, opening: str = "") -> str:
        containers = [container for room, container in self.contents if room == self.room]
        lying = self.lying[self.room]
        if containers:
            opening += f"You see {_listed(containers)}. "
        if not lying:
            return opening.strip() if containers else f"{opening}You see nothing here."
        return _fill(opening, lying, " lies here." if len(lying) == 1 else " lie here.", capital=True)


def make_world(layout: Layout) -> Tool:
    """The tool "World" over `layout`; each request starts afresh in the layout's first room."""

    def act(command: str, state: dict[str, Any]) -> str:
        if "world" not in state:
            state["world"] = TextWorld(layout)
        return state["world"].do(command)

    return Tool(
        name="World",
        description="Acts in a house: look, go ROOM, open CONTAINER, take OBJECT, drop OBJECT, inventory.",
        parameters=one_string("command", "One of the forms above, for example: open chest"),
        function=act,
        stateful=True,
    )


def with_article(name: str) -> str:
    """`name` with "a" or "an", by its first letter."""
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def _fill(opening: str, names: list[str], closing: str, *, capital: bool = False) -> str:
    """`opening`, the list of `names` and `closing`, with as many names as fit in a line and the others counted."""
    for left_out in range(len(names)):
        listed = _listed(names[: len(names) - left_out], left_out)
        if len(opening) + len(listed) + len(closing) <= MAX_RESULT_CHARS:
            return opening + (listed[:1].upper() + listed[1:] if capital else listed) + closing
    return f"{opening}{len(names)} things{closing}"


def _listed(names: list[str], left_out: int = 0) -> str:
    """The names as in "a lamp, a rope and 3 more"."""
    parts = [with_article(name) for name in names]
    if left_out:
        parts.append(f"{left_out} more")
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _echo(name: str) -> str:
    return name if len(name) <= _MAX_ECHO_CHARS else name[: _MAX_ECHO_CHARS - 1] + "…"


def _check_distinct(what: str, names: Iterable[str]) -> None:
    names = list(names)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"each {what} needs a name of its own, got {name!r} {names.count(name)} times")


def _check_lengths(names: Iterable[str]) -> None:
    for name in names:
        if not 0 < len(name) <= MAX_NAME_CHARS:
            raise ValueError(f"a name must have 1 to {MAX_NAME_CHARS} characters, got {name!r}")


def _house(text: str) -> Layout:
    """The layout written as lines of "room > object; container: object, object; container: …"."""
    rooms = []
    for line in text.strip().splitlines():
        head, *containers = (part.strip() for part in line.split(";"))
        room, _, lying = (part.strip() for part in head.partition(">"))
        rooms.append(
            Room(
                room,
                tuple(Container(name.strip(), _names(objects)) for name, _, objects in (c.partition(":") for c in containers)),
                _names(lying),
            )
        )
    return Layout(tuple(rooms))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


HOUSE = _house(
    """
    hall > umbrella; wardrobe: straw hat, wool coat, green scarf, glove; drawer: door key, letter, red stamp, pen
    kitchen > ladle; cupboard: kettle, plate, blue cup, frying pan; fridge: lemon, egg, milk jug, copper bowl
    cellar > iron bucket; chest:; barrel: brass key, rope, wine glass, cork
    attic > rocking horse; trunk: doll, music box, old map, crown; crate: camera, radio, trumpet, rusty ring
    library > reading lamp; cabinet: globe, atlas, paper fan, bronze statue; bookcase: novel, diary, cook book, quill
    study > typewriter; desk: wooden ruler, pencil, notebook, glass compass; safe: emerald, gold coin, ruby, white coin
    bedroom > cushion; dresser: belt, shirt, sock, silk tie; jewel box: golden brooch, watch, pearl, silver button
    bathroom > tall mirror; cabinet: comb, razor, sponge, small brush; hamper: towel, shoe, bathrobe, bath mat
    garden > garden gnome; shed: trowel, rake, spade, blue ball; basket: apple, plum, pear, fig
    workshop > ladder; toolbox: spanner, hammer, sharp saw, nail; locker: chisel, drill, toy hammer, paint pot
    garage > bicycle; car: road map, torch, spare key, leather bag; bin: tin can, old tyre, bronze key, car jack
    pantry > bread basket; jar: biscuit, candy, cracker; sack: potato, onion, carrot, turnip
    """
)
"""The house of the bundled tool; the player starts in the hall."""

WORLD = make_world(HOUSE)
"""The bundled text world."""
