"""The list of past episodes: search, filters, and two side by side. Only layout and wiring."""

from __future__ import annotations

from typing import Any

import gradio as gr

from workbench.episode_compare import comparison_script
from workbench.past_handlers import ANY, FILTERS, Browse, PastHandlers
from workbench.theme import read_script


def build_past(handlers: PastHandlers, tab: gr.Tab, quiet: dict[str, Any]) -> None:
    """Adds the list's components and events; it is read anew whenever its tab is opened.

    Args:
        handlers: what happens on each event.
        tab: the tab that is open.
        quiet: the options that all events share.
    """
    browse = gr.State(Browse())
    with gr.Row(elem_classes="tw-filters"):
        fields = {
            "text": gr.Textbox(
                label="Search", placeholder="words of goal, task, planner or id", elem_id="past-text", max_lines=1
            ),
            "outcome": gr.Dropdown([("any", ANY)], value=ANY, label="Outcome", elem_id="past-outcome"),
            "planner": gr.Dropdown([("any", ANY)], value=ANY, label="Planner", elem_id="past-planner"),
            "task": gr.Dropdown([("any", ANY)], value=ANY, label="Task", elem_id="past-task"),
            "since": gr.Textbox(label="Since", placeholder="2026-01-31", elem_id="past-since", max_lines=1),
            "until": gr.Textbox(label="Until", placeholder="2026-12-31", elem_id="past-until", max_lines=1),
        }
    rows = gr.HTML(elem_id="past-rows", js_on_load=read_script("archive.js"))
    compared = gr.HTML(elem_id="past-compare", js_on_load=comparison_script())
    inputs = [browse, *(fields[name] for name in FILTERS)]
    choices = [fields["outcome"], fields["planner"], fields["task"]]
    tab.select(_with_request(handlers.refresh), inputs, [*choices, rows, compared], **quiet)
    gr.on(
        [fields[name].change for name in FILTERS], _with_request(handlers.search), inputs, [rows, compared],
        trigger_mode="always_last", **quiet,
    )
    for part in (rows, compared):
        part.input(_with_event(handlers.on_event), inputs, [rows, compared], trigger_mode="multiple", **quiet)


# gradio finds a request and an event by the annotations of positional parameters
def _with_request(handler: Any) -> Any:
    def call(
        browse: Browse, text: str, outcome: str, planner: str, task: str, since: str, until: str, request: gr.Request
    ) -> tuple[Any, ...]:
        return handler(browse, text, outcome, planner, task, since, until, request=request)

    return call


def _with_event(handler: Any) -> Any:
    def call(
        browse: Browse, text: str, outcome: str, planner: str, task: str, since: str, until: str, event: gr.EventData,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        return handler(browse, text, outcome, planner, task, since, until, event=event, request=request)

    return call
