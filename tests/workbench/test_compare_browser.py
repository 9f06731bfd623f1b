"""The Compare tab in a real browser: compare, open a flip by keyboard, queue it, save, export, launch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workbench.compare_helpers import ATTACK, make_two
from tests.workbench.conftest import start_app

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory, data_root: Path) -> Iterator[str]:
    """The address of an app with two stored evaluations."""
    root = tmp_path_factory.mktemp("app")
    make_two(root / "evaluations")
    planner = f"replay:{data_root / 'oracle.jsonl'}"
    options = ("--planner", planner, "--data", str(data_root), "--evaluations", str(root / "evaluations"))
    process, url, _ = start_app(*options, store=root / "store")
    yield url
    process.terminate()
    process.wait(timeout=60)


def test_two_are_compared_a_flip_is_queued_and_the_report_exported(server: str, open_page, tmp_path) -> None:
    page = open_page.open(server)
    page.on("dialog", lambda dialog: dialog.accept("first"))
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.get_by_label("weak").check()
    page.get_by_text("Tick one more evaluation").wait_for()
    page.get_by_role("button", name="Clear the choice").click()
    assert not page.get_by_label("weak").is_checked()  # at once, whatever the server is doing
    page.get_by_label("weak").check()
    page.get_by_label("strong").check()
    page.locator(".cmp-better", has_text="strong is better than weak").wait_for()
    page.locator(".cmp-figure[data-drawn] .main-svg").first.wait_for()

    page.get_by_role("button", name="samples that only strong got right").click()
    rows = page.locator("[data-flip]")
    rows.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator(".cmp-flip .tw-screen svg").nth(1).wait_for()
    assert page.locator(".cmp-flip [data-sample], .cmp-flip[data-sample]").get_attribute("data-sample") == rows.nth(
        1
    ).get_attribute("data-flip")
    assert page.locator(".cmp-verdict").first.inner_text() == "✕ wrong"
    assert page.locator(".cmp-parts tbody tr").count() >= 1
    assert page.locator("img[src=x]").count() == 0 and ATTACK in page.locator(".cmp-flip").inner_text()
    page.get_by_role("button", name="Previous").click()
    page.locator(f'.cmp-flip[data-sample="{rows.first.get_attribute("data-flip")}"]').wait_for()

    page.get_by_role("button", name="To annotation queue").click()
    page.locator(".cmp-flip .cmp-queued").wait_for()
    page.get_by_role("tab", name="Annotation queue (1)").click()
    page.locator("#cmp-queue", has_text="weak is wrong where strong is right").wait_for()

    page.get_by_role("tab", name="Comparison", exact=True).click()
    page.get_by_role("button", name="Save as").click()
    page.locator(".tr-message", has_text="Saved as first").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="HTML").click()
    download.value.save_as(tmp_path / "report.html")
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert download.value.suggested_filename == "first.html"
    assert "strong" in report and "<script" not in report

    other = open_page.open(f"{server}/?comparison=first")
    other.locator(".cmp-better", has_text="strong is better than weak").wait_for()


def test_link_to_a_deleted_comparison_tells_so_and_shows_the_page(server: str, open_page) -> None:
    page = open_page.open(f"{server}/?comparison=gone")
    note = page.locator("#cmp-page-note", has_text="no comparison is saved as 'gone'")
    note.wait_for()
    page.get_by_label("weak").wait_for()
    page.wait_for_timeout(5000)  # the lists are asked for again meanwhile, which must not take the note away
    assert note.is_visible() and page.get_by_role("button", name="Clear the choice").is_visible()
    assert "comparison=" not in page.url
    page.get_by_label("weak").check()
    note.wait_for(state="hidden")


def test_an_evaluation_is_launched_watched_and_can_then_be_chosen(server: str, open_page) -> None:
    page = open_page.open(server)
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.get_by_role("tab", name="New evaluation").click()
    page.locator("#cmp-plan", has_text="give the evaluation a name").wait_for()
    page.locator("[name=name]").fill("fresh")
    page.locator("[name=episodes]").fill("2")
    page.locator("#cmp-plan code", has_text="--episodes 2").wait_for()
    page.get_by_role("button", name="Launch").click()
    page.locator("#cmp-runs .tr-finished").wait_for()
    page.get_by_label("fresh").wait_for()
    page.locator("[name=name]").fill("tools")
    page.locator("[name=protocol]").select_option("tools")
    assert not page.get_by_label("Horizon T").is_visible()  # of recorded steps alone
    page.locator("[name=planner]").fill("oracle")
    page.get_by_text("the planner acts until each task ends").wait_for()
    page.get_by_role("button", name="Launch").click()
    page.locator('[data-choose="tools/success.none"]').wait_for()  # it has ended and can be chosen
    page.get_by_role("tab", name="Leaderboard").click()
    page.locator("#cmp-leaders", has_text="fresh").wait_for()
    page.locator("#cmp-leaders", has_text="success on tools/test, 2 tasks").wait_for()
    page.get_by_role("tab", name="Train", exact=True).click()
    page.locator('[data-show="evaluate-fresh"]').wait_for()
