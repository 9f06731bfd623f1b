"""The rollout lens as HTML: the list of groups, one group on its screenshot, and why each reward is what it is."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from executors.actions import format_call
from executors.errors import WorkbenchError
from executors.trajectory import image_bytes
from training.forecast import ForecastStep
from workbench.runs.reader import RolloutGroup, RolloutSummary
from workbench.screen import Mark, call_text, render_empty, render_screen, render_steps, safe_text
from workbench.train_lens import (
    Judged,
    LensSettings,
    Spread,
    completion_marks,
    group_marks,
    image_size,
    judge_group,
    observation_of,
    recorded_action,
    reference_mark,
    reference_steps,
    spread_of,
)

MAX_REPLY = 12_000
"""Characters of a reply that are shown."""


def render_group_list(groups: Sequence[RolloutSummary], *, chosen: int | None, follows: str = "") -> str:
    """The groups that fit the filters, newest first.

    Args:
        groups: oldest first, as the reader finds them.
        chosen: offset of the group that is shown.
        follows: the prompt that is followed through training; empty when all prompts are listed.
    """
    if not groups:
        return render_empty("No rollouts here", ["Nothing was written yet, or no group fits the filters."])
    best = [group.best_reward for group in groups if group.best_reward is not None]
    low = min([group.least_reward for group in groups if group.least_reward is not None], default=0.0)
    high = max(best, default=1.0)
    title = f"This prompt at {len(groups)} steps, newest first" if follows else f"{len(groups)} groups, newest first"
    rows = "".join(_group_row(group, group.offset == chosen, low, high) for group in reversed(groups))
    return f'<p class="tr-soft">{title}</p><ul class="tr-groups" aria-label="Groups of rollouts">{rows}</ul>'


def _group_row(group: RolloutSummary, is_chosen: bool, low: float, high: float) -> str:
    bar = ""
    if group.mean_reward is not None and group.least_reward is not None and group.best_reward is not None:
        span = (high - low) or 1.0
        left, right, mean = ((v - low) / span * 100 for v in (group.least_reward, group.best_reward, group.mean_reward))
        width = max(1.0, right - left)
        bar = (
            f'<span class="tr-spread" aria-hidden="true"><i style="left:{left:.1f}%;width:{width:.1f}%"></i>'
            f'<b style="left:{mean:.1f}%"></b></span>'
        )
    rewards = "not scored" if group.mean_reward is None else (
        f"mean {group.mean_reward:.3g}, {group.least_reward:.3g} to {group.best_reward:.3g}"
    )
    broken = f" · {group.num_parse_failures} unreadable" if group.num_parse_failures else ""
    current = ' aria-current="true"' if is_chosen else ""
    return (
        f'<li><button type="button" class="tr-group-row{" tr-shown" if is_chosen else ""}" data-group="{group.offset}"'
        f'{current}><span class="tr-step">{group.step}</span>'
        f'<span class="tr-goal"><bdi>{safe_text(group.goal, 90)}</bdi></span>{bar}'
        f'<span class="tr-soft">{rewards}{broken}</span></button></li>'
    )


def render_group(group: RolloutGroup, settings: LensSettings, *, chosen: int | None = None) -> str:
    """One group: its goal, its screenshot with the forecasts, and a row for each completion.

    Args:
        group: the G completions of one prompt at one step.
        settings: of the run.
        chosen: number of the completion whose whole forecast is drawn; None for the first steps of all.
    """
    judged = judge_group(group, settings)
    one = next((j for j in judged if j.number == chosen), None)
    spread = spread_of([j.reward for j in judged])
    marks = group_marks(group, judged, settings) if one is None else completion_marks(group, one, settings)
    reference = reference_mark(group, settings)
    rows = "".join(_completion(j, group, settings, is_chosen=j is one, is_linked=one is None) for j in judged)
    back = '<button type="button" class="tr-small" data-completion="">All first steps</button>' if one else ""
    drawn = f"all steps of completion {one.number}" if one else "the first step of each completion"
    return (
        f'<div class="tr-lens-head"><p class="tr-lens-goal"><bdi>{safe_text(group.goal)}</bdi></p>'
        f'<p class="tr-soft">Step {group.step} · {_spread_words(spread, judged)} · drawn: {drawn} {back} '
        f'<button type="button" class="tr-small" data-follow="{safe_text(group.prompt_id, 300)}">'
        "Follow this prompt</button></p></div>"
        f'<div class="tr-lens-body">{_picture(group, marks, reference, has_list=one is not None)}'
        f'<div class="tr-lens-list">{_reference(group, reference)}<ol class="tr-completions">{rows}</ol></div></div>'
    )


def _spread_words(spread: Spread | None, judged: Sequence[Judged]) -> str:
    if spread is None:
        return "no completion was scored"
    missing = len(judged) - spread.num_scored
    unscored = f", {missing} not scored" if missing else ""
    if spread.is_flat:
        return f"all {spread.num_scored} rewards are {spread.mean:.3g}{unscored}: this group teaches nothing"
    return (
        f"rewards {spread.least:.3g} to {spread.greatest:.3g}, mean {spread.mean:.3g}, deviation "
        f"{spread.deviation:.3g}{unscored}"
    )


def _picture(group: RolloutGroup, marks: Sequence[Mark], reference: Mark | None, *, has_list: bool) -> str:
    size = image_size(group)
    shown = [*marks, *([reference] if reference is not None and reference.anchor is not None else [])]
    if group.screen is None or size is None:
        rows = render_steps(shown) if shown else ""
        note = '<p class="tr-soft">No screenshot was kept of this prompt; its forecasts are listed.</p>'
        return f'<div class="tr-lens-picture">{note}{rows}</div>'
    try:
        data, suffix = image_bytes(observation_of(group))
    except WorkbenchError as error:
        return f'<div class="tr-lens-picture">{render_empty("This screenshot cannot be shown", [str(error)])}</div>'
    uri = f"data:image/{suffix.removeprefix('.')};base64,{base64.b64encode(data).decode('ascii')}"
    screen = render_screen(uri, size, shown, alt="Screenshot of the prompt")
    return f'<div class="tr-lens-picture">{screen}{render_steps(marks) if has_list else ""}</div>'


def _reference(group: RolloutGroup, mark: Mark | None) -> str:
    steps = reference_steps(group)
    if not steps:
        return ""
    items = "".join(f"<li>{_step_words(step)}</li>" for step in steps)
    key = f' data-mark="{mark.key}"' if mark is not None and mark.anchor is not None else ""
    return (
        f'<details class="tr-reference"{key}><summary>Reference: <bdi>{safe_text(steps[0].instruction, 80)}</bdi>'
        f"</summary><ol>{items}</ol></details>"
    )


def _step_words(step: ForecastStep) -> str:
    return f"<bdi>{safe_text(step.instruction, 200)}</bdi> <code>{safe_text(call_text(step.action), 80)}</code>"


def _completion(
    one: Judged, group: RolloutGroup, settings: LensSettings, *, is_chosen: bool, is_linked: bool
) -> str:
    first = one.forecast.first
    words = safe_text(first.instruction, 100) if first else "no step could be read"
    reward = "not scored" if one.reward is None else f"{one.reward:.3f}"
    advantage = ""
    if one.advantage is not None:
        advantage = f'<span class="tr-soft" title="Advantage">A {one.advantage:+.2f}</span>'
    tone = f'<span class="tr-tone tr-{one.tone}">{one.tone}</span>' if one.tone else ""
    fault = "" if one.forecast.ok else f'<p class="tr-bad">Unreadable: {safe_text(one.forecast.reason, 200)}</p>'
    draw = ""
    if first is not None:
        draw = f'<button type="button" class="tr-small" data-completion="{one.number}">Draw all its steps</button>'
    key = f' data-mark="forecast-{one.number}" data-tone="{one.tone}"' if is_linked else ""
    reply = f"<details><summary>Whole reply</summary><pre>{safe_text(one.forecast.raw, MAX_REPLY)}</pre></details>"
    why = _stage1_table(one, group, settings) if one.parts is not None else _stage2_words(one)
    return (
        f'<li class="tr-completion tw-forecast tw-now{" tr-shown" if is_chosen else ""}"{key} tabindex="0">'
        f'<div class="tr-completion-top"><span class="tw-number">{one.number}</span>'
        f'<span class="tr-completion-words"><bdi>{words}</bdi></span>{tone}<strong title="Reward">{reward}</strong>'
        f'{advantage}</div>{fault}<details class="tr-why"><summary>Why this reward</summary>{why}{reply}</details>'
        f"{draw}</li>"
    )


def _stage1_table(one: Judged, group: RolloutGroup, settings: LensSettings) -> str:
    """Per step: sim, rep, the discount and what it adds; then the sum beside what the trainer recorded."""
    config, result = settings.reward, one.parts
    reference = reference_steps(group)
    if not result.steps:
        why = "reference and forecast are empty" if one.forecast.ok else "no step could be read: reward.parse_failure"
        return f'<p>{why} = {result.total:.3f}{_recorded(one)}</p>'
    titles = ("t", "Forecast", "Reference", "sim", "rep", "γ<sup>t−1</sup>", "adds")
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    rows = "".join(
        f"<tr><td>{t}</td><td>{_step_words(step)}</td>"
        f"<td>{_step_words(reference[t - 1]) if t <= len(reference) else 'the reference has ended'}</td>"
        f"<td>{part.sim:.3f}</td><td>{part.rep:.0f}{' (overlong)' if part.is_overlong else ''}</td>"
        f"<td>{config.gamma ** (t - 1):.3f}</td><td>{part.discounted:+.3f}</td></tr>"
        for t, (step, part) in enumerate(zip(one.forecast.steps, result.steps, strict=False), start=1)
    )
    return (
        f'<div class="tr-wide"><table class="tr-table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        f"<p>γ<sup>t−1</sup> ({config.lambda_align:g} sim − {config.lambda_rep:g} rep), summed: "
        f"<strong>{result.total:.3f}</strong>{_recorded(one)}</p>"
    )


def _recorded(one: Judged) -> str:
    if one.reward is None or one.is_as_recorded:
        return ", as recorded" if one.reward is not None else ""
    return f'. <span class="tr-bad">The trainer recorded {one.reward:.3f}: it ran other code or settings.</span>'


def _stage2_words(one: Judged) -> str:
    """What the tool agent said about the first step, and the verdict."""
    if one.forecast.first is None:
        return "<p>No step could be read, so the tool agent was not asked: reward 0.</p>"
    grounding = one.grounding or {}
    if "error" in grounding:
        return f'<p>The tool agent failed, so this completion left its group: {safe_text(grounding["error"])}</p>'
    action = recorded_action(one)
    if action is None:
        reason = grounding.get("reason") or "it found no target"
        return f"<p>The tool agent grounded nothing: {safe_text(reason)}. Reward 0.</p>"
    verdict = "fits the recorded step" if one.reward else "does not fit the recorded step"
    return f"<p>The tool agent made of it <code>{safe_text(format_call(action), 300)}</code>, which {verdict}.</p>"
