"""The Episode tab's panels as HTML, made of a view; every text is escaped on the way."""

from __future__ import annotations

from dataclasses import dataclass

from executors.errors import WorkbenchError
from executors.geometry import ImageSize
from executors.trajectory import Observation
from workbench.episode_session import EpisodeView, Frame, HistoryEntry, Message, Tone
from workbench.planner_shelf import PlannerStatus, Readiness
from workbench.screen import Mark, call_text, render_empty, render_screen, render_steps, safe_text

TRAIN_COMMAND = "tracer1 train pipeline --preset smoke --out runs/first\npython app.py --planner runs/first/planner"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodePanels:
    """The HTML of each panel."""

    goal: str
    status: str
    screen: str
    forecast: str
    thought: str
    history: str
    position: str


def render_panels(view: EpisodeView, planner: PlannerStatus) -> EpisodePanels:
    """All panels of a view."""
    return EpisodePanels(
        goal=render_goal(view),
        status=render_status(view, planner),
        screen=render_screen_panel(view),
        forecast=_card("Forecast", _forecast_body(view, planner)),
        thought=_card("Thought", _thought_body(view)),
        history=_card("Recorded steps" if view.is_recorded else "Executed steps", _history_body(view)),
        position=_position(view),
    )


def _card(title: str, body: str) -> str:
    return f'<section class="tw-card" aria-label="{title}"><h2>{title}</h2>{body}</section>'


def _hint(text: str) -> str:
    return f'<div class="tw-empty"><p>{safe_text(text)}</p></div>'


def render_goal(view: EpisodeView) -> str:
    """The goal and where it comes from."""
    if not view.goal:
        return ""
    return (
        f'<div class="tw-goal{" tw-long" if len(view.goal) > 110 else ""}">'
        f'<p><span class="tw-sr">Goal: </span><bdi>{safe_text(view.goal)}</bdi></p>'
        f'<p class="tw-sub">{safe_text(view.subtitle)}</p></div>'
    )


def render_status(view: EpisodeView, planner: PlannerStatus) -> str:
    """The status line: one sentence, and how many steps were done."""
    message = view.message
    if planner.readiness in (Readiness.MISSING, Readiness.FAILED) and message.tone is Tone.INFO and view.frame:
        message = Message("You can look at the screens, but there is no planner to forecast with.")
    busy = " tw-busy" if view.is_busy else ""
    count = ""
    if view.num_frames:
        done = len(view.history)
        count = f'<span class="tw-count">{done} {"recorded" if view.is_recorded else "executed"} step{_s(done)}</span>'
    role = "alert" if message.tone is Tone.ERROR else "status"
    return (
        f'<div class="tw-card tw-status tw-{message.tone}{busy}" role="{role}" data-busy="{str(view.is_busy).lower()}">'
        f'<span class="tw-sentence">{safe_text(message.text)}</span>{count}</div>'
    )


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def render_screen_panel(view: EpisodeView) -> str:
    """The screenshot with its marks, or what is missing."""
    frame = view.frame
    if frame is None:
        body = render_empty("No screen yet", ["Choose a task of the simulator, or a recorded trajectory, on the left."])
        return f'<div class="tw-card tw-screen-empty">{body}</div>'
    try:
        uri, size = frame.uri(), frame.observation.load_image().size
    except WorkbenchError as error:
        body = render_empty("This screenshot cannot be shown", [str(error)])
        return f'<div class="tw-card tw-screen-empty">{body}</div>'
    return render_screen(uri, ImageSize(*size), shown_marks(view, frame), alt=_alt(frame.observation), note=_note(view))


def _alt(observation: Observation) -> str:
    return f"Screenshot: {observation.summary}" if observation.summary else "Screenshot without a title"


def _note(view: EpisodeView) -> str:
    if view.is_recorded:
        return "Recorded screen: a forecast made here is not carried out"
    return ""


def _position(view: EpisodeView) -> str:
    if view.num_frames == 0:
        return ""
    past = view.frame_number < view.num_frames and not view.is_recorded
    words = f"Screen {view.frame_number} of {view.num_frames}{' (looking back)' if past else ''}"
    return f'<p class="tw-position">{words}</p>'


def shown_marks(view: EpisodeView, frame: Frame) -> list[Mark]:
    """The marks over the screen: what was done on it, and what is forecast.

    On a screen of the simulator that was already acted on, the step taken is the forecast's first, so only that one
    is drawn; a recording's step and the forecast on it are different things, and both are.
    """
    if frame.taken is None:
        return list(frame.marks)
    if view.is_recorded:
        return [*frame.marks, frame.taken]
    return [frame.taken]


def _forecast_body(view: EpisodeView, planner: PlannerStatus) -> str:
    frame = view.frame
    if frame is not None and frame.forecast is not None:
        fault = ""
        if not frame.forecast.ok:
            fault = f'<p class="tw-fault-line">Not readable: {safe_text(frame.forecast.reason)}</p>'
        rows = render_steps(frame.marks) if frame.marks else ""
        return f'{fault}<div class="tw-scroll" tabindex="-1">{rows}</div>'
    if planner.readiness is Readiness.MISSING:
        return render_empty(
            "No planner yet",
            [planner.sentence, "Name another checkpoint folder on the left, or train one; a small one takes minutes:"],
            code=TRAIN_COMMAND,
        )
    if planner.readiness is Readiness.FAILED:
        return render_empty("The planner cannot be used", [planner.sentence])
    if frame is None:
        return _hint("The steps that the planner foresees will be listed here.")
    if view.is_recorded or view.can_forecast:
        return _hint("Forecast asks the planner for its next steps on this screen.")
    return _hint("No forecast was made on this screen.")


def _thought_body(view: EpisodeView) -> str:
    forecast = view.frame.forecast if view.frame is not None else None
    if forecast is None:
        return _hint("What the planner thinks before it forecasts.")
    thought = f'<p class="tw-thought">{safe_text(forecast.thought, 6000)}</p>' if forecast.thought else _hint(
        "This reply holds no thought.")
    raw = ""
    if forecast.raw:
        reply = safe_text(forecast.raw, 12000)
        raw = f'<details class="tw-raw"><summary>Whole reply</summary><pre>{reply}</pre></details>'
    return thought + raw


def _history_body(view: EpisodeView) -> str:
    if not view.history:
        return _hint("Nothing was done yet." if view.num_frames else "Each step that is carried out is listed here.")
    rows = "".join(_history_row(entry, view.frame_number) for entry in view.history)
    return f'<div class="tw-history"><div class="tw-scroll" tabindex="-1"><ol class="tw-rows">{rows}</ol></div></div>'


def _history_row(entry: HistoryEntry, shown: int) -> str:
    mark = entry.mark
    note = f'<span class="tw-fault">{safe_text(entry.fault, 200)}</span>' if entry.fault else ""
    current, aria = (" tw-current", ' aria-current="step"') if entry.frame_number == shown else ("", "")
    return (
        f'<li class="tw-row {mark.classes}{current}"{aria} data-mark="{mark.key}" data-frame="{entry.frame_number}" '
        f'tabindex="0" title="Show this screen"><span class="tw-number" aria-hidden="true">{mark.number}</span>'
        f'<div class="tw-row-body"><span class="tw-sr">step {mark.number}, {mark.kind}:</span>'
        f'<p class="tw-instruction"><bdi>{safe_text(mark.instruction)}</bdi></p>'
        f'<p class="tw-meta"><code>{safe_text(call_text(mark.action), 80)}</code>{note}</p></div></li>'
    )


def render_planner(status: PlannerStatus) -> str:
    """The line under the planner's field."""
    busy = " tw-busy" if status.readiness is Readiness.LOADING else ""
    tone = {Readiness.READY: "success", Readiness.FAILED: "error"}.get(status.readiness, "info")
    return (
        f'<div class="tw-status tw-planner tw-{tone}{busy}" role="status" data-readiness="{status.readiness}">'
        f'<span class="tw-sentence">{safe_text(status.sentence)}</span></div>'
    )
