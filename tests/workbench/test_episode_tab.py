"""The Episode tab's handlers, called as plain functions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from executors.trajectory import read_trajectories
from training.config import ForecastConfig
from training.forecast import parse_forecast
from training.planner import ReplayPlanner
from workbench import episode_html
from workbench.episode_desk import EpisodeDesk
from workbench.episode_handlers import REFERENCES, EpisodeHandlers
from workbench.episode_page import Page, read_link
from workbench.episode_store import EpisodeSetup, EpisodeStore
from workbench.episode_updates import BUTTONS, FIELDS, OUTPUTS, PANELS
from workbench.people import People, Role
from workbench.planner_shelf import PlannerShelf
from workbench.settings import AppSettings
from workbench.ui import build_app, launch_options

ATTACK = '<img src=x onerror="alert(1)">'
FORM = {
    "source": "simulator", "split": "train", "template": "alarm_on", "seed": 0, "file": None, "position": None,
    "goal": "", "kind": "default", "checkpoint": None, "model": "", "address": "", "horizon": None, "history": None,
    "max_steps": 30,
}  # fmt: skip
SKIP = gr.skip()


class Tab:
    """A page as its browser knows it: what every output shows now."""

    def __init__(self, handlers: EpisodeHandlers, *, request: object = None) -> None:
        self.handlers, self.request = handlers, request
        self.page = Page()
        self.buttons = dict.fromkeys(BUTTONS, False)
        self.panels = dict.fromkeys(PANELS, "")
        self.fields = {name: {} for name in FIELDS}

    def take(self, updates: list) -> Tab:
        """Applies a handler's updates, the last `OUTPUTS` of them."""
        for name, update in zip(OUTPUTS, updates[-len(OUTPUTS) :], strict=True):
            if update == SKIP:
                continue
            if name in BUTTONS:
                self.buttons[name] = update["interactive"]
            elif name in FIELDS:
                self.fields[name] |= update
            else:
                self.panels[name] = update
        return self

    def do(self, handler: Callable, *args: object) -> Tab:
        """Calls a handler, then ticks until nothing is under way."""
        self.take(handler(self.page, *args, request=self.request))
        while self.page.id and self.handlers.desk.view(self.page.id).is_busy:
            time.sleep(0.01)
        return self.tick()

    def tick(self, query: str = "") -> Tab:
        return self.take(self.handlers.tick(self.page, query, self.request))

    def until(self, is_so: Callable[[], bool], seconds: float = 20.0) -> Tab:
        """Ticks until something is so; fails with the panels shown after that time."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, self.panels
            time.sleep(0.02)
            self.tick()
        return self

    def start(self, **form: object) -> Tab:
        return self.do(self.handlers.start, *({**FORM, **form}).values())

    def event(self, handler: Callable, **data: object) -> Tab:
        return self.do(handler, SimpleNamespace(_data=data))

    def __getattr__(self, name: str) -> str:
        return self.panels[name]


def make_handlers(planner: object, data_root: Path, store: Path, **settings: object) -> EpisodeHandlers:
    shelf = PlannerShelf(lambda path: planner, "replay:oracle")
    shelf.get()
    settings = AppSettings(data_root=data_root, store_root=store, **settings)
    desk = EpisodeDesk(EpisodeStore(store), data_root, shelf.get)
    return EpisodeHandlers(shelf, desk, settings, runs_root=store / "runs")


@pytest.fixture
def handlers(oracle_planner: ReplayPlanner, data_root: Path, tmp_path: Path) -> Iterator[EpisodeHandlers]:
    """Handlers whose planner knows the way."""
    handlers = make_handlers(oracle_planner, data_root, tmp_path / "store")
    yield handlers
    handlers.desk.close()


@pytest.fixture
def tab(handlers: EpisodeHandlers) -> Tab:
    """A page on a task that the planner knows."""
    return Tab(handlers).start()


def test_an_empty_page_says_what_to_do(handlers: EpisodeHandlers) -> None:
    tab = Tab(handlers)
    page, files, checkpoints, kind, source, missing, *updates = handlers.load(tab.page, "")
    tab.take(updates)
    assert page is tab.page and kind.interactive
    assert [name for name, _ in files.choices] == ["desk.jsonl", "oracle.jsonl"] and checkpoints.choices == []
    assert "press Start" in tab.goal and "No episode is open" in tab.screen
    assert not any(tab.buttons.values())
    assert handlers.desk.store.search().total == 0  # looking makes nothing


def test_starting_shows_the_first_screen_and_its_address(tab: Tab) -> None:
    assert "<svg" in tab.screen and "data:image/png;base64," in tab.screen
    assert f'data-episode="{tab.page.id}" data-step="1"' in tab.goal
    on = {name for name, is_on in tab.buttons.items() if is_on}
    assert on == {"forecast", "run", "before", "reference", "html", "json"}


def test_forecast_approve_and_look_back(tab: Tab, handlers: EpisodeHandlers) -> None:
    tab.do(handlers.forecast)
    assert tab.plan.count('data-mark="forecast-') == 3 and 'data-mark="forecast-1"' in tab.screen
    assert "on a later screen" in tab.plan
    assert tab.buttons["act"] and tab.fields["words"]["value"] == 'double click the "Clock" icon'
    tab.do(handlers.act)
    assert "1 step taken" in tab.status and "Screen 2 of 2" in tab.position
    assert not tab.buttons["act"]
    tab.do(handlers.back)
    assert "Screen 1 of 2 (looking back)" in tab.position
    assert 'data-mark="executed-1"' in tab.screen and tab.plan.count('data-mark="forecast-') == 3
    assert not tab.buttons["apply"] and "last screen" in tab.step_title
    tab.do(handlers.forecast)  # on the live screen, wherever one looks
    assert "Screen 2 of 2" in tab.position


def test_a_run_to_success_shows_verdicts_drift_rewards_and_prompt(tab: Tab, handlers: EpisodeHandlers) -> None:
    tab.do(handlers.run)
    assert "The goal is reached." in tab.status and "tw-success" in tab.status
    assert tab.timeline.count("tw-tick-hit") == 2 and tab.timeline.count("✓") == 2
    assert "100 %" in tab.drift and "Plan stability: 100 %" in tab.drift and "lookahead 3" in tab.drift
    assert "Stage 1: R = +1.00" in tab.model and "Stage 2: 1" in tab.model
    assert "user message" in tab.model and "Goal: Turn on the alarm" in tab.model.replace("&quot;", '"')
    assert "Read in full" in tab.model and "s</td>" in tab.model
    assert tab.history.count("<li") == 3
    assert not tab.buttons["act"] and tab.buttons["reset"] and tab.buttons["keep"]


def test_nothing_is_sent_again_that_the_browser_has(tab: Tab, handlers: EpisodeHandlers) -> None:
    assert handlers.tick(tab.page, "") == [SKIP] * len(OUTPUTS)
    updates = handlers.forecast(tab.page)
    by_name = dict(zip(OUTPUTS, updates, strict=True))
    assert by_name["goal"] == by_name["timeline"] == by_name["history"] == SKIP


def test_ways_lead_to_screens(tab: Tab, handlers: EpisodeHandlers) -> None:
    tab.do(handlers.run)
    for to, position in (("first", 1), ("on", 2), (3, 3), ("back", 2), ("last", 3), (99, 3), (-5, 1), ("miss", 1)):
        tab.event(handlers.go, what="go", to=to)
        assert f"Screen {position} of 3" in tab.position, to
    for to in (None, True, [], {}, "elsewhere", 1e9, "1"):
        tab.event(handlers.go, what="go", to=to)
        assert "of 3" in tab.position


def test_miss_leads_to_the_next_step_that_went_wrong(data_root: Path, tmp_path: Path) -> None:
    answers = iter(('1. wait() | wait\n2. press_home() | home', '1. wait() | wait\n2. wait() | wait',
                    '1. click() | tap the "Nowhere" button', "1. finished() | done"))
    planner = SimpleNamespace(
        name="x", config=ForecastConfig(), forecast=lambda requests: [parse_forecast(next(answers), horizon=6)]
    )
    handlers = make_handlers(planner, data_root, tmp_path)
    tab = Tab(handlers).start()
    tab.do(handlers.run)
    assert [word in tab.timeline for word in ("tw-tick-miss", "tw-tick-failed")] == [True, True]
    seen = []
    tab.event(handlers.go, what="go", to="first")
    for _ in range(3):
        tab.event(handlers.go, what="go", to="miss")
        seen.append(tab.position.split(" of ")[0][-1])
    assert seen == ["2", "3", "2"]


def test_a_mark_is_selected_moved_and_executed_there(tab: Tab, handlers: EpisodeHandlers) -> None:
    tab.do(handlers.forecast)
    tab.event(handlers.on_screen, what="select", mark="forecast-2")
    assert "Step 2" in tab.step_title and "14:30" in tab.fields["words"]["value"]
    tab.event(handlers.on_screen, what="move", mark="forecast-1", part="point", x=0.5, y=0.9)
    assert "Changed by a person" in tab.plan and "moved from" in tab.plan
    assert tab.fields["arguments"]["value"] == "point=[0.5, 0.9]"
    tab.do(handlers.act)
    step = handlers.desk.view(tab.page.id).frames[0].step
    assert (step.action.point.x, step.action.point.y) == (0.5, 0.9)
    assert "tw-by-person" in tab.timeline


@pytest.mark.parametrize(
    "data",
    [
        None, [], {}, {"what": "move"}, {"what": "move", "mark": "forecast-1"},
        {"what": "move", "mark": "forecast-1", "part": "point", "x": "0.5", "y": 0.5},
        {"what": "move", "mark": "forecast-1", "part": "point", "x": True, "y": 0.5},
        {"what": "move", "mark": "forecast-1", "part": 3, "x": 0.5, "y": 0.5},
        {"what": "move", "mark": "forecast-1", "part": "action", "x": 0.5, "y": 0.5},
        {"what": "move", "mark": "forecast-99", "part": "point", "x": 0.5, "y": 0.5},
        {"what": "move", "mark": "executed-1", "part": "point", "x": 0.5, "y": 0.5},
        {"what": "move", "mark": "forecast-1", "part": "point", "x": 7, "y": 0.5},
        {"what": "move", "mark": "forecast-1", "part": "point", "x": float("nan"), "y": 0.5},
        {"what": "select", "mark": "forecast-²"}, {"what": "select", "mark": {"a": 1}},
    ],
)  # fmt: skip
def test_what_a_browser_should_not_send_changes_nothing(tab: Tab, handlers: EpisodeHandlers, data: object) -> None:
    tab.do(handlers.forecast)
    plan = handlers.desk.view(tab.page.id).plan
    tab.do(handlers.on_screen, SimpleNamespace(_data=data))
    assert handlers.desk.view(tab.page.id).plan == plan


def test_the_form_changes_inserts_and_deletes(tab: Tab, handlers: EpisodeHandlers) -> None:
    tab.do(handlers.insert, "wait", "seconds=1", "wait a second")  # without any forecast
    assert tab.plan.count('data-mark="forecast-') == 1 and tab.buttons["act"]
    tab.do(handlers.insert_after, "press_home", "", "go home")
    assert "Step 2" in tab.step_title and tab.fields["type"]["value"] == "press_home"
    tab.do(handlers.apply, "type", "content='milk'", "type milk")
    assert "type(content=&#x27;milk&#x27;)" in tab.plan
    tab.do(handlers.apply, "fly", "", "fly")
    assert "tw-error" in tab.status and "type(content" in tab.plan
    tab.do(handlers.delete).do(handlers.delete)
    assert "No step is left" in tab.plan and not tab.buttons["act"]
    tab.do(handlers.forecast).do(handlers.reforecast)
    assert "forecast again from step 1 on" in tab.plan


def test_a_typed_field_is_not_overwritten_by_a_tick(tab: Tab, handlers: EpisodeHandlers) -> None:
    tab.do(handlers.forecast)
    updates = dict(zip(OUTPUTS, handlers.tick(tab.page, ""), strict=True))
    assert all(updates[name] == SKIP for name in FIELDS)
    tab.do(handlers.back)
    updates = dict(zip(OUTPUTS, handlers.show_after(tab.page, True), strict=True))
    assert all(updates[name] == SKIP for name in FIELDS)


def test_after_is_shown_beside_before(tab: Tab, handlers: EpisodeHandlers) -> None:
    tab.do(handlers.run).event(handlers.go, to="first").do(handlers.show_after, True)
    assert tab.screen.count("<img") == 2 and "After: screen 2" in tab.screen
    tab.event(handlers.go, to="last")
    assert "no screen after" in tab.screen


def test_another_page_sees_the_same_episode_and_keeps_its_own_place(tab: Tab, handlers: EpisodeHandlers) -> None:
    other = Tab(handlers)
    other.take(handlers.load(other.page, f"?episode={tab.page.id}&step=1"))
    tab.do(handlers.forecast)
    other.tick()
    assert other.plan.count('data-mark="forecast-') == 3
    tab.do(handlers.act)
    assert "Screen 2 of 2" in tab.position
    assert "Screen 2 of 2" in other.tick().position  # it followed the live screen
    other.do(handlers.back)
    assert "Screen 1 of 2" in other.position and "Screen 2 of 2" in tab.tick().position


def test_two_pages_do_not_see_each_other(tab: Tab, handlers: EpisodeHandlers) -> None:
    other = Tab(handlers).start(seed=1)
    tab.do(handlers.run)
    assert "0 steps taken" in other.tick().status
    assert other.page.id != tab.page.id


def test_a_page_that_the_server_forgot_is_found_by_its_address(tab: Tab, handlers: EpisodeHandlers) -> None:
    tab.do(handlers.run)
    again = Tab(handlers)
    again.tick(f"?__theme=dark&episode={tab.page.id}&step=2")
    assert "Screen 2 of 3" in again.position


@pytest.mark.parametrize(
    "query", ["?episode=nothing", "?episode=../../etc&step=1", "?episode=%00", "?step=3", "?" * 9000]
)
def test_a_link_to_nowhere_is_an_empty_page(handlers: EpisodeHandlers, query: str) -> None:
    tab = Tab(handlers)
    tab.take(handlers.load(tab.page, query))
    assert "No episode is open" in tab.screen
    assert ("not in this store" in tab.status) == bool(read_link(query)[0])


def test_an_episode_without_a_screen_is_said(handlers: EpisodeHandlers) -> None:
    id = handlers.desk.store.create(EpisodeSetup(task="alarm_on", split="train"), goal="x")
    tab = Tab(handlers)
    tab.take(handlers.load(tab.page, f"?episode={id}"))
    assert "never begun" in tab.status and "No episode is open" in tab.screen


def test_reset_is_a_new_episode(tab: Tab, handlers: EpisodeHandlers) -> None:
    first = tab.page.id
    tab.do(handlers.run).do(handlers.reset)
    assert tab.page.id != first and "0 steps taken" in tab.status


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"seed": -1}, "0..999999"), ({"seed": 0.5}, "whole number"), ({"seed": None}, "whole number"),
        ({"seed": float("nan")}, "whole number"), ({"horizon": 0}, "1..32"), ({"history": 65}, "0..64"),
        ({"horizon": "six"}, "whole number"), ({"history": " 65 "}, "0..64"),
        ({"max_steps": 0}, "1..200"), ({"max_steps": None}, "whole number"), ({"template": "nothing"}, "nothing"),
        ({"split": "nowhere"}, "nowhere"), ({"source": "replay"}, "trajectory file is chosen"),
        ({"source": "replay", "file": "../../etc/passwd"}, "outside"), ({"goal": "x" * 5000}, "too many"),
        ({"kind": "checkpoint", "checkpoint": "../../etc"}, "choose one of the list"),
        ({"kind": "server", "model": "m", "address": "ftp://x"}, "name the model"),
        ({"kind": "else"}, "not one of"),
    ],
)  # fmt: skip
def test_a_form_that_is_not_allowed_is_one_sentence(handlers: EpisodeHandlers, form: dict, words: str) -> None:
    tab = Tab(handlers).start(**form)
    assert words in tab.status.replace("Name", "name") and "tw-error" in tab.status
    assert handlers.desk.store.search().total == 0


def test_a_recording_is_acted_on_with_its_own_steps(handlers: EpisodeHandlers) -> None:
    choices, *_ = handlers.choose_file(Page(), "desk.jsonl")
    assert choices.choices == [("1. Look at <b>three</b> screens. (3 steps)", 0)]
    tab = Tab(handlers).start(source="replay", file="desk.jsonl", position=0)
    assert "Look at &lt;b&gt;three&lt;/b&gt; screens." in tab.goal and "Recorded screen" in tab.screen
    assert 'viewBox="0 0 1276 718"' in tab.screen and 'data-mark="recorded-1"' in tab.screen
    for _ in range(3):
        tab.do(handlers.take_reference).do(handlers.act)
    assert "The recording ends here." in tab.status


def test_a_hostile_reply_stays_text(data_root: Path, tmp_path: Path) -> None:
    steps = f'1. click() | tap the "{ATTACK}" button\n2. type(content=\'{ATTACK}\') | {ATTACK}'
    forecast = parse_forecast(f"{ATTACK}</think>{steps}\n{ATTACK}", horizon=6)
    planner = SimpleNamespace(name=ATTACK, config=ForecastConfig(), forecast=lambda requests: [forecast])
    handlers = make_handlers(planner, data_root, tmp_path)
    tab = Tab(handlers).start(goal=ATTACK)
    tab.do(handlers.forecast).do(handlers.act).do(handlers.back)
    for name in PANELS:
        assert "<img src=x" not in tab.panels[name], name
    assert "&lt;img src=x" in tab.plan and "&lt;img src=x" in tab.goal and "&lt;img src=x" in tab.model


def test_a_reply_that_is_readable_in_part_shows_that_part(data_root: Path, tmp_path: Path) -> None:
    forecast = parse_forecast("1. press_home() | go home\n2. fly() | x", horizon=6)
    planner = SimpleNamespace(name="x", config=ForecastConfig(), forecast=lambda requests: [forecast])
    handlers = make_handlers(planner, data_root, tmp_path)
    tab = Tab(handlers).start().do(handlers.forecast)
    assert "could not be read in full" in tab.status
    assert "Not readable: step 2" in tab.plan and "content error" in tab.model


def test_without_a_planner_the_page_says_how_to_get_one_and_steps_can_be_added(tmp_path: Path) -> None:
    shelf = PlannerShelf(lambda path: None, str(tmp_path / "tiny_planner"))
    settings = AppSettings(data_root=tmp_path, store_root=tmp_path, runs_root=tmp_path)
    desk = EpisodeDesk(EpisodeStore(tmp_path), tmp_path, shelf.get)
    handlers = EpisodeHandlers(shelf, desk, settings)
    tab = Tab(handlers).start()
    assert "No planner yet" in tab.plan and "tracer1 train" in tab.plan
    assert not tab.buttons["forecast"] and not tab.buttons["run"] and tab.buttons["reference"]
    tab.do(handlers.take_reference).do(handlers.act)
    assert "1 step taken" in tab.status
    desk.close()


def test_a_viewer_looks_an_annotator_acts_an_operator_names_planners(oracle_planner, data_root, tmp_path) -> None:
    people = SimpleNamespace(viewer=Role.VIEWER, annotator=Role.ANNOTATOR, operator=Role.OPERATOR)
    rules = People(by_name={name: SimpleNamespace(role=role) for name, role in vars(people).items()})
    handlers = make_handlers(oracle_planner, data_root, tmp_path, people=rules)
    viewer, annotator, operator = (
        Tab(handlers, request=SimpleNamespace(username=name)) for name in ("viewer", "annotator", "operator")
    )
    assert "a viewer may not start episodes" in viewer.start().status.lower()
    annotator.start()
    assert handlers.desk.store.load(annotator.page.id).owner == "annotator"
    viewer.take(handlers.load(viewer.page, f"?episode={annotator.page.id}", viewer.request))
    assert "<svg" in viewer.screen
    assert {name for name, is_on in viewer.buttons.items() if is_on} == {"html", "json"}
    for order in (handlers.forecast, handlers.run, handlers.reset, handlers.delete, handlers.keep):
        assert "A viewer may not" in viewer.do(order).status
    server = {"kind": "server", "model": "m", "address": "http://localhost:9/v1"}
    assert "An annotator may not" in annotator.start(**server).status or "may not name" in annotator.status
    assert "may not" not in operator.start(**server).status
    stranger = Tab(handlers, request=SimpleNamespace(username="nobody"))
    assert "logged in" in stranger.start().status
    handlers.desk.close()


def test_an_episode_is_taken_away_as_page_and_as_data_and_kept_as_a_reference(
    oracle_planner: ReplayPlanner, tmp_path: Path
) -> None:
    handlers = make_handlers(oracle_planner, tmp_path / "data", tmp_path / "store")
    tab = Tab(handlers).start().do(handlers.run)
    file, *updates = handlers.export_page(tab.page)
    tab.take(updates)
    page = json.loads(file)
    assert page["name"] == f"episode-{tab.page.id}.html" and page["content"].startswith("<!")
    assert "Exported as" in tab.status
    data = json.loads(handlers.export_data(tab.page)[0])
    assert len(json.loads(data["content"])["frames"]) == 3
    tab.do(handlers.keep)
    assert "Saved as a reference" in tab.status
    (kept,) = read_trajectories(tmp_path / "data" / REFERENCES)
    assert [step.action.type for step in kept.steps] == ["left_double", "click", "finished"]
    again = Tab(handlers).start(source="replay", file=REFERENCES, position=0)
    assert "alarm" in again.goal


def test_a_screenshot_that_is_gone_is_said(tab: Tab, handlers: EpisodeHandlers) -> None:
    tab.do(handlers.run)
    for image in (handlers.desk.store.root / "screens").iterdir():
        image.unlink()
    handlers.desk.close()
    episode_html._file_uri.cache_clear()  # as in a server that was started anew
    other = Tab(make_handlers(None, handlers.settings.data_root, handlers.desk.store.root))
    other.tick(f"?episode={tab.page.id}&step=1")
    assert "This screenshot cannot be shown" in other.screen


def test_the_whole_page_is_built_and_offers_no_api(tmp_path: Path) -> None:
    settings = AppSettings(planner=str(tmp_path / "none"), data_root=tmp_path, store_root=tmp_path, runs_root=tmp_path)
    demo = build_app(settings, load=lambda path: None)
    assert isinstance(demo, gr.Blocks)
    assert {fn.api_visibility for fn in demo.fns.values()} == {"private"}
    assert str(tmp_path) not in json.dumps(demo.get_config_file(), default=str).replace(f"below {tmp_path.name}", "")
    options = launch_options(AppSettings())
    assert (options["run_history"], options["share"], options["show_error"]) == (False, False, False)


def test_a_hosted_space_lists_no_episodes_of_others(tmp_path: Path) -> None:
    settings = AppSettings(
        planner=str(tmp_path / "none"), data_root=tmp_path, store_root=tmp_path, runs_root=tmp_path, space_host="x.hf"
    )
    labels = [block.label for block in build_app(settings, load=lambda path: None).blocks.values()
              if isinstance(block, gr.Tab)]
    assert "Episode" in labels and "Past episodes" not in labels
