"""What a page of the Episode tab is shown: the value of every panel, button and field, from what it looks at."""

from __future__ import annotations

from typing import Any

from executors.actions import ACTIONS, actions_in
from executors.errors import InputError
from training.samples import spaces_of
from workbench.episode_edit import arguments_hint, arguments_text
from workbench.episode_html import (
    hint,
    render_approval,
    render_goal,
    render_history,
    render_plan,
    render_planner,
    render_position,
    render_screen_panel,
    render_status,
    render_timeline,
)
from workbench.episode_page import Page, Shown
from workbench.model_html import render_drift, render_model
from workbench.planner_shelf import PlannerStatus, Readiness

PANELS = (
    "goal", "status", "timeline", "screen", "position", "plan", "model", "drift", "history", "planner_status",
    "step_title", "approval",
)
BUTTONS = (
    "forecast", "act", "run", "pause", "stop", "reset", "back", "on", "apply", "before", "after", "delete",
    "reforecast", "reference", "html", "json", "keep", "correct", "approve", "modify", "reject", "terminate",
    "escalate",
)
FIELDS = ("type", "arguments", "words")
OUTPUTS = PANELS + BUTTONS + FIELDS

_NO_EDIT = "Steps can be changed, added and taken away here before they are carried out."


def updates_of(
    page: Page, seen: Shown | None, planner: PlannerStatus, *, may_act: bool, may_operate: bool
) -> dict[str, Any]:
    """The value of each of `OUTPUTS`; the step's fields are left out while they stay as they are.

    Args:
        page: whose page it is; its selected step is moved into the plan.
        seen: what it looks at, None for no episode.
        planner: of the planner that the episode asks.
        may_act: whether the person may change and run episodes.
        may_operate: whether the person may decide what is done on a real device.
    """
    view = None if seen is None else seen.view
    count = len(view.plan.forecast.steps) if view and view.plan else 0
    page.selected = max(1, min(page.selected, count)) if count else 1
    selected = f"forecast-{page.selected}" if count and seen.is_live else ""
    has_planner = planner.readiness in (Readiness.READY, Readiness.LOADING)
    updates: dict[str, Any] = {
        "goal": render_goal(seen),
        "status": render_status(seen, page.notice, planner),
        "timeline": render_timeline(seen),
        "screen": render_screen_panel(seen, selected=selected, shows_after=page.shows_after),
        "position": render_position(seen),
        "plan": render_plan(seen, planner, selected=selected),
        "model": render_model(seen),
        "drift": render_drift(seen),
        "history": render_history(seen),
        "approval": render_approval(view),
        "planner_status": render_planner(planner),
    }
    may_decide = view is not None and view.pending is not None and may_operate
    updates |= {name: may_decide for name in ("approve", "modify", "reject", "terminate", "escalate")}
    can_edit = view is not None and view.can_edit and may_act and seen.is_live
    is_step = can_edit and count > 0
    updates |= {
        "forecast": view is not None and view.can_forecast and has_planner and may_act,
        "act": view is not None and view.can_act and may_act,
        "run": view is not None and view.can_forecast and has_planner and may_act,
        "pause": view is not None and view.can_pause and may_act,
        "stop": view is not None and view.can_stop and may_act,
        "reset": view is not None and view.can_reset and may_act,
        "back": seen is not None and seen.number > 1,
        "on": seen is not None and not seen.is_live,
        "apply": is_step,
        "before": can_edit,
        "after": is_step,
        "delete": is_step,
        "reforecast": is_step and has_planner,
        "reference": can_edit and bool(view.frames[-1].reference),
        "html": view is not None,
        "json": view is not None,
        "keep": view is not None and view.num_steps > 0 and not view.is_busy and may_act,
        "correct": view is not None and view.num_steps > 0 and not view.is_open and may_act,
    }
    return updates | _form(page, seen, count, can_edit=can_edit or may_decide and seen.is_live)


def _form(page: Page, seen: Shown | None, count: int, *, can_edit: bool) -> dict[str, Any]:
    """The step's fields; they are set when another step is selected or the plan changes, never while one types."""
    made = seen.view.plan if seen is not None else None
    key = (page.id, page.selected, made.created if made else "", can_edit, seen is not None and seen.is_live)
    if key == page.form_key:
        return {}
    page.form_key = key
    if not can_edit:
        if seen is not None and seen.is_live and seen.view.is_busy:  # only for a moment: nothing should jump
            return {name: {"interactive": False} for name in FIELDS}
        words = _NO_EDIT if seen is None or not seen.view.is_open else "Go to the last screen to change the plan."
        title = f'<div class="tw-step-title tw-no-edit">{hint(words)}</div>'
        return {"step_title": title, **{name: {"interactive": False} for name in FIELDS}}
    choices = _action_names(seen.view.platform)
    if count:
        mark = seen.plan_marks[page.selected - 1]
        title = f"<h2>Step {page.selected} of the plan</h2>"
        type, arguments, words = mark.action.type, arguments_text(mark.action), mark.instruction
    else:
        title, type, arguments, words = "<h2>Add a step by hand</h2>", choices[0], "", ""
    page.sent.pop("type", None)  # a person may have written over what was sent last
    page.sent.pop("arguments", None)
    page.sent.pop("words", None)
    return {
        "step_title": f'<div class="tw-step-title">{title}</div>',
        "type": {"choices": choices if type in choices else [*choices, type], "value": type, "interactive": True},
        "arguments": {"value": arguments, "info": arguments_hint(type), "interactive": True},
        "words": {"value": words, "interactive": True},
    }


def _action_names(platform: str) -> list[str]:
    """The actions of a platform; all of them where it is not known."""
    try:
        return [spec.name for spec in actions_in(*spaces_of(platform))]
    except InputError:
        return list(ACTIONS)
