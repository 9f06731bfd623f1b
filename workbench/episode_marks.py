"""One frame of an episode as it is drawn: its screen with what was done, is forecast, would be right, was foreseen.

The tab, the comparison and the export draw the same marks.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from executors.errors import MissingFileError, WorkbenchError
from executors.geometry import ImageSize
from executors.tool_agents import ToolAgent
from executors.trajectory import Observation, image_bytes
from workbench.episode_drift import DriftRow, EpisodeDrift
from workbench.episode_store import StoredFrame
from workbench.forecast_marks import earlier_mark, forecast_marks, past_mark, recorded_mark, taken_mark
from workbench.screen import render_empty, render_screen
from workbench.screen_marks import Kind, Mark, Outcome, call_text
from workbench.screen_text import png_data_uri

MAX_PAST_MARKS = 4
"""Steps done before that are drawn on a screen; older ones only crowd it."""


def step_outcome(frame: StoredFrame, row: DriftRow | None) -> Outcome:
    """How the frame's step turned out.

    FAILED when it was not carried out, HIT or MISS when its latest earlier forecast came so or did not, UNKNOWN when it
    had none, or when no step was taken.

    Args:
        frame: the frame with its step.
        row: the step's row of `workbench.episode_drift`, if it has one.
    """
    if frame.step is not None and frame.step.error is not None:
        return Outcome.FAILED
    if row is None or not row.earlier:
        return Outcome.UNKNOWN
    return Outcome.HIT if row.earlier[0].is_hit else Outcome.MISS


def frame_marks(
    frames: Sequence[StoredFrame], index: int, drift: EpisodeDrift, tool_agent: ToolAgent, *, is_editable: bool = False
) -> list[Mark]:
    """The marks of one frame: the step taken, the forecast, the reference, earlier forecasts, the last steps before.

    The first forecast step is left out where it was carried out: the step taken is that one.

    Args:
        frames: all frames of the episode, in order.
        index: which of them, counted from 0.
        drift: `episode_drift` of the frames.
        tool_agent: finds the targets of forecast steps.
        is_editable: whether a person may move the forecast's marks.
    """
    frame = frames[index]
    rows = {row.frame_number: row for row in drift.rows}
    outcomes = {f.number: step_outcome(f, rows.get(f.number)) for f in frames[: index + 1]}
    row = rows.get(frame.number)
    taken = [] if frame.step is None or frame.step.action is None else [
        taken_mark(
            frame.number, Kind.EXECUTED, frame.step.action, frame.step.instruction, outcome=outcomes[frame.number]
        )
    ]
    forecast = ()
    if frame.forecasts:
        made = frame.forecasts[-1]
        forecast = forecast_marks(
            made.forecast, frame.observation, tool_agent, pinned=made.pinned, is_editable=is_editable
        )
    reference = [recorded_mark(frame.number, step) for step in frame.reference[:1]]
    earlier = [
        earlier_mark(
            frame.number, foreseen.lookahead - 1, foreseen.step, frame.observation, tool_agent,
            outcome=Outcome.HIT if foreseen.is_hit else Outcome.MISS,
        )
        for foreseen in (row.earlier if row is not None else ())
    ]
    past = [
        past_mark(f.number, step, frame.observation, outcome=outcomes[f.number])
        for f in reversed(frames[:index])
        if f.step is not None and (step := f.step.to_step()) is not None
    ]
    return [*taken, *(forecast[1:] if taken else forecast), *reference, *earlier, *past[:MAX_PAST_MARKS]]


def is_by_person(frame: StoredFrame) -> bool:
    """Whether the forecast that was acted on, or waits to be, was changed by a person."""
    return bool(frame.forecasts) and frame.forecasts[-1].author == "person"


def image_uri(observation: Observation) -> tuple[str, ImageSize]:
    """The screenshot as a data URI, and its size: its own file as it is, else the image in memory as PNG.

    Raises:
        MissingFileError, InputError: there is none, or it is gone or damaged.
    """
    image = observation.load_image()
    try:
        data, suffix = image_bytes(observation)
    except MissingFileError:  # the file is gone and the image still in memory
        return png_data_uri(image), ImageSize(*image.size)
    kind = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}.get(suffix, "png")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}", ImageSize(*image.size)


def said_on(frame: StoredFrame, before: StoredFrame | None) -> tuple[str, str] | None:
    """What a frame shows as text and the call that gave it, for `render_screen`; None where it shows none.

    Args:
        frame: the frame.
        before: the one before it, whose step led here; None for the first.
    """
    if not frame.observation.text:
        return None
    step = before.step if before is not None else None
    return (call_text(step.action) if step is not None and step.action is not None else "at the start"), (
        frame.observation.text)


def has_image(frame: StoredFrame) -> bool:
    """Whether a screenshot belongs to this frame, also one that has gone."""
    seen = frame.observation
    return seen.image is not None or seen.image_path is not None or seen.image_size is not None


def render_frame_screen(frame: StoredFrame, marks: Sequence[Mark], before: StoredFrame | None = None) -> str:
    """The frame's screenshot and text with marks; in its place the reason, when it is not there or damaged."""
    seen, said = frame.observation, said_on(frame, before)
    if said is not None and not has_image(frame):
        return render_screen("", ImageSize(1, 1), marks, alt="Text without a screenshot", said=said)
    try:
        uri, size = image_uri(seen)
    except WorkbenchError as error:
        text = [seen.text] if seen.text else []
        return render_empty("This screenshot cannot be shown", [str(error), *text])
    alt = f"Screenshot: {seen.summary}" if seen.summary else "Screenshot without a title"
    return render_screen(uri, size, marks, alt=alt, said=said)
