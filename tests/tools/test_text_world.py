"""The text world keeps every object in one place, answers in one short line, and starts afresh for each request."""

import string
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lamps_jax.embedded.questions.question import belongs_to
from lamps_jax.tools.text_world import HOUSE, MAX_RESULT_CHARS, WORLD, Container, Layout, Room, TextWorld, make_world
from lamps_jax.tools.tool import ToolError
from tests.properties import examples

ROOM_NAMES = [room.name for room in HOUSE.rooms]
CONTAINER_NAMES = sorted({container.name for room in HOUSE.rooms for container in room.containers})

SMALL = Layout(
    (
        Room("hall"),
        Room("cellar", (Container("chest"), Container("barrel", ("brass key", "egg"))), ("lamp",)),
    )
)


def play(*commands: str, layout: Layout = SMALL) -> list[str]:
    world = TextWorld(layout)
    return [world.do(command) for command in commands]


class Player(RuleBasedStateMachine):
    """Does anything at all in the bundled house, and keeps a count of what it should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.world = TextWorld(HOUSE)
        self.taken = 0
        self.longest_error = 0

    def do(self, command: str) -> str:
        result = self.world.do(command)
        assert 0 < len(result) <= MAX_RESULT_CHARS
        assert "\n" not in result
        return result

    @rule(name=st.sampled_from(ROOM_NAMES))
    def go(self, name: str) -> None:
        assert self.do(f"go {name}").endswith(".")
        assert self.world.room == name

    @rule(name=st.sampled_from(CONTAINER_NAMES))
    def open_anything(self, name: str) -> None:
        self.do(f"open {name}")

    @rule()
    def empty_the_room_into_the_hands(self) -> None:
        for place in list(self.world.contents):
            if place[0] == self.world.room:
                self.do(f"open {place[1]}")
        for name in HOUSE.objects:
            self.taken += self.do(f"take {name}") == "Taken."

    @rule(name=st.sampled_from(HOUSE.objects))
    def take(self, name: str) -> None:
        self.taken += self.do(f"take {name}") == "Taken."

    @rule(name=st.sampled_from(HOUSE.objects))
    def drop(self, name: str) -> None:
        self.taken -= self.do(f"drop {name}") == "Dropped."

    @rule()
    def drop_everything(self) -> None:
        for name in list(self.world.held):
            assert self.do(f"drop {name}") == "Dropped."
        self.taken = 0

    @rule(command=st.sampled_from(["look", "inventory"]))
    def look(self, command: str) -> None:
        before = (self.world.room, list(self.world.held))
        self.do(command)
        assert before == (self.world.room, self.world.held)

    @rule(name=st.text(string.printable, max_size=200))
    def babble(self, name: str) -> None:
        for verb in ("go", "open", "take", "drop", ""):
            try:
                self.taken += self.do(f"{verb} {name}") == "Taken."
            except ToolError as error:
                self.longest_error = max(self.longest_error, len(str(error)))

    @invariant()
    def errors_are_short(self) -> None:
        assert self.longest_error <= MAX_RESULT_CHARS

    @invariant()
    def every_object_is_in_one_place(self) -> None:
        world = self.world
        lists = [world.held, *world.lying.values(), *world.contents.values()]
        assert Counter(name for names in lists for name in names) == Counter(HOUSE.objects)
        assert len(world.held) == self.taken


Player.TestCase.settings = settings(max_examples=examples(25), stateful_step_count=20, deadline=None)
TestPlayer = Player.TestCase


def test_a_key_is_found_and_taken():
    assert play("go cellar", "open chest", "open barrel", "take brass key", "inventory") == [
        "You see a chest and a barrel. A lamp lies here.",
        "The chest is empty.",
        "In the barrel are a brass key and an egg.",
        "Taken.",
        "You have a brass key.",
    ]


def test_what_is_taken_leaves_its_place_and_what_is_dropped_lies_in_the_room():
    results = play("go cellar", "take lamp", "go cellar", "open barrel", "take egg", "open barrel", "go hall", "drop egg", "look")
    assert results[2] == "You see a chest and a barrel."
    assert results[5] == "In the barrel is a brass key."
    assert results[-1] == "You are in the hall. An egg lies here."


@pytest.mark.parametrize(
    ("command", "result"),
    [
        ("go attic", "There is no attic here."),
        ("open chest", "There is no chest to open here."),
        ("take lamp", "You see no lamp here."),
        ("drop lamp", "You have no lamp."),
        ("inventory", "You have nothing."),
        ("look", "You are in the hall. You see nothing here."),
    ],
)
def test_the_impossible_is_told_plainly(command: str, result: str):
    assert play(command) == [result]


def test_a_closed_container_hides_its_objects():
    assert play("go cellar", "take brass key", "open barrel", "take brass key", "take brass key")[1::2] == [
        "You see no brass key here.",
        "Taken.",
    ]


def test_a_container_cannot_be_taken():
    assert play("go cellar", "take chest")[-1] == "The chest cannot be taken."


@pytest.mark.parametrize(
    "command",
    [
        "go cellar",
        "Go to the Cellar.",
        "  GO  into the   cellar! ",
        "walk to the cellar",
        "enter the cellar",
        '"go cellar"',
    ],
)
def test_commands_are_read_tolerantly(command: str):
    assert play(command) == ["You see a chest and a barrel. A lamp lies here."]


def test_articles_and_other_verbs_are_understood():
    assert play("go cellar", "look in the barrel", "pick up the brass key", "put down my brass key", "i")[2:] == [
        "Taken.",
        "Dropped.",
        "You have nothing.",
    ]


@pytest.mark.parametrize("command", ["", "dance", "go", "take the", "x" * 500])
def test_an_unknown_command_names_the_known_ones(command: str):
    if command == "take the":
        assert play(command) == ["You see no the here."]
        return
    with pytest.raises(ToolError, match="use look, go, open, take, drop or inventory"):
        play(command)


def test_each_request_has_a_world_of_its_own():
    first: dict[str, object] = {}
    second: dict[str, object] = {}
    assert WORLD.function("take umbrella", state=first) == "Taken."
    assert WORLD.function(command="take umbrella", state=second) == "Taken."
    assert WORLD.function("take umbrella", state=first) == "You have the umbrella already."


def test_the_tool_asks_for_state_and_one_command():
    tool = make_world(SMALL)
    assert (tool.name, tool.stateful, tool.parameter_names) == ("World", True, ("command",))
    assert tool.function("look", state={}) == "You are in the hall. You see nothing here."


def test_the_house_has_many_objects_of_both_splits_mixed_in_containers():
    held_out = {name for name in HOUSE.objects if belongs_to("held_out", name)}
    containers = [set(container.objects) for room in HOUSE.rooms for container in room.containers]
    assert len(HOUSE.objects) >= 100
    assert len(held_out) >= 25
    assert sum(bool(objects & held_out) and bool(objects - held_out) for objects in containers) >= 15


def test_the_house_is_described_in_full():
    world = TextWorld(HOUSE)
    for room in HOUSE.rooms:
        results = [world.do(f"go {room.name}"), *(world.do(f"open {container.name}") for container in room.containers)]
        text = " ".join(results)
        assert all(name in text for name in room.all_objects)
        assert "more" not in text


@pytest.mark.parametrize(
    ("rooms", "message"),
    [
        ((), "at least one room"),
        ((Room("hall"), Room("hall")), "room needs a name of its own, got 'hall' 2 times"),
        ((Room("hall", (), ("lamp",)), Room("cellar", (), ("lamp",))), "object needs a name of its own, got 'lamp'"),
        ((Room("hall", (Container("box"), Container("box"))),), "container in the hall needs"),
        ((Room("hall", (), ("l" * 17,)),), "1 to 16 characters"),
        ((Room("hall", tuple(Container(f"{n} long chests") for n in range(4))),), "use fewer or shorter names"),
    ],
)
def test_a_faulty_layout_is_refused(rooms: tuple[Room, ...], message: str):
    with pytest.raises(ValueError, match=message):
        Layout(rooms)
