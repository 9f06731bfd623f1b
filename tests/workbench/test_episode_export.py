"""An episode taken away: the page in a real browser without a network, the JSON, and the reference for training."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from executors.actions import Action
from executors.errors import InputError, MissingFileError, OutputError
from executors.trajectory import Observation, Trajectory, read_trajectories
from tests.workbench.episode_makers import frames_of, oracle_way, store_way
from training.config import ForecastConfig
from training.forecast import ForecastStep, parse_forecast
from training.samples import build_samples
from workbench.episode_export import export_json, save_reference, to_trajectory
from workbench.episode_export_html import export_html
from workbench.episode_store import EpisodeSetup, EpisodeStore, ForecastMade, StoredEpisode, StoredFrame
from workbench.screen import png_data_uri

HOSTILE = "<img src=x onerror=\"document.title='broken'\"></script><script>document.title='broken'</script>\u202e"


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    """An empty store."""
    return EpisodeStore(tmp_path / "store")


@pytest.fixture(scope="module")
def way() -> Trajectory:
    """The oracle's three steps."""
    return oracle_way()


@pytest.fixture
def episode(store: EpisodeStore, way: Trajectory) -> StoredEpisode:
    """The oracle's episode, whose second step went another way than was foreseen."""
    return store.load(store_way(store, way, with_surprise(frames_of(way))))


def with_surprise(frames: list[StoredFrame]) -> list[StoredFrame]:
    """The frames with another forecast on the first one, so that the second step was not foreseen."""
    first = frames[0]
    steps = (first.step.forecast.steps[0], ForecastStep(action=Action(type="wait"), instruction="wait a while"))
    forecast = replace(first.step.forecast, steps=steps)
    made = replace(first.forecasts[0], forecast=forecast)
    return [replace(first, forecasts=(made,), step=replace(first.step, forecast=forecast)), *frames[1:]]


def by_person(frame: StoredFrame, **values: object) -> StoredFrame:
    """The frame whose forecast a person changed before it was acted on."""
    made = replace(frame.forecasts[-1], author="person", changes=("step 1 was moved",), **values)
    return replace(frame, forecasts=(*frame.forecasts, made))


# ---- the page


@pytest.fixture
def open_file(browser, tmp_path: Path):
    """Opens an episode's page from the disk, with no network; the test fails on any request and on any error."""
    problems: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)

    def open_file(episode: StoredEpisode):
        path = tmp_path / "episode.html"
        path.write_text(export_html(episode), encoding="utf-8")
        page = context.new_page()
        page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda r: problems.append(r.url) if not r.url.startswith(("data:", path.as_uri())) else None)
        page.goto(path.as_uri())
        return page

    yield open_file
    context.close()
    assert problems == []


def shown(page) -> list[str]:
    """The ids of the screens that can be seen."""
    return page.locator(".xp-step:visible").evaluate_all("all => all.map(one => one.id)")


def test_the_page_is_stepped_by_keyboard_alone(open_file, episode: StoredEpisode) -> None:
    page = open_file(episode)
    assert shown(page) == ["step-1"]
    visited = []
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End", "m"):
        page.keyboard.press(key)
        visited += shown(page)
    assert visited == ["step-2", "step-3", "step-3", "step-2", "step-1", "step-3", "step-2"]
    assert page.url.endswith("#step-2")
    page.locator("#step-2 [data-layer-switch]").first.focus()
    page.keyboard.press("End")
    assert shown(page) == ["step-2"]


def test_the_page_shows_the_screens_as_they_were_with_their_marks(open_file, episode: StoredEpisode) -> None:
    page = open_file(episode)
    for number, frame in enumerate(episode.frames, start=1):
        section = page.locator(f"#step-{number}")
        size = section.locator("img").evaluate("img => [img.naturalWidth, img.naturalHeight]")
        assert size == [frame.observation.image_size.width_px, frame.observation.image_size.height_px]
        assert section.locator(".tw-executed").count() > 0
    assert page.locator("#step-2 .tw-rows .tw-earlier").first.inner_text().startswith("−1≠")
    page.locator("a[href='#step-2']").click()
    words = page.locator("#step-2").inner_text()
    assert "not as foreseen" in words and "Stage 1 reward" not in words  # folded away
    page.locator("#step-2 summary", has_text="Forecast, by the planner").click()
    assert "Stage 1 reward against the reference: +" in page.locator("#step-2").inner_text()


def test_an_address_opens_its_step_and_a_wrong_one_the_first(open_file, episode: StoredEpisode) -> None:
    page = open_file(episode)
    page.goto(page.url.partition("#")[0] + "#step-3")
    assert shown(page) == ["step-3"]
    page.goto(page.url.partition("#")[0] + "#nothing")
    assert shown(page) == ["step-1"]


def test_hostile_text_stays_text_everywhere(open_file, store: EpisodeStore, way: Trajectory) -> None:
    frames = frames_of(way)
    forecast = replace(
        parse_forecast(HOSTILE, horizon=2), thought=HOSTILE, reason=HOSTILE,
        steps=(ForecastStep(action=Action(type="type", content=HOSTILE), instruction=HOSTILE),),
    )
    messages = ({"role": HOSTILE, "content": [{"type": "text", "text": HOSTILE}, {"type": HOSTILE}]},)
    made = ForecastMade(forecast=forecast, author="person", changes=(HOSTILE,), messages=messages)
    seen = replace(frames[0].observation, summary=HOSTILE, text=HOSTILE)
    step = replace(frames[0].step, observation=seen, forecast=forecast, error=HOSTILE, message=HOSTILE,
                   action=forecast.steps[0].action)
    frames[0] = replace(frames[0], observation=seen, forecasts=(made,), step=step)
    episode = store.load(store_way(store, way, frames))
    setup = replace(episode.setup, task=HOSTILE, split=HOSTILE)
    episode = replace(episode, goal=HOSTILE, planner_name=HOSTILE, owner=HOSTILE, setup=setup, stop_reason=HOSTILE)
    page = open_file(episode)
    page.keyboard.press("End")
    assert page.title().startswith("<img src=x")
    assert page.locator("img").count() == 3  # the three screens
    assert page.locator("script").count() == 1
    assert "\u202e" not in page.content()


def test_the_page_lets_nothing_in_even_if_text_were_not_escaped(browser, episode: StoredEpisode, tmp_path) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', export_html(episode))[1]
    assert policy.startswith("default-src 'none'; img-src data:;")
    path = tmp_path / "open.html"
    path.write_text(export_html(episode).replace("</main>", f"{HOSTILE}</main>"), encoding="utf-8")
    page = browser.new_page()  # the refusals are errors on its console
    loaded: list[str] = []
    page.on("requestfinished", lambda request: loaded.append(request.url.partition("#")[0]))
    page.goto(path.as_uri())
    page.keyboard.press("End")
    assert shown(page) == ["step-3"]
    assert page.title() == episode.goal
    assert [url for url in loaded if not url.startswith("data:")] == [path.as_uri()]
    page.close()


def test_missing_and_damaged_screens_and_an_episode_without_any_still_make_a_page(
    open_file, store: EpisodeStore, episode: StoredEpisode
) -> None:
    store.screenshot_path(episode.frames[0].screen).unlink()
    store.screenshot_path(episode.frames[1].screen).write_bytes(b"\x89PNG\r\n")
    page = open_file(episode)
    assert "does not exist" in page.locator("#step-1").inner_text()
    page.keyboard.press("ArrowRight")
    assert "is not a readable image" in page.locator("#step-2").inner_text()
    empty = store.load(store.create(EpisodeSetup(task="t"), goal=""))
    assert "No screen was stored." in open_file(empty).locator("main").inner_text()


# ---- JSON


def test_the_json_holds_the_whole_episode_and_its_screens(episode: StoredEpisode, tmp_path: Path) -> None:
    text = export_json(episode)
    record = json.loads(text)
    assert text.isascii() and record["format"] == "tracer1-episode"
    assert (record["goal"], record["outcome"], record["setup"]["seed"]) == (episode.goal, "success", 0)
    frames = [StoredFrame.from_json(frame, tmp_path) for frame in record["frames"]]
    assert [f.forecasts for f in frames] == [f.forecasts for f in episode.frames]
    assert [f.step.action for f in frames] == [f.step.action for f in episode.frames]
    assert set(record["screens"]) == {frame.screen for frame in episode.frames}
    assert all(uri.startswith("data:image/png;base64,") for uri in record["screens"].values())
    assert record["drift"] == {
        "hit_rate_by_lookahead": [
            {"lookahead": 2, "num_hits": 1, "num_forecasts": 2},
        ],
        "plan_stability": 0.5,
    }


def test_the_json_says_which_screens_are_missing(store: EpisodeStore, episode: StoredEpisode) -> None:
    gone = episode.frames[1].screen
    store.screenshot_path(gone).unlink()
    record = json.loads(export_json(episode))
    assert gone not in record["screens"] and "does not exist" in record["missing_screens"][gone]


# ---- the reference trajectory


def test_a_reference_is_read_back_and_makes_samples(episode: StoredEpisode, way: Trajectory, tmp_path: Path) -> None:
    path = tmp_path / "references" / "mine.jsonl"
    assert save_reference(episode, path) == 1
    (read,) = read_trajectories(path)
    assert (read.goal, read.platform, read.split, read.outcome) == (way.goal, way.platform, "train", "success")
    assert [(s.action, s.instruction, s.thought) for s in read.steps] == [
        (s.action, s.instruction, "Go on.") for s in way.steps]
    assert png_data_uri(read.steps[0].observation.load_image()) == png_data_uri(way.steps[0].observation.load_image())
    samples = list(build_samples([read], ForecastConfig(horizon=2)))
    expected = list(build_samples([way], ForecastConfig(horizon=2)))
    assert [(s.steps, s.history, s.observation.image_size) for s in samples] == [
        (s.steps, s.history, s.observation.image_size) for s in expected]
    assert samples[0].load_image().tobytes() == expected[0].load_image().tobytes()


def test_what_a_person_changed_is_told_in_the_reference(store: EpisodeStore, way: Trajectory) -> None:
    frames = frames_of(way)
    frames[1] = by_person(frames[1], edited=(1,), pinned=(1,))
    frames[2] = by_person(frames[2], edited=(2,))
    made = to_trajectory(store.load(store_way(store, way, frames)))
    assert made.meta["changed_by_person"] == [
        {"step": 2, "changes": ["step 1 was moved"], "edited": [1], "pinned": [1]},
        {"step": 3, "changes": ["step 1 was moved"], "edited": [2], "pinned": []},
    ]
    assert [step.thought for step in made.steps] == ["Go on.", "", "Go on."]


def test_failed_steps_are_left_out_and_idle_ones_are_not_imitated(store: EpisodeStore, way: Trajectory) -> None:
    frames = frames_of(way)
    failed = replace(frames[0], step=replace(frames[0].step, action=None, error="not found"))
    idle = replace(frames[1], step=replace(frames[1].step, had_effect=False))
    made = to_trajectory(store.load(store_way(store, way, [failed, idle, frames[2]])))
    assert [step.flags for step in made.steps] == [{"redundant"}, frozenset()]
    assert made.meta["num_failed_steps"] == 1
    assert [sample.id for sample in build_samples([made], ForecastConfig())] == [f"{made.id}/1"]


def test_references_gather_in_one_file_and_an_episode_replaces_itself(store, episode, way, tmp_path: Path) -> None:
    other = store.load(store_way(store, way))
    path = tmp_path / "all.jsonl"
    assert [save_reference(one, path) for one in (episode, other, episode)] == [1, 2, 2]
    assert [t.id for t in read_trajectories(path)] == [f"episode-{other.id}", f"episode-{episode.id}"]


def test_references_saved_at_once_are_all_kept(store: EpisodeStore, way: Trajectory, tmp_path: Path) -> None:
    episodes = [store.load(store_way(store, way)) for _ in range(6)]
    threads = [threading.Thread(target=save_reference, args=(one, tmp_path / "r.jsonl")) for one in episodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {t.id for t in read_trajectories(tmp_path / "r.jsonl")} == {f"episode-{one.id}" for one in episodes}


def test_an_episode_that_cannot_be_a_reference_is_refused(store, episode: StoredEpisode, tmp_path: Path) -> None:
    empty = store.load(store.create(EpisodeSetup(task="t"), goal="g"))
    with pytest.raises(InputError, match="no step that was carried out"):
        save_reference(empty, tmp_path / "r.jsonl")
    store.screenshot_path(episode.frames[0].screen).write_bytes(b"no image")
    with pytest.raises(InputError, match="not a readable image"):
        save_reference(episode, tmp_path / "r.jsonl")
    store.screenshot_path(episode.frames[0].screen).unlink()
    with pytest.raises(MissingFileError, match="does not exist"):
        save_reference(episode, tmp_path / "r.jsonl")
    assert not (tmp_path / "r.jsonl").exists()


def test_a_file_that_holds_something_else_is_not_overwritten(store, way: Trajectory, tmp_path: Path) -> None:
    one = store.load(store_way(store, way))
    path = tmp_path / "notes.jsonl"
    path.write_text("my notes\n")
    with pytest.raises(InputError, match="notes.jsonl line 1: not JSON"):
        save_reference(one, path)
    assert path.read_text() == "my notes\n"
    with pytest.raises(OutputError, match="choose a folder"):
        save_reference(one, path / "r.jsonl")


def test_an_observation_without_a_screenshot_is_kept_as_text(store: EpisodeStore, way: Trajectory) -> None:
    frame = frames_of(way)[0]
    seen = Observation(text="tool says hi")
    frame = replace(frame, observation=seen, step=replace(frame.step, observation=seen))
    episode = store.load(store_way(store, way, [frame]))
    assert "tool says hi" in export_html(episode)
    assert to_trajectory(episode).steps[0].observation.text == "tool says hi"
