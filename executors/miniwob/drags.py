"""Oracles of the MiniWoB++ tasks in which something is dragged; see executors.miniwob.oracles."""

from __future__ import annotations

import re

from executors.miniwob.moves import Move, drag, give_up, submit
from executors.miniwob.tree import Node, PageTree

_SHAPE_STEP_PX = 20.0
"""How far a shape is dragged; the pages leave it at least this much room."""
_PAST_MIDDLE_PX = 4.0
"""How far past another item's middle an item is dragged to change places with it."""

_WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


def drag_into_box(page: PageTree) -> Move:
    """drag-box: the small box into the middle of the large one, then submitted."""
    small, large = page.by_id("draggableSmall"), page.by_id("draggableLarge")
    if small is None or large is None or small.point is None:
        return give_up()
    room = large.box[2] - large.box[0] - (small.box[2] - small.box[0])
    inside = [large.box[side] - small.box[side] + room / 2 for side in (0, 1)]
    if all(abs(distance) < room / 2 for distance in inside):
        return submit(page)
    return drag(small, (small.point[0] + inside[0], small.point[1] + inside[1]), 'drag the "s" to the "L"')


def drag_shape(page: PageTree) -> Move:
    """drag-circle, drag-single-shape: the only shape some way in a direction, then submitted."""
    way, shape = re.search(r"Drag the \w+ (left|right|up|down)", page.goal), page.first(tag="circle rect polygon")
    if way is None or shape is None or shape.point is None:
        return give_up()
    dx, dy = _WAYS[way[1]]
    if shape.shift[0] * dx + shape.shift[1] * dy > 0:
        return submit(page)
    to = (shape.point[0] + dx * _SHAPE_STEP_PX, shape.point[1] + dy * _SHAPE_STEP_PX)
    return drag(shape, to, f"drag the shape {way[1]}")


def drag_item(page: PageTree) -> Move:
    """drag-items: one item of a list to the place that the goal says."""
    items = page.all(tag="li")
    found = re.search(r"Drag (.+?) (?:to the (top|bottom|\d)|(up|down) by one)", page.goal)
    names = [item.text for item in items]
    if found is None or found[1] not in names:
        return give_up()
    now = names.index(found[1])
    if found[3]:
        place = now + (1 if found[3] == "down" else -1)
    else:
        place = {"top": 0, "bottom": len(items) - 1}.get(found[2]) if not found[2].isdecimal() else int(found[2]) - 1
    return _to_place(items, now, place)


def sort_items(page: PageTree) -> Move:
    """drag-sort-numbers: the least number that is not in its place is dragged there; submitted once all are."""
    items = page.all(tag="li")
    numbers = [int(item.text) for item in items]
    for place, number in enumerate(sorted(numbers)):
        if numbers[place] != number:
            return _to_place(items, numbers.index(number, place), place)
    return submit(page)


def _to_place(items: list[Node], now: int, place: int) -> Move:
    """A list's item onto another's place, a little past that one's middle."""
    item, other = items[now], items[place]
    middle = (other.box[1] + other.box[3]) / 2
    past = _PAST_MIDDLE_PX if place > now else -_PAST_MIDDLE_PX
    x = (item.point or item.box)[0]
    return drag(item, (x, middle + past), f'drag "{item.text}" to "{other.text}"')
