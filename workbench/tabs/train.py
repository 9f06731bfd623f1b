"""The Train tab: draft, launch, watch, stop, resume and understand runs.

The page is a reader that asks `TrainViews` for what is new; every change of a run goes through `TrainHandlers.act`,
where the person's role is checked. Nothing that matters is kept in the page or in this process: runs are processes of
their own, their folders and the queue's file are the truth.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import plotly

from executors.errors import InputError, WorkbenchError
from training.config import STAGES
from training.config_reading import from_dict, to_dict
from workbench.runs.configs import ConfigShelf, NamedConfig, difference
from workbench.runs.desk import REQUESTS, RunDesk
from workbench.runs.gpus import read_machine
from workbench.screen import render_empty, screen_script
from workbench.theme import read_script
from workbench.train_form import flatten_values, known_values, named_key, read_form
from workbench.train_html import render_broken_plan, render_message, render_plan
from workbench.train_launcher import PIPELINE, LaunchForm, render_launcher
from workbench.train_views import TrainViews

PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
"""Plotly's own script from the installed wheel, so that no page asks a CDN for it."""
SCRIPTS = ("page_core.js", "train_core.js", "train_form.js", "train_charts.js", "train_panels.js", "train_start.js")
CheckRole = Callable[[str | None, str], None]
"""(user name, "launch training") -> nothing, or an error for who may not."""

Updates = tuple[Any, Any, Any]
"""Message, form, plan."""


def allow_everyone(name: str | None, what: str) -> None:
    """The role check of a server that has no people."""


class TrainHandlers:
    """What happens on each event; holds only what all pages share."""

    def __init__(self, desk: RunDesk, shelf: ConfigShelf, check_role: CheckRole = allow_everyone) -> None:
        self.desk = desk
        self.shelf = shelf
        self.check_role = check_role

    # ---- the form

    def choose(self, event: gr.EventData, request: gr.Request) -> tuple[Any, Any]:
        """Another stage or preset, a saved config, or the form of an earlier visit: the form and its plan."""
        data = event._data if isinstance(event._data, Mapping) else {}
        try:
            form = self._chosen_form(data)
            return self._render(form), self._plan(form, request)
        except WorkbenchError as error:
            if data.get("keeps_values") is not True:
                return gr.skip(), render_broken_plan(str(error), key=named_key(error))
        form = LaunchForm().with_preset(self.desk)  # a form of another version, kept by the browser
        return self._render(form), self._plan(form, request)

    def _chosen_form(self, data: Mapping[str, Any]) -> LaunchForm:
        if isinstance(data.get("config"), str) and data["config"]:
            saved = self.shelf.load(data["config"])
            return LaunchForm(
                stage=saved.stage, preset=saved.preset, name=self.desk.new_name(saved.stage),
                values=flatten_values(saved.values),
            )
        form = LaunchForm.of_page(data.get("form", {}))
        if data.get("keeps_values") is not True or not form.values:
            return form.with_preset(self.desk)
        form = replace(form, values=known_values(form.stage, form.values))
        return form if form.name else replace(form, name=self.desk.new_name(form.stage))

    def preview(self, event: gr.EventData, request: gr.Request) -> str:
        """The plan of the form as it is typed now."""
        data = event._data if isinstance(event._data, Mapping) else {}
        try:
            form = LaunchForm.of_page(data.get("form"))
        except WorkbenchError as error:
            return render_broken_plan(str(error))
        return self._plan(form, request)

    def _plan(self, form: LaunchForm, request: gr.Request) -> str:
        refusal = self._refusal(request)
        try:
            drafts = form.drafts(self.desk)
            changes = []
            if form.stage != PIPELINE and form.preset:
                changes = difference(form.stage, to_dict(drafts[0].config), form.preset)
            # checks look at this machine's files, which is not for those who may not launch
            checks = [] if refusal else [check for draft in drafts for check in draft.checks()]
        except WorkbenchError as error:
            return render_broken_plan(str(error), key=named_key(error))
        return render_plan(drafts, changes, checks, preset=form.preset, refusal=refusal)

    def _refusal(self, request: gr.Request) -> str:
        """Why this person may not launch here; empty when they may."""
        if self.desk.refusal:
            return self.desk.refusal
        try:
            self.check_role(getattr(request, "username", None), "launch training")
        except WorkbenchError as error:
            return str(error)
        return ""

    def _render(self, form: LaunchForm) -> str:
        finished = [row for row in self.desk.list() if row.state == "finished" and row.stage in STAGES]
        return render_launcher(
            form,
            devices=read_machine(self.desk.root).devices,
            configs=self.shelf.names(),
            checkpoints=[] if self.desk.refusal else [str(self.desk.folder(row.id) / "final") for row in finished],
        )

    # ---- actions

    def act(self, event: gr.EventData, request: gr.Request) -> Updates:
        """Carries out what a button asks for; the message says what came of it."""
        data = event._data if isinstance(event._data, Mapping) else {}
        try:
            self.check_role(getattr(request, "username", None), "launch or change training runs")
            return self._act(data, request)
        except WorkbenchError as error:
            return render_message(str(error), tone="error"), gr.skip(), gr.skip()

    def _act(self, data: Mapping[str, Any], request: gr.Request) -> Updates:
        what, run_id = data.get("act"), data.get("run") or ""
        if not isinstance(what, str) or not isinstance(run_id, str):
            raise InputError("this button sent nothing that can be done: load the page again")
        if what in ("clone", "again", "chain"):
            draft = getattr(self.desk, what)(run_id)
            form = LaunchForm.of_draft(draft)
            words = {"clone": "with the settings", "again": "with another seed, as", "chain": "from the result"}[what]
            sentence = f"A draft {words} of {run_id} is in the form: look at the checks, then launch."
            return render_message(sentence, run_id="new"), self._render(form), self._plan(form, request)
        if self.desk.refusal:
            raise InputError(self.desk.refusal)
        if what in ("launch", "save-config", "delete-config"):
            return self._act_on_form(what, data)
        return render_message(self._act_on_run(what, run_id, data), tone="success"), gr.skip(), gr.skip()

    def _act_on_form(self, what: str, data: Mapping[str, Any]) -> Updates:
        if what == "delete-config":
            name = str(data.get("config", ""))
            self.shelf.delete(name)
            return render_message(f"Settings {name} are deleted.", tone="success"), gr.skip(), gr.skip()
        form = LaunchForm.of_page(data.get("form"))
        if what == "launch":
            drafts = form.drafts(self.desk)
            ids = [self.desk.launch(draft) for draft in drafts]
            sentence = f"{ids[0]} is in the queue" + (f", and {len(ids) - 1} after it." if len(ids) > 1 else ".")
            return render_message(sentence, tone="success", run_id=ids[0]), gr.skip(), gr.skip()
        if form.stage not in STAGES:
            raise InputError("a pipeline has no settings of its own: save those of one stage")
        name = str(data.get("name", ""))
        config = from_dict(STAGES[form.stage], to_dict(read_form(form.stage, form.values)))
        saved = NamedConfig(name=name, stage=form.stage, values=to_dict(config), preset=form.preset)
        self.shelf.save(saved, replace=data.get("replace") is True)
        return render_message(f"Settings saved as {name}.", tone="success"), self._render(form), gr.skip()

    def _act_on_run(self, what: str, run_id: str, data: Mapping[str, Any]) -> str:
        """The sentence that says what was asked."""
        if what in REQUESTS:
            self.desk.request(run_id, what)
            return {
                "stop": f"{run_id} was asked to stop after its present step and to save.",
                "kill": f"{run_id} was killed.",
                "save": f"{run_id} was asked to save after its present step.",
                "evaluate": f"{run_id} was asked to evaluate after its present step.",
            }[what]
        if what == "reorder":
            place = data.get("place")
            if not isinstance(place, int) or isinstance(place, bool):
                raise InputError(f"place {place!r} is not allowed: give a place in the queue from 1")
            self.desk.reorder(run_id, place)
            return f"{run_id} is now at place {place} of the queue."
        done = {
            "hold": "is held: it stays in the queue and does not start.",
            "release": "waits for its turn again.",
            "cancel": "was taken out of the queue.",
            "resume": "is in the queue again and goes on from its last checkpoint.",
        }
        if what not in done:
            raise InputError(f"{what!r} is nothing that can be done with a run: load the page again")
        getattr(self.desk, what)(run_id)
        return f"{run_id} {done[what]}"


# The lens draws its screen in another block of the same tab, so the screen's script is given the tab.
_SCREENS = f"((element, trigger) => {{\n{screen_script()}\n}})(element.closest('.tw-tab') ?? element, () => {{}});"
# Nothing is offered as an API, and no event covers the panels with a loading veil.
_QUIET = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
# Each is answered, in order: with "always_last" Gradio 6.31 asks again with the data of the first event, not the last.
IN_ORDER = {**_QUIET, "trigger_mode": "multiple", "concurrency_limit": 1}


def build_tab(handlers: TrainHandlers, views: TrainViews) -> None:
    """Adds the tab's components and events to the Blocks that is open.

    Args:
        handlers: what happens on each event.
        views: what the page asks for.
    """
    gr.set_static_paths([PLOTLY])
    script = "\n".join([f"const PLOTLY_URL = {json.dumps(str(PLOTLY))};", *map(read_script, SCRIPTS), _SCREENS])
    with gr.Row(elem_classes="tr-grid"):
        with gr.Column(elem_classes="tr-side"):
            desk = gr.HTML(
                _SIDE, elem_id="tr-desk", js_on_load=script, server_functions=[
                    server_function(views, name) for name in ("look", "curves", "lens", "log", "settings")
                ],
            )
        with gr.Column(elem_classes="tr-main"):
            gr.HTML(_NOTE, elem_id="tr-note", js_on_load=None)
            message = gr.HTML(elem_id="tr-message", js_on_load=None)
            form = gr.HTML(elem_id="tr-launcher", js_on_load=None)
            plan = gr.HTML(elem_id="tr-plan", js_on_load=None)
            gr.HTML(_RUN, elem_id="tr-run", js_on_load=None)
    desk.choose(handlers.choose, None, [form, plan], **IN_ORDER)
    desk.preview(handlers.preview, None, [plan], **IN_ORDER)
    desk.act(handlers.act, None, [message, form, plan], trigger_mode="multiple", **_QUIET)


def server_function(views: Any, name: str) -> Callable[[Any], Any]:
    """A plain function of this name: gradio marks the functions that a page may call, which a method cannot bear."""
    method = getattr(views, name)

    def answer(ask: Any) -> Any:
        return method(ask)

    answer.__name__ = name
    return answer


_NOTE = '<p id="tr-page-note" class="tw-card tr-page-note" role="status" hidden></p>'

_SIDE = (
    '<div class="tr-sidebar"><button type="button" class="tr-button tr-primary" data-show="new">New run</button>'
    '<section class="tw-card" aria-label="Runs"><div id="tr-runs"></div></section>'
    '<section class="tw-card" aria-label="Machine"><h2>Machine</h2><div id="tr-machine"></div></section></div>'
)

_TABS = (("curves", "Curves"), ("rollouts", "Rollouts"), ("log", "Log"), ("settings", "Settings"))

_TOOLS = {
    "curves": (
        '<label>Smoothing <input type="range" id="tr-smooth" min="0" max="0.98" step="0.02" value="0.6">'
        '<output id="tr-smooth-shown">0.60</output></label>'
        '<label>Across <select id="tr-axis"><option value="step">steps</option><option value="minutes">minutes</option>'
        '</select></label><label><input type="checkbox" id="tr-log-scale"> Log scale</label>'
        '<button type="button" class="tr-small" id="tr-unzoom">Reset zoom</button>'
        '<button type="button" class="tr-small" id="tr-replay" aria-pressed="false">Replay</button>'
        '<span id="tr-replay-note" class="tr-soft" role="status"></span>'
    ),
    "rollouts": (
        '<label>Goal holds <input type="search" id="tr-lens-text"></label>'
        '<label>Mean reward from <input id="tr-lens-least" inputmode="decimal" size="5"></label>'
        '<label>to <input id="tr-lens-greatest" inputmode="decimal" size="5"></label>'
        '<label><input type="checkbox" id="tr-lens-broken"> Only with unreadable replies</label>'
        '<button type="button" class="tr-small" id="tr-lens-all" hidden>All prompts</button>'
    ),
    "log": (
        '<label>Find <input type="search" id="tr-log-search"></label><span id="tr-log-state" class="tr-soft"></span>'
        '<button type="button" class="tr-small" id="tr-log-end" hidden>Go to the end</button>'
    ),
    "settings": "",
}

_BODIES = {
    "curves": '<div id="tr-charts" class="tr-charts"></div>',
    "rollouts": '<div class="tr-lens"><div id="tr-lens-list"></div><div id="tr-lens-group"></div></div>',
    "log": '<pre id="tr-log" class="tr-log" tabindex="0" aria-label="Log of the run"></pre>',
    "settings": '<div id="tr-settings"></div>',
}


def _panel(name: str, label: str) -> str:
    tools = f'<div class="tr-tools">{_TOOLS[name]}</div>' if _TOOLS[name] else ""
    return (
        f'<div class="tr-panel" role="tabpanel" data-panel="{name}" aria-label="{label}" hidden>{tools}'
        f"{_BODIES[name]}</div>"
    )


_RUN = (
    '<div class="tr-run-view"><div id="tr-head"></div><div class="tw-card"><div class="tr-tabs" role="tablist">'
    + "".join(f'<button type="button" role="tab" data-tab="{name}">{label}</button>' for name, label in _TABS)
    + "</div>" + "".join(_panel(name, label) for name, label in _TABS) + "</div></div>"
    + f'<div class="tw-card tr-none">{render_empty("No run is chosen", ["Choose one on the left."])}</div>'
)
