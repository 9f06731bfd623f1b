"""Versions of a trajectory as HTML: its history, two revisions compared, three versions to join, a forecast to take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from executors.actions import Action
from training.forecast import ForecastStep
from workbench.annotate.document import Change, Document, DocumentStep, changed_parts, describe
from workbench.annotate.revisions import MAIN, Revision, RevisionName, spoken
from workbench.annotate.three_way import ORDER, ThreeWay
from workbench.annotate_desk import Work
from workbench.annotate_html import button
from workbench.compare_html import name_html, table
from workbench.episode_archive import day_and_time, plural
from workbench.screen import call_text, safe_text

_VERDICT_WORDS = {"mine": "only you changed it", "theirs": "only they changed it", "both": "both changed it alike",
                  "conflict": "both changed it: choose"}


# ---- history


def render_history(found: Sequence[Revision], trajectory: str, *, may_restore: bool) -> str:
    """All revisions, newest first; each can be looked at, compared with another and restored."""
    mains = [one for one in found if one.branch == MAIN]
    rows = []
    for one in reversed(found):
        changes = "".join(f"<li>{safe_text(line, 300)}</li>" for line in one.changes[:40])
        count = plural(len(one.changes), "change")
        listed = f"<details><summary>{count}</summary><ul>{changes}</ul></details>" if changes else ""
        ways = button("Look", "look", trajectory=trajectory, revision=one.number, branch=one.branch)
        if may_restore and one != (mains[-1] if mains else None):
            ways += button("Restore", "restore", number=one.number, branch=one.branch,
                           title="Makes this the newest revision; nothing is lost")
        rows.append(
            f'<tr data-id="{one.branch}-{one.number}"><th scope="row">{spoken(one.name)}</th>'
            f"<td>{name_html(one.author or '–', 60)}</td><td>{day_and_time(one.created)}</td>"
            f"<td><bdi>{safe_text(one.why, 400)}</bdi>{listed}</td>"
            f'<td class="an-row-tools">{ways}</td></tr>'
        )
    options = [
        f'<option data-branch="{one.branch}" data-number="{one.number}">revision {spoken(one.name)}</option>'
        for one in found
    ]
    compare = (
        f'<p class="cmp-tools"><label>Compare <select id="an-before">{"".join(options)}</select></label>'
        f'<label>with <select id="an-after">{"".join(reversed(options))}</select></label>'
        f"{button('Show the difference', 'difference')}</p>" if len(found) > 1 else ""
    )
    return f"{compare}{table(('Revision', 'By', 'When', 'Why and what', ''), rows, label='Revisions')}"


def render_difference(change: Change, before: Document, names: tuple[RevisionName, RevisionName]) -> str:
    """What one revision changed against another, in words and step by step."""
    old_name, new_name = map(spoken, names)
    title = f"<h3>Revision {old_name} compared with revision {new_name}</h3>"
    if change.is_empty:
        return f"{title}<p>They are equal.</p>"
    lines = "".join(f"<li>{safe_text(line, 400)}</li>" for line in describe(change, before))
    rows = [
        f'<tr><th scope="row">{_step_name(key, before, change)}</th><td>{_step(old, new)}</td>'
        f"<td>{_step(new, old)}</td></tr>"
        for key, (old, new) in change.steps.items()
    ]
    head = ("Step", f"Revision {old_name}", f"Revision {new_name}")
    return f"{title}<ul>{lines}</ul>{table(head, rows) if rows else ''}"


def _step_name(key: str, before: Document, change: Change) -> str:
    if key in before.keys:
        return str(before.place(key) + 1)
    return f"new {change.order[1].index(key) + 1}" if change.order else "new"


def _step(step: DocumentStep | None, other: DocumentStep | None) -> str:
    """A step in words, what differs from the other version marked."""
    if step is None:
        return '<span class="tr-soft">not there</span>'
    differing = set(changed_parts(other, step)) if other is not None else set()
    seen, parts = step.step.observation, []
    shown = {
        "action": f"<code>{_action(step.step.action)}</code>", "instruction": safe_text(step.step.instruction, 400),
        "thought": safe_text(step.step.thought, 400),
        "target": "" if step.step.target is None else _numbers(step.step.target),
        "marks": safe_text(", ".join([*(["correct"] if step.is_correct else []), *sorted(step.step.flags)]), 120),
        "screen": safe_text(seen.summary or (seen.image_path.stem[:8] if seen.image_path else ""), 120),
        "private boxes": str(len(step.blur)) if step.blur else "",
    }
    for name, words in shown.items():
        if name in differing:
            told = words if name in ("action", "instruction") and words else f"{name}: {words or 'none'}"
            parts.append(f'<div class="an-differs"><ins>{told}</ins></div>')
        elif words and name in ("action", "instruction"):
            parts.append(f"<div>{words}</div>")
    return "".join(parts)


def _action(action: Action) -> str:
    points = [p for p in (action.point, action.start_point, action.end_point) if p is not None]
    at = " to ".join(f"{100 * p.x:.1f} %, {100 * p.y:.1f} %" for p in points)
    return safe_text(call_text(action) + (f" at {at}" if at else ""), 200)


def _numbers(box: Any) -> str:
    return ", ".join(f"{edge:.3f}" for edge in (box.left, box.top, box.right, box.bottom))


# ---- three versions


def render_three_way(view: ThreeWay) -> str:
    """Base, theirs and mine of everything that anybody changed; a conflict is decided by a choice in its row."""
    who = safe_text(view.their_author or "Somebody", 60)
    rows = [_field_row(row) for row in view.fields if row.verdict != "same"]
    names = {key: place + 1 for place, key in enumerate(view.mine.keys)}
    for row in view.steps:
        if row.verdict != "same":
            name = f"step {names[row.name]}" if row.name in names else "a step that you do not have"
            cells = (_step(row.base, None), _step(row.theirs, row.base), _step(row.mine, row.base))
            rows.append(_row(row.name, name, row.verdict, cells))
    if view.is_order_in_conflict:
        rows.append(_row(ORDER, "order of steps", "conflict", ("", "their order", "your order")))
    theirs = f"Theirs: revision {view.their_revision}"
    head = ("What", f"Base: revision {view.base_revision}", theirs, "Yours", "Verdict")
    return (
        f'<section class="tw-card an-three" aria-label="Three versions" data-their-revision="{view.their_revision}">'
        f"<h2>{who} made revision {view.their_revision} while you worked</h2><p>Nothing of yours is lost. What only "
        "one of you changed is taken from that one. Choose where both changed the same, join, look at it, then submit "
        "again.</p>"
        f"{table(head, rows)}<p class=\"tr-buttons\">{button('Join and go on', 'join', classes='tr-button tr-primary')}"
        f"{button('Not now', 'close_three', classes='tr-button')}</p></section>"
    )


def _field_row(row: Any) -> str:
    cells = [safe_text("" if value is None else value, 400) for value in (row.base, row.theirs, row.mine)]
    return _row(row.name, row.name, row.verdict, tuple(cells))


def _row(key: str, name: str, verdict: str, cells: tuple[str, str, str]) -> str:
    base, theirs, mine = cells
    choice = _VERDICT_WORDS.get(verdict, "")
    if verdict == "conflict":
        choice = f'<span class="tr-bad">{choice}</span>' + "".join(
            f'<label class="an-choice"><input type="radio" name="choice-{safe_text(key, 60)}" '
            f'data-conflict="{safe_text(key, 60)}" value="{side}"> {words}</label>'
            for side, words in (("theirs", "theirs"), ("mine", "yours"))
        )
    return (f'<tr data-id="{safe_text(key, 60)}"><th scope="row">{safe_text(name, 60)}</th><td>{base}</td>'
            f"<td>{theirs}</td><td>{mine}</td><td>{choice}</td></tr>")


# ---- a planner's forecast


def render_forecast(work: Work, key: str, steps: Sequence[ForecastStep], planner: str) -> str:
    """Each step of a forecast beside the step of the trajectory that it would stand for."""
    place, document = work.document.place(key), work.document
    rows = []
    for number, step in enumerate(steps, start=1):
        own = document.steps[place + number - 1] if place + number <= len(document.steps) else None
        recorded = f"<code>{_action(own.step.action)}</code> {safe_text(own.step.instruction, 200)}" if own else "–"
        ways = (button("Accept", "accept_forecast", number=number) + button("Reject", "reject_forecast", number=number)
                ) if own and work.is_editable else ""
        rows.append(
            f'<tr data-forecast="{number}"><th scope="row">{number}</th><td>{recorded}</td>'
            f"<td><code>{_action(step.action)}</code> {safe_text(step.instruction, 200)}</td>"
            f'<td class="an-row-tools">{ways}</td></tr>'
        )
    head = ("t", "In this trajectory", f"Forecast of {safe_text(planner, 60)}", "")
    told = ('<p class="tr-soft">Accepting takes action and words; the place is looked up by the words on the screen of '
            "that step, and is empty where it is not found.</p>")
    return f"<h2 class=\"tw-heading\">Forecast from step {place + 1}</h2>{told}{table(head, rows)}"
