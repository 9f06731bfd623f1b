"""From a finished episode to its correction in the Annotate tab, as a function and in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.workbench.annotate.makers import way
from tests.workbench.conftest import PATIENCE_MS, start_app
from tests.workbench.test_browser import press, start, wait_for
from tests.workbench.test_episode_tab import Tab, make_handlers
from training.planner import ReplayPlanner
from workbench.annotate.drafts import Drafts
from workbench.annotate.queue import Queue
from workbench.annotate.store import AnnotationStore
from workbench.annotate_files import AnnotateFiles
from workbench.annotation_queue import AnnotationQueue
from workbench.compare_shelf import EvaluationShelf
from workbench.episode_correct import CorrectHandlers
from workbench.episode_handlers import EpisodeHandlers
from workbench.people import People, Role
from workbench.settings import AppSettings
from workbench.ui import build_app


@pytest.fixture
def handlers(oracle_planner: ReplayPlanner, data_root: Path, tmp_path: Path) -> Iterator[EpisodeHandlers]:
    """Handlers of the Episode tab over a store that is the Annotate tab's, too, without a project."""
    made = make_handlers(oracle_planner, data_root, tmp_path / "store")
    store = AnnotationStore(tmp_path / "store")
    files = AnnotateFiles(store, AnnotationQueue(store.file), EvaluationShelf(tmp_path / "evaluations"),
                          made.desk.store, data_root=data_root, uploads=tmp_path / "uploads")
    made.corrections = CorrectHandlers(files, made.show)
    yield made
    made.desk.close()


def corrected(tab: Tab, project: str = "") -> dict:
    """What the Annotate tab is told to open; {} where it was refused."""
    opened, *updates = tab.handlers.corrections.correct(tab.page, project, tab.request)
    tab.take(updates)
    return json.loads(opened or "{}")


def test_a_finished_episode_goes_into_the_queue_once_and_is_opened(handlers: EpisodeHandlers) -> None:
    store = handlers.corrections.files.store
    tab = Tab(handlers).start()
    assert not tab.buttons["correct"]  # it is not finished
    tab.do(handlers.run)
    assert tab.buttons["correct"]
    assert corrected(tab) == {} and "make one in the Annotate tab" in tab.status
    first, second = store.add_project("first"), store.add_project("second")
    opened = corrected(tab, second.id)
    assert (opened["project"], opened["mode"]) == (second.id, "annotate") and "queue of project second" in tab.status
    row = store.row(opened["trajectory"])
    assert (row.source_id, row.origin["kind"], row.num_steps) == (f"episode-{tab.page.id}", "episode", 3)
    assert corrected(tab, second.id) == opened and "already in project second" in tab.status
    assert store.search(second).total == 1 and store.search(first).total == 0
    assert corrected(tab, "a project of another server")["project"] == first.id
    queue = Queue(store)
    queue.submit(queue.take(second, ""), Drafts(store).open(opened["trajectory"], ""), "looked at")
    assert corrected(tab, second.id) == {**opened, "mode": "look"}


def test_who_may_not_annotate_and_a_page_without_episode_are_told(handlers: EpisodeHandlers) -> None:
    store = handlers.corrections.files.store
    project = store.add_project("first")
    tab = Tab(handlers)
    assert corrected(tab) == {} and "No episode is open" in tab.status
    tab.start()
    assert corrected(tab) == {} and "no step that was carried out" in tab.status
    tab.do(handlers.run)
    store.people = People(by_name={"vic": SimpleNamespace(role=Role.VIEWER)})
    tab.request = SimpleNamespace(username="vic")
    assert corrected(tab) == {} and "viewer may not" in tab.status
    assert store.search(project).total == 0


def test_a_hosted_space_has_no_such_button(tmp_path: Path) -> None:
    def shown(**settings: str) -> bool:
        app = build_app(AppSettings(data_root=tmp_path, store_root=tmp_path, **settings), load=lambda path: None)
        button, = (block for block in app.blocks.values() if getattr(block, "elem_id", "") == "ep-correct")
        return button.visible

    assert shown() and not shown(space_host="someone-demo.hf.space", space_id="someone/demo")


@pytest.fixture
def own_server(data_root: Path, tmp_path: Path) -> Iterator[str]:
    """The address of an app over an empty store."""
    planner = f"replay:{data_root / 'oracle.jsonl'}"
    process, url, _ = start_app("--planner", planner, "--data", str(data_root), store=tmp_path / "store")
    yield url
    process.terminate()
    process.wait(timeout=60)


@pytest.mark.slow
def test_an_episode_is_run_and_corrected_in_the_other_tab(own_server: str, open_page, tmp_path: Path) -> None:
    page = open_page.open(own_server)
    page.set_default_timeout(PATIENCE_MS)
    start(page)
    press(page, "run")
    press(page, "correct")
    wait_for(page, "#ep-status", "make one in the Annotate tab")
    store = AnnotationStore(tmp_path / "store")
    other = store.add(store.add_project("other"), way(), why="made")
    project = store.add_project("episodes")
    press(page, "correct")  # the Annotate tab was never looked at
    page.locator("#an-head", has_text="Annotating revision 1 of").wait_for()
    wait_for(page, "#an-strip li code", "left_double")
    assert [t.holder for t in Queue(store).tasks(other)] == [""]

    page.locator("#an-head [data-act=list]").click()
    page.locator("#an-projects [data-act=project]", has_text=project.name).click()
    page.locator("#an-list", has_text="empty").wait_for()
    page.get_by_role("tab", name="Episode", exact=True).click()
    press(page, "correct")  # into the project that is shown, and opened in the page that is there
    page.locator("#an-head", has_text="Annotating revision 1 of").wait_for()
    page.locator("[data-field=goal]").fill("Set an alarm")
    page.locator("#an-saved", has_text="Saved").wait_for()
    assert store.search(project).total == 1

    page.get_by_role("tab", name="Episode", exact=True).click()
    press(page, "correct")  # again: the draft is found
    page.locator("#ep-status", has_text="already in project episodes").wait_for(state="attached")
    page.wait_for_function("document.querySelector('[data-field=goal]').value === 'Set an alarm'")
    page.locator("#an-head", has_text="Annotating revision 1 of").wait_for()
    assert store.search(project).total == 1
