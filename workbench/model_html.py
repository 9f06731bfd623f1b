"""What the planner was asked and said, how long it took, what it is worth, and how its forecasts drifted, as HTML.

Every text is escaped on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.drift import TOLERANCE
from training.forecast import Forecast, ForecastStep
from training.rewards import grounded_reward
from workbench.devices import REFERENCE_NAMES
from workbench.episode_html import card, hint, plural
from workbench.episode_page import Shown
from workbench.episode_rewards import reference_reward
from workbench.episode_store import ForecastMade, StoredFrame
from workbench.screen_marks import call_text
from workbench.screen_text import safe_text

_LONG = 20_000


def render_model(seen: Shown | None) -> str:
    """Thought, reply, how it was read, prompt, seconds and rewards of the screen that is shown."""
    if seen is None:
        return card("Thought", hint("What the planner thinks before it forecasts."))
    made = _asked(seen.frame)
    parts = [card("Thought", _thought(made.forecast if made else None))]
    if made is not None:
        parts.append(card("Reply", _reply(made.forecast)))
        parts.append(card("Prompt and history", _messages(made, seen.view.planner_name)))
    parts.append(card("Seconds", _seconds(seen.frame, made)))
    parts.append(card("Reward", _reward(seen)))
    return "".join(parts)


def _asked(frame: StoredFrame) -> ForecastMade | None:
    """The last forecast on this screen that a planner was asked for."""
    asked = [made for made in frame.forecasts if made.messages or made.author == "planner"]
    return asked[-1] if asked else None


def _thought(forecast: Forecast | None) -> str:
    if forecast is None:
        return hint("The planner was not asked on this screen.")
    if not forecast.thought:
        return hint("This reply holds no thought.")
    return f'<p class="tw-thought" tabindex="0">{safe_text(forecast.thought, 6000)}</p>'


def _reply(forecast: Forecast) -> str:
    count = plural(len(forecast.steps), "step")
    if forecast.ok:
        verdict = f'<p class="tw-sub">Read in full: {count}.</p>'
    else:
        kind = f" ({forecast.kind} error)" if forecast.kind else ""
        verdict = f'<p class="tw-fault-line">{count} read, then{kind}: {safe_text(forecast.reason)}</p>'
    return verdict + _details("Raw reply", forecast.raw or "The reply is empty.")


def _details(title: str, text: str) -> str:
    return (
        f'<details class="tw-raw"><summary>{title}</summary><pre tabindex="0">{safe_text(text, _LONG)}</pre></details>'
    )


def _messages(made: ForecastMade, planner_name: str) -> str:
    if not made.messages:
        return hint("No prompt was kept with this forecast.")
    note = ""
    if planner_name.startswith("replay"):
        note = '<p class="tw-sub">A recording answered; a model would have been asked this.</p>'
    return note + "".join(_message(message) for message in made.messages)


def _message(message: Mapping[str, Any]) -> str:
    parts = message.get("content", ())
    if isinstance(parts, str):
        parts = [{"type": "text", "text": parts}]
    texts = [part["text"] if part.get("type") == "text" else f"[screenshot {str(part.get('sha256', ''))[:12]}]"
             for part in parts]
    return _details(f"{safe_text(message.get('role', ''), 20)} message", "\n".join(texts))


def _seconds(frame: StoredFrame, made: ForecastMade | None) -> str:
    rows = [("Forecast", made.plan_seconds if made else None)]
    taken = frame.step is not None
    rows += [("Grounding", frame.ground_seconds if taken else None),
             ("Execution and new screen", frame.execute_seconds if taken else None)]
    cells = "".join(
        f"<tr><th scope='row'>{name}</th><td>{'–' if seconds is None else f'{seconds:.3f} s'}</td></tr>"
        for name, seconds in rows
    )
    return f'<table class="tw-figures"><tbody>{cells}</tbody></table>'


def _reward(seen: Shown) -> str:
    """The parts of both stages' rewards against the reference, with the project's own weights."""
    frame, name = seen.frame, REFERENCE_NAMES[seen.view.setup.executor]
    if not frame.reference:
        return hint("There is no reference here: nobody says what the right steps are.")
    if not frame.forecasts:
        return hint(f"A forecast made here is compared with {name}.")
    forecast = frame.forecasts[-1].forecast
    reference = [ForecastStep(action=step.action, instruction=step.instruction) for step in frame.reference]
    reward = reference_reward(forecast, frame.reference, seen.view.setup.horizon)
    rows = "".join(
        f"<tr><td>{t}</td><td><bdi>{safe_text(forecast.steps[t - 1].instruction, 80)}</bdi>"
        f"{_wanted(forecast.steps[t - 1], reference[t - 1] if t <= len(reference) else None)}</td>"
        f"<td>{part.sim:.2f}</td><td>{part.rep:.0f}</td><td>{part.discounted:+.2f}</td></tr>"
        for t, part in enumerate(reward.steps, start=1)
    )
    table = (
        '<table class="tw-figures"><thead><tr><th scope="col">t</th><th scope="col">Step</th><th scope="col">sim</th>'
        f'<th scope="col">rep</th><th scope="col">part</th></tr></thead><tbody>{rows}</tbody></table>'
    )
    second = ""
    if frame.step is not None:
        value = grounded_reward(frame.step.grounding, frame.reference[0], TOLERANCE)
        words = {1.0: "1: the step taken is the reference's", 0.0: "0: the step taken is another than the reference's"}
        second = f'<p>Stage 2: {words.get(value, "none: the tool agent failed")}.</p>'
    return (
        f'<p class="tw-sub">Against {name}, with the default weights.</p>'
        f"<p>Stage 1: R = {reward.total:+.2f}</p>{table}{second}"
    )


def _wanted(step: ForecastStep, wanted: ForecastStep | None) -> str:
    if wanted is None:
        return '<span class="tw-sub">the reference has ended</span>'
    if wanted.instruction == step.instruction and call_text(wanted.action) == call_text(step.action):
        return ""
    return f'<span class="tw-sub">reference: <bdi>{safe_text(wanted.instruction, 80)}</bdi></span>'


def render_drift(seen: Shown | None) -> str:
    """The forecasts made earlier of the step on this screen, the episode's hit rates, and how steady the plan is."""
    if seen is None:
        return card("Forecast drift", hint("How earlier forecasts compare with what was then done."))
    return card("Forecasts of this step", _drift_here(seen)) + card("Whole episode", _drift_figures(seen))


def _drift_here(seen: Shown) -> str:
    row = seen.row
    if row is None:
        return hint("No step was carried out on this screen yet.")
    happened = (
        f'<p>What was done: <bdi>{safe_text(row.step.instruction, 200)}</bdi> '
        f"<code>{safe_text(call_text(row.step.action), 80)}</code></p>"
    )
    if not row.earlier:
        return happened + hint("No earlier forecast reached this step.")
    rows = "".join(
        f'<li class="tw-row tw-earlier" data-mark="earlier-{seen.number}-{foreseen.lookahead - 1}" tabindex="0">'
        f'<span class="tw-verdict tw-verdict-{"hit" if foreseen.is_hit else "miss"}">'
        f'{"✓ hit" if foreseen.is_hit else "✕ miss"}</span><div class="tw-row-body">'
        f'<p class="tw-instruction"><bdi>{safe_text(foreseen.step.instruction, 200)}</bdi></p>'
        f'<p class="tw-meta"><code>{safe_text(call_text(foreseen.step.action), 80)}</code>'
        f"<span>forecast on screen {made_on}, lookahead {foreseen.lookahead}</span></p></div></li>"
        for foreseen, made_on in zip(row.earlier, row.made_on, strict=True)
    )
    return f'{happened}<ol class="tw-rows">{rows}</ol>'


def _drift_figures(seen: Shown) -> str:
    drift = seen.drift
    if not drift.rates:
        return hint("Hit rates appear once a step that was forecast earlier has been carried out.")
    rows = "".join(
        f"<tr><th scope='row'>{rate.lookahead}</th><td>{rate.rate * 100:.0f} %</td>"
        f"<td>{rate.num_hits} of {rate.num_forecasts}</td>"
        f'<td><span class="tw-bar" style="--share:{rate.rate:.3f}"></span></td></tr>'
        for rate in drift.rates
    )
    stability = "not known yet" if drift.stability is None else f"{drift.stability * 100:.0f} %"
    return (
        '<table class="tw-figures"><thead><tr><th scope="col">Lookahead</th><th scope="col">Hit rate</th>'
        f'<th scope="col">Forecasts</th><th></th></tr></thead><tbody>{rows}</tbody></table>'
        f'<p>Plan stability: {stability}</p><p class="tw-sub">The share of each plan that survives in the next one.</p>'
    )
