"""The Episode tab: start an episode, see what the planner foresees, change it, approve it, and look back.

Only layout and wiring; what happens is in `workbench.episode_handlers`.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from workbench.devices import MAX_HISTORY, MAX_HORIZON, MAX_STEPS, device_choices, splits, templates
from workbench.episode_handlers import ARM_LABELS, DESKTOP, SIMULATOR, EpisodeHandlers
from workbench.episode_html import render_missing_devices
from workbench.episode_page import Page
from workbench.episode_updates import FIELDS, OUTPUTS
from workbench.past_handlers import PastHandlers
from workbench.planner_choices import CHECKPOINT, DEFAULT, SERVER
from workbench.planner_shelf import short_name
from workbench.recordings import list_files
from workbench.screen import screen_script
from workbench.tabs.past_episodes import build_past
from workbench.theme import ASSETS, read_script

TICK_SECONDS = 0.5

# Nothing is offered as an API, and no event covers the panels with a loading veil: the status line tells.
QUIET = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}

_READ_ADDRESS = "(page, query) => [page, window.location.search]"

_CONTROLS = {
    "forecast": ("Forecast", "secondary"),
    "act": ("Approve and act", "primary"),
    "run": ("Run", "secondary"),
    "pause": ("Pause", "secondary"),
    "stop": ("Stop", "stop"),
    "reset": ("Reset", "secondary"),
}
_EDITS = {
    "apply": "Apply",
    "before": "Insert before",
    "after": "Insert after",
    "delete": "Delete",
    "reforecast": "Re-forecast from here",
    "reference": "Take the reference's step",
}


_DECISIONS = {
    "approve": ("Approve", "primary"),
    "modify": ("Do the edited step instead", "secondary"),
    "reject": ("Reject", "secondary"),
    "terminate": ("Terminate", "stop"),
    "escalate": ("Escalate", "secondary"),
}

_TAKE_AWAY = {
    "html": "Export HTML", "json": "Export JSON", "keep": "Save as reference", "correct": "Correct in Annotate",
}

_DOWNLOAD = """(text) => {
    if (!text) return;
    const file = JSON.parse(text);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([file.content], { type: file.type }));
    link.download = file.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}"""


def build_tab(handlers: EpisodeHandlers) -> None:
    """Adds the tab's components and events to the Blocks that is open.

    On a hosted Space, whose visitors do not know each other, there is no list of past episodes.
    """
    if handlers.settings.is_space:
        _build_episode(handlers)
        return
    with gr.Tabs(elem_id="ep-views", elem_classes="tw-views"):
        with gr.Tab("Work on one", id="one"):
            _build_episode(handlers)
        with gr.Tab("Past episodes", id="past") as tab:
            build_past(PastHandlers(handlers.desk.store, handlers.settings.people), tab, QUIET)


def _build_episode(handlers: EpisodeHandlers) -> None:
    page = gr.State(Page())
    query = gr.Textbox(visible=False)  # the page's address; scripts fill it in
    parts: dict[str, Any] = {}
    with gr.Row(elem_classes="tw-grid"):
        with gr.Column(elem_classes="tw-controls"):
            form = _build_form(handlers)
            parts["planner_status"] = gr.HTML(elem_id="ep-planner-status")
        with gr.Column(elem_classes="tw-centre"):
            parts |= _build_centre(can_correct=handlers.corrections is not None)
        with gr.Column(elem_classes="tw-side"), gr.Tabs(elem_id="ep-panels"):
            with gr.Tab("Plan", id="plan"):
                parts |= _build_plan()
            with gr.Tab("Planner", id="planner"):
                parts["model"] = gr.HTML(elem_id="ep-model", elem_classes="tw-stack")
            with gr.Tab("Drift", id="drift"):
                parts["drift"] = gr.HTML(elem_id="ep-drift", elem_classes="tw-stack")
            with gr.Tab("Steps", id="steps"):
                parts["history"] = gr.HTML(elem_id="ep-history", js_on_load=read_script("episode_go.js"))
    outputs = [parts[name] for name in OUTPUTS]
    _wire_form(handlers, page, form, outputs)
    _wire_controls(handlers, page, parts, outputs)
    _wire_edits(handlers, page, parts, outputs)
    lists = [form[name] for name in ("file", "checkpoint", "kind", "source", "missing")]
    gr.context.Context.root_block.load(
        handlers.load, [page, query], [page, *lists, *outputs], js=_READ_ADDRESS, **QUIET
    )
    gr.Timer(TICK_SECONDS).tick(handlers.tick, [page, query], outputs, js=_READ_ADDRESS, **QUIET)


def _build_form(handlers: EpisodeHandlers) -> dict[str, Any]:
    split = splits()[0]
    choices = templates(split)
    form: dict[str, Any] = {}
    devices = device_choices(is_space=handlers.settings.is_space)
    with gr.Group(elem_classes="tw-form"):
        form["source"] = gr.Radio(
            [(device.label, device.name) for device in devices if not device.reason], value=SIMULATOR, label="Act on",
            elem_id="ep-source",
        )
        form["missing"] = gr.HTML(
            render_missing_devices(devices), elem_id="ep-missing", visible=any(d.reason for d in devices)
        )
        with gr.Group() as simulator:
            form["template"] = gr.Dropdown(choices, value=choices[0][1], label="Task", elem_id="ep-task")
            with gr.Row(elem_classes="tw-two"):
                form["split"] = gr.Dropdown(
                    [(name.replace("_", " "), name) for name in splits()], value=split, label="Split",
                    elem_id="ep-split", min_width=100,
                )
                form["seed"] = gr.Number(0, label="Seed", precision=None, elem_id="ep-seed", min_width=70)
        with gr.Group(visible=False) as recorded:
            form["file"] = gr.Dropdown(
                list_files(handlers.settings.data_root), value=None, label="Trajectory file", elem_id="ep-file",
                info=f"*.jsonl below {handlers.settings.data_root.name}; `tracer1 import` makes them",
            )
            form["position"] = gr.Dropdown([], label="Trajectory", elem_id="ep-trajectory")
        with gr.Group(visible=False) as real:
            form["serial"] = gr.Dropdown(
                [], label="Phone", info="As `adb devices` lists it", visible=False, elem_id="ep-serial"
            )
            form["agent"] = gr.Textbox(
                label="Tool agent", placeholder="ui-tars-1.5@http://localhost:8000/v1", elem_id="ep-agent",
                info="Finds the places; `tracer1 serve` starts one. Empty: by a phone's own element tree, on a desktop "
                "only places that you set by hand",
            )
            form["is_armed"] = gr.Checkbox(label=ARM_LABELS[DESKTOP], elem_id="ep-arm")
        form["kind"] = gr.Dropdown(
            [(f"{short_name(handlers.shelf.default)} (default)", DEFAULT), ("Checkpoint of a run", CHECKPOINT),
             ("OpenAI-compatible server", SERVER)],
            value=DEFAULT, label="Planner", elem_id="ep-kind",
        )
        form["checkpoint"] = gr.Dropdown([], label="Checkpoint", visible=False, elem_id="ep-checkpoint")
        with gr.Group(visible=False) as server:
            form["model"] = gr.Textbox(label="Model", placeholder="Qwen/Qwen3-VL-8B-Thinking", elem_id="ep-model-name")
            form["address"] = gr.Textbox(label="Address", placeholder="http://localhost:8000/v1", elem_id="ep-address")
        with gr.Accordion("Goal in your own words, T, K, most steps", open=False, elem_id="ep-more") as more:
            form["goal"] = gr.Textbox(
                label="Goal", placeholder="empty: the task's own", lines=2, max_lines=4, elem_id="ep-own-goal",
                info="Success of your own goal cannot be judged",
            )
            with gr.Row(elem_classes="tw-two"):
                # texts, since gradio's number without a value becomes 0 as soon as the accordion is opened
                form["horizon"] = gr.Textbox(label="T", info=f"1..{MAX_HORIZON}", elem_id="ep-t", min_width=60)
                form["history"] = gr.Textbox(label="K", info=f"0..{MAX_HISTORY}", elem_id="ep-k", min_width=60)
                form["max_steps"] = gr.Number(
                    30, label="Steps", info=f"1..{MAX_STEPS}", elem_id="ep-max-steps", min_width=60
                )
        form["start"] = gr.Button("Start", variant="primary", elem_id="ep-start")
    return form | {
        "simulator": simulator, "recorded": recorded, "server": server, "real": real, "more": more
    }


def _build_centre(*, can_correct: bool) -> dict[str, Any]:
    parts: dict[str, Any] = {"goal": gr.HTML(elem_id="ep-goal", js_on_load=read_script("episode_link.js"))}
    with gr.Row(elem_classes="tw-buttons tw-orders"):
        for name, (label, variant) in _CONTROLS.items():
            parts[name] = gr.Button(label, variant=variant, interactive=False, elem_id=f"ep-{name}", min_width=72)
    parts["status"] = gr.HTML(elem_id="ep-status")
    with gr.Column(elem_id="ep-decide"):
        parts["approval"] = gr.HTML(elem_id="ep-approval")
        with gr.Row(elem_classes="tw-buttons"):
            for name, (label, variant) in _DECISIONS.items():
                parts[name] = gr.Button(label, variant=variant, interactive=False, elem_id=f"ep-{name}", min_width=72)
    parts["timeline"] = gr.HTML(elem_id="ep-timeline", js_on_load=read_script("episode_go.js"))
    parts["screen"] = gr.HTML(elem_id="ep-screen", js_on_load=screen_script())
    with gr.Row(elem_classes="tw-buttons tw-stepper"):
        parts["back"] = gr.Button("‹ Previous", size="sm", interactive=False, elem_id="ep-back")
        parts["position"] = gr.HTML(elem_id="ep-position")
        parts["on"] = gr.Button("Next ›", size="sm", interactive=False, elem_id="ep-on")
    with gr.Row(elem_classes="tw-foot"):
        parts["pair"] = gr.Checkbox(label="Show the screen after, too", value=False, elem_id="ep-pair", container=False)
        for name, label in _TAKE_AWAY.items():
            is_shown = can_correct or name != "correct"
            parts[name] = gr.Button(label, size="sm", interactive=False, visible=is_shown, elem_id=f"ep-{name}")
        parts["file"], parts["project"] = gr.Textbox(visible=False), gr.Textbox(visible=False)
        parts["keys"] = gr.HTML(
            read_html("episode_keys.html"), elem_id="ep-keys", js_on_load=read_script("episode_keys.js")
        )
    return parts


def read_html(name: str) -> str:
    """One fragment of assets/html."""
    return (ASSETS / "html" / name).read_text(encoding="utf-8")


def _build_plan() -> dict[str, Any]:
    parts: dict[str, Any] = {"plan": gr.HTML(elem_id="ep-plan")}
    with gr.Column(elem_classes="tw-edit", elem_id="ep-edit"):
        parts["step_title"] = gr.HTML(elem_id="ep-step-title")
        parts["words"] = gr.Textbox(label="Words", lines=1, max_lines=3, interactive=False, elem_id="ep-words")
        parts["type"] = gr.Dropdown([], label="Action", interactive=False, elem_id="ep-type")
        parts["arguments"] = gr.Textbox(label="Arguments", interactive=False, max_lines=3, elem_id="ep-arguments")
        with gr.Row(elem_classes="tw-buttons tw-edits"):
            for name, label in _EDITS.items():
                parts[name] = gr.Button(label, size="sm", interactive=False, elem_id=f"ep-{name}", min_width=90)
    return parts


def _wire_form(handlers: EpisodeHandlers, page: gr.State, form: dict[str, Any], outputs: list[Any]) -> None:
    names = ("source", "split", "template", "seed", "file", "position", "goal", "kind", "checkpoint", "model",
             "address", "horizon", "history", "max_steps", "agent", "is_armed", "serial")
    form["start"].click(handlers.start, [page, *(form[name] for name in names)], outputs, **QUIET).then(
        lambda: False, None, [form["is_armed"]], **QUIET  # each episode is armed by itself
    )
    form["source"].input(
        handlers.choose_source, [form["source"], form["split"]],
        [form[name] for name in ("simulator", "recorded", "file", "template", "split", "real", "is_armed", "more",
                                 "serial")],
        **QUIET,
    )
    form["split"].input(handlers.choose_split, [form["split"], form["source"]], [form["template"]], **QUIET)
    form["file"].input(handlers.choose_file, [page, form["file"]], [form["position"], *outputs], **QUIET)
    form["kind"].input(handlers.choose_kind, [form["kind"]], [form["checkpoint"], form["server"]], **QUIET)


def _wire_controls(handlers: EpisodeHandlers, page: gr.State, parts: dict[str, Any], outputs: list[Any]) -> None:
    for name in (*_CONTROLS, "back", "on"):
        parts[name].click(getattr(handlers, name), [page], outputs, **QUIET)
    for name in _DECISIONS:
        fields = [parts[field] for field in FIELDS] if name == "modify" else []
        parts[name].click(getattr(handlers.decisions, name), [page, *fields], outputs, **QUIET)
    for name in ("timeline", "history", "keys"):
        parts[name].input(handlers.go, [page], outputs, **QUIET)
    for name, handler in (("html", handlers.export_page), ("json", handlers.export_data)):
        parts[name].click(handler, [page], [parts["file"], *outputs], **QUIET).then(
            None, [parts["file"]], js=_DOWNLOAD, **QUIET
        )
    if handlers.corrections is not None:
        parts["correct"].click(
            handlers.corrections.correct, [page, parts["project"]], [parts["file"], *outputs],
            js=read_script("episode_project.js"), **QUIET,
        ).then(None, [parts["file"]], js=read_script("episode_correct.js"), **QUIET)
    parts["keep"].click(handlers.keep, [page], outputs, **QUIET)
    parts["pair"].input(handlers.show_after, [page, parts["pair"]], outputs, **QUIET)


def _wire_edits(handlers: EpisodeHandlers, page: gr.State, parts: dict[str, Any], outputs: list[Any]) -> None:
    fields = [parts[name] for name in FIELDS]
    parts["screen"].input(handlers.on_screen, [page], outputs, trigger_mode="multiple", **QUIET)
    parts["type"].input(handlers.choose_type, [parts["type"]], [parts["arguments"]], **QUIET)
    for name, handler in (("apply", handlers.apply), ("before", handlers.insert), ("after", handlers.insert_after)):
        parts[name].click(handler, [page, *fields], outputs, **QUIET)
    for name, handler in (
        ("delete", handlers.delete), ("reforecast", handlers.reforecast), ("reference", handlers.take_reference)
    ):
        parts[name].click(handler, [page], outputs, **QUIET)
