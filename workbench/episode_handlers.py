"""What happens on each event of the Episode tab: inputs become orders to an episode, its view becomes updates.

Handlers need no browser. Each takes the page it came from and gradio's request, whose login name decides what is
allowed, and returns one update for each of `episode_updates.OUTPUTS`; what the browser has already is skipped.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr

from executors.actions import ACTIONS
from executors.android import ready_phones
from executors.errors import InputError, WorkbenchError
from executors.geometry import PointNorm
from workbench.annotate_files import AnnotateFiles
from workbench.devices import (
    LABELS,
    REAL,
    DeviceChoice,
    device_choice,
    device_choices,
    miniwob_tasks,
    splits,
    templates,
    tool_templates,
)
from workbench.episode_correct import CorrectHandlers
from workbench.episode_decisions import DecisionHandlers
from workbench.episode_desk import EpisodeDesk
from workbench.episode_drift import EpisodeDrift
from workbench.episode_edit import arguments_hint
from workbench.episode_export import export_json, save_reference
from workbench.episode_export_html import export_html
from workbench.episode_html import render_missing_devices
from workbench.episode_page import Page, Shown, destination, drift_of, read_link, shown
from workbench.episode_store import EpisodeSetup, StoredEpisode
from workbench.episode_updates import BUTTONS, FIELDS, OUTPUTS, updates_of
from workbench.episode_view import EpisodeView, Message, Tone, sentence
from workbench.live_episode import LiveEpisode
from workbench.people import Role, name_of, person_of
from workbench.planner_choices import DEFAULT, list_checkpoints, planner_spec
from workbench.planner_shelf import PlannerShelf
from workbench.recordings import list_files, list_trajectories, resolve_file
from workbench.settings import AppSettings

SIMULATOR, REPLAY, MINIWOB, TOOLS = "simulator", "replay", "miniwob", "tools"
DESKTOP, ANDROID = "desktop", "android"

WITH_SPLIT = (SIMULATOR, TOOLS)
"""Sources whose tasks are drawn from splits."""

ARM_LABELS = {
    DESKTOP: "Arm: steps that I approve are done with this machine's mouse and keyboard",
    ANDROID: "Arm: steps that I approve are done on this phone",
}

REFERENCES = "references.jsonl"
"""Where references are saved, below the data folder."""

_SOON_SECONDS = 0.25
"""How long an order waits for its result, so that what is quick is shown at once and not at the next tick."""
_MAX_DRIFTS = 64


class EpisodeHandlers:
    """What happens on each event; holds only what all pages share."""

    def __init__(
        self, shelf: PlannerShelf, desk: EpisodeDesk, settings: AppSettings, *, runs_root: Path = Path("runs"),
        example: str = "", files: AnnotateFiles | None = None,
    ) -> None:
        """`example` is the episode that a page without a link opens on, empty for none; `files` are those of the
        Annotate tab, None where episodes are not corrected there.
        """
        self.shelf, self.desk, self.settings, self.runs_root = shelf, desk, settings, runs_root
        self.example = example
        self.decisions = DecisionHandlers(self._order, self._check)
        self.corrections = None if files is None else CorrectHandlers(files, self.show)
        self._drifts: OrderedDict[str, tuple[int, EpisodeDrift]] = OrderedDict()
        self._drifts_lock = Lock()

    # ---- opening

    def load(self, page: Page, query: str, request: gr.Request | None = None) -> list[Any]:
        """A page was opened, perhaps by a link to an episode; it gets the present lists to choose from."""
        self._follow_link(page, query)
        if self.example and not page.id and page.notice is None:
            self._look_at(page, self.example, 1)
        may_name = self._may(request, Role.OPERATOR)
        return [
            page,
            gr.Dropdown(choices=list_files(self.settings.data_root)),
            gr.Dropdown(choices=list_checkpoints(self.runs_root)),
            gr.Radio(interactive=may_name),
            *_offered(device_choices(is_space=self.settings.is_space)),
            *self.show(page, request),
        ]

    def tick(self, page: Page, query: str, request: gr.Request | None = None) -> list[Any]:
        """Time has passed; a page that the server has forgotten is found again by its address."""
        if not page.id and not page.sent:
            self._follow_link(page, query)
        return self.show(page, request)

    def _follow_link(self, page: Page, query: str) -> None:
        id, step = read_link(query or "")
        if id:
            self._look_at(page, id, step)

    def _look_at(self, page: Page, id: str, step: int | None = None) -> None:
        try:
            view = self.desk.view(id)
            if not view.frames:
                raise InputError("this episode was never begun, so it has no screen: start another")
        except WorkbenchError as error:
            page.notice = Message(sentence(error), Tone.ERROR)
            return
        page.open(id, None if step is None or step >= len(view.frames) else max(1, step))

    def open(self, page: Page, id: str, request: gr.Request | None = None) -> list[Any]:
        """A past episode was chosen."""
        self._look_at(page, id)
        return self.show(page, request)

    def start(
        self, page: Page, source: str, split: str, template: str, seed: float, file: str | None, position: int | None,
        goal: str, kind: str, checkpoint: str | None, model: str, address: str, horizon: float | str | None,
        history: float | str | None, max_steps: float | None, agent: str = "", is_armed: bool = False,
        serial: str | None = None, request: gr.Request | None = None,
    ) -> list[Any]:
        """Begins the episode that the form says."""
        try:
            self._check(request, Role.ANNOTATOR, "start episodes")
            if kind != DEFAULT:
                self._check(request, Role.OPERATOR, "name another planner")
            self._check_source(source)
            if source in REAL:
                what = "this desktop" if source == DESKTOP else "a phone"
                self._check(request, Role.OPERATOR, f"let an agent act on {what}")
            is_replay = source == REPLAY
            if is_replay:
                resolve_file(self.settings.data_root, file)
            setup = EpisodeSetup(
                executor=source,
                task={REPLAY: file, DESKTOP: DESKTOP, ANDROID: serial or ""}.get(source, template),
                split=split if source in WITH_SPLIT else "",
                seed=_whole("seed", seed) if source in (*WITH_SPLIT, MINIWOB) else 0,
                position=int(position or 0) if is_replay else 0,
                goal=(goal or "").strip(),
                planner=planner_spec(kind, checkpoint, model or "", address or "", self.runs_root),
                horizon=_whole("T", horizon, may_miss=True),
                history_length=_whole("K", history, may_miss=True),
                max_steps=_whole("most steps", max_steps),
                tool_agent=((agent or "").strip() or "elements") if source in REAL else "elements",
            )
            self.shelf.warm(setup.planner)
            armed_by = person_of(request) if is_armed else ""
            page.open(self.desk.start(setup, name_of(request), armed_by=armed_by))
        except WorkbenchError as error:
            page.notice = Message(sentence(error), Tone.ERROR)
        return self.show(page, request)

    def _check_source(self, source: str) -> None:
        if source not in LABELS:
            raise InputError(f"field 'act on': {str(source)[:40]!r} is not one of {', '.join(LABELS)}")
        choice = device_choice(source, is_space=self.settings.is_space)
        if choice.reason:
            raise InputError(f"{choice.label} is not available: {choice.reason}")

    # ---- choosing in the form

    def choose_source(self, source: str, split: str) -> tuple[Any, ...]:
        """Shows the fields of a source, with the files and tasks that are there now; nothing is armed any more."""
        is_replay = source == REPLAY
        files = gr.Dropdown(choices=list_files(self.settings.data_root)) if is_replay else gr.skip()
        tasks, split_choice = gr.skip(), gr.Dropdown(visible=False)
        if source in WITH_SPLIT:
            names = splits(source)
            split = split if split in names else names[0]
            tasks = self.choose_split(split, source)
            split_choice = gr.Dropdown(choices=_named(names), value=split, visible=True)
        elif source == MINIWOB:
            choices = miniwob_tasks()
            tasks = gr.Dropdown(choices=choices, value=choices[0][1])
        return (
            gr.Group(visible=source in (*WITH_SPLIT, MINIWOB)), gr.Group(visible=is_replay), files, tasks,
            split_choice, gr.Group(visible=source in REAL),
            gr.Checkbox(value=False, label=ARM_LABELS.get(source, ARM_LABELS[DESKTOP])),
            gr.Accordion(open=True) if source in REAL else gr.skip(),
            _phones() if source == ANDROID else gr.Dropdown(visible=False),
        )

    def choose_split(self, split: str, source: str = SIMULATOR) -> Any:
        """The tasks of a split of the simulator or of tools."""
        known = splits(source)
        choices = (tool_templates if source == TOOLS else templates)(split if split in known else known[0])
        return gr.Dropdown(choices=choices, value=choices[0][1])

    def choose_file(self, page: Page, file: str | None, request: gr.Request | None = None) -> list[Any]:
        """The trajectories of a file."""
        try:
            choices = list_trajectories(resolve_file(self.settings.data_root, file))
        except WorkbenchError as error:
            page.notice = Message(sentence(error), Tone.ERROR)
            return [gr.Dropdown(choices=[], value=None), *self.show(page, request)]
        return [gr.Dropdown(choices=choices, value=0), *self.show(page, request)]

    def choose_kind(self, kind: str) -> tuple[Any, ...]:
        """Shows the fields of a kind of planner, with the checkpoints that are there now."""
        checkpoints = list_checkpoints(self.runs_root)
        info = f"{len(checkpoints)} below {self.runs_root}" if checkpoints else (
            f"None below {self.runs_root} yet: train one with `tracer1 train`")
        return (
            gr.Dropdown(choices=checkpoints, visible=kind == "checkpoint", info=info),
            gr.Group(visible=kind == "server"),
        )

    def choose_type(self, type: str) -> Any:
        """Says what may be written as arguments of an action."""
        return gr.Textbox(info=arguments_hint(type)) if type in ACTIONS else gr.skip()

    # ---- orders

    def forecast(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """One forecast."""
        return self._order(page, request, "make forecasts", LiveEpisode.forecast)

    def act(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """The plan's first step is approved."""
        return self._order(page, request, "act", LiveEpisode.act)

    def run(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """Goes on by itself."""
        return self._order(page, request, "run episodes", LiveEpisode.run)

    def pause(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """A run waits after what is under way."""
        return self._order(page, request, "pause episodes", LiveEpisode.pause)

    def stop(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """Ends what is under way; a real device is stopped for good."""
        by = f"the STOP button ({person_of(request)})"
        return self._order(page, request, "stop episodes", lambda episode: episode.stop(by))

    def reset(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """The same episode from its beginning, as a new one."""
        try:
            self._check(request, Role.ANNOTATOR, "start episodes")
            if page.id:
                page.open(self.desk.restart(page.id, name_of(request)))
        except WorkbenchError as error:
            page.notice = Message(sentence(error), Tone.ERROR)
        return self.show(page, request)

    def _order(
        self, page: Page, request: gr.Request | None, what: str, order: Callable[[LiveEpisode], None]
    ) -> list[Any]:
        page.notice = None
        try:
            self._check(request, Role.ANNOTATOR, what)
            episode = self.desk.live(page.id) if page.id else None
            if episode is None:
                raise InputError("this episode can only be looked at: start another")
            order(episode)
            page.cursor = None
            episode.wait_idle(_SOON_SECONDS)
        except WorkbenchError as error:
            page.notice = Message(sentence(error), Tone.ERROR)
        return self.show(page, request)

    # ---- edits

    def apply(
        self, page: Page, type: str, arguments: str, words: str, request: gr.Request | None = None
    ) -> list[Any]:
        """The selected step as the form says."""
        return self._order(
            page, request, "change plans",
            lambda episode: episode.change(page.selected, type, arguments or "", words or ""),
        )

    def insert(
        self, page: Page, type: str, arguments: str, words: str, request: gr.Request | None = None, *, offset: int = 0
    ) -> list[Any]:
        """A new step as the form says, before the selected one, or `offset` places after."""

        def order(episode: LiveEpisode) -> None:
            count = len(episode.view.plan.forecast.steps) if episode.view.plan else 0
            number = min(page.selected + offset, count + 1)
            version = episode.view.frames[-1].forecasts
            episode.insert(number, type, arguments or "", words or "")
            if episode.view.frames[-1].forecasts != version:
                page.selected = number

        return self._order(page, request, "change plans", order)

    def insert_after(
        self, page: Page, type: str, arguments: str, words: str, request: gr.Request | None = None
    ) -> list[Any]:
        """A new step as the form says, after the selected one."""
        return self.insert(page, type, arguments, words, request, offset=1)

    def delete(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """The plan without the selected step."""
        return self._order(page, request, "change plans", lambda episode: episode.delete(page.selected))

    def reforecast(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """Keeps the plan up to the selected step and forecasts what follows."""
        return self._order(page, request, "make forecasts", lambda episode: episode.reforecast(page.selected))

    def take_reference(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """The reference's next step as the plan."""
        page.selected = 1
        return self._order(page, request, "change plans", LiveEpisode.take_reference)

    def on_screen(self, page: Page, event: gr.EventData, request: gr.Request | None = None) -> list[Any]:
        """A mark was chosen, or moved to another place."""
        data = event._data if isinstance(event._data, dict) else {}
        number = _forecast_number(data.get("mark"))
        if number is None:
            return self.show(page, request)
        page.selected = number
        if data.get("what") != "move":
            return self.show(page, request)
        x, y, part = data.get("x"), data.get("y"), data.get("part")
        if not (_is_number(x) and _is_number(y) and isinstance(part, str)):
            return self.show(page, request)
        return self._order(
            page, request, "change plans", lambda episode: episode.move(number, part, PointNorm(float(x), float(y)))
        )

    # ---- looking

    def go(self, page: Page, event: gr.EventData, request: gr.Request | None = None) -> list[Any]:
        """Another screen: {"what": "go", "to": number or a way}, see `destination`."""
        return self._go(page, event._data.get("to") if isinstance(event._data, dict) else None, request)

    def back(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """The screen before."""
        return self._go(page, "back", request)

    def on(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """The screen after."""
        return self._go(page, "on", request)

    def _go(self, page: Page, to: object, request: gr.Request | None) -> list[Any]:
        page.notice = None
        seen = self._seen(page)
        if seen is not None:
            page.cursor = destination(to, seen)
        return self.show(page, request)

    def show_after(self, page: Page, is_on: bool, request: gr.Request | None = None) -> list[Any]:
        """Shows the screen after beside the one shown, or no longer."""
        page.shows_after = bool(is_on)
        return self.show(page, request)

    # ---- taking away

    def export_page(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """The episode as one HTML file, for the browser to save."""
        return self._export(page, request, "html", "text/html", export_html)

    def export_data(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """The episode as JSON, for the browser to save."""
        return self._export(page, request, "json", "application/json", export_json)

    def _export(
        self, page: Page, request: gr.Request | None, suffix: str, type: str, export: Callable[[StoredEpisode], str]
    ) -> list[Any]:
        file = ""
        try:
            self._check(request, Role.VIEWER, "export episodes")
            content = export(self.desk.store.load(page.id))
            name = f"episode-{page.id}.{suffix}"
            file = json.dumps({"name": name, "type": type, "content": content})
            page.notice = Message(f"Exported as {name}.")
        except WorkbenchError as error:
            page.notice = Message(sentence(error), Tone.ERROR)
        return [file, *self.show(page, request)]

    def keep(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """The steps carried out as a reference trajectory, in the data folder, where recordings are chosen."""
        path = self.settings.data_root / REFERENCES
        try:
            self._check(request, Role.ANNOTATOR, "save references")
            count = save_reference(self.desk.store.load(page.id), path)
            page.notice = Message(f"Saved as a reference: {REFERENCES} now holds {count}. It can be acted on as a "
                                  "recording, and the Train stages read it.", Tone.SUCCESS)
        except WorkbenchError as error:
            page.notice = Message(sentence(error), Tone.ERROR)
        return self.show(page, request)

    # ---- showing

    def show(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """One update for each of `OUTPUTS`; what the browser has already is skipped."""
        with page.lock:
            view = self._view(page)
            planner = self.shelf.status(view.setup.planner if view else "")
            may_act, may_operate = self._may(request, Role.ANNOTATOR), self._may(request, Role.OPERATOR)
            key = (
                page.id, view.version if view else 0, page.cursor, page.selected, page.shows_after, page.notice,
                planner, may_act, may_operate, view.waited_seconds if view else 0,
            )
            if page.sent.get("key") == key:
                return [gr.skip()] * len(OUTPUTS)
            page.sent["key"] = key
            updates = updates_of(page, self._seen_in(page, view), planner, may_act=may_act, may_operate=may_operate)
            return [self._fresh(page, name, updates.get(name)) for name in OUTPUTS]

    def _fresh(self, page: Page, name: str, value: Any) -> Any:
        if value is None or page.sent.get(name) == value:
            return gr.skip()
        page.sent[name] = value
        if name in BUTTONS:
            return gr.update(interactive=value)
        return gr.update(**value) if name in FIELDS else value

    def _view(self, page: Page) -> EpisodeView | None:
        if not page.id:
            return None
        try:
            return self.desk.view(page.id)
        except WorkbenchError as error:
            page.id, page.notice = "", Message(sentence(error), Tone.ERROR)
            return None

    def _seen(self, page: Page) -> Shown | None:
        return self._seen_in(page, self._view(page))

    def _seen_in(self, page: Page, view: EpisodeView | None) -> Shown | None:
        return None if view is None else shown(view, page.cursor, self._drift(view))

    def _drift(self, view: EpisodeView) -> EpisodeDrift:
        """The drift, worked out once for each step and not for each page."""
        with self._drifts_lock:
            known = self._drifts.pop(view.id, None)
            if known is None or known[0] != view.num_steps:
                known = (view.num_steps, drift_of(view, known[1] if known else None))
            self._drifts[view.id] = known
            while len(self._drifts) > _MAX_DRIFTS:
                self._drifts.popitem(last=False)
            return known[1]

    # ---- people

    def _check(self, request: gr.Request | None, needed: Role, what: str) -> None:
        self.settings.people.check(name_of(request) or None, needed, what)

    def _may(self, request: gr.Request | None, needed: Role) -> bool:
        role = self.settings.people.role_of(name_of(request) or None)
        return role is not None and role >= needed


def _named(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), name) for name in names]


def _offered(devices: Iterable[DeviceChoice]) -> tuple[Any, Any]:
    """The kinds of devices to choose from, and those that are missing with the reason: their components' updates."""
    devices = tuple(devices)
    usable = [(device.label, device.name) for device in devices if not device.reason]
    missing = render_missing_devices(devices)
    return gr.Radio(choices=usable), gr.HTML(missing, visible=bool(missing))


def _phones() -> Any:
    """The phones that are ready now; without any, the start tells why."""
    try:
        serials = ready_phones()
    except InputError:
        serials = []
    return gr.Dropdown(choices=serials, value=serials[0] if serials else None, visible=True)


def _whole(name: str, value: float | str | None, *, may_miss: bool = False) -> int | None:
    if isinstance(value, str):
        text = value.strip()
        value = (int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else value) if text else None
    if value is None and may_miss:
        return None
    if not _is_number(value) or value != int(value):
        raise InputError(f"field '{name}': {value} is not a whole number")
    return int(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12


def _forecast_number(mark: object) -> int | None:
    """The step's number in a mark's key; None when it is not a forecast's."""
    if not isinstance(mark, str) or not mark.startswith("forecast-"):
        return None
    number = mark.removeprefix("forecast-")
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 4 else None
