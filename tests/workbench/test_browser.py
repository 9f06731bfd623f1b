"""The Episode tab in a real browser; every test also fails on console errors and on requests that leave the machine."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from tests.workbench.conftest import ModelServer, free_port, oracle_trajectories, start_app


def choose(page, field: str, option: str) -> None:
    """Picks an option of a drop-down."""
    page.locator(f"{field} input").click()
    page.locator("[role=option]", has_text=option).first.click()


def press(page, name: str) -> None:
    """Presses a button once it can be pressed."""
    page.locator(f"button#ep-{name}:not([disabled])").click()


def wait_for(page, selector: str, text: str) -> None:
    """Waits until an element with this text is there."""
    page.locator(selector, has_text=text).first.wait_for()


def start(page) -> None:
    """Starts the task that the tests' planner knows."""
    choose(page, "#ep-task", "alarm on")
    press(page, "start")
    wait_for(page, "#ep-goal", "14:30")


def ask_slowly(page, model: ModelServer) -> None:
    """Chooses a model behind a server as the planner."""
    choose(page, "#ep-kind", "OpenAI-compatible")
    page.locator("#ep-model-name textarea, #ep-model-name input").fill("slow")
    page.locator("#ep-address textarea, #ep-address input").fill(model.url)


def test_forecast_edit_drag_and_act(server: str, open_page) -> None:
    page = open_page.open(server)
    start(page)
    press(page, "forecast")
    wait_for(page, "#ep-plan .tw-row", "on this screen")
    assert page.locator("#ep-screen .tw-mark.tw-forecast").count() == 1  # the other steps wait in the tray
    drag(page, "forecast-1", 0.62, 0.4)
    wait_for(page, "#ep-plan", "Changed by a person")
    page.locator("#ep-plan .tw-row", has_text="14:30").click()
    wait_for(page, "#ep-step-title", "Step 2")
    page.locator("#ep-words textarea, #ep-words input").fill("tap it later")
    press(page, "apply")
    wait_for(page, "#ep-plan", "became")
    press(page, "act")
    wait_for(page, "#ep-status", "1 step taken")
    wait_for(page, "#ep-plan .tw-row", "tap it later")  # a plan that was changed goes on
    page.locator("#ep-timeline button").first.click()
    wait_for(page, "#ep-position", "Screen 1 of 2")
    x, y = place_of(page, "executed-1")
    assert (x, y) == pytest.approx((0.62, 0.4), abs=0.01)


def drag(page, mark: str, x: float, y: float) -> None:
    """Drags a mark to a place on the screenshot, 0..1."""
    page.locator("#ep-screen img").scroll_into_view_if_needed()
    box = page.locator("#ep-screen img").bounding_box()
    at = place_of(page, mark)
    page.mouse.move(box["x"] + at[0] * box["width"], box["y"] + at[1] * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + (at[0] + x) / 2 * box["width"], box["y"] + (at[1] + y) / 2 * box["height"])
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
    page.mouse.up()


def place_of(page, mark: str) -> list[float]:
    """Where a mark is on the screenshot, 0..1, once it is drawn."""
    return page.wait_for_function(_PLACE, arg=mark).json_value()


_PLACE = """(mark) => {
    const grip = document.querySelector(`#ep-screen [data-mark="${mark}"] .tw-grip`)?.getBoundingClientRect();
    const image = document.querySelector("#ep-screen img")?.getBoundingClientRect();
    return grip && image && grip.width && [
        (grip.x + grip.width / 2 - image.x) / image.width, (grip.y + grip.height / 2 - image.y) / image.height];
}"""  # one evaluation, so that both are measured in one layout


def test_marks_lie_on_the_pixels_they_name_at_every_size(server: str, open_page) -> None:
    page = open_page.open(server)
    start(page)
    press(page, "forecast")
    page.locator("#ep-screen .tw-grip").first.wait_for()
    point = oracle_trajectories(0)[0].steps[0].action.point
    for width in (1920, 1280, 820, 600):
        page.set_viewport_size({"width": width, "height": 800})
        assert place_of(page, "forecast-1") == pytest.approx([point.x, point.y], abs=2e-3)


def test_run_pause_and_stop_in_the_middle_of_a_forecast(server: str, open_page, slow_model: ModelServer) -> None:
    page = open_page.open(server)
    ask_slowly(page, slow_model)
    press(page, "start")
    press(page, "run")
    page.locator("button#ep-stop:not([disabled])").wait_for()
    assert page.locator("button#ep-forecast[disabled]").count() == 1
    press(page, "pause")
    wait_for(page, "#ep-status", "Pausing")
    started = time.monotonic()
    press(page, "stop")
    wait_for(page, "#ep-status", "thrown away")
    seconds = time.monotonic() - started
    page.locator("button#ep-run:not([disabled])").wait_for()
    slow_model.gate.set()  # the late reply
    time.sleep(1)
    assert "0 steps taken" in page.locator("#ep-status").inner_text()
    slow_model.gate.clear()
    press(page, "run")
    wait_for(page, "#ep-status", "looking ahead")
    press(page, "pause")
    wait_for(page, "#ep-status", "Pausing")
    slow_model.gate.set()
    wait_for(page, "#ep-status", "waits for your approval")
    if os.getloadavg()[0] <= 2 * (os.cpu_count() or 1):  # the limit is for a machine that has its cores to itself
        assert seconds < 1


def test_a_reload_in_the_middle_finds_the_episode_at_work(server: str, open_page, slow_model: ModelServer) -> None:
    page = open_page.open(server)
    ask_slowly(page, slow_model)
    press(page, "start")
    press(page, "run")
    wait_for(page, "#ep-status", "looking ahead")
    page.reload()
    wait_for(page, "#ep-status", "looking ahead")
    assert page.locator("button#ep-stop:not([disabled])").count() == 1
    slow_model.gate.set()
    wait_for(page, "#ep-timeline", "3")  # it goes on by itself


def test_two_people_have_their_own_episodes(server: str, open_page) -> None:
    one, other = open_page.open(server), open_page.open(server)
    start(one), start(other)
    press(one, "run")
    wait_for(one, "#ep-status", "The goal is reached.")
    time.sleep(1)
    assert "0 steps taken" in other.locator("#ep-status").inner_text()
    assert one.url != other.url


def test_a_link_opens_episode_and_step_in_a_new_browser(server: str, open_page) -> None:
    page = open_page.open(server)
    start(page)
    press(page, "run")
    wait_for(page, "#ep-status", "The goal is reached.")
    page.locator("#ep-timeline button").nth(1).click()
    page.wait_for_url(re.compile(r"episode=[0-9a-f]+&step=2"))
    other = open_page.open(page.url)
    wait_for(other, "#ep-position", "Screen 2 of 3")
    wait_for(other, "#ep-goal", "14:30")
    assert other.locator("#ep-timeline button").count() == page.locator("#ep-timeline button").count() == 3


def test_a_killed_and_restarted_server_finds_the_episode(open_page, data_root: Path, tmp_path: Path) -> None:
    port = free_port()
    args = ("--planner", f"replay:{data_root / 'oracle.jsonl'}", "--data", str(data_root))
    process, url, _ = start_app(*args, store=tmp_path, port=port)
    try:
        page = open_page.open(url)
        start(page)
        press(page, "forecast")
        press(page, "act")
        wait_for(page, "#ep-status", "1 step taken")
        press(page, "forecast")
        wait_for(page, "#ep-plan .tw-row", "14:30")
        address = page.url
        page.context.close()
        process.kill()
        process.wait(timeout=60)
        process, _, _ = start_app(*args, store=tmp_path, port=port)
        page = open_page.open(address)
        wait_for(page, "#ep-position", "Screen 2 of 2")
        wait_for(page, "#ep-plan .tw-row", "14:30")  # the forecast that waits for approval
        press(page, "run")
        wait_for(page, "#ep-status", "The goal is reached.")
        assert page.locator("#ep-timeline button").count() == 3 and page.url.split("&")[0] == address.split("&")[0]
        page.context.close()
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_the_exported_page_opens_from_disk(server: str, open_page, tmp_path: Path) -> None:
    page = open_page.open(server)
    start(page)
    press(page, "run")
    wait_for(page, "#ep-status", "The goal is reached.")
    for name, suffix in (("html", ".html"), ("json", ".json")):
        with page.expect_download() as download:
            press(page, name)
        assert download.value.suggested_filename.endswith(suffix)
        download.value.save_as(tmp_path / f"episode{suffix}")
    other = open_page.open((tmp_path / "episode.html").as_uri())
    wait_for(other, "body", "Turn on the alarm")
    assert other.locator("img").count() >= 1


def test_an_episode_by_keyboard_alone(server: str, open_page) -> None:
    page = open_page.open(server)
    start(page)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    wait_for(page, "dialog[open]", "Keyboard shortcuts")
    page.keyboard.press("Escape")
    page.locator("dialog[open]").wait_for(state="hidden")
    for number in range(1, 4):
        page.locator("button#ep-act[disabled]").wait_for(state="attached")  # Space does whichever of the two is next
        page.locator("button#ep-forecast:not([disabled])").wait_for()
        page.keyboard.press("Space")  # forecast
        page.locator("button#ep-act:not([disabled])").wait_for()
        page.keyboard.press("Space")  # approve
        wait_for(page, "#ep-status", f"{number} step{'s' if number > 1 else ''} taken")
    wait_for(page, "#ep-status", "The goal is reached.")
    for key, position in (("Home", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 3)):
        page.keyboard.press(key)
        wait_for(page, "#ep-position", f"Screen {position} of 3")
    page.keyboard.press("m")  # nothing went wrong: it stays
    page.locator("#ep-seed input").focus()
    page.keyboard.press("Home")
    page.keyboard.press("?")
    time.sleep(0.5)
    assert "Screen 3 of 3" in page.locator("#ep-position").inner_text()
    assert page.locator("dialog[open]").count() == 0


def test_a_plan_is_edited_by_keyboard_alone(server: str, open_page) -> None:
    page = open_page.open(server)
    start(page)
    press(page, "forecast")
    page.locator("#ep-plan .tw-row.tw-selected").wait_for()  # a new plan has its first step in hand
    before = place_of(page, "forecast-1")
    page.locator("#ep-plan .tw-row").first.focus()
    page.keyboard.press("Escape")
    assert page.locator(".tw-selected").count() == 0
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    wait_for(page, "#ep-plan", "Changed by a person")
    width = oracle_trajectories(0)[0].steps[0].observation.image_size.width_px
    after = place_of(page, "forecast-1")
    assert after[0] - before[0] == pytest.approx(30 / width, abs=0.01)


def test_past_episodes_are_searched_opened_and_compared(server: str, open_page) -> None:
    page = open_page.open(server)
    start(page)
    press(page, "run")
    wait_for(page, "#ep-status", "The goal is reached.")
    press(page, "reset")
    wait_for(page, "#ep-status", "0 steps taken")
    press(page, "reference")
    wait_for(page, "#ep-plan", "was taken")
    press(page, "act")
    wait_for(page, "#ep-status", "1 step taken")
    page.get_by_role("tab", name="Past episodes").click()
    page.locator("#past-rows tbody tr").nth(1).wait_for()
    page.locator("#past-text textarea, #past-text input").fill("alarm 14")
    wait_for(page, "#past-rows", "reached")
    boxes = page.locator("#past-rows input[type=checkbox]")
    boxes.nth(0).check()
    wait_for(page, "#past-compare", "one more episode")
    boxes.nth(1).check()
    wait_for(page, "#past-compare", "Left")
    assert page.locator("#past-compare img").count() == 2
    page.locator("#past-text textarea, #past-text input").fill("nothing of the kind")
    wait_for(page, "#past-rows", "No episode fits")
    page.locator("#past-text textarea, #past-text input").fill("")
    page.locator("#past-rows tbody a").first.click()
    wait_for(page, "#ep-goal", "14:30")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_fits_its_window_and_nothing_is_cut(server: str, open_page, theme: str) -> None:
    page = open_page.open(f"{server}?__theme={theme}")
    start(page)
    press(page, "forecast")
    wait_for(page, "#ep-plan .tw-row", "14:30")
    for width in (820, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 1000})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(_CUT_BUTTONS) == []


_CUT_BUTTONS = """() => [...document.querySelectorAll("button")]
    .filter((b) => b.offsetParent !== null && b.innerText.trim() && b.scrollWidth > b.clientWidth + 1)
    .map((b) => b.innerText)"""


def test_a_typed_seed_that_is_not_allowed_is_one_sentence(server: str, open_page) -> None:
    page = open_page.open(server)
    page.locator("#ep-seed input").fill("-3")
    press(page, "start")
    wait_for(page, "#ep-status", "-3 is not allowed")
    sentence = "Field 'seed': -3 is not allowed: give a whole number 0..999999."
    assert page.locator("#ep-status").get_by_text(sentence, exact=True).count() == 1
    assert page.locator("#ep-timeline button").count() == 0


def test_a_recording_is_acted_on_and_its_text_stays_text(server: str, open_page) -> None:
    page = open_page.open(server)
    page.locator("#ep-source label").nth(1).click()
    choose(page, "#ep-file", "desk.jsonl")
    wait_for(page, "#ep-trajectory", "Trajectory")
    press(page, "start")
    wait_for(page, "#ep-goal", "Look at <b>three</b> screens.")
    assert page.locator("#ep-goal b").count() == 0
    press(page, "reference")
    press(page, "act")
    wait_for(page, "#ep-position", "Screen 2 of 2")


@pytest.mark.slow
def test_the_shipped_planner_forecasts_within_20_seconds_and_reaches_a_goal(open_page, tmp_path: Path) -> None:
    process, url, _ = start_app(store=tmp_path)
    try:
        started = time.monotonic()
        page = open_page.open(url)
        press(page, "start")
        press(page, "forecast")
        page.locator("#ep-plan .tw-row").first.wait_for()
        seconds = time.monotonic() - started
        press(page, "run")
        page.locator("#ep-status .tw-success").wait_for()
        page.context.close()
    finally:
        process.terminate()
        process.wait(timeout=60)
    if os.getloadavg()[0] <= 2 * (os.cpu_count() or 1):  # the limit is for a machine that has its cores to itself
        assert seconds < 20
