"""What every offline protocol scores, and what it says about one step.

A protocol compares a `Prediction` with a `ReferenceStep` and answers with a `StepScore`; it never looks at text that a
model wrote, which the parsers have already read. Screens, models and files are none of its business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from executors.actions import Action
from executors.geometry import BoxNorm, ImageSize
from executors.trajectory import Element


class Outcome(StrEnum):
    """How a prediction came about, each counted apart.

    Without an action it is wrong in every protocol. `NOT_GROUNDED` is judged by what it still says: a scroll whose
    target was not found has a direction.
    """

    OK = "ok"
    UNREADABLE = "unreadable"
    """The planner's reply holds no such step."""
    NOT_GROUNDED = "not_grounded"
    """The tool agent found no target, or several; the action is kept without its points."""
    FAILED = "failed"
    """Planner, server or tool agent failed: an error, not an answer."""
    MISSING = "missing"
    """Nobody predicted anything for this step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What was predicted for one step; `action` is None unless something could be read."""

    action: Action | None
    outcome: Outcome = Outcome.OK
    reason: str = ""

    @classmethod
    def of(cls, action: Action | None) -> Prediction:
        """A prediction of an action, unreadable when there is none."""
        return cls(action=action, outcome=Outcome.OK if action is not None else Outcome.UNREADABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceStep:
    """One recorded step as the protocols see it.

    `id` is "<episode>/<step>", steps counted from 0. `action` is canonical (`scroll.direction` reveals). `boxes` are
    all boxes in which a point is right: None when the data set records none, empty when it records that there is none.
    `details` holds upstream's own values where a protocol needs them as they are. `slices` names the groups that the
    step belongs to.
    """

    id: str
    episode: str
    index: int
    dataset: str
    action: Action
    target: BoxNorm | None = None
    boxes: tuple[BoxNorm, ...] | None = None
    elements: tuple[Element, ...] = ()
    image_size: ImageSize | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    slices: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_boxes(self) -> tuple[BoxNorm, ...]:
        """The recorded boxes, else the box of the target, else none."""
        if self.boxes is not None:
            return self.boxes
        return () if self.target is None else (self.target,)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepScore:
    """A protocol's verdict on one step.

    None means that the step is not in that figure's denominator: `grounding` where nothing is pointed at, `success`
    where a protocol leaves a step out. `success` is 0..1. `parts` are further figures of the protocol, each 0..1.
    """

    is_type_right: bool
    success: float | None
    grounding: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """True for full marks."""
        return self.success is not None and self.success >= 1.0


ScoreStep = Callable[[ReferenceStep, Prediction], StepScore]


def _is_scored(_: ReferenceStep) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A named way to score offline predictions; its module's docstring is its data sheet.

    `version` rises whenever a rule changes, so results of different rules are never compared. `includes` says which
    steps are in its set. `set_sizes` are the published step counts, by data set and split. `quirks` are upstream's
    oddities kept on purpose; `strict` names the variant without them. `skips_incomplete_episodes` leaves episodes with
    a missing prediction out of episode success.
    """

    name: str
    version: int
    title: str
    source: str
    score_step: ScoreStep
    datasets: tuple[str, ...] = ()
    includes: Callable[[ReferenceStep], bool] = _is_scored
    set_sizes: Mapping[str, int] = field(default_factory=dict)
    quirks: tuple[str, ...] = ()
    strict: str | None = None
    skips_incomplete_episodes: bool = False

    def score(self, reference: ReferenceStep, prediction: Prediction) -> StepScore:
        """The verdict on one step; see the protocol's data sheet for its rules."""
        return self.score_step(reference, prediction)
