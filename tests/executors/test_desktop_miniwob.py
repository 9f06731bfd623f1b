"""MiniWoB++ in a visible Chromium on a real X server: the desktop's mouse and keyboard act, the pages judge."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from executors.actions import Action
from executors.desktop import DesktopExecutor
from executors.geometry import ImageSize, PointNorm
from executors.miniwob import oracle_move
from executors.miniwob.executor import SIZE_PX, pages_folder
from executors.miniwob.tree import PageTree
from tests.executors.xvfb import HEIGHT, WIDTH
from tests.support import require_program

pytest.importorskip("playwright")
pytest.importorskip("miniwob")

SCREEN = ImageSize(WIDTH, HEIGHT)
SCRIPTS = Path(__file__).resolve().parents[2] / "assets" / "js"
MAX_STEPS = 20


class VisiblePage:
    """A task's page in a window; it is read, begun and judged by JavaScript, and only the desktop acts on it."""

    def __init__(self, page) -> None:
        self._page = page

    def begin(self, task: str, seed: int) -> None:
        self._page.goto((pages_folder() / "miniwob" / f"{task}.html").as_uri(), wait_until="load")
        self._page.evaluate((SCRIPTS / "miniwob_start.js").read_text(), [seed, "train", 10**9])

    def tree(self) -> PageTree:
        goal = self._page.evaluate("core.getUtterance()")
        return PageTree.of_records(goal, self._page.evaluate((SCRIPTS / "page_tree.js").read_text()))

    def verdict(self) -> tuple[bool, float]:
        """(whether the page has ended the task, its raw reward)."""
        self._page.wait_for_timeout(100)  # what was clicked is passed on to the page and its timers
        return tuple(self._page.evaluate("[WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL]"))

    def on_screen(self, action: Action) -> Action:
        """The action with the page's points as points of the whole screen."""
        left, top = self._page.evaluate(
            "[screenX + (outerWidth - innerWidth) / 2, screenY + outerHeight - innerHeight]"
        )

        def moved(point: PointNorm) -> PointNorm:
            x, y = left + point.x * SIZE_PX.width_px, top + point.y * SIZE_PX.height_px
            return PointNorm(x / SCREEN.width_px, y / SCREEN.height_px)

        points = {name: getattr(action, name) for name in ("point", "start_point", "end_point")}
        return replace(action, **{name: moved(point) for name, point in points.items() if point is not None})


@pytest.fixture(scope="module")
def page(display) -> Iterator[VisiblePage]:  # noqa: F811
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=require_program("chromium", "chromium-browser"), headless=False,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--window-position=0,0",
                  f"--window-size={WIDTH},{HEIGHT}"],
            env={**os.environ, "DISPLAY": display},
        )  # fmt: skip
        yield VisiblePage(chromium.new_context(no_viewport=True).new_page())
        chromium.close()


@pytest.fixture
def desktop(display, permitted) -> Iterator[DesktopExecutor]:  # noqa: F811
    executor = DesktopExecutor(display=display, settle_seconds=0.1)
    executor.reset()
    yield executor
    executor.close()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("task", ["click-checkboxes", "login-user", "drag-box"])
def test_mouse_and_keyboard_of_the_desktop_solve_the_task_as_its_page_judges(page, desktop, task, seed):
    page.begin(task, seed)
    num_steps = 0
    while not page.verdict()[0] and num_steps < MAX_STEPS:
        desktop.execute(page.on_screen(oracle_move(task, page.tree()).action))
        num_steps += 1
    assert page.verdict() == (True, 1)


def test_form_sent_empty_by_the_desktop_is_judged_as_wrong(page, desktop):
    page.begin("login-user", 0)
    submit = next(node for node in page.tree().all(tag="button"))
    x, y = submit.point
    desktop.execute(page.on_screen(Action(type="click", point=PointNorm(x / SIZE_PX.width_px, y / SIZE_PX.height_px))))
    is_done, reward = page.verdict()
    assert is_done and reward <= 0
