"""The Annotate tab: a team's work list, the editor of a trajectory, its versions, progress and dataset revisions.

The page draws itself: it asks `ListViews` and `WorkViews` and brings its parts up to date. Who asks is found by the
server at each question; what they may do is decided below (`workbench.annotate_desk`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from executors.errors import WorkbenchError
from workbench.annotate.files_in import FORMS as FORMS_IN
from workbench.annotate.files_out import FORMS as FORMS_OUT
from workbench.annotate.store import STATES
from workbench.annotate_html import FORM_WORDS, STATE_WORDS, button, select
from workbench.annotate_views import ListViews
from workbench.annotate_work import WorkViews
from workbench.people import name_of
from workbench.screen import screen_script
from workbench.theme import read_script

SCRIPTS = ("page_core.js", "annotate_core.js", "annotate_list.js", "annotate_editor.js", "annotate_draw.js",
           "annotate_keys.js", "annotate_start.js")
LIST_QUESTIONS = ("look", "panel", "paths", "act")
WORK_QUESTIONS = ("open", "refresh", "edit", "finish", "renew", "join", "versions", "resolve", "help")


def login_of(request: gr.Request) -> str:
    """The login name behind a page's question, "" where nobody logs in.

    A component's server function is handed the web server's own request, which does not name the person; the login is
    found by the same cookie as `gradio.routes.App` finds it. A request without a known login has no name, which a
    server that demands one refuses.
    """
    name = name_of(request) if isinstance(request, gr.Request) else None
    if name is None and hasattr(request, "cookies"):
        app = request.app
        token = request.cookies.get(f"access-token-{app.cookie_id}") or request.cookies.get(
            f"access-token-unsecure-{app.cookie_id}")
        name = app.tokens.get(token)
    return name or ""


def server_function(views_of: Callable[[gr.Request], Any], name: str) -> Callable[[Any, gr.Request], Any]:
    """A plain function of this name that also knows who asks, and tells it with its answer as "person"."""

    def answer(ask: Any, request: gr.Request) -> Any:
        person = login_of(request)
        try:
            views = views_of(request)
        except WorkbenchError as error:
            return {"error": str(error), "kind": "", "person": person}
        return {**getattr(views, name)(ask, person), "person": person}

    answer.__name__ = name
    return answer


def build_tab(views_of: Callable[[gr.Request], tuple[ListViews, WorkViews]]) -> None:
    """Adds the tab's component to the Blocks that is open; `views_of` gives the views for who asks."""
    script = "\n".join(map(read_script, SCRIPTS))
    script = script.replace("SCREEN_SCRIPT", f"(element, trigger) => {{{screen_script()}}}", 1)
    script = "const PLOTLY_URL = '';\n" + script
    questions = [server_function(lambda request: views_of(request)[0], name) for name in LIST_QUESTIONS]
    questions += [server_function(lambda request: views_of(request)[1], name) for name in WORK_QUESTIONS]
    gr.HTML(_PAGE, elem_id="an-desk", js_on_load=script, server_functions=questions)


def _panel(name: str, body: str) -> str:
    return (f'<div class="an-panel" role="tabpanel" id="an-panel-{name}" aria-labelledby="an-tab-{name}" '
            f'data-an-panel-of="{name}" hidden>{body}</div>')


_TABS = (("list", "Trajectories"), ("elsewhere", "From elsewhere"), ("progress", "Progress"),
         ("datasets", "Dataset revisions"))
_PLATFORMS = {"": "any", "phone": "phone", "desktop": "desktop", "browser": "browser", "tools": "tools"}
_STATES = {"": "any", **{state: STATE_WORDS[state][1] for state in STATES}}
_FORMS_IN = {form: FORM_WORDS.get(form, form) for form in FORMS_IN}
_FORMS_OUT = {form: FORM_WORDS[form] for form in FORMS_OUT}

_LIST = (
    '<div class="an-bar"><label class="an-labelled an-grow">Search <input type="search" id="an-text" '
    'placeholder="words of goal, source or id"></label>'
    f"{select('an-state', _STATES, label='State')}{select('an-platform', _PLATFORMS, label='Platform')}"
    '<label class="an-labelled"><input type="checkbox" id="an-with-errors"> Only with errors</label></div>'
    '<div class="an-bar">'
    + button("Next task", "next", classes="tr-button tr-primary", title="Takes the next of the queue", kind="annotate")
    + button("Next review", "next", classes="tr-button", title="Takes the next that waits for review", kind="review")
    + '</div><div class="tw-card" id="an-list"></div>'
    '<section class="tw-card" aria-label="Import"><h2>Import</h2><div class="an-bar">'
    f"{select('an-import-form', _FORMS_IN, chosen='trajectories', label='Form')}"
    '<label class="tr-small an-file">Choose a file … <input type="file" id="an-upload" '
    'accept=".jsonl,.json,.parquet,.zip"></label><span class="tr-soft">JSON Lines, parquet, or a zip archive with the '
    "screenshots beside the file</span></div>"
    '<div class="an-bar"><label class="an-labelled an-grow">or a path below --data <input id="an-path" list="an-paths" '
    f'spellcheck="false"><datalist id="an-paths"></datalist></label>{button("Import", "import_path")}</div></section>'
    '<section class="tw-card" aria-label="Export"><h2>Export</h2><div class="an-bar">'
    f"{select('an-export-state', _STATES, chosen='accepted', label='State')}"
    f"{select('an-export-form', _FORMS_OUT, label='Form')}{button('Export', 'export_project')}"
    '<span class="tr-soft">What is marked private is blurred in the exported copy.</span></div></section>'
)

_NAME = (
    '<section class="tw-card" aria-label="Name a dataset revision"><h2>Name the present state</h2>'
    '<form class="an-form an-name-form" data-form="name_revision"><label>Name '
    '<input name="name" required maxlength="100" pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*"></label>'
    '<label>What for <input name="why" required maxlength="2000"></label>'
    '<label>State <select name="state">'
    + "".join(f'<option value="{value}"{" selected" if value == "accepted" else ""}>{words}</option>'
              for value, words in _STATES.items())
    + '</select></label><label>Split <input name="split" placeholder="train=0.9,val=0.1; empty: as they are"></label>'
    '<button class="tr-button">Name it</button></form>'
    '<p class="tr-help">A split keeps trajectories that share a screenshot together, so no screen is in two splits.</p>'
    "</section>"
)

_EDITOR = (
    '<div id="an-editor" class="tw-link" hidden><div id="an-head" class="tw-card"></div>'
    '<div id="an-message-work" role="status"></div><div id="an-versions"></div>'
    '<div id="an-whole" class="tw-card an-whole"></div>'
    '<ol id="an-strip" class="an-strip" aria-label="Steps"></ol>'
    '<div class="an-work"><div class="an-left"><div id="an-drawing" class="an-bar" role="group" aria-label="Drawing">'
    '<button type="button" class="tr-small" data-tool="point" aria-pressed="true">Point</button>'
    '<button type="button" class="tr-small" data-tool="target" aria-pressed="false">Target box</button>'
    '<button type="button" class="tr-small" data-tool="private" aria-pressed="false">Private box</button>'
    '<span class="tr-soft" id="an-tool-note"></span></div><div id="an-screen" class="tw-host"></div>'
    '<section class="tw-card" id="an-forecast-card" aria-label="Forecast" hidden><div id="an-forecast"></div></section>'
    "</div>"
    '<div class="an-right"><section class="tw-card an-fields" id="an-fields" aria-label="Step"></section>'
    '<section class="tw-card" aria-label="Checks"><h2>Checks</h2><div id="an-checks" aria-live="polite"></div>'
    "</section>"
    '<section class="tw-card" aria-label="Comments"><h2>Comments</h2><div id="an-comments"></div></section>'
    "</div></div></div>"
)

_PAGE = (
    '<div class="tr-grid an-page"><p id="an-page-note" class="tw-card tr-page-note" role="alert" hidden></p>'
    '<div id="an-message" role="status"></div>'
    '<div id="an-lists" class="an-grid"><aside class="tw-card" aria-label="Projects"><h2>Projects</h2>'
    '<div id="an-projects"></div></aside><div class="an-main">'
    '<div class="tr-tabs" role="tablist" aria-label="Annotate">'
    + "".join(
        f'<button type="button" role="tab" id="an-tab-{name}" aria-controls="an-panel-{name}" data-an-tab="{name}">'
        f"{label}</button>" for name, label in _TABS
    )
    + "</div>" + _panel("list", _LIST)
    + _panel("elsewhere", '<div class="tw-card" id="an-elsewhere"></div>')
    + _panel("progress", '<div id="an-progress" class="an-stack"></div>')
    + _panel("datasets", f'<div class="tw-card" id="an-datasets"></div>{_NAME}')
    + "</div></div>" + _EDITOR
    + '<dialog id="an-keys" aria-label="Keyboard shortcuts"></dialog></div>'
)
