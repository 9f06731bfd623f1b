"""Tool tasks in the Episode tab: handlers called as plain functions, and the page in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.tool_tasks import SPLITS, make_task
from executors.tool_tasks import base as task_base
from tests.workbench.test_browser import choose, press, wait_for
from tests.workbench.test_episode_tab import Tab, make_handlers
from training.benchmarks.tools import oracle_planner
from workbench.episode_export_html import export_html
from workbench.episode_handlers import EpisodeHandlers

BASKET = {"source": "tools", "template": "basket", "split": "train", "seed": 1}
CROP = {"source": "tools", "template": "crop_and_count", "split": "task_unseen", "seed": 1}


@pytest.fixture
def handlers(data_root: Path, tmp_path: Path) -> Iterator[EpisodeHandlers]:
    """Handlers whose planner forecasts what the task's oracle does."""
    handlers = make_handlers(oracle_planner(make_task("basket", "train", 1)), data_root, tmp_path / "store")
    yield handlers
    handlers.desk.close()


def test_call_arguments_and_result_stand_beside_the_forecast(handlers: EpisodeHandlers) -> None:
    tab = Tab(handlers).start(**BASKET)
    assert "Tools · basket · train · seed 1" in tab.goal
    assert "files: prices.csv" in tab.screen and "<img" not in tab.screen
    tab.do(handlers.forecast)
    assert "FileInspector" in tab.plan and "Calculator" in tab.plan and "needs no place" in tab.plan
    assert 'data-mark="forecast-2"' in tab.screen  # in the tray, where it can be chosen
    tab.do(handlers.act)
    assert "tool_call(name=&#x27;FileInspector&#x27;" in tab.screen and "name | price\n" in tab.screen
    tab.do(handlers.run)
    assert "The goal is reached." in tab.status and "3 steps taken" in tab.status


def test_oracle_is_the_reference_and_images_that_are_made_are_shown(handlers: EpisodeHandlers) -> None:
    tab = Tab(handlers).start(**CROP)
    assert "data:image/png" in tab.screen and "files: plan.png" in tab.screen
    episode = handlers.desk.live(tab.page.id)
    before = tab.screen
    while episode.view.state != "done":
        assert tab.buttons["reference"]
        tab.do(handlers.take_reference).do(handlers.act)
    assert "The goal is reached." in tab.status and not episode.is_heavy
    frames = handlers.desk.store.load(tab.page.id).frames
    assert [len(frame.reference) for frame in frames] == [4, 3, 2, 1]
    assert frames[1].screen != frames[0].screen and frames[1].observation.text == "made the image image-1.png"
    assert tab.screen != before and "data:image/png" in tab.screen


def test_a_failed_call_is_told_and_the_episode_goes_on(handlers: EpisodeHandlers) -> None:
    tab = Tab(handlers).start(**BASKET)
    tab.do(handlers.insert, "tool_call", "name='Calculator', arguments={\"expression\": \"1 / 0\"}", "divide")
    tab.do(handlers.act)
    assert "The device says: Error: Calculator: ZeroDivisionError" in tab.status
    assert "ZeroDivisionError" in tab.screen
    tab.do(handlers.take_reference).do(handlers.act)
    assert "name | price" in tab.screen


def test_a_call_is_edited_with_its_arguments_as_json(handlers: EpisodeHandlers) -> None:
    tab = Tab(handlers).start(**BASKET)
    tab.do(handlers.forecast)
    assert tab.fields["type"]["value"] == "tool_call"
    assert tab.fields["type"]["choices"] == ["finished", "call_user", "tool_call"]
    tab.do(handlers.apply, "tool_call", "name='Calculator', arguments={\"expression\": \"6 * 7\"}", "multiply")
    tab.do(handlers.act)
    assert "<pre tabindex=\"0\">42</pre>" in tab.screen
    tab.do(handlers.insert, "tool_call", "name='Calculator', arguments={\"expression\": }", "broken")
    assert "tw-error" in tab.status


def test_episode_is_opened_again_after_a_restart_and_exported(handlers, data_root, tmp_path) -> None:
    tab = Tab(handlers).start(**BASKET)
    tab.do(handlers.take_reference).do(handlers.act)
    id = tab.page.id
    handlers.desk.close()
    again = make_handlers(object(), data_root, tmp_path / "store")
    view = again.desk.view(id)
    assert view.read_only == "" and "Opened again where it was left" in view.message.text
    page = export_html(again.desk.store.load(id))
    assert "name | price" in page and "files: prices.csv" in page and "cannot be shown" not in page
    again.desk.close()


def test_choosing_tools_shows_their_tasks_and_splits(handlers: EpisodeHandlers) -> None:
    tasks, split = handlers.choose_source("tools", "app_unseen")[3:5]
    assert split.visible and [name for _, name in split.choices] == list(SPLITS) and split.value == "train"
    assert "basket" in [name for _, name in tasks.choices]
    assert "price_gap" in [name for _, name in handlers.choose_split("task_unseen", "tools").choices]
    tasks, split = handlers.choose_source("simulator", "val")[3:5]
    assert split.value == "val" and "app_unseen" in [name for _, name in split.choices]


@pytest.mark.parametrize(("form", "words"), [
    ({"template": "alarm_on"}, "unknown"), ({"seed": -1}, "seed"), ({"split": "layout_unseen"}, "layout_unseen"),
])  # fmt: skip
def test_what_is_not_there_is_told(handlers: EpisodeHandlers, form: dict, words: str) -> None:
    assert words in Tab(handlers).start(**{**BASKET, **form}).status


def test_a_task_that_cannot_run_here_is_told(handlers: EpisodeHandlers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_base.shutil, "which", lambda name: None)
    tab = Tab(handlers).start(**{**BASKET, "template": "sign_code"})
    assert "cannot be run here: the program tesseract is not installed" in tab.status
    assert "sign_code" not in [name for _, name in handlers.choose_split("train", "tools").choices]


def test_tool_task_in_a_browser(server: str, open_page) -> None:
    page = open_page.open(server)
    page.locator("#ep-source label", has_text="Tool tasks").click()
    # Gradio's drop-down reports an error when its options are exchanged while it is open
    page.wait_for_function("document.querySelector('#ep-task input').value.endsWith('steps')")
    choose(page, "#ep-task", "pixel count")
    press(page, "start")
    wait_for(page, "#ep-screen .tw-said pre", "files: photo.png")
    assert page.locator("#ep-screen img").is_visible()
    choose(page, "#ep-task", "basket")
    press(page, "start")
    wait_for(page, "#ep-screen .tw-said pre", "files: prices.csv")
    assert page.locator("#ep-screen img").count() == 0
    press(page, "reference")
    wait_for(page, "#ep-plan .tw-row", "read prices.csv")
    press(page, "act")
    wait_for(page, "#ep-screen .tw-said", "FileInspector")
    wait_for(page, "#ep-screen .tw-said pre", "name | price")
    press(page, "reference")
    wait_for(page, "#ep-plan .tw-row", "Calculator")
    page.locator("#ep-screen .tw-chip").first.click()
    wait_for(page, "#ep-step-title", "Step 1")
