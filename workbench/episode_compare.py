"""Two episodes side by side, step by step: what is the same, where they part, and the two screens of one step.

Steps are aligned by their number. A step that a person chooses comes back as an event (assets/js/archive.js):
{"what": "step", "step": N}. Every text is escaped on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from executors.tool_agents import ToolAgent, get_tool_agent
from training.drift import hit
from training.forecast import ForecastStep, without_points
from workbench.episode_archive import day_and_time, outcome_badge, plural
from workbench.episode_drift import EpisodeDrift, episode_drift, rates_words
from workbench.episode_marks import frame_marks, is_by_person, render_frame_screen
from workbench.episode_store import StoredEpisode, StoredFrame
from workbench.screen import render_empty, screen_script
from workbench.screen_marks import Layer, call_text
from workbench.screen_text import safe_text
from workbench.theme import read_script


class Agreement(StrEnum):
    """How the steps of one number compare."""

    SAME = "same"
    DIFFERENT = "different"
    ONLY_LEFT = "only left"
    ONLY_RIGHT = "only right"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedStep:
    """Two steps of one number, counted from 1; None where the episode has no such step.

    `is_same_screen` says whether both were taken on the same pixels; None where a screen is not stored.
    """

    number: int
    left: StoredFrame | None
    right: StoredFrame | None
    agreement: Agreement
    is_same_screen: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two episodes step by step; `differences` says in words in what their tasks differ, empty when in nothing."""

    left: StoredEpisode
    right: StoredEpisode
    left_drift: EpisodeDrift
    right_drift: EpisodeDrift
    steps: tuple[ComparedStep, ...]
    differences: tuple[str, ...]

    @property
    def first_difference(self) -> int | None:
        """The number of the first step that is not the same; None when all are."""
        return next((step.number for step in self.steps if step.agreement is not Agreement.SAME), None)


def compare_episodes(left: StoredEpisode, right: StoredEpisode) -> Comparison:
    """Both episodes laid side by side by step number, failed steps included.

    Two steps are the same when both did, or failed to do, the same type with the same arguments on the same target: on
    equal screens by their points, else by their words (`training.drift.hit`).
    """
    taken = [
        {frame.number: frame for frame in episode.frames if frame.step is not None} for episode in (left, right)
    ]
    agent = get_tool_agent(right.setup.tool_agent)
    steps = []
    for number in sorted(set(taken[0]) | set(taken[1])):
        one, other = taken[0].get(number), taken[1].get(number)
        is_same_screen = one.screen == other.screen if one and other and one.screen and other.screen else None
        agreement = Agreement.ONLY_RIGHT if one is None else Agreement.ONLY_LEFT if other is None else (
            Agreement.SAME if _is_same(one, other, bool(is_same_screen), agent) else Agreement.DIFFERENT
        )
        steps.append(
            ComparedStep(number=number, left=one, right=other, agreement=agreement, is_same_screen=is_same_screen)
        )
    return Comparison(
        left=left, right=right, steps=tuple(steps), differences=tuple(_differences(left, right)),
        left_drift=episode_drift(left.frames, get_tool_agent(left.setup.tool_agent)),
        right_drift=episode_drift(right.frames, agent),
    )


def _is_same(left: StoredFrame, right: StoredFrame, is_same_screen: bool, agent: ToolAgent) -> bool:
    one, other = left.step.to_step(), right.step.to_step()
    if one is None or other is None or (one.error is None) != (other.error is None):
        first, second = _meant(left), _meant(right)
        return one is other is None and first is not None and first == second
    action = one.action if is_same_screen else without_points(one.action)
    return hit(ForecastStep(action=action, instruction=one.instruction), other, agent)


def _meant(frame: StoredFrame) -> ForecastStep | None:
    """What the planner wanted to do on the frame."""
    return frame.step.forecast.first if frame.step.forecast is not None else None


_TASK_FIELDS = {"executor": "device", "task": "task", "split": "split", "seed": "seed", "position": "place in the file"}


def _differences(left: StoredEpisode, right: StoredEpisode) -> list[str]:
    found = []
    for field, name in _TASK_FIELDS.items():
        one, other = getattr(left.setup, field), getattr(right.setup, field)
        if one != other:
            found.append(f"{name}: {'none' if one == '' else one} and {'none' if other == '' else other}")
    if left.goal != right.goal:
        found.append(f"goal: “{left.goal}” and “{right.goal}”")
    return found


def render_comparison(comparison: Comparison, number: int = 1) -> str:
    """The comparison: how both did, all steps in two columns, and the two screens of one step.

    Args:
        comparison: of `compare_episodes`.
        number: the step whose screens are shown; one that is not there shows the nearest.
    """
    sides = ((comparison.left, comparison.left_drift, "Left"), (comparison.right, comparison.right_drift, "Right"))
    heads = "".join(_side_head(*side) for side in sides)
    if not comparison.steps:
        body = render_empty("Nothing to compare yet", ["Neither episode has a step: open one and let it act first."])
        return f'<div class="tw-compare"><div class="tw-pair">{heads}</div>{_task_note(comparison)}{body}</div>'
    number = min((step.number for step in comparison.steps), key=lambda n: abs(n - number))
    shown = next(step for step in comparison.steps if step.number == number)
    screens = "".join(
        _side_screen(episode, drift, name, number) for episode, drift, name in sides
    )
    return (
        f'<div class="tw-compare"><div class="tw-pair">{heads}</div>{_task_note(comparison)}'
        f"<p class=\"tw-verdict\">{_verdict(comparison)}</p>{_steps_table(comparison, number)}"
        f'<h3 class="tw-heading">Step {number}: {_agreement_words(shown)}</h3>'
        f'<div class="tw-pair">{screens}</div></div>'
    )


def _side_head(episode: StoredEpisode, drift: EpisodeDrift, name: str) -> str:
    stability = "no plan to follow up" if drift.stability is None else f"plan stability {drift.stability:.0%}"
    came_so = rates_words(drift)
    foresight = f"Came so {came_so}" if came_so else "No step was forecast ahead"
    return (
        f'<section class="tw-card" aria-label="{name} episode"><h2>{name}</h2>'
        f'<p class="tw-compare-goal"><a href="?episode={episode.id}"><bdi>{safe_text(episode.goal, 300)}</bdi></a></p>'
        f'<p>{outcome_badge(episode)} {plural(episode.num_steps, "step")}</p>'
        f'<p class="tw-sub">Planner <bdi>{safe_text(episode.planner_name or "none yet", 80)}</bdi> · '
        f"{safe_text(episode.setup.task, 80)} · {day_and_time(episode.created)}</p>"
        f'<p class="tw-sub">{foresight}; {stability}</p></section>'
    )


def _task_note(comparison: Comparison) -> str:
    if not comparison.differences:
        return ""
    listed = "; ".join(safe_text(words, 400) for words in comparison.differences)
    return (
        '<p class="tw-status tw-error tw-compare-note" role="note"><span class="tw-sentence">These are different tasks '
        f"({listed}). Steps stand side by side by their number only.</span></p>"
    )


def _verdict(comparison: Comparison) -> str:
    same = sum(step.agreement is Agreement.SAME for step in comparison.steps)
    first = comparison.first_difference
    if first is None:
        return f"All {plural(same, 'step')} are the same."
    return (
        f"{same} of {plural(len(comparison.steps), 'step')} are the same. "
        f'<button type="button" data-act="step" data-step="{first}">Show the first difference, step {first}</button>'
    )


_AGREEMENT_SIGNS = {Agreement.SAME: "=", Agreement.DIFFERENT: "≠", Agreement.ONLY_LEFT: "←", Agreement.ONLY_RIGHT: "→"}


def _agreement_words(step: ComparedStep) -> str:
    screen = {True: " on the same screen", False: " on different screens", None: ""}[step.is_same_screen]
    words = {
        Agreement.SAME: "the same step", Agreement.DIFFERENT: "different steps",
        Agreement.ONLY_LEFT: "the right episode has no such step",
        Agreement.ONLY_RIGHT: "the left episode has no such step",
    }
    return words[step.agreement] + screen


def _steps_table(comparison: Comparison, shown: int) -> str:
    current = ' aria-current="step"'
    rows = "".join(
        f'<tr class="tw-agree-{step.agreement.replace(" ", "-")}"'
        f"{current if step.number == shown else ''}>"
        f'<th scope="row"><button type="button" data-act="step" data-step="{step.number}">{step.number}</button></th>'
        f"<td>{_cell(step.left)}</td><td><span aria-hidden=\"true\">{_AGREEMENT_SIGNS[step.agreement]}</span>"
        f'<span class="tw-sr">{step.agreement}</span></td><td>{_cell(step.right)}</td></tr>'
        for step in comparison.steps
    )
    return (
        '<div class="tw-archive-scroll"><table class="tw-compare-steps"><thead><tr><th scope="col">Step</th>'
        '<th scope="col">Left</th><th scope="col"><span class="tw-sr">Agreement</span></th><th scope="col">Right</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(frame: StoredFrame | None) -> str:
    if frame is None:
        return '<span class="tw-sub">no such step</span>'
    step = frame.step
    action = step.action or (first.action if (first := _meant(frame)) is not None else None)
    call = f" <code>{safe_text(call_text(action), 80)}</code>" if action is not None else ""
    by = ' <span class="tw-sub">changed by a person</span>' if is_by_person(frame) else ""
    fault = f'<span class="tw-fault">{safe_text(step.error, 200)}</span>' if step.error else ""
    return f"<bdi>{safe_text(step.instruction or 'no readable step', 200)}</bdi>{call}{by}{fault}"


def _side_screen(episode: StoredEpisode, drift: EpisodeDrift, name: str, number: int) -> str:
    index = next((i for i, frame in enumerate(episode.frames) if frame.number == number), None)
    if index is None:
        body = render_empty(f"{name}: no step {number}", ["This episode was over by then."])
        return f'<div class="tw-card">{body}</div>'
    marks = frame_marks(episode.frames, index, drift, get_tool_agent(episode.setup.tool_agent))
    body = render_frame_screen(
        episode.frames[index], [m for m in marks if m.layer in (Layer.NOW, Layer.FORECAST)],
        episode.frames[index - 1] if index else None,
    )
    return f'<div class="tw-card tw-link tw-host" aria-label="{name}, step {number}">{body}</div>'


def comparison_script() -> str:
    """The script of an element that holds a comparison: its events, and the screen component on either side."""
    return f"const makeScreen = (element, trigger) => {{{screen_script()}}};\n{read_script('archive.js')}"
