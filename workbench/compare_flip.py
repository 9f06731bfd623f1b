"""One sample of two evaluations as HTML: both forecasts on the recorded screenshot, the reference, and the score parts.

The first step of a forecast is drawn where the evaluation's tool agent put it; later ones only where their words are
found on this very screen. Whether a step was right is the verdict that the evaluation stored, nothing is judged anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from executors.actions import Action
from executors.errors import WorkbenchError
from executors.tool_agents import ElementTreeAgent
from executors.trajectory import Observation, Step
from training.benchmarks.comparison import Flip
from training.benchmarks.evaluation import Evaluation, Sample, StepResult
from training.benchmarks.protocols.base import Outcome as PredictionOutcome
from training.benchmarks.recordings import recorded_step
from training.forecast import Forecast
from workbench.compare_html import name_html, table
from workbench.episode_marks import image_uri
from workbench.forecast_marks import forecast_marks, taken_mark
from workbench.screen import (
    Kind,
    Mark,
    Outcome,
    Place,
    call_text,
    first_place,
    render_empty,
    render_screen,
    render_steps,
    safe_text,
)

MAX_REPLY = 12_000
"""Characters of a reply that are shown."""
OUTCOME_WORDS = {
    PredictionOutcome.OK: "", PredictionOutcome.UNREADABLE: "no such step could be read",
    PredictionOutcome.NOT_GROUNDED: "no target found", PredictionOutcome.FAILED: "failed",
    PredictionOutcome.MISSING: "not predicted",
}  # fmt: skip
_AGENT = ElementTreeAgent()
"""Finds later steps on the screen by their words; what was judged is not its business."""


def sample_marks(sample: Sample, observation: Observation) -> list[Mark]:
    """The forecast of a sample as marks on its screen, each with the verdict of its lookahead where there is one."""
    if sample.forecast is None:
        return []
    marks = list(forecast_marks(Forecast.from_json(dict(sample.forecast)), observation, _AGENT))
    if marks:
        marks[0] = _first_mark(marks[0], sample.steps[0])
    return [
        replace(mark, outcome=_verdict(sample.steps[n])) if n < len(sample.steps) else mark
        for n, mark in enumerate(marks)
    ]


def _first_mark(mark: Mark, result: StepResult) -> Mark:
    """The mark of the first step where the evaluation has it."""
    prediction = result.prediction
    if prediction.action is None:
        return mark
    if prediction.outcome is PredictionOutcome.NOT_GROUNDED:
        return replace(mark, action=prediction.action, place=Place.NOT_FOUND, reason=prediction.reason)
    return replace(mark, action=prediction.action, place=first_place(prediction.action), reason="")


def _verdict(result: StepResult) -> Outcome:
    if result.score.success is None:
        return Outcome.UNKNOWN
    return Outcome.HIT if result.score.is_right else Outcome.MISS


def render_flip(flip: Flip, a: Evaluation, b: Evaluation, *, is_queued: bool) -> str:
    """Both sides of a sample, its score parts, and the button that sends it to annotation.

    Args:
        flip: the sample in both evaluations; only one of them may have it right.
        a: the first evaluation.
        b: the second one.
        is_queued: whether the sample waits for an annotator already.
    """
    try:
        step, fault = recorded_step(a, flip.a), ""
    except WorkbenchError as error:
        step, fault = None, str(error)
    reference = flip.a.steps[0].reference
    instruction = step.instruction if step is not None else reference.type
    sides = "".join(
        _side(evaluation.name, sample, step, fault, taken_mark(1, Kind.RECORDED, reference, instruction))
        for evaluation, sample in ((a, flip.a), (b, flip.b))
    )
    wrong = b.name if flip.right == a.name else a.name
    words = f"Only {name_html(flip.right)} is right; {name_html(wrong)} is not."
    groups = " · ".join(f"{name.replace('_', ' ')} {value}" for name, value in flip.a.slices.items())
    return (
        f'<article class="cmp-flip" data-sample="{safe_text(flip.id, 400)}"><header class="cmp-flip-head">'
        f'<h3 tabindex="-1"><bdi>{safe_text(flip.id, 160)}</bdi></h3><p>{words}</p>'
        f'<p class="tr-soft"><bdi>{safe_text(groups, 300)}</bdi></p><p class="cmp-buttons">'
        '<button type="button" class="tr-small" data-go="-1">← Previous</button>'
        '<button type="button" class="tr-small" data-go="1">Next →</button>'
        f"{_queue_button(is_queued)}</p></header>"
        f'<div class="tw-pair">{sides}</div>{render_parts(flip, a.name, b.name)}</article>'
    )


def _queue_button(is_queued: bool) -> str:
    if is_queued:
        return '<span class="cmp-queued">✓ in the annotation queue</span>'
    return '<button type="button" class="tr-small" data-act="queue">To annotation queue</button>'


def _side(name: str, sample: Sample, step: Step | None, fault: str, reference: Mark) -> str:
    observation = step.observation if step is not None else Observation()
    marks = [*sample_marks(sample, observation), reference]
    verdict = "right" if sample.is_right else "wrong"
    sign = "✓" if sample.is_right else "✕"
    return (
        f'<section class="tw-card cmp-side" aria-label="{safe_text(name, 120)}"><h4>{name_html(name)} '
        f'<span class="cmp-verdict cmp-{verdict}"><span aria-hidden="true">{sign}</span> {verdict}</span></h4>'
        f'<div class="tw-link tw-host">{_screen(observation, marks, fault)}</div>{_reply(sample)}</section>'
    )


def _screen(observation: Observation, marks: Sequence[Mark], fault: str) -> str:
    try:
        uri, size = image_uri(observation)
    except WorkbenchError as error:
        reason = fault or str(error)
        return render_empty("The steps without a screenshot", [reason]) + render_steps(marks)
    alt = f"Screenshot: {observation.summary}" if observation.summary else "Screenshot of the recorded step"
    return render_screen(uri, size, marks, alt=alt, note="recorded screen")


def _reply(sample: Sample) -> str:
    if sample.forecast is None:
        reason = safe_text(sample.steps[0].prediction.reason or "nobody asked it", 400)
        return f'<p class="tr-bad">No reply: {reason}</p>'
    forecast = Forecast.from_json(dict(sample.forecast))
    fault = "" if forecast.ok else f'<p class="tr-bad">Unreadable: {safe_text(forecast.reason, 300)}</p>'
    if not forecast.raw:
        return fault
    return f"{fault}<details><summary>Whole reply</summary><pre>{safe_text(forecast.raw, MAX_REPLY)}</pre></details>"


def render_parts(flip: Flip, first: str, second: str) -> str:
    """For each lookahead the recorded action, what each side has for it, and what the protocol gave for it."""
    head = ["t", "Recorded"]
    for name in (first, second):
        head += [name_html(name, 60), f"{name_html(name, 60)}, score"]
    rows = [
        f'<tr><th scope="row">{t}</th><td><code>{_action(mine.reference)}</code></td>'
        f"{_prediction_cells(mine)}{_prediction_cells(theirs)}</tr>"
        for t, (mine, theirs) in enumerate(zip(flip.a.steps, flip.b.steps, strict=False), start=1)
    ]
    caption = (
        "Score by lookahead: t = 1 is the present step, which makes the sample right or wrong. Later steps were judged "
        "on the screens on which they were due."
    )
    return f'<div class="cmp-parts">{table(head, rows, caption=caption)}</div>'


def _prediction_cells(result: StepResult) -> str:
    prediction, score = result.prediction, result.score
    action = "" if prediction.action is None else f"<code>{_action(prediction.action)}</code>"
    words = ": ".join(filter(None, (OUTCOME_WORDS[prediction.outcome], prediction.reason)))
    why = f'<span class="tr-soft">{safe_text(words, 200)}</span>' if words else ""
    if score.success is None:
        verdict = "not counted"
    else:
        sign, name = ("✓", "right") if score.is_right else ("✕", "wrong")
        shown = f'<span aria-hidden="true">{sign}</span> {score.success:.2g}'
        verdict = f'<span class="cmp-verdict cmp-{name}">{shown}</span>'
    parts = {"type": float(score.is_type_right), "grounding": score.grounding, **score.parts}
    listed = ", ".join(f"{part.replace('_', ' ')} {value:.2g}" for part, value in parts.items() if value is not None)
    return f'<td>{action} {why}</td><td>{verdict} <span class="tr-soft">{safe_text(listed, 300)}</span></td>'


def _action(action: Action) -> str:
    """The action as a call, with its points in percent of the screen."""
    points = [p for p in (action.point, action.start_point, action.end_point) if p is not None]
    at = " to ".join(f"{100 * p.x:.0f} %, {100 * p.y:.0f} %" for p in points)
    return safe_text(call_text(action) + (f" at {at}" if at else ""), 160)
