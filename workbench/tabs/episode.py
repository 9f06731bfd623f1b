"""The Episode tab: choose a task or a recording, forecast, act, and step through what happened.

Handlers only turn inputs into calls of `EpisodeSession` and its view into component updates. They are methods of
`EpisodeHandlers`, which needs no browser and no running server.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from executors.errors import InputError, WorkbenchError
from workbench.drivers import MODES, GetPlanner, RecordedDriver, SimulatorDriver, splits, templates
from workbench.episode_html import render_panels, render_planner
from workbench.episode_session import EpisodeSession
from workbench.planner_shelf import PlannerShelf, Readiness
from workbench.recordings import list_files, list_trajectories, read_trajectory, resolve_file
from workbench.theme import read_script

SIMULATOR = "Simulator"
RECORDED = "Recorded trajectory"

PLANNER_QUEUE = "planner"
"""All handlers that make forecasts share one place: a planner serves one forecast at a time."""

MAX_SEED = 999_999

NUM_OUTPUTS = 14
"""Updates that `EpisodeHandlers.show` makes: seven panels and seven buttons."""


class EpisodeHandlers:
    """What happens on each event; holds only what all sessions share."""

    def __init__(self, shelf: PlannerShelf, data_root: Path) -> None:
        self.shelf = shelf
        self.data_root = data_root

    # ---- sources

    def load(self, planner: str) -> tuple[Any, ...]:
        """A page was opened: its own session, on the first task."""
        session = EpisodeSession()
        split = splits()[0]
        return session, *self.open_task(session, templates(split)[0][1], split, 0, planner, MODES[0])

    def open_task(
        self, session: EpisodeSession, template: str, split: str, seed: float, planner: str, mode: str
    ) -> tuple[Any, ...]:
        """Starts a task of the simulator."""
        try:
            seed_number = _seed(seed)
            get_planner = self._planner_of(session, planner)
            session.open(lambda: SimulatorDriver(template, split, seed_number, get_planner, mode))
        except WorkbenchError as error:
            session.fail(error)
        return self.show(session, planner)

    def choose_source(
        self, session: EpisodeSession, template: str, split: str, seed: float, planner: str, mode: str,
        source: str, name: str | None, position: int | None,
    ) -> tuple[Any, ...]:
        """Shows the controls of a source and opens what they say."""
        is_simulator = source == SIMULATOR
        groups = gr.Group(visible=is_simulator), gr.Group(visible=not is_simulator)
        if is_simulator:
            return *groups, gr.skip(), *self.open_task(session, template, split, seed, planner, mode)
        files = self.list_recordings(name)
        if name:
            return *groups, files, *self.open_recorded(session, name, position, planner, mode)
        session.clear("Choose a trajectory file.")
        return *groups, files, *self.show(session, planner)

    def choose_mode(
        self, session: EpisodeSession, template: str, split: str, seed: float, planner: str, mode: str,
        source: str, name: str | None, position: int | None,
    ) -> tuple[Any, ...]:
        """Another mode: a task starts again, a recording stays at its screen."""
        if source == SIMULATOR:
            return self.open_task(session, template, split, seed, planner, mode)
        if not name:
            return self.show(session, planner)
        number = session.cursor + 1
        self.open_recorded(session, name, position, planner, mode)
        session.go_to(number)
        return self.show(session, planner)

    def _planner_of(self, session: EpisodeSession, planner: str) -> GetPlanner:
        """Fetches the planner that the session names when it is asked, which may be another one later."""
        session.planner = planner
        return lambda: self.shelf.get(session.planner)

    def list_templates(self, split: str) -> Any:
        """The tasks of a split."""
        choices = templates(split)
        return gr.Dropdown(choices=choices, value=choices[0][1])

    def list_recordings(self, name: str | None = None) -> Any:
        """The files of the data folder."""
        files = list_files(self.data_root)
        value = name if name in files else None
        return gr.Dropdown(choices=files, value=value, info=_files_hint(files, self.data_root))

    def list_recorded(self, session: EpisodeSession, name: str | None, planner: str, mode: str) -> tuple[Any, ...]:
        """The trajectories of a file, the first of which is opened."""
        try:
            choices = list_trajectories(resolve_file(self.data_root, name))
        except WorkbenchError as error:
            session.fail(error)
            return gr.Dropdown(choices=[], value=None), *self.show(session, planner)
        return gr.Dropdown(choices=choices, value=0), *self.open_recorded(session, name, 0, planner, mode)

    def open_recorded(
        self, session: EpisodeSession, name: str | None, position: int | None, planner: str, mode: str
    ) -> tuple[Any, ...]:
        """Opens a recorded trajectory."""
        try:
            path = resolve_file(self.data_root, name)
            trajectory = read_trajectory(path, int(position or 0))
            get_planner = self._planner_of(session, planner)
            session.open(lambda: RecordedDriver(trajectory, get_planner, mode))
        except WorkbenchError as error:
            session.fail(error)
        return self.show(session, planner)

    # ---- steps

    def forecast(self, session: EpisodeSession, planner: str) -> Iterator[tuple[Any, ...]]:
        """One forecast."""
        session.planner = planner
        yield self.show(session, planner, is_busy=True, keeps_screen=True)
        session.forecast()
        yield self.show(session, planner)

    def act(self, session: EpisodeSession, planner: str) -> Iterator[tuple[Any, ...]]:
        """One action."""
        session.planner = planner
        yield self.show(session, planner, is_busy=True, keeps_screen=True)
        session.act()
        yield self.show(session, planner)

    def run(self, session: EpisodeSession, planner: str) -> Iterator[tuple[Any, ...]]:
        """Forecasts and actions until the episode ends or is stopped; shows each."""
        session.planner = planner
        yield self.show(session, planner, is_busy=True, keeps_screen=True)
        steps = session.run()
        try:
            for _ in steps:
                yield self.show(session, planner)
        finally:
            steps.close()
        yield self.show(session, planner)

    def stop(self, session: EpisodeSession, planner: str) -> tuple[Any, ...]:
        """Ends a run after its step."""
        session.request_stop()
        return self.show(session, planner, keeps_screen=True)

    def reset(self, session: EpisodeSession, planner: str) -> tuple[Any, ...]:
        """The same episode from its beginning."""
        session.reset()
        return self.show(session, planner)

    def back(self, session: EpisodeSession, planner: str) -> tuple[Any, ...]:
        """The screen before."""
        session.move(-1)
        return self.show(session, planner)

    def on(self, session: EpisodeSession, planner: str) -> tuple[Any, ...]:
        """The screen after."""
        session.move(1)
        return self.show(session, planner)

    def go_to(self, session: EpisodeSession, planner: str, event: gr.EventData) -> tuple[Any, ...]:
        """The screen of a row of the history."""
        number = event._data.get("frame") if isinstance(event._data, dict) else None
        if isinstance(number, int):
            session.go_to(number)
        return self.show(session, planner)

    # ---- showing

    def poll_planner(self, session: EpisodeSession, planner: str) -> tuple[Any, ...]:
        """The planner's line; once nothing changes any more the timer rests and the page shows what is possible."""
        status = self.shelf.status(planner)
        if not status.is_final or session.view().is_busy:
            return render_planner(status), gr.Timer(active=not status.is_final), *[gr.skip()] * NUM_OUTPUTS
        return render_planner(status), gr.Timer(active=False), *self.show(session, planner, keeps_screen=True)

    def choose_planner(self, session: EpisodeSession, planner: str) -> tuple[Any, ...]:
        """Another planner: starts loading it."""
        self.shelf.warm(planner)
        return render_planner(self.shelf.status(planner)), gr.Timer(active=True)

    def show(
        self, session: EpisodeSession, planner: str, *, is_busy: bool = False, keeps_screen: bool = False
    ) -> tuple[Any, ...]:
        """Updates of all panels and buttons, in the order of the tab's outputs."""
        status = self.shelf.status(planner)
        view = session.view(is_busy=is_busy)
        has_planner = status.readiness in (Readiness.READY, Readiness.LOADING)
        panels = render_panels(view, status)
        screen = gr.skip() if keeps_screen else panels.screen
        return (
            panels.goal,
            panels.status,
            screen,
            panels.forecast,
            panels.thought,
            panels.history,
            panels.position,
            gr.Button(interactive=view.can_forecast and has_planner),
            gr.Button(interactive=view.can_act and has_planner),
            gr.Button(interactive=view.can_run and has_planner),
            gr.Button(interactive=view.can_stop),
            gr.Button(interactive=view.can_reset),
            gr.Button(interactive=view.can_go_back),
            gr.Button(interactive=view.can_go_on),
        )


def _seed(value: float | None) -> int:
    if value is None or not 0 <= value <= MAX_SEED or value != int(value):
        raise InputError(f"seed {value} is not allowed: give a whole number 0..{MAX_SEED}")
    return int(value)


def _files_hint(files: list[str], root: Path) -> str:
    if files:
        return f"{len(files)} in {root}"
    return f"No *.jsonl in {root}. Make one with `tracer1 import`, or start with --data DIR."


def build_tab(handlers: EpisodeHandlers, default_planner: str, *, may_choose_planner: bool) -> None:
    """Adds the tab's components and events to the Blocks that is open.

    Args:
        handlers: what happens on each event.
        default_planner: the planner's path that the field starts with.
        may_choose_planner: whether visitors may name another planner.
    """
    session = gr.State(EpisodeSession(), delete_callback=EpisodeSession.close)
    with gr.Row(elem_classes="tw-grid"):
        with gr.Column(elem_classes="tw-controls"):
            controls = _build_controls(handlers, default_planner, may_choose_planner)
        with gr.Column(elem_classes="tw-centre"):
            goal = gr.HTML(elem_id="ep-goal")
            buttons = _build_buttons()
            status = gr.HTML(elem_id="ep-status")
            screen = gr.HTML(elem_id="ep-screen", js_on_load=read_script("link_steps.js"))
            with gr.Row(elem_classes="tw-buttons tw-stepper"):
                back = gr.Button("‹ Previous", size="sm", interactive=False, elem_id="ep-back")
                position = gr.HTML(elem_id="ep-position")
                on = gr.Button("Next ›", size="sm", interactive=False, elem_id="ep-on")
        with gr.Column(elem_classes="tw-side"):
            forecast = gr.HTML(elem_id="ep-forecast")
            thought = gr.HTML(elem_id="ep-thought")
            history = gr.HTML(elem_id="ep-history", js_on_load=read_script("pick_step.js"))
    outputs = [goal, status, screen, forecast, thought, history, position, *buttons.values(), back, on]
    _wire_sources(handlers, session, controls, outputs)
    _wire_steps(handlers, session, controls["planner"], buttons, (back, on), outputs)
    history.click(handlers.go_to, [session, controls["planner"]], outputs, **_CHEAP)
    _wire_planner(handlers, session, controls, outputs)


def _build_controls(handlers: EpisodeHandlers, default_planner: str, may_choose_planner: bool) -> dict[str, Any]:
    split = splits()[0]
    choices = templates(split)
    controls = {"source": gr.Radio([SIMULATOR, RECORDED], value=SIMULATOR, label="Source", elem_id="ep-source")}
    with gr.Group() as simulator:
        controls["split"] = gr.Dropdown(
            [(name.replace("_", " "), name) for name in splits()], value=split, label="Split", elem_id="ep-split"
        )
        controls["template"] = gr.Dropdown(choices, value=choices[0][1], label="Task", elem_id="ep-task")
        controls["seed"] = gr.Number(0, label="Seed", elem_id="ep-seed")
    files = list_files(handlers.data_root)
    with gr.Group(visible=False) as recorded:
        controls["file"] = gr.Dropdown(
            files, value=None, label="Trajectory file", allow_custom_value=True, elem_id="ep-file",
            info=_files_hint(files, handlers.data_root),
        )
        controls["position"] = gr.Dropdown([], label="Trajectory", elem_id="ep-trajectory")
        controls["refresh"] = gr.Button("Refresh the list", size="sm", elem_id="ep-refresh")
    with gr.Group():
        controls["mode"] = gr.Radio(list(MODES), value=MODES[0], label="Mode", elem_id="ep-mode")
        controls["planner"] = gr.Textbox(
            default_planner, label="Planner", max_lines=2, interactive=may_choose_planner, elem_id="ep-planner",
            info="A checkpoint folder" if may_choose_planner else "Fixed on this server",
        )
        controls["planner_status"] = gr.HTML(elem_id="ep-planner-status")
    controls |= {"simulator": simulator, "recorded": recorded}
    return controls


_BUTTONS = {"forecast": "secondary", "act": "secondary", "run": "primary", "stop": "stop", "reset": "secondary"}


def _build_buttons() -> dict[str, gr.Button]:
    with gr.Row(elem_classes="tw-buttons"):
        return {
            name: gr.Button(name.capitalize(), variant=variant, interactive=False, elem_id=f"ep-{name}")
            for name, variant in _BUTTONS.items()
        }


# Nothing is offered as an API, and no event covers the panels with a loading veil: the status line tells.
_QUIET = {"show_progress": "hidden", "api_visibility": "private"}
_CHEAP = {**_QUIET, "concurrency_limit": None}
_HEAVY = {**_QUIET, "concurrency_id": PLANNER_QUEUE, "concurrency_limit": 1}


def _wire_sources(
    handlers: EpisodeHandlers, session: gr.State, controls: dict[str, Any], outputs: list[Any]
) -> None:
    planner, file, position = controls["planner"], controls["file"], controls["position"]
    task = [session, controls["template"], controls["split"], controls["seed"], planner, controls["mode"]]
    gr.context.Context.root_block.load(handlers.load, [planner], [session, *outputs], **_CHEAP)
    controls["source"].input(
        handlers.choose_source, [*task, controls["source"], file, position],
        [controls["simulator"], controls["recorded"], file, *outputs], **_CHEAP,
    )
    controls["split"].input(handlers.list_templates, [controls["split"]], [controls["template"]], **_CHEAP).then(
        handlers.open_task, task, outputs, **_CHEAP
    )
    gr.on(
        [controls["template"].input, controls["seed"].input],
        handlers.open_task, task, outputs, trigger_mode="always_last", **_CHEAP,
    )
    mode = controls["mode"]
    mode.input(handlers.choose_mode, [*task, controls["source"], file, position], outputs, **_CHEAP)
    file.input(handlers.list_recorded, [session, file, planner, mode], [position, *outputs], **_CHEAP)
    position.input(handlers.open_recorded, [session, file, position, planner, mode], outputs, **_CHEAP)
    controls["refresh"].click(handlers.list_recordings, [file], [file], **_CHEAP)


def _wire_steps(
    handlers: EpisodeHandlers,
    session: gr.State,
    planner: gr.Textbox,
    buttons: dict[str, gr.Button],
    stepper: tuple[gr.Button, gr.Button],
    outputs: list[Any],
) -> None:
    inputs = [session, planner]
    for name in ("forecast", "act", "run"):
        buttons[name].click(getattr(handlers, name), inputs, outputs, **_HEAVY)
    for name in ("stop", "reset"):
        buttons[name].click(getattr(handlers, name), inputs, outputs, **_CHEAP)
    back, on = stepper
    back.click(handlers.back, inputs, outputs, **_CHEAP)
    on.click(handlers.on, inputs, outputs, **_CHEAP)


def _wire_planner(
    handlers: EpisodeHandlers, session: gr.State, controls: dict[str, Any], outputs: list[Any]
) -> None:
    planner, status = controls["planner"], controls["planner_status"]
    timer = gr.Timer(1.0)
    timer.tick(handlers.poll_planner, [session, planner], [status, timer, *outputs], **_CHEAP)
    gr.on([planner.submit, planner.blur], handlers.choose_planner, [session, planner], [status, timer], **_CHEAP)
