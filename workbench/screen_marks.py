"""A step as it is shown on a screen: whose it is, where it belongs, and the words for both. No HTML here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from executors.actions import Action, ArgKind, Shape, format_call
from executors.geometry import PointNorm


class Kind(StrEnum):
    """Whose action a mark shows; EARLIER is a forecast of this very step that was made on a screen before."""

    FORECAST = "forecast"
    EXECUTED = "executed"
    RECORDED = "recorded"
    EARLIER = "earlier"


class Place(StrEnum):
    """Where a step belongs relative to the screen that is shown."""

    HERE = "here"
    VISIBLE = "visible"
    PLACED = "placed"
    PAST = "past"
    LATER = "later"
    NOWHERE = "nowhere"
    NOT_FOUND = "not-found"


PLACE_WORDS = {
    Place.HERE: "on this screen",
    Place.VISIBLE: "its target is on this screen",
    Place.PLACED: "placed by a person",
    Place.PAST: "on an earlier screen",
    Place.LATER: "on a later screen",
    Place.NOWHERE: "needs no place",
    Place.NOT_FOUND: "target not found on this screen",
}

DRAWN_PLACES = (Place.HERE, Place.VISIBLE, Place.PLACED)
"""A step that belongs anywhere else is never drawn on the image, even if its action has a point."""


class Outcome(StrEnum):
    """How a step that was executed compares with what was forecast; UNKNOWN where nothing is compared."""

    UNKNOWN = ""
    HIT = "hit"
    MISS = "miss"
    FAILED = "failed"


OUTCOME_SIGNS = {Outcome.UNKNOWN: "", Outcome.HIT: "✓", Outcome.MISS: "≠", Outcome.FAILED: "✕"}


class Layer(StrEnum):
    """What can be switched on and off together, in drawing order: a later one lies on top."""

    EARLIER = "earlier"
    PAST = "past"
    REFERENCE = "reference"
    FORECAST = "forecast"
    NOW = "now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One step as it is shown: its number, whose it is, its action, its words, and where it belongs.

    The action's points are those of the screen shown; a mark without points is never drawn on it.

    Attributes:
        number: the step's number from 1: in its forecast, or in the episode for all other kinds.
        reason: why its target was not found, where that is known.
        lookahead: of an earlier forecast, how many steps before this one it was made; at least 1.
        is_editable: whether a person may move its points.
        outcome: how it compares with what was forecast.
    """

    number: int
    kind: Kind
    action: Action
    instruction: str
    place: Place
    reason: str = ""
    lookahead: int = 0
    is_editable: bool = False
    outcome: Outcome = Outcome.UNKNOWN

    @property
    def where(self) -> str:
        """Where the step belongs, in words; why its target was not found, where that is known."""
        return self.reason if self.place is Place.NOT_FOUND and self.reason else PLACE_WORDS[self.place]

    @property
    def key(self) -> str:
        """Links the mark with its row in a list; it is the mark's name in events."""
        lookahead = f"-{self.lookahead}" if self.kind is Kind.EARLIER else ""
        return f"{self.kind}-{self.number}{lookahead}"

    @property
    def layer(self) -> Layer:
        """The layer it is switched with; an executed step of another screen lies in the past."""
        if self.kind is Kind.EXECUTED:
            return Layer.NOW if self.place in (Place.HERE, Place.NOWHERE, Place.NOT_FOUND) else Layer.PAST
        return {Kind.FORECAST: Layer.FORECAST, Kind.RECORDED: Layer.REFERENCE, Kind.EARLIER: Layer.EARLIER}[self.kind]

    @property
    def reach(self) -> int:
        """How far ahead the step was foreseen, 0 to 3; its mark is the smaller and the more dashed the farther."""
        far = {Kind.FORECAST: self.number - 1, Kind.EARLIER: self.lookahead}.get(self.kind, 0)
        return max(0, min(far, 3))

    @property
    def classes(self) -> str:
        """Classes that tell its kind, place, layer and reach, and whether it is the step for now."""
        now = " tw-now" if self.reach == 0 else ""
        return f"tw-{self.kind} tw-{self.place} tw-layer-{self.layer} tw-reach-{self.reach}{now}"

    @property
    def label(self) -> str:
        """What stands in its badge: its number, "R" before a reference's, the lookahead of an earlier forecast.

        >>> action = Action(type="wait")
        >>> Mark(number=4, kind=Kind.EARLIER, lookahead=2, action=action, instruction="", place=Place.NOWHERE).label
        '−2'
        """
        number = {Kind.RECORDED: f"R{self.number}", Kind.EARLIER: f"−{self.lookahead}"}.get(self.kind, str(self.number))
        return number + OUTCOME_SIGNS[self.outcome]

    @property
    def anchor(self) -> PointNorm | None:
        """Where the mark is drawn; None sends it to the tray.

        A drag is drawn only where both of its ends are known.
        """
        points = self.points
        return next(iter(points.values()), None)

    @property
    def points(self) -> dict[str, PointNorm]:
        """The points that are drawn, by their part: {"point": ...}, {"start": ..., "end": ...}, or nothing."""
        if self.place not in DRAWN_PLACES:
            return {}
        action = self.action
        if action.spec.shape is Shape.ARROW:
            parts = {"start": action.start_point, "end": action.end_point}
        else:
            parts = {"point": action.point}
        if any(point is None or not point.is_on_image for point in parts.values()):
            return {}
        return {part: point for part, point in parts.items() if point is not None}


def takes_place(action: Action) -> bool:
    """Whether the action needs a point on the screen."""
    return any(arg.kind is ArgKind.POINT and arg.required for arg in action.spec.args)


def may_have_place(action: Action) -> bool:
    """Whether the action can be given one point on the screen, as a person does who places its mark."""
    return any(arg.name == "point" for arg in action.spec.args)


def first_place(action: Action) -> Place:
    """Where a grounded action of the present screen belongs: here, nowhere, or not found."""
    has_point = action.point is not None or action.start_point is not None
    if has_point:
        return Place.HERE
    return Place.NOT_FOUND if takes_place(action) else Place.NOWHERE


def call_text(action: Action) -> str:
    """The action as a call without coordinates; only its name when nothing else is said.

    >>> call_text(Action(type="click", point=PointNorm(0.5, 0.5))), call_text(Action(type="type", content="milk"))
    ('click', "type(content='milk')")
    """
    return format_call(replace(action, point=None, start_point=None, end_point=None)).removesuffix("()")


def chip_text(action: Action) -> str:
    """The text beside a mark's number: what is typed or chosen, with signs for line ends; else nothing.

    >>> chip_text(Action(type="type", content="milk" + chr(10)))
    'milk⏎'
    """
    text = action.content if action.type == "type" else action.value
    return (text or "").replace("\n", "⏎").replace("\t", "⇥")


def spoken(mark: Mark, total: int | None = None) -> str:
    """The mark as a screen reader says it, not escaped.

    Args:
        mark: the step.
        total: T, where the mark belongs to a forecast of so many steps.

    >>> action = Action(type="click", point=PointNorm(0.42, 0.18))
    >>> spoken(Mark(number=1, kind=Kind.FORECAST, action=action, instruction="tap Save", place=Place.HERE), 3)
    'step 1 of 3, forecast, click at 42 %, 18 %, on this screen: tap Save'
    """
    return f"{speech_start(mark, total)}: {mark.instruction}"


_KIND_WORDS = {Kind.FORECAST: "forecast", Kind.EXECUTED: "executed", Kind.RECORDED: "reference"}


def speech_start(mark: Mark, total: int | None = None) -> str:
    """What is spoken before the instruction: number, kind, action, place and outcome."""
    of = f" of {total}" if total is not None and mark.kind is Kind.FORECAST else ""
    kind = _KIND_WORDS.get(mark.kind, f"forecast {mark.lookahead} step{'' if mark.lookahead == 1 else 's'} before")
    at = " to ".join(f"{p.x * 100:.0f} %, {p.y * 100:.0f} %" for p in mark.points.values())
    parts = [f"step {mark.number}{of}", kind, mark.action.type + (f" at {at}" if at else ""), mark.where]
    return ", ".join([*parts, str(mark.outcome)] if mark.outcome else parts)
