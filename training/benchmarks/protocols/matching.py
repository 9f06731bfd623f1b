"""The comparisons that several protocols share: distances, boxes, words."""

from __future__ import annotations

from collections.abc import Iterable

from executors.actions import Action
from executors.geometry import BoxNorm, PointNorm

SCREEN_SHARE = 0.14
"""OS-Atlas's radius: 14 % of each side of the screen, a circle in the normalised frame."""
_SLACK = 1e-9
"""Upstream compares whole thousandths; without the slack 0.64 - 0.5 would not be 0.14."""


def is_near(point: PointNorm | None, wanted: PointNorm | None, radius: float = SCREEN_SHARE) -> bool:
    """Whether a point lies within `radius` of another in the normalised frame, edge included; False without either.

    >>> is_near(PointNorm(0.64, 0.5), PointNorm(0.5, 0.5))
    True
    >>> is_near(PointNorm(0.6, 0.6), PointNorm(0.5, 0.5))
    False
    """
    return point is not None and wanted is not None and point.distance(wanted) <= radius + _SLACK


def is_nearer(point: PointNorm | None, wanted: PointNorm | None, radius: float = SCREEN_SHARE) -> bool:
    """As `is_near`, the edge left out.

    >>> is_nearer(PointNorm(0.64, 0.5), PointNorm(0.5, 0.5)), is_nearer(PointNorm(0.639, 0.5), PointNorm(0.5, 0.5))
    (False, True)
    """
    return point is not None and wanted is not None and point.distance(wanted) < radius - _SLACK


def is_in_any(point: PointNorm | None, boxes: Iterable[BoxNorm]) -> bool:
    """Whether a point lies in one of the boxes, edges included; False without a point or a box."""
    return point is not None and any(box.contains(point) for box in boxes)


def enlarged(box: BoxNorm, factor: float) -> BoxNorm:
    """The box scaled about its centre; it may leave the image.

    >>> enlarged(BoxNorm(0.25, 0.25, 0.75, 0.75), 2)
    BoxNorm(left=0.0, top=0.0, right=1.0, bottom=1.0)
    """
    center, half_width, half_height = box.center, (box.right - box.left) / 2, (box.bottom - box.top) / 2
    return BoxNorm(
        center.x - factor * half_width,
        center.y - factor * half_height,
        center.x + factor * half_width,
        center.y + factor * half_height,
    )


def area(box: BoxNorm) -> float:
    """The box's share of the image; 0 for a box without inside."""
    return max(0.0, box.right - box.left) * max(0.0, box.bottom - box.top)


def set_f1(mine: set[str], theirs: set[str]) -> float:
    """F1 of two sets of tokens; 0 when either is empty.

    >>> set_f1({"a", "b"}, {"a"})
    0.6666666666666666
    """
    if not mine or not theirs:
        return 0.0
    return 2 * len(mine & theirs) / (len(mine) + len(theirs))


def tokens(text: str) -> set[str]:
    """The lower-cased words of a text, split at white space."""
    return set(text.lower().split())


def edit_distance(left: str, right: str) -> int:
    """The least number of characters to insert, remove or change to make one text the other.

    >>> edit_distance("kitten", "sitting")
    3
    """
    previous = list(range(len(right) + 1))
    for row, mine in enumerate(left, start=1):
        current = [row]
        for column, theirs in enumerate(right, start=1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (mine != theirs)))
        previous = current
    return previous[-1]


def edit_similarity(left: str, right: str) -> float:
    """1 minus the edit distance as a share of the longer text; 1 for two empty texts.

    >>> edit_similarity("abcd", "abxd")
    0.75
    """
    longest = max(len(left), len(right))
    return 1.0 if longest == 0 else 1 - edit_distance(left, right) / longest


def text_of(action: Action) -> str:
    """The text that an action carries: what is typed, the app's name, the option selected; "" without any."""
    return next((text for text in (action.content, action.app_name, action.value) if text is not None), "")


def is_same(left: str | None, right: str | None) -> bool:
    """Whether two texts are equal without regard to case and outer spaces; None is the empty text."""
    return (left or "").strip().casefold() == (right or "").strip().casefold()


def same_arguments(action: Action, reference: Action) -> bool:
    """Whether direction, keys and texts are equal without regard to case and outer spaces; points do not count.

    Keys may stand in any order.
    """
    keys = [sorted((a.key or "").casefold().split()) for a in (action, reference)]
    names = ("direction", "content", "app_name", "value", "name")
    return keys[0] == keys[1] and all(is_same(getattr(action, n), getattr(reference, n)) for n in names)
