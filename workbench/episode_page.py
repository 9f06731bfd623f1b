"""What one open page looks at: which episode, which screen, which step of the plan; without gradio.

An episode may be looked at by many pages at once; each has its own place in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import RLock
from typing import Any
from urllib.parse import parse_qs

from workbench.episode_drift import DriftRow, EpisodeDrift, episode_drift
from workbench.episode_marks import frame_marks, step_outcome
from workbench.episode_store import StoredFrame
from workbench.episode_view import EpisodeView, Message
from workbench.forecast_marks import forecast_marks
from workbench.kept_groundings import drawing_agent
from workbench.screen_marks import Mark, Outcome


class Page:
    """One open page; gradio keeps it for the page's session.

    `cursor` is the number of the screen shown, None to follow the live one; `selected` the number of the plan's step
    that is edited. `notice` is a sentence for this page alone. `sent` holds what the browser was given last, and
    `form_key` what the step's fields were last filled for.
    """

    def __init__(self) -> None:
        self.id = ""
        self.cursor: int | None = None
        self.selected = 1
        self.shows_after = False
        self.notice: Message | None = None
        self.sent: dict[str, Any] = {}
        self.form_key: tuple = ()
        self.lock = RLock()

    def __deepcopy__(self, memo: dict) -> Page:
        """A fresh page: gradio copies a state's first value for each page, also for one it has forgotten."""
        return Page()

    def open(self, id: str, step: int | None = None) -> None:
        """Looks at another episode, from its live screen or from a step's."""
        self.id, self.cursor, self.selected, self.notice = id, step, 1, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An episode as one page sees it: the screen that its cursor is on, with marks and verdicts."""

    view: EpisodeView
    number: int
    marks: tuple[Mark, ...]
    drift: EpisodeDrift
    outcomes: tuple[Outcome, ...]

    @property
    def frame(self) -> StoredFrame:
        """The screen that is shown."""
        return self.view.frames[self.number - 1]

    @property
    def is_live(self) -> bool:
        """Whether it is the last screen."""
        return self.number == len(self.view.frames)

    @property
    def row(self) -> DriftRow | None:
        """The drift of the step taken on this screen."""
        return next((row for row in self.drift.rows if row.frame_number == self.number), None)

    @property
    def plan_marks(self) -> tuple[Mark, ...]:
        """All steps of the plan on this screen, in order, also the first one once it was carried out."""
        if not self.frame.forecasts:
            return ()
        made, agent = self.frame.forecasts[-1], drawing_agent(self.view.setup.tool_agent)
        return forecast_marks(made.forecast, self.frame.observation, agent, pinned=made.pinned)


def shown(view: EpisodeView, cursor: int | None, drift: EpisodeDrift) -> Shown:
    """What a page sees of an episode whose cursor is there; a cursor past either end is moved to it."""
    count = len(view.frames)
    number = count if cursor is None else max(1, min(count, cursor))
    frame = view.frames[number - 1]
    is_editable = view.can_edit and number == count and frame.step is None
    marks = frame_marks(view.frames, number - 1, drift, drawing_agent(view.setup.tool_agent), is_editable=is_editable)
    rows = {row.frame_number: row for row in drift.rows}
    return Shown(
        view=view, number=number, marks=tuple(marks), drift=drift,
        outcomes=tuple(step_outcome(f, rows.get(f.number)) for f in view.frames),
    )


def drift_of(view: EpisodeView, known: EpisodeDrift | None = None) -> EpisodeDrift:
    """The forecast drift of all that was done so far; `known` is the same episode's, some steps ago."""
    return episode_drift(view.frames, drawing_agent(view.setup.tool_agent), known=known)


def destination(to: object, seen: Shown) -> int | None:
    """The number of the screen that a way leads to, None for the live one.

    Args:
        to: a screen's number, or "first", "last", "back", "on" or "miss" (the next step that went wrong, from the
            start again after the last).
        seen: where the page is.
    """
    last = len(seen.view.frames)
    if isinstance(to, int) and not isinstance(to, bool):
        number = max(1, min(last, to))
    elif to == "miss":
        wrong = [n for n, o in enumerate(seen.outcomes, start=1) if o in (Outcome.MISS, Outcome.FAILED)]
        number = next((n for n in wrong if n > seen.number), wrong[0] if wrong else seen.number)
    else:
        ways = {"first": 1, "last": last, "back": seen.number - 1, "on": seen.number + 1}
        number = max(1, min(last, ways.get(to, seen.number) if isinstance(to, str) else seen.number))
    return None if number == last else number


def read_link(query: str) -> tuple[str, int | None]:
    """(episode id, step) of a link's query; "" and None where it names none.

    >>> read_link("?episode=ab12&step=3"), read_link("?step=x")
    (('ab12', 3), ('', None))
    """
    values = parse_qs(query.removeprefix("?"), max_num_fields=20) if len(query) < 2000 else {}
    step = values.get("step", [""])[0]
    is_number = step.isascii() and step.isdecimal() and len(step) < 7
    return values.get("episode", [""])[0], int(step) if is_number else None
