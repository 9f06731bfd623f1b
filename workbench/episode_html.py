"""The Episode tab's panels about the episode as HTML: goal, status, timeline, screen, plan and steps.

Every text is escaped on the way. What the planner was asked and said is in `workbench.model_html`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from executors.errors import WorkbenchError
from executors.geometry import ImageSize
from executors.trajectory import Observation
from workbench.devices import DeviceChoice, setup_words
from workbench.episode_marks import has_image, image_uri, said_on
from workbench.episode_page import Shown
from workbench.episode_store import StoredFrame
from workbench.episode_view import Activity, EpisodeView, Message, Tone
from workbench.planner_shelf import PlannerStatus, Readiness
from workbench.screen import render_empty, render_screen, render_steps
from workbench.screen_marks import Outcome, call_text
from workbench.screen_text import safe_text

TRAIN_COMMAND = "tracer1 train pipeline --preset smoke --out runs/first\npython app.py --planner runs/first/planner"

OUTCOME_SIGNS = {
    Outcome.HIT: ("✓", "as forecast before"),
    Outcome.MISS: ("✕", "not as forecast before"),
    Outcome.FAILED: ("!", "not carried out"),
    Outcome.UNKNOWN: ("•", "not forecast before"),
}


def card(title: str, body: str, *, classes: str = "") -> str:
    """A panel with a heading."""
    return f'<section class="tw-card {classes}" aria-label="{title}"><h2>{title}</h2>{body}</section>'


def hint(text: str) -> str:
    """What a panel will show, or what to do about it."""
    return f'<div class="tw-empty"><p>{safe_text(text)}</p></div>'


def plural(count: int, noun: str) -> str:
    """The count and the noun: "1 step", "2 steps"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def render_missing_devices(devices: Iterable[DeviceChoice]) -> str:
    """Which kinds of devices cannot be used here, and why; empty when all can.

    >>> render_missing_devices([DeviceChoice("simulator", "Simulator")])
    ''
    """
    lines = [f"<li>{safe_text(f'{d.label}: {d.reason}')}</li>" for d in devices if d.reason]
    return f'<p>Not available here</p><ul>{"".join(lines)}</ul>' if lines else ""


def render_approval(view: EpisodeView | None) -> str:
    """The step that waits before a real device, in full; empty when none does."""
    pending = view.pending if view is not None else None
    if pending is None:
        return ""
    touched = "".join(f"<li>{safe_text(text, 300)}</li>" for text in pending.texts)
    told = f'<p>What it writes, presses or points at:</p><ul>{touched}</ul>' if touched else ""
    escalated = f"<p>Passed on by {safe_text(pending.escalated_by)}: another person decides.</p>"
    return (
        '<section class="tw-card tw-proposal" role="alert" aria-label="A step waits for your decision">'
        f"<h2>Do this on the real device?</h2><p><code>{safe_text(pending.words, 400)}</code></p>{told}"
        f"{escalated if pending.escalated_by else ''}</section>"
    )


def render_goal(seen: Shown | None) -> str:
    """The goal, what it is about, and the link to this very screen."""
    if seen is None:
        return (
            '<div class="tw-goal"><p>Start an episode</p>'
            '<p class="tw-sub">Choose what to act on and press Start, or open a past episode.</p></div>'
        )
    view = seen.view
    setup = view.setup
    asked = [f"{name} {value}" for name, value in (("T", setup.horizon), ("K", setup.history_length))
             if value is not None]
    most = f"at most {plural(setup.max_steps, 'step')}"
    recorded = ["recorded forecasts"] if setup.planner.startswith("replay:") else []
    words = " · ".join((setup_words(setup, view.platform), *recorded, *asked, most))
    link = f"?episode={view.id}&amp;step={seen.number}"
    return (
        f'<div class="tw-goal{" tw-long" if len(view.goal) > 110 else ""}" data-episode="{view.id}" '
        f'data-step="{seen.number}"><p><span class="tw-sr">Goal: </span><bdi>{safe_text(view.goal, 1000)}</bdi></p>'
        f'<p class="tw-sub">{safe_text(words)} · <a href="{link}" title="Opens this screen in any browser">'
        f"link to this screen</a></p></div>"
    )


def render_status(seen: Shown | None, notice: Message | None, planner: PlannerStatus) -> str:
    """The status line: one sentence, what is under way, and how many steps were done."""
    if seen is None:
        message, busy, count = notice or Message("No episode is open."), "", ""
    else:
        view = seen.view
        message = notice or view.message
        if planner.readiness in (Readiness.MISSING, Readiness.FAILED) and message.tone is Tone.INFO and view.is_open:
            message = Message(f"{message.text} There is no planner to ask; you can still add steps by hand.")
        busy = " tw-busy" if view.is_busy else ""
        count = f'<span class="tw-count">{plural(view.num_steps, "step")} taken</span>'
        if view.waited_seconds > 1:
            count = f'<span class="tw-count" aria-hidden="true">{view.waited_seconds} s</span>{count}'
        if view.storage_fault:
            count += f'<span class="tw-fault">Not stored: {safe_text(view.storage_fault)}</span>'
    role = "alert" if message.tone is Tone.ERROR else "status"
    return (
        f'<div class="tw-card tw-status tw-{message.tone}{busy}" role="{role}" data-busy="{str(bool(busy)).lower()}">'
        f'<span class="tw-sentence">{safe_text(message.text)}</span>{count}</div>'
    )


def render_timeline(seen: Shown | None) -> str:
    """One button for each screen, with the verdict on the step taken there as a sign, a colour and words."""
    if seen is None:
        return ""
    ticks = "".join(
        _tick(seen.view, frame, outcome, is_shown=frame.number == seen.number)
        for frame, outcome in zip(seen.view.frames, seen.outcomes, strict=True)
    )
    ticks = f'<ol class="tw-timeline-list">{ticks}</ol>'
    return f'<nav class="tw-timeline" aria-label="Screens of this episode">{ticks}</nav>'


def _tick(view: EpisodeView, frame: StoredFrame, outcome: Outcome, *, is_shown: bool) -> str:
    if frame.step is None:
        name, sign, words = ("live", "●", "now") if view.is_open else ("end", "■", "the end")
    else:
        sign, words = OUTCOME_SIGNS[outcome]
        name = outcome.value or "unknown"
        words = f"{frame.step.instruction or 'no step'}: {words}"
    if frame.forecasts and frame.forecasts[-1].author == "person":
        words += ", changed by a person"
        name += " tw-by-person"
    current = ' aria-current="step"' if is_shown else ""
    label = safe_text(f"Screen {frame.number}, {words}", 200)
    return (
        f'<li><button type="button" class="tw-tick tw-tick-{name}" data-go="{frame.number}" title="{label}" '
        f'aria-label="{label}"{current}><span>{frame.number}</span><span aria-hidden="true">{sign}</span></button></li>'
    )


def render_position(seen: Shown | None) -> str:
    """Which screen is shown, and of how many."""
    if seen is None:
        return '<p class="tw-position">No screen</p>'
    back = " (looking back)" if not seen.is_live and seen.view.is_open else ""
    return f'<p class="tw-position">Screen {seen.number} of {len(seen.view.frames)}{back}</p>'


def render_screen_panel(seen: Shown | None, *, selected: str, shows_after: bool) -> str:
    """The screenshot with its marks, beside the one after it where that is asked for; or what is missing."""
    if seen is None:
        body = render_empty(
            "No episode is open",
            ["1. Choose a task or a recording on the left.", "2. Press Start: the first screen appears here.",
             "3. Forecast shows what the planner would do; nothing is done before you approve it."],
        )
        return f'<div class="tw-card tw-screen-empty">{body}</div>'
    said = said_on(seen.frame, seen.view.frames[seen.number - 2] if seen.number > 1 else None)
    try:
        uri, size = ("", ImageSize(1, 1)) if said is not None and not has_image(seen.frame) else screen_uri(seen.frame)
    except WorkbenchError as error:
        text = [seen.frame.observation.text] if seen.frame.observation.text else []
        body = render_empty("This screenshot cannot be shown", [str(error), *text])
        return f'<div class="tw-card tw-screen-empty">{body}</div>'
    note = "Recorded screen: it does not answer to what is done" if seen.view.setup.executor == "replay" else ""
    alt = _alt(seen.frame.observation) if uri else "Text without a screenshot"
    screen = render_screen(uri, size, seen.marks, alt=alt, note=note, selected=selected, said=said)
    if not shows_after:
        return screen
    return f'<div class="tw-before-after"><div>{screen}</div>{_after(seen)}</div>'


def _after(seen: Shown) -> str:
    if seen.is_live:
        return f'<figure class="tw-after">{hint("There is no screen after this one yet.")}</figure>'
    frame = seen.view.frames[seen.number]
    text = f"<pre>{safe_text(frame.observation.text, 2000)}</pre>" if frame.observation.text else ""
    if text and not has_image(frame):
        return f'<figure class="tw-after"><figcaption>After: screen {frame.number}.</figcaption>{text}</figure>'
    try:
        uri, size = screen_uri(frame)
    except WorkbenchError as error:
        return f'<figure class="tw-after">{hint(str(error))}</figure>'
    is_same = frame.screen == seen.frame.screen and frame.observation.text == seen.frame.observation.text
    same = " The screen did not change." if frame.screen and is_same else ""
    return (
        f'<figure class="tw-after"><figcaption>After: screen {frame.number}.{same}</figcaption><img src="{uri}" '
        f'alt="{_alt(frame.observation)}" width="{size.width_px}" height="{size.height_px}">{text}</figure>'
    )


def _alt(observation: Observation) -> str:
    return safe_text(f"Screenshot: {observation.summary}" if observation.summary else "Screenshot without a title")


def screen_uri(frame: StoredFrame) -> tuple[str, ImageSize]:
    """The frame's screenshot as a data URI, and its size.

    Raises:
        MissingFileError, InputError: there is none, or it is gone or damaged.
    """
    seen = frame.observation
    if seen.image_path is None or seen.image_size is None:
        return image_uri(seen)
    return _file_uri(seen.image_path), seen.image_size


@lru_cache(maxsize=48)
def _file_uri(path: Path) -> str:
    uri, _ = image_uri(Observation(image_path=path))
    return uri


def render_plan(seen: Shown | None, planner: PlannerStatus, *, selected: str) -> str:
    """The steps to come on this screen, whose they are, and what a person changed in them."""
    if seen is None:
        return card("Plan", hint("The steps that the planner foresees will be listed here."))
    made = seen.frame.forecasts[-1] if seen.frame.forecasts else None
    if made is None:
        return card("Plan", _no_plan(seen, planner))
    marks = seen.plan_marks
    fault = ""
    if not made.forecast.ok:
        fault = f'<p class="tw-fault-line">Not readable: {safe_text(made.forecast.reason)}</p>'
    changes = ""
    if made.author == "person":
        rows = "".join(f"<li><bdi>{safe_text(change, 300)}</bdi></li>" for change in made.changes)
        changes = f'<div class="tw-changes"><h3>Changed by a person</h3><ul>{rows}</ul></div>'
    rows = render_steps(marks, selected=selected) if marks else hint("No step is left in this plan.")
    count = len(seen.frame.forecasts)
    several = f'<p class="tw-sub">{count} plans were made on this screen; this is the last.</p>' if count > 1 else ""
    return card("Plan", f'{fault}<div class="tw-scroll" tabindex="-1">{rows}</div>{changes}{several}')


def _no_plan(seen: Shown, planner: PlannerStatus) -> str:
    if not seen.is_live or not seen.view.is_open:
        return hint("No forecast was made on this screen.")
    if planner.readiness is Readiness.MISSING:
        lines = [planner.sentence, "Choose another planner on the left, or train one; a small one takes minutes:"]
        return render_empty("No planner yet", lines, code=TRAIN_COMMAND)
    if planner.readiness is Readiness.FAILED:
        return render_empty("The planner cannot be used", [planner.sentence])
    if seen.view.activity is Activity.FORECASTING:
        return hint("The planner is looking ahead …")
    return hint("Forecast asks the planner for its next steps on this screen. Or add a step by hand below.")


def render_history(seen: Shown | None) -> str:
    """The steps taken, each with its verdict; a row leads to its screen."""
    if seen is None:
        return card("Steps taken", hint("Each step that is carried out is listed here."))
    taken = [(frame, outcome) for frame, outcome in zip(seen.view.frames, seen.outcomes, strict=True) if frame.step]
    if not taken:
        return card("Steps taken", hint("Nothing was done yet."))
    rows = "".join(_history_row(frame, outcome, seen.number) for frame, outcome in taken)
    return card("Steps taken", f'<div class="tw-scroll" tabindex="-1"><ol class="tw-rows">{rows}</ol></div>',
                classes="tw-history")


def _history_row(frame: StoredFrame, outcome: Outcome, shown: int) -> str:
    step = frame.step
    sign, words = OUTCOME_SIGNS[outcome]
    fault = step.error or ("" if step.had_effect or step.action is None or step.action.is_terminal else step.message)
    note = f'<span class="tw-fault">{safe_text(fault, 200)}</span>' if fault else ""
    call = call_text(step.action) if step.action is not None else "nothing was carried out"
    current, aria = (" tw-current", ' aria-current="step"') if frame.number == shown else ("", "")
    person = '<span class="tw-person">changed by a person</span>' if frame.forecasts and (
        frame.forecasts[-1].author == "person") else ""
    return (
        f'<li class="tw-row tw-executed{current}"{aria} data-mark="executed-{frame.number}" data-go="{frame.number}" '
        f'tabindex="0" title="Show this screen"><span class="tw-number" aria-hidden="true">{frame.number}</span>'
        f'<div class="tw-row-body"><span class="tw-sr">step {frame.number}:</span>'
        f'<p class="tw-instruction"><bdi>{safe_text(step.instruction or "no step could be read")}</bdi></p>'
        f'<p class="tw-meta"><code>{safe_text(call, 80)}</code>'
        f'<span class="tw-verdict tw-verdict-{outcome.value or "unknown"}">{sign} {words}</span>{person}{note}</p>'
        f"</div></li>"
    )


def render_planner(status: PlannerStatus) -> str:
    """The line under the planner's choice."""
    busy = " tw-busy" if status.readiness is Readiness.LOADING else ""
    tone = {Readiness.READY: "success", Readiness.FAILED: "error"}.get(status.readiness, "info")
    return (
        f'<div class="tw-status tw-planner tw-{tone}{busy}" role="status" data-readiness="{status.readiness}">'
        f'<span class="tw-sentence">{safe_text(status.sentence)}</span></div>'
    )
