"""The app as a hosted Space, in a real browser: ready episode, live forecast, sandbox, recorded runs and results."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workbench.conftest import start_app
from workbench import demo
from workbench.help import TABS, tour_steps
from workbench.settings import SHIPPED_PLANNER

pytestmark = pytest.mark.slow
_ABSOLUTE = re.compile(r"""(?:^|[\s"'=(\[])/[A-Za-z0-9_.-]+/""")
"""A path from the root of some machine."""


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an app that was started with a Space's environment."""
    if not SHIPPED_PLANNER.is_dir():
        pytest.skip("there are no weights in assets/tiny_planner")
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("SPACE_ID", "someone/planner demo")
    monkeypatch.setenv("SPACE_HOST", "someone-planner-demo.hf.space")
    process, url, _ = start_app(store=tmp_path / "store")
    yield url
    process.terminate()
    process.wait(timeout=60)


def open_tab(page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def test_a_space_opens_on_a_ready_episode_and_every_tab_can_be_tried(space: str, open_page, tmp_path: Path) -> None:
    page = open_page.open(space)
    page.locator("#ep-screen g.tw-mark").first.wait_for()
    page.get_by_text("recorded forecasts").wait_for()
    link = page.get_by_role("link", name="Duplicate this Space").get_attribute("href")
    assert link == "https://huggingface.co/spaces/someone/planner%20demo?duplicate=true"

    page.locator("#ep-start").click()  # and a new one, which the shipped planner forecasts live
    page.get_by_text("0 steps taken").wait_for()
    page.locator("#ep-forecast").click()
    page.locator("#ep-status", has_text="Forecast of").wait_for()
    assert page.get_by_text("recorded forecasts").count() == 0

    open_tab(page, "Train")
    page.get_by_text("Recorded run").wait_for()
    page.locator('[data-show="new"]').click()
    page.locator("#tr-plan", has_text="This is a demo").wait_for()
    assert page.locator("#tr-plan [data-act=launch]").is_disabled()

    open_tab(page, "Compare")
    for name in ("sft", "stage2"):
        page.locator(f'[data-choose="{name}/grounded.elements"]').check()
    page.locator(".cmp-figure[data-drawn] .main-svg").first.wait_for()

    open_tab(page, "Annotate")
    page.get_by_role("button", name="Next task").click()
    page.locator("[data-field=thought]").fill("only I see this")
    page.locator("#an-saved", has_text="Saved").wait_for()
    other = open_page.open(space)  # another visitor
    open_tab(other, "Annotate")
    other.locator("#an-list", has_text="1 to 6 of 6").wait_for()
    assert other.locator("#an-list").get_by_role("button", name="Break").count() == 0  # nobody holds a task here
    other.locator("#an-export-state").select_option("")
    with other.expect_download() as download:
        other.get_by_role("button", name="Export", exact=True).click()
    download.value.save_as(tmp_path / "export.zip")
    assert any(name.endswith(".jsonl") for name in zipfile.ZipFile(tmp_path / "export.zip").namelist())


def test_the_tour_shows_each_tab_and_is_offered_in_colour_once(space: str, open_page) -> None:
    page = open_page.open(space)
    offer = page.get_by_role("button", name="Take the tour")
    offer.click()
    for number, (tab, _) in enumerate(tour_steps(), start=1):
        page.locator(".tw-tour-place", has_text=f"{tab} · {number} of {len(tour_steps())}").wait_for()
        page.locator("button[role=tab][aria-selected=true]", has_text=tab).first.wait_for()
        page.get_by_role("button", name="Done" if number == len(tour_steps()) else "Next", exact=True).click()
    assert page.locator(".tw-tour").is_hidden()
    assert "tr-primary" not in offer.get_attribute("class")
    for tab in TABS:
        open_tab(page, tab)
        page.get_by_role("button", name="Help", exact=True).click()
        page.locator(".tw-help-dialog h1", has_text=tab).wait_for()
        page.get_by_role("button", name="Close", exact=True).click()


def test_what_the_demo_shows_is_there_and_names_no_path_of_a_machine() -> None:
    files = [path for path in demo.CONTENT.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".json", ".jsonl", ".yaml", ".png", ".md"}
    for path in files:
        if path.suffix not in (".png", ".webp"):
            text = path.read_text(encoding="utf-8")
            assert not _ABSOLUTE.search(text), path
