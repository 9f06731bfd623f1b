"""The Compare tab: stored evaluations against each other, their flips, the leaderboard, and new evaluations.

The page is a reader that asks `CompareViews`; what changes anything goes through `CompareHandlers`, where the person's
role is checked. The role is also needed for the plan of a launch, which looks at files of this machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from executors.errors import InputError, WorkbenchError
from workbench.compare_desk import Choice, CompareDesk, FlipChoice
from workbench.compare_launch import EvaluationForm, render_plan
from workbench.compare_views import CompareViews, choice_of
from workbench.people import People, Role, name_of
from workbench.runs.desk import RunDesk
from workbench.screen import screen_script
from workbench.tabs.train import IN_ORDER, PLOTLY, server_function
from workbench.theme import read_script
from workbench.train_html import render_broken_plan, render_message

SCRIPTS = ("page_core.js", "compare_core.js", "compare_flips.js", "compare_start.js")
_NEEDED = {
    "queue": (Role.ANNOTATOR, "send samples to annotation"),
    "unqueue": (Role.ANNOTATOR, "take samples out of the annotation queue"),
    "save": (Role.ANNOTATOR, "save comparisons"),
    "replace": (Role.OPERATOR, "replace saved comparisons"),
    "delete": (Role.OPERATOR, "delete saved comparisons"),
    "launch": (Role.OPERATOR, "launch evaluations"),
}
"""Action -> the role it takes, and its words."""
_ACTIONS = ("queue", "unqueue", "save", "delete", "launch")
"""What a button may ask for; a method of `CompareHandlers` each."""


class CompareHandlers:
    """What happens on each event; holds only what all pages share."""

    def __init__(self, desk: CompareDesk, runs: RunDesk, people: People) -> None:
        self.desk, self.runs, self.people = desk, runs, people

    def plan(self, event: gr.EventData, request: gr.Request) -> str:
        """What launching the form would do, as it is typed now."""
        data = _data(event)
        try:
            draft = EvaluationForm.of_page(data.get("form")).draft(self.runs, self.desk.shelf.root)
        except WorkbenchError as error:
            return render_broken_plan(str(error))
        return render_plan(draft, self._refusal(request))

    def _refusal(self, request: gr.Request) -> str:
        """Why this person may not launch here; empty when they may."""
        if self.runs.refusal:
            return self.runs.refusal
        try:
            self._check("launch", request)
        except WorkbenchError as error:
            return str(error)
        return ""

    def act(self, event: gr.EventData, request: gr.Request) -> str:
        """Carries out what a button asks for; the message says what came of it."""
        data = _data(event)
        try:
            what = data.get("act")
            if what not in _ACTIONS:
                raise InputError("this button sent nothing that can be done: load the page again")
            self._check("replace" if what == "save" and data.get("replace") is True else what, request)
            return getattr(self, f"_{what}")(data, name_of(request))
        except WorkbenchError as error:
            return render_message(str(error), tone="error")

    def _check(self, what: str, request: gr.Request) -> None:
        role, words = _NEEDED[what]
        self.people.check(getattr(request, "username", None), role, words)

    def _queue(self, data: Mapping[str, Any], person: str) -> str:
        wanted = FlipChoice(**{name: _text(data, name) for name in ("benchmark", "a", "b")})
        choice, id = choice_of(data), _text(data, "flip")
        flip = next((flip for flip in self.desk.flips(choice, wanted) if flip.id == id), None)
        if flip is None:
            raise InputError(f"sample {id[:120]!r} is no flip of {wanted.a} and {wanted.b}: choose one of the list")
        wrong = wanted.a if flip.right == wanted.b else wanted.b
        is_new = self.desk.queue.add(
            sample_id=id, benchmark=wanted.benchmark, evaluation=self._id_of(choice, wanted.benchmark, wrong),
            reason=f"{wrong} is wrong where {flip.right} is right", person=person,
        )  # fmt: skip
        count = self.desk.queue.count()
        waits = f"{count} sample{' waits' if count == 1 else 's wait'} for an annotator."
        return render_message(f"{id} is in the annotation queue{'' if is_new else ' already'}; {waits}", tone="success")

    def _id_of(self, choice: Choice, benchmark: str, name: str) -> str:
        found = self.desk.evaluations(choice).items()
        return next(id for id, one in found if (one.benchmark, one.name) == (benchmark, name))

    def _unqueue(self, data: Mapping[str, Any], person: str) -> str:
        number = data.get("number")
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**63:
            raise InputError(f"number {str(number)[:40]!r} is no row of the queue: load the page again")
        if not self.desk.queue.remove(number):
            return render_message("The sample had left the queue already.")
        return render_message("The sample was taken out of the queue.", tone="success")

    def _save(self, data: Mapping[str, Any], person: str) -> str:
        name = _text(data, "name").strip()
        self.desk.save(name, choice_of(data), person, replace=data.get("replace") is True)
        sentence = f"Saved as {name}; its link is the address of this page."
        return render_message(sentence, tone="success", run_id=name)

    def _delete(self, data: Mapping[str, Any], person: str) -> str:
        name = _text(data, "name")
        if not self.desk.saved.delete(name):
            return render_message(f"No comparison is saved as {name}.")
        return render_message(f"The comparison saved as {name} is deleted.", tone="success")

    def _launch(self, data: Mapping[str, Any], person: str) -> str:
        draft = EvaluationForm.of_page(data.get("form")).draft(self.runs, self.desk.shelf.root)
        run_id = self.runs.launch(draft)
        return render_message(f"{run_id} is in the queue of the Train tab.", tone="success")


def _data(event: gr.EventData) -> Mapping[str, Any]:
    return event._data if isinstance(event._data, Mapping) else {}


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name, "")
    if not isinstance(value, str):
        raise InputError(f"{name}: {str(value)[:60]!r} is not a text: load the page again")
    return value


_QUIET = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}


def build_tab(handlers: CompareHandlers, views: CompareViews) -> None:
    """Adds the tab's components and events to the Blocks that is open.

    Args:
        handlers: what happens on each event.
        views: what the page asks for.
    """
    gr.set_static_paths([PLOTLY])
    script = "\n".join([f"const PLOTLY_URL = {json.dumps(str(PLOTLY))};", *map(read_script, SCRIPTS)])
    script = script.replace("SCREEN_SCRIPT", f"(element, trigger) => {{{screen_script()}}}", 1)
    with gr.Row(elem_classes="cmp-grid"):
        with gr.Column(elem_classes="cmp-side-column"):
            desk = gr.HTML(
                _SIDE, elem_id="cmp-desk", js_on_load=script, server_functions=[
                    server_function(views, name)
                    for name in ("look", "compare", "open", "flips", "flip", "report", "form")
                ],
            )
        with gr.Column(elem_classes="cmp-main"):
            message = gr.HTML(elem_id="cmp-message", js_on_load=None)
            gr.HTML(_MAIN, elem_id="cmp-panels", js_on_load=None)
            plan = gr.HTML(elem_id="cmp-plan", js_on_load=None)
            gr.HTML(_LAUNCHED, elem_id="cmp-launched", js_on_load=None)
    desk.plan(handlers.plan, None, [plan], **IN_ORDER)
    desk.act(handlers.act, None, [message], trigger_mode="multiple", **_QUIET)


_SIDE = (
    '<div class="tr-sidebar"><section class="tw-card" aria-label="Stored evaluations"><h2>Evaluations</h2>'
    '<div id="cmp-stored"></div></section><section class="tw-card" aria-label="Saved comparisons">'
    '<h2>Saved comparisons</h2><div id="cmp-saved"></div></section></div>'
)

_TABS = (
    ("comparison", "Comparison"), ("flips", "Flips"), ("leaders", "Leaderboard"), ("new", "New evaluation"),
    ("queue", 'Annotation queue (<span id="cmp-num-queued">0</span>)'),
)  # fmt: skip

_REPORTS = (("html", "HTML"), ("md", "Markdown"), ("csv", "CSV"))

_PANELS = {
    "comparison": (
        '<div class="cmp-tools"><label><input type="checkbox" id="cmp-allow"> Let prompts differ</label>'
        '<button type="button" class="tr-small" data-clear>Clear the choice</button>'
        '<span class="cmp-tool-group">'
        '<button type="button" class="tr-small" data-act="save" data-needs-comparison disabled>Save as …</button>'
        + "".join(
            f'<button type="button" class="tr-small" data-report="{form}" data-needs-comparison disabled>{words}'
            "</button>"
            for form, words in _REPORTS
        )
        + '</span></div><div id="cmp-comparison"></div>'
    ),
    "flips": (
        '<div class="cmp-tools"><label>Pair <select id="cmp-pair"></select></label></div>'
        '<div class="cmp-flip-grid"><div id="cmp-flip-list" class="tw-card"></div><div id="cmp-flip"></div></div>'
    ),
    "leaders": '<div id="cmp-leaders"></div>',
    "new": '<div id="cmp-form" class="tw-card"></div>',
    "queue": '<div class="tw-card"><div id="cmp-queue"></div></div>',
}

_LAUNCHED = (
    '<section class="tw-card" aria-label="Launched evaluations"><h2>Evaluations in the queue</h2>'
    '<div id="cmp-runs"></div></section>'
)

_MAIN = (
    '<p id="cmp-page-note" class="tw-card tr-page-note" role="alert" hidden></p>'
    '<div class="tr-tabs" role="tablist" aria-label="Compare">'
    + "".join(
        f'<button type="button" role="tab" id="cmp-tab-{name}" aria-controls="cmp-panel-{name}" data-cmp-tab="{name}">'
        f"{label}</button>"
        for name, label in _TABS
    )
    + "</div>"
    + "".join(
        f'<div class="cmp-panel" role="tabpanel" id="cmp-panel-{name}" aria-labelledby="cmp-tab-{name}" '
        f'data-cmp-panel-of="{name}" hidden>{body}</div>'
        for name, body in _PANELS.items()
    )
)
