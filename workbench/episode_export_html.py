"""An episode as one HTML file that needs nothing else: screens with their marks, words, numbers, stepped by keyboard.

The page holds its screens as data URIs and one script, which its own content security policy names by hash; the policy
allows no request at all. Without the script all screens stand below one another. Every text is escaped on the way.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache

from executors.tool_agents import get_tool_agent
from training.forecast import Forecast
from workbench.devices import setup_words
from workbench.episode_archive import OUTCOME_WORDS, day_and_time, outcome_badge, plural
from workbench.episode_drift import EpisodeDrift, episode_drift, rates_words
from workbench.episode_marks import frame_marks, render_frame_screen, step_outcome
from workbench.episode_rewards import reference_reward
from workbench.episode_store import ForecastMade, StoredEpisode, StoredFrame
from workbench.screen import render_steps, screen_script
from workbench.screen_marks import OUTCOME_SIGNS, Layer, Mark, Outcome, call_text
from workbench.screen_text import safe_text
from workbench.theme import ASSETS, read_css

LONG_TEXT = 40_000
"""Characters of a prompt or reply that the page keeps."""

_OUTCOME_WORDS = {
    Outcome.HIT: "as foreseen", Outcome.MISS: "not as foreseen", Outcome.FAILED: "not carried out",
    Outcome.UNKNOWN: "not foreseen",
}


def export_html(episode: StoredEpisode) -> str:
    """The whole episode as the text of one HTML file."""
    agent = get_tool_agent(episode.setup.tool_agent)
    drift = episode_drift(episode.frames, agent)
    rows = {row.frame_number: row for row in drift.rows}
    outcomes = [step_outcome(frame, rows.get(frame.number)) for frame in episode.frames]
    sections = [
        _section(
            episode, frame, outcome, frame_marks(episode.frames, index, drift, agent),
            episode.frames[index - 1] if index else None,
        )
        for index, (frame, outcome) in enumerate(zip(episode.frames, outcomes, strict=True))
    ]
    script = _script()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{safe_text(episode.goal, 120) or 'Episode'}</title>"
        f"<style>{read_css()}\n{_asset('episode.css')}</style></head><body>"
        f"{_header(episode, drift)}{_timeline(episode.frames, outcomes)}"
        f"<main>{''.join(sections) or '<p>No screen was stored.</p>'}</main>{_FOOTER}"
        f"<script>{script}</script></body></html>\n"
    )


@cache
def _asset(name: str) -> str:
    return (ASSETS / "export" / name).read_text(encoding="utf-8")


def _script() -> str:
    return f"const makeScreen = (element, trigger) => {{{screen_script()}}};\n{_asset('episode.js')}"


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _header(episode: StoredEpisode, drift: EpisodeDrift) -> str:
    setup = episode.setup
    horizon = "the planner's own" if setup.horizon is None else str(setup.horizon)
    facts = [
        ("Outcome", outcome_badge(episode)),
        ("Steps", f"{episode.num_steps:,}"),
        ("Planner", f"<bdi>{safe_text(episode.planner_name or 'none', 120)}</bdi>"),
        ("Task", safe_text(setup_words(setup, episode.platform), 200)),
        ("T", horizon),
        ("Begun", day_and_time(episode.created)),
        ("Plan stability", "–" if drift.stability is None else f"{drift.stability:.0%}"),
        ("Forecasts that came so", rates_words(drift) or "–"),
    ]
    if episode.owner:
        facts.append(("By", safe_text(episode.owner, 80)))
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return (
        f'<header><p class="xp-kind">Recorded episode</p><h1><bdi>{safe_text(episode.goal, 2000)}</bdi></h1>'
        f"<dl>{listed}</dl></header>"
    )


def _timeline(frames: Sequence[StoredFrame], outcomes: Sequence[Outcome]) -> str:
    items = "".join(
        f'<li><a href="#step-{frame.number}" class="xp-{_name(frame, outcome)}" title="{_step_words(frame, outcome)}">'
        f'{frame.number}<span aria-hidden="true">{OUTCOME_SIGNS[outcome]}</span>'
        f'<span class="tw-sr"> {_step_words(frame, outcome)}</span></a></li>'
        for frame, outcome in zip(frames, outcomes, strict=True)
    )
    return (
        f'<nav aria-label="Steps"><ol class="xp-timeline">{items}</ol>'
        '<p class="xp-keys">← → step · Home End · M next miss</p></nav>'
    )


def _name(frame: StoredFrame, outcome: Outcome) -> str:
    return "end" if frame.step is None else str(outcome) or "plain"


def _step_words(frame: StoredFrame, outcome: Outcome) -> str:
    return "no step" if frame.step is None else _OUTCOME_WORDS[outcome]


def _section(
    episode: StoredEpisode, frame: StoredFrame, outcome: Outcome, marks: Sequence[Mark], before: StoredFrame | None
) -> str:
    total = len(episode.frames)
    listed = [mark for mark in marks if mark.layer is not Layer.PAST]
    return (
        f'<section class="xp-step" id="step-{frame.number}" data-outcome="{_name(frame, outcome)}" tabindex="-1" '
        f'aria-label="Screen {frame.number} of {total}"><h2 class="tw-heading">Screen {frame.number} of {total}</h2>'
        f'<div class="xp-grid tw-link"><div class="tw-card tw-host">{render_frame_screen(frame, marks, before)}</div>'
        f'<div class="xp-side">{_card("Step", _done(episode, frame, outcome))}'
        f'{_card("Forecast and what came of it", render_steps(listed)) if listed else ""}{_thought(frame)}'
        f"{_details(episode, frame)}</div></div></section>"
    )


def _card(title: str, body: str) -> str:
    return f'<div class="tw-card"><h2>{title}</h2>{body}</div>'


def _done(episode: StoredEpisode, frame: StoredFrame, outcome: Outcome) -> str:
    step = frame.step
    if step is None:
        return f"<p>{_ending(episode)}</p>"
    call = "" if step.action is None else f" <code>{safe_text(call_text(step.action), 300)}</code>"
    lines = [
        f'<p class="xp-words"><bdi>{safe_text(step.instruction or "no readable step")}</bdi>{call}</p>',
        f'<p class="xp-verdict xp-{outcome or "plain"}">{OUTCOME_SIGNS[outcome]} {_OUTCOME_WORDS[outcome]}</p>',
    ]
    lines += [f'<p class="xp-fault">{safe_text(text)}</p>' for text in (step.error, step.message) if text]
    if frame.forecasts and frame.forecasts[-1].author == "person":
        changes = "; ".join(frame.forecasts[-1].changes)
        lines.append(f"<p>Changed by a person: {safe_text(changes or 'not said', 2000)}</p>")
    return "".join(lines)


def _ending(episode: StoredEpisode) -> str:
    if episode.state != "done":
        return "The episode was not over when this page was made."
    reason = f" ({safe_text(episode.stop_reason.replace('_', ' '), 80)})" if episode.stop_reason else ""
    return f"The episode ended here{reason}: the goal was {OUTCOME_WORDS[episode.outcome][1]}."


def _thought(frame: StoredFrame) -> str:
    thought = frame.forecasts[-1].forecast.thought if frame.forecasts else ""
    return _card("Thought", f'<p class="xp-text">{safe_text(thought, LONG_TEXT)}</p>') if thought else ""


def _details(episode: StoredEpisode, frame: StoredFrame) -> str:
    parts = [_fold("Time", _times(frame))]
    for number, made in enumerate(frame.forecasts, start=1):
        of = f" {number} of {len(frame.forecasts)}" if len(frame.forecasts) > 1 else ""
        parts.append(_fold(f"Forecast{of}, by the {made.author}", _forecast(episode, frame, made)))
    if frame.observation.text:
        parts.append(_fold("Text on this screen", f"<pre>{safe_text(frame.observation.text, LONG_TEXT)}</pre>"))
    return _card("Details", "".join(parts))


def _fold(title: str, body: str) -> str:
    return f"<details><summary>{safe_text(title)}</summary>{body}</details>"


def _times(frame: StoredFrame) -> str:
    plan = frame.forecasts[-1].plan_seconds if frame.forecasts else 0.0
    return (
        f"<p>Forecast {plan:.2f} s, grounding {frame.ground_seconds:.3f} s, execution {frame.execute_seconds:.3f} s</p>"
    )


def _forecast(episode: StoredEpisode, frame: StoredFrame, made: ForecastMade) -> str:
    forecast = made.forecast
    read = plural(len(forecast.steps), "step")
    result = f"Read in full: {read}."
    if not forecast.ok:
        result = f"Not readable ({forecast.kind}): {forecast.reason}. Read before that: {read}."
    changes = f"<p>Changed: {safe_text('; '.join(made.changes), 2000)}</p>" if made.changes else ""
    return (
        f"<p>{day_and_time(made.created)}. {safe_text(result)}</p>{changes}{_reward(forecast, frame, episode)}"
        f"<h3>Reply</h3><pre>{safe_text(forecast.raw, LONG_TEXT) or 'empty'}</pre>"
        f"<h3>Prompt and history</h3><pre>{safe_text(_prompt(made), LONG_TEXT)}</pre>"
    )


def _prompt(made: ForecastMade) -> str:
    """The chat messages as text; an image part is named, not shown."""
    lines = []
    for message in made.messages:
        content = message.get("content", "")
        parts = content if isinstance(content, (list, tuple)) else [{"type": "text", "text": content}]
        lines.append(f"[{message.get('role', '?')}]")
        for part in parts:
            is_text = isinstance(part, dict) and part.get("type") == "text"
            lines.append(str(part.get("text", "")) if is_text else f"[{json.dumps(part, default=str)}]")
    return "\n".join(lines) or "not stored"


def _reward(forecast: Forecast, frame: StoredFrame, episode: StoredEpisode) -> str:
    reward = reference_reward(forecast, frame.reference, episode.setup.horizon)
    if reward is None:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{t}</th><td>{part.sim:.2f}</td><td>{part.rep:g}</td><td>{part.discounted:+.3f}</td></tr>'
        for t, part in enumerate(reward.steps, start=1)
    )
    return (
        f"<p>Stage 1 reward against the reference: {reward.total:+.3f}</p>"
        + ('<table><thead><tr><th scope="col">t</th><th scope="col">sim</th><th scope="col">rep</th>'
           f'<th scope="col">part</th></tr></thead><tbody>{rows}</tbody></table>' if rows else "")
    )


_FOOTER = "<footer>Made by TraceR1 Workbench. This page is a recording: nothing on it acts.</footer>"
