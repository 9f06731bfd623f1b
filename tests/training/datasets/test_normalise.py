"""Scroll directions, keys and coordinates: one rule for all data sets."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import ACTIONS, Action
from executors.geometry import BoxNorm, PointNorm
from training.datasets.normalise import (
    clip,
    describe,
    key_name,
    norm_point,
    norm_value,
    reveal_of_finger,
    reveal_of_wheel,
    summary_of,
    target_around,
)
from training.datasets.skip import Skip


# A finger that moves up drags the page up and shows what is below.
@pytest.mark.parametrize(
    ("start", "end", "revealed"),
    [
        ((0.5, 0.8), (0.5, 0.2), "down"),
        ((0.5, 0.2), (0.5, 0.8), "up"),
        ((0.8, 0.5), (0.2, 0.5), "right"),
        ((0.2, 0.5), (0.8, 0.5), "left"),
        ((0.5, 0.8), (0.2, 0.2), "down"),  # diagonal: the longer axis
        ((0.9, 0.5), (0.1, 0.4), "right"),
        ((0.25, 0.75), (0.5, 0.5), "down"),  # equally long: vertical
        ((0.25, 0.25), (0.5, 0.5), "up"),
        ((0.5, 0.5), (0.5, 0.5), "up"),  # no length
    ],
)
def test_a_finger_reveals_the_opposite_side(start: tuple, end: tuple, revealed: str) -> None:
    assert reveal_of_finger(PointNorm(*start), PointNorm(*end)) == revealed


@pytest.mark.parametrize(
    ("dx", "dy", "revealed"),
    [(0, 400, "down"), (0, -400, "up"), (300, 0, "right"), (-300, 0, "left"), (5, 5, "down"), (9, -5, "right"),
     (0, 0, None)],
)
def test_a_wheel_reveals_the_side_of_its_sign(dx: int, dy: int, revealed: str | None) -> None:
    assert reveal_of_wheel(dx, dy) == revealed


@pytest.mark.parametrize(
    ("name", "key"),
    [("Enter", "enter"), ("RETURN", "enter"), ("\n", "enter"), ("ArrowUp", "up"), ("ArrowDown", "down"),
     ("ArrowLeft", "left"), ("ArrowRight", "right"), ("Control", "ctrl"), ("Command", "cmd"), ("Meta", "cmd"),
     ("Escape", "esc"), ("Del", "delete"), (" ", "space"), ("Page Down", "pagedown"), ("F", "f"), ("  ", "")],
)
def test_keys_have_one_spelling(name: str, key: str) -> None:
    assert key_name(name) == key


@pytest.mark.parametrize(
    ("value", "scale", "norm", "is_moved"),
    [(0, 1000, 0.0, False), (1000, 1000, 1.0, False), (540, 1080, 0.5, False), (1004, 1000, 1.0, True),
     (-4, 1000, 0.0, True)],
)
def test_coordinates_become_shares_of_the_side(value: float, scale: float, norm: float, is_moved: bool) -> None:
    assert norm_value(value, scale, "x") == (norm, is_moved)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(1006, "off the image"), (-6, "off the image"), (math.nan, "wrong coordinate"), (math.inf, "wrong coordinate"),
     (True, "wrong coordinate"), ("5", "wrong coordinate"), (None, "wrong coordinate"), (10**400, "wrong coordinate")],
)
def test_coordinates_without_sense_are_refused(value: object, reason: str) -> None:
    with pytest.raises(Skip) as caught:
        norm_value(value, 1000, "info")
    assert (caught.value.reason, caught.value.field) == (reason, "info")


@pytest.mark.parametrize("value", [None, [], [1], [1, 2, 3], "ab", {"x": 1, "y": 2}])
def test_what_is_no_pair_is_no_point(value: object) -> None:
    with pytest.raises(Skip, match="wrong coordinate"):
        norm_point(value, 1000, 1000, "info")


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(-2, 2), st.floats(-2, 2))
def test_a_clipped_box_lies_on_the_image_or_is_none(left: float, top: float, right: float, bottom: float) -> None:
    box = clip(BoxNorm(left, top, right, bottom))
    if box is not None:
        assert 0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1
    else:
        assert right <= left or bottom <= top or right <= 0 or bottom <= 0 or left >= 1 or top >= 1


def test_the_target_is_the_smallest_box_around_the_point_and_never_most_of_the_screen() -> None:
    page, row, icon, other = (BoxNorm(0, 0, 1, 1), BoxNorm(0, 0.4, 1, 0.6), BoxNorm(0.4, 0.45, 0.6, 0.55),
                              BoxNorm(0.9, 0.9, 0.91, 0.91))
    assert target_around(PointNorm(0.5, 0.5), [page, row, icon, other]) == icon
    assert target_around(PointNorm(0.1, 0.5), [page, row, icon, other]) == row
    assert target_around(PointNorm(0.1, 0.1), [page, row, icon, other]) is None
    assert target_around(None, [icon]) is None


@pytest.mark.parametrize("kind", ACTIONS)
def test_every_action_can_be_told_in_words(kind: str) -> None:
    here = PointNorm(0.5, 0.25)
    values = {"point": here, "start_point": here, "end_point": here, "content": "a b\n", "key": "ctrl c",
              "direction": "left", "seconds": 2.0, "app_name": "Clock", "value": "v", "name": "tool", "arguments": {}}
    action = Action(type=kind, **{arg.name: values[arg.name] for arg in ACTIONS[kind].args})
    assert describe(action) and describe(action, 'the button "Go"')


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Action(type="click"), 'click the button "Go"'),
        (Action(type="hover"), 'move the pointer onto the button "Go"'),
        (Action(type="type", content="a"), 'type "a" into the button "Go"'),
        (Action(type="select", value="b"), 'select "b" in the button "Go"'),
    ],
)
def test_words_tell_the_target(action: Action, words: str) -> None:
    assert describe(action, 'the button "Go"') == words


def test_a_summary_is_the_first_sentence_and_short() -> None:
    assert summary_of("One  page. Two.") == "One page"
    assert summary_of("x" * 500) == "x" * 159 + "…"
    assert summary_of(None) == ""
