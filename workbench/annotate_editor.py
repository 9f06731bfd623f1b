"""An open trajectory as HTML: its head, the filmstrip, the step on its screenshot, the step's fields, the checks.

Every text is escaped. Fields carry `data-field`, the buttons of edits `data-edit`; the page sends them to
`annotate_edit.change_of`. Screenshots are named by where the server hands them out, so the browser keeps them.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence

from executors.actions import ArgKind, actions_in
from executors.geometry import BoxNorm, ImageSize
from executors.trajectory import Observation
from training.samples import spaces_of
from workbench.annotate.checks import Finding, Severity, errors
from workbench.annotate.document import MAX_DIFFICULTY, OUTCOMES, DocumentStep
from workbench.annotate.edits import MARKS
from workbench.annotate.queue import Comment
from workbench.annotate_desk import Work
from workbench.annotate_html import button, state_badge
from workbench.compare_html import name_html
from workbench.episode_archive import day_and_time, plural
from workbench.episode_edit import arguments_hint, arguments_text
from workbench.forecast_marks import recorded_mark
from workbench.screen import call_text, render_empty, render_screen, render_steps, safe_text
from workbench.screen_marks import Mark
from workbench.store import storable

ImageHref = Callable[[Observation], str]
"""Where the browser finds a screenshot; "" for one that there is none of."""
MARK_WORDS = {
    "correct": "Correct", "interruption": "Interruption", "redundant": "Redundant", "incorrect": "Incorrect",
    "ambiguous": "Ambiguous", "private": "Private data",
}
_MODE_WORDS = {"annotate": "Annotating", "review": "Reviewing", "fix": "Mending as reviewer", "look": "Looking at"}


def render_head(work: Work, findings: Sequence[Finding]) -> str:
    """What is open, how it stands, whether it is saved, and what can be done with the whole of it."""
    row, draft = work.row, work.draft
    what = f"{_MODE_WORDS[work.mode]} revision {work.revision}"
    what += " (second annotation)" if work.branch != "main" else ""
    if work.branch != "main" and not work.revision:
        what = "Annotating a second time, from the imported revision"
    tools = ""
    if draft is not None:
        tools = (
            _tool("Undo", "undo", draft.undo_note, "nothing to undo")
            + _tool("Redo", "redo", draft.redo_note, "nothing to redo")
            + button("Drop draft", "discard", title="Drops the draft with all that can be undone; revisions stay")
        )
    return (
        f'<div class="an-head-line">{button("← List", "list", title="Back to the list; the draft stays")}'
        f'<span class="an-what">{safe_text(what)} of <b>{name_html(row.source_id, 80)}</b></span>'
        f"{state_badge(row.state)}"
        f'<span class="an-saved" id="an-saved" role="status">{saved_words(work)}</span>'
        f'<span class="an-tools">{tools}{button("History", "history")}{button("Keys ?", "keys")}</span></div>'
        f'<div class="an-head-line an-finish">{_finish(work, findings)}</div>'
    )


def saved_words(work: Work) -> str:
    """When the draft was stored last."""
    return f"Saved {work.draft.saved[11:19]} UTC" if work.draft is not None else "Nothing is changed here"


def _tool(label: str, act: str, note: str | None, none: str) -> str:
    off = "" if note is not None else " disabled"
    title = safe_text(note or none, 200)
    return f'<button type="button" class="tr-small" data-act="{act}" title="{title}"{off}>{label}</button>'


def _finish(work: Work, findings: Sequence[Finding]) -> str:
    num_errors = len(errors(list(findings)))
    release = button("Give back", "release", title="Others may take the task; your draft stays")
    if work.mode in ("annotate", "fix"):
        act, label = ("submit", "Submit for review")
        if work.mode == "fix":
            act, label = ("fix", "Accept with these changes")
        off = " disabled" if num_errors else ""
        why = f'<span class="tr-bad">{plural(num_errors, "error")} to mend first</span>' if num_errors else ""
        return (
            '<label class="an-why">What you did <input id="an-why" maxlength="2000" '
            'placeholder="such as: points corrected"></label>'
            f'<button type="button" class="tr-button tr-primary" data-act="{act}"{off}>{label}</button>{release}{why}'
        )
    if work.mode == "review":
        return (
            '<label class="an-why">Note <input id="an-why" maxlength="2000" '
            'placeholder="needed to return, may be empty to accept"></label>'
            + button("Accept", "accept", classes="tr-button tr-primary")
            + button("Return", "return", classes="tr-button tr-danger",
                     title="Sends it back with your note and your comments on steps")
            + button("Mend it myself", "mend", classes="tr-button") + release
        )
    kinds = {"waiting": "annotate", "returned": "annotate", "submitted": "review"}
    kind = kinds.get(work.task.state) if work.task else None
    return button(kind.capitalize(), "open", classes="tr-button tr-primary", mode=kind, trajectory=work.row.id
                  ) if kind else ""


# ---- the whole trajectory


def render_whole(work: Work) -> str:
    """Goal, outcome and difficulty."""
    off = "" if work.is_editable else " disabled"
    document = work.document
    outcomes = "".join(
        f'<option value="{one}"{" selected" if one == document.outcome else ""}>{one or "unknown"}</option>'
        for one in OUTCOMES
    )
    difficulty = "" if document.difficulty is None else document.difficulty
    return (
        f'<label class="an-goal">Goal {_area("goal", document.goal, 2, off)}</label>'
        f'<label>Outcome <select data-field="outcome"{off}>{outcomes}</select></label>'
        f'<label>Difficulty <input data-field="difficulty" inputmode="numeric" size="4" '
        f'placeholder="0..{MAX_DIFFICULTY}" value="{difficulty}"{off}></label>'
        f'<span class="tr-soft">{safe_text(document.platform)} · {safe_text(document.source, 80)}</span>'
        '<p class="an-field-error" data-error-of="goal outcome difficulty" role="alert" hidden></p>'
    )


def _raw(text: str) -> str:
    """A text as a field holds it: escaped and otherwise as it is, because what is shown is what is sent back."""
    return html.escape(storable(text), quote=True)


def _area(name: str, text: str, rows: int, off: str) -> str:
    """A field of several lines; a parser drops the first line end, so one is given for it to drop."""
    return f'<textarea data-field="{name}" rows="{rows}"{off}>\n{_raw(text)}</textarea>'


# ---- the filmstrip


def render_strip(work: Work, key: str, findings: Sequence[Finding], image_href: ImageHref) -> str:
    """One picture for each step with its number, its action and what the checks and the marks say of it."""
    by_step: dict[str, list[Finding]] = {}
    for finding in findings:
        by_step.setdefault(finding.key, []).append(finding)
    return "".join(
        _frame(number, step, step.key == key, by_step.get(step.key, []), image_href)
        for number, step in enumerate(work.document.steps, start=1)
    )


def _frame(number: int, step: DocumentStep, is_shown: bool, found: Sequence[Finding], image_href: ImageHref) -> str:
    signs = []
    if any(finding.severity is Severity.ERROR for finding in found):
        signs.append('<span class="tr-bad" title="errors">✕</span>')
    elif found:
        signs.append('<span class="an-warn" title="warnings">⚠</span>')
    if step.is_correct:
        signs.append('<span class="an-ok" title="marked correct">✓</span>')
    signs += [f'<span class="an-flag" title="marked {flag}">{flag[:3]}</span>' for flag in sorted(step.step.flags)]
    href = image_href(step.step.observation)
    image = (f'<img src="{safe_text(href, 4000)}" alt="" loading="lazy" decoding="async" draggable="false">' if href
             else '<span class="an-no-image">no screen</span>')
    return (
        f'<li data-id="{step.key}"><button type="button" class="an-frame" data-step="{step.key}" '
        f'aria-current="{str(is_shown).lower()}" aria-label="Step {number}: {safe_text(step.step.instruction, 120)}">'
        f'<span class="an-picture">{image}</span><span class="an-frame-line">'
        f'<span class="an-frame-number">{number}</span><code>{safe_text(call_text(step.step.action), 26)}</code>'
        f"{''.join(signs)}</span></button></li>"
    )


# ---- the step on its screenshot


def render_step_screen(work: Work, key: str, image_href: ImageHref, *, forecast: Sequence[Mark] = ()) -> str:
    """The step's action on its screenshot, its target and private boxes, and the rows of what is drawn."""
    place = work.document.place(key)
    step = work.document.steps[place]
    seen = step.step.observation
    mark = recorded_mark(place + 1, step.step, is_editable=work.is_editable)
    marks = [*forecast, mark]
    href = image_href(seen)
    takes = _takes(step)
    rows = f'<div class="an-rows">{render_steps(marks, selected=mark.key)}</div>'
    said = None
    if seen.text:
        before = work.document.steps[place - 1].step.action if place else None
        said = ("at the start" if before is None else call_text(before), seen.text)
    if not href or seen.image_size is None:
        shown = render_empty("This step has no screenshot", ()) if said is None else render_screen(
            "", ImageSize(1, 1), marks, alt="This step has no screenshot", selected=mark.key, said=said)
        return f'<div data-takes="">{shown}{rows}</div>'
    boxes: list[tuple[str, BoxNorm, str]] = [("an-private", box, "private: blurred in exports") for box in step.blur]
    if step.step.target is not None:
        boxes.insert(0, ("an-target", step.step.target, "the target's box"))
    alt = f"Screenshot of step {place + 1}" + (f": {seen.summary}" if seen.summary else "")
    selected = mark.key if work.is_editable else ""
    screen = render_screen(href, seen.image_size, marks, alt=alt, selected=selected, boxes=boxes, said=said)
    return f'<div data-takes="{takes if work.is_editable else ""}">{screen}{rows}</div>'


def _takes(step: DocumentStep) -> str:
    """What a click on the screenshot sets: "point", "ends" of a drag, or nothing."""
    names = {arg.name for arg in step.step.action.spec.args if arg.kind is ArgKind.POINT}
    return "ends" if "start_point" in names else "point" if "point" in names else ""


# ---- the step's fields


def render_fields(work: Work, key: str, screens: Mapping[str, Observation]) -> str:
    """What a person reads and writes of a step, and what can be done with it in the row of steps."""
    place = work.document.place(key)
    step = work.document.steps[place]
    off = "" if work.is_editable else " disabled"
    title = f"Step {place + 1} of {len(work.document.steps)}"
    return (
        f"<h2>{title}</h2>{_step_tools(work, place) if work.is_editable else ''}"
        f"{_action_fields(work, step, off)}"
        '<p class="an-field-error" data-error-of="type arguments target" role="alert" hidden></p>'
        f"<label>Instruction {_area('instruction', step.step.instruction, 2, off)}</label>"
        f"<label>Thought {_area('thought', step.step.thought, 3, off)}</label>"
        '<p class="an-field-error" data-error-of="instruction thought" role="alert" hidden></p>'
        f"{_marks(step, off)}{_boxes(step, off)}{_pairing(work, step, screens, off)}"
        + (f'<p class="tr-bad">This step failed when it was recorded: {safe_text(step.step.error, 300)}</p>'
           if step.step.error else "")
    )


def _action_fields(work: Work, step: DocumentStep, off: str) -> str:
    action = step.step.action
    known = [spec.name for spec in actions_in(*spaces_of(work.document.platform))]
    if action.type not in known:
        known.insert(0, action.type)  # it is told by the checks, and must be seen to be changed
    types = "".join(
        f'<option{" selected" if name == action.type else ""}>{safe_text(name, 60)}</option>' for name in known)
    return (
        f'<div class="an-pair"><label>Action <select data-field="type"{off}>{types}</select></label>'
        f'<label class="an-grow">Arguments <input data-field="arguments" spellcheck="false" autocomplete="off" '
        f'value="{_raw(arguments_text(action))}"{off}></label></div>'
        f'<p class="tr-help">{safe_text(arguments_hint(action.type), 300)}</p>'
    )


def _step_tools(work: Work, place: int) -> str:
    def tool(label: str, edit: str, title: str, *, off: bool = False, **data: object) -> str:
        told = "".join(f' data-{name}="{value}"' for name, value in data.items())
        return (f'<button type="button" class="tr-small" data-edit="{edit}" title="{title}"{told}'
                f'{" disabled" if off else ""}>{label}</button>')

    last = len(work.document.steps) - 1
    return (
        '<div class="an-tools an-step-tools" role="group" aria-label="Steps">'
        + tool("Insert after", "insert", "A new step after this one") + tool("Duplicate", "duplicate", "The step twice")
        + tool("Split", "split", "Two steps of what one does at once")
        + tool("Merge with next", "merge", "One step of this and the next", off=place == last)
        + tool("← Earlier", "move", "Moves the step back", off=place == 0, by=-1)
        + tool("Later →", "move", "Moves the step on", off=place == last, by=1)
        + tool("Delete", "delete", "Takes the step out", off=last == 0) + "</div>"
        '<div class="an-tools" role="group" aria-label="Help from models">'
        + button("Ask planner", "forecast", title="Its forecast from this screen, to accept or reject step by step")
        + button("Ground words", "ground", title="Finds the instruction's target among the screen's elements")
        + "</div>"
    )


def _marks(step: DocumentStep, off: str) -> str:
    on = set(step.step.flags) | ({"correct"} if step.is_correct else set())
    boxes = "".join(
        f'<label class="an-mark"><input type="checkbox" data-mark-name="{name}"{" checked" if name in on else ""}{off}>'
        f" {MARK_WORDS[name]}</label>"
        for name in MARKS
    )
    return f'<fieldset class="an-marks"><legend>Marks</legend>{boxes}</fieldset>'


def _edges(box: BoxNorm) -> str:
    return ", ".join(f"{edge:.4f}".rstrip("0").rstrip(".") for edge in (box.left, box.top, box.right, box.bottom))


def _boxes(step: DocumentStep, off: str) -> str:
    target = "" if step.step.target is None else _edges(step.step.target)
    private = "".join(
        f'<li data-id="{number}-{_edges(box)}"><code>{_edges(box)}</code> '
        + ("" if off else f'<button type="button" class="tr-small" data-edit="unprivate" data-value="{number}" '
           f'aria-label="Take private box {number + 1} away">✕</button>') + "</li>"
        for number, box in enumerate(step.blur)
    )
    listed = f'<ul class="an-private-list" aria-label="Private boxes">{private}</ul>' if private else ""
    return (
        f'<label>Target box <input data-field="target" spellcheck="false" value="{target}" '
        f'placeholder="left, top, right, bottom, each 0..1; empty for none"{off}></label>'
        f'<label>New private box <input data-field="private" spellcheck="false" value="" '
        f'placeholder="draw it on the screen, or write left, top, right, bottom"{off}></label>{listed}'
    )


def _pairing(work: Work, step: DocumentStep, screens: Mapping[str, Observation], off: str) -> str:
    places = {one.key: number for number, one in enumerate(work.document.steps, start=1)}
    options, shown = [], set()
    for key, seen in screens.items():
        if key == step.key or (seen.image_path, seen.summary) == _look(step.step.observation):
            continue
        if (seen.image_path, seen.summary) in shown:
            continue
        shown.add((seen.image_path, seen.summary))
        words = f"screen of step {places[key]}" if key in places else "screen of a step that was taken out"
        options.append(f'<option value="{key}">{safe_text(words + (f": {seen.summary}" if seen.summary else ""), 90)}'
                       "</option>")
    if not options:
        return ""
    return (f'<label>Screenshot <select data-field="screen"{off}><option value="">this step\'s own</option>'
            f'{"".join(options)}</select></label>')


def _look(seen: Observation) -> tuple[object, str]:
    return seen.image_path, seen.summary


# ---- checks and comments


def render_checks(work: Work, findings: Sequence[Finding]) -> str:
    """What is wrong, each with its step as a link."""
    if not findings:
        return '<p class="an-ok">✓ The checks find nothing wrong.</p>'
    places = {step.key: number for number, step in enumerate(work.document.steps, start=1)}
    rows = []
    for finding in findings:
        is_error = finding.severity is Severity.ERROR
        sign = '<span class="tr-bad">✕ error</span>' if is_error else '<span class="an-warn">⚠ warning</span>'
        where = _step_link(finding.key, places)
        rows.append(f'<li data-id="{safe_text(finding.rule, 60)}-{finding.key}">{sign} {where}'
                    f"{safe_text(finding.message, 400)}</li>")
    num_errors = len(errors(list(findings)))
    counts = f"{plural(num_errors, 'error')}, {plural(len(findings) - num_errors, 'warning')}"
    told = f'<p class="tr-soft">{counts}. Errors block submission, warnings do not.</p>'
    return f'{told}<ul class="an-checks">{"".join(rows)}</ul>'


def _step_link(key: str, places: Mapping[str, int]) -> str:
    """The way to a step; "" where it is none of this trajectory."""
    if key not in places:
        return ""
    return f'<button type="button" class="an-link" data-step="{key}">step {places[key]}</button>: '


def render_comments(work: Work, comments: Sequence[Comment], key: str) -> str:
    """What was said, open comments first, and where a reviewer says more about this step."""
    places = {step.key: number for number, step in enumerate(work.document.steps, start=1)}
    rows = []
    for one in sorted(comments, key=lambda c: c.resolved_by is not None):
        where = _step_link(one.step, places) or ("a step that is gone: " if one.step else "")
        done = (f'<span class="an-ok">✓ done ({name_html(one.resolved_by or "this server", 40)})</span>'
                if one.resolved_by is not None else button("Done", "resolve", comment=one.number))
        rows.append(
            f'<li data-id="{one.number}"{" class=an-done" if one.resolved_by is not None else ""}>{where}'
            f'<bdi>{safe_text(one.text, 4000)}</bdi> <span class="tr-soft">'
            f"{name_html(one.author or 'this server', 40)}, revision {one.revision}, {day_and_time(one.created)}</span>"
            f" {done}</li>"
        )
    listed = f'<ul class="an-checks">{"".join(rows)}</ul>' if rows else '<p class="tr-soft">No comments.</p>'
    if work.mode != "review":
        return listed
    return (
        f'{listed}<label>What is wrong with step {places[key]} <textarea id="an-comment" data-comment-step="{key}" '
        'rows="2" placeholder="goes with the task when you return it"></textarea></label>'
    )
