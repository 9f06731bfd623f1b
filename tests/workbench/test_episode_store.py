"""Stored episodes: what was saved is what is loaded, also after a crash, beside other writers, and with damage."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.tool_agents import Grounding
from executors.trajectory import Element, Observation, Step
from training.episode_record import StepRecord
from training.forecast import parse_forecast
from workbench.episode_marks import image_uri
from workbench.episode_store import (
    EpisodeSetup,
    EpisodeStore,
    ForecastMade,
    StoredFrame,
)
from workbench.screens import screen_hash

SETUP = EpisodeSetup(task="alarm_on", split="train", seed=3, goal="wake me", planner="runs/a", horizon=4,
                     history_length=0, max_steps=7, mode="reactive")


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    """An empty store."""
    return EpisodeStore(tmp_path / "store")


def frame_of(number: int = 1, colour: str = "red", **values: object) -> StoredFrame:
    """A frame with every field set; its screenshot is of one colour."""
    element = Element(role="switch", text="Wi-Fi", box=BoxNorm(0.1, 0.2, 0.3, 0.25), value="off", id="w")
    seen = Observation(image_size=ImageSize(40, 30), image=PIL.Image.new("RGB", (40, 30), colour),
                       elements=(element,), summary="Settings", text="says \ud800 hi")
    forecast = parse_forecast('It is off</think>1. click() | tap the "Wi-Fi" switch\n2. finished() | done', horizon=4)
    edited = replace(forecast, steps=forecast.steps[:1])
    step = StepRecord(number=number, observation=seen, forecast=edited, had_effect=True, message="ok",
                      grounding=Grounding(action=forecast.steps[0].action, target=element.box, num_candidates=1),
                      action=Action(type="click", point=PointNorm(0.2, 1 / 3)), plan_seconds=0.5, act_seconds=0.25)
    messages = ({"role": "user", "content": [{"type": "image", "sha256": "ab"}, {"type": "text", "text": "Goal"}]},)
    made = (
        ForecastMade(forecast=forecast, messages=messages, plan_seconds=1.5, created="2026-01-02T03:04:05.678+00:00"),
        ForecastMade(forecast=edited, author="person", changes=("step 2 was deleted",), edited=(1, 2), pinned=(1,)),
    )
    reference = (Step(observation=Observation(), action=step.action, instruction="tap it", target=element.box),)
    fields = {"number": number, "observation": seen, "forecasts": made, "step": step, "reference": reference,
              "ground_seconds": 0.1, "execute_seconds": 0.2}
    return StoredFrame(**{**fields, **values})


def test_a_saved_episode_is_loaded_equal(store: EpisodeStore) -> None:
    id = store.create(SETUP, goal="wake <b>me</b>", planner_name="tiny", platform="phone", owner="ada")
    saved = [store.save_frame(id, frame_of(1)), store.save_frame(id, frame_of(2, "blue", step=None, forecasts=()))]
    store.save_state(id, state="done", outcome="failure", stop_reason="max_steps")
    episode = EpisodeStore(store.root).load(id)
    assert (episode.setup, episode.goal, episode.planner_name, episode.platform, episode.owner) == (
        SETUP, "wake <b>me</b>", "tiny", "phone", "ada")
    assert (episode.state, episode.outcome, episode.stop_reason, episode.num_steps) == (
        "done", "failure", "max_steps", 1)
    assert list(episode.frames) == saved
    assert [f.observation.load_image().getpixel((5, 5)) for f in episode.frames] == [(255, 0, 0), (0, 0, 255)]
    assert episode.frames[0].step.observation == episode.frames[0].observation


def test_a_new_episode_waits_and_its_planner_may_be_named_later(store: EpisodeStore) -> None:
    id = store.create(SETUP, goal="g")
    new = store.load(id)
    assert (new.state, new.outcome, new.planner_name, new.frames) == ("waiting", "unknown", "", ())
    store.save_state(id, state="running", planner_name="tiny")
    store.save_state(id, outcome="success")
    assert (store.load(id).state, store.load(id).outcome, store.load(id).planner_name) == ("running", "success", "tiny")


def test_saving_a_frame_again_replaces_it_and_counts_its_step_once(store: EpisodeStore) -> None:
    id = store.create(SETUP, goal="g")
    store.save_frame(id, frame_of(step=None))
    saved = store.save_frame(id, frame_of())
    assert store.load(id).frames == (saved,)
    assert store.load(id).num_steps == 1


def test_a_saved_frame_is_shown_from_its_file_and_from_memory_when_that_is_gone(store: EpisodeStore) -> None:
    frame = store.save_frame(store.create(SETUP, goal="g"), frame_of())
    path = store.screenshot_path(frame.screen)
    uri, size = image_uri(frame.observation)
    assert base64.b64decode(uri.partition(",")[2]) == path.read_bytes()
    path.unlink()
    again, _ = image_uri(frame.observation)
    assert PIL.Image.open(io.BytesIO(base64.b64decode(again.partition(",")[2]))).getpixel((0, 0)) == (255, 0, 0)
    assert size == frame.observation.image_size


def test_a_recordings_lost_screenshot_does_not_keep_the_frame_from_being_stored(store: EpisodeStore) -> None:
    id = store.create(SETUP, goal="g")
    seen = Observation(image_size=ImageSize(40, 30), image_path=store.root / "gone.png", summary="Settings")
    saved = store.save_frame(id, frame_of(observation=seen))
    assert saved.screen == "" and saved.observation == seen
    assert store.load(id).frames[0].observation == replace(seen, image_path=None)


def test_equal_screens_are_stored_once_under_the_hash_of_their_pixels(store: EpisodeStore) -> None:
    id = store.create(SETUP, goal="g")
    one, two = store.save_frame(id, frame_of(1)), store.save_frame(id, frame_of(2))
    assert one.screen == two.screen == screen_hash(frame_of().observation.image)
    (file,) = (store.root / "screens").iterdir()
    assert file == store.screenshot_path(one.screen)
    assert PIL.Image.open(file).tobytes() == frame_of().observation.image.tobytes()


def test_a_loaded_frame_can_be_saved_again(store: EpisodeStore) -> None:
    id = store.create(SETUP, goal="g")
    store.save_frame(id, frame_of())
    before = store.load(id).frames
    store.save_frame(id, before[0])
    assert store.load(id).frames == before


@pytest.mark.parametrize("sha256", ["../../etc/passwd", "", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_a_screenshot_is_named_by_a_hash_and_by_nothing_else(store: EpisodeStore, sha256: str) -> None:
    with pytest.raises(InputError, match="SHA-256"):
        store.screenshot_path(sha256)


def test_an_unknown_episode_is_said_to_be_missing(store: EpisodeStore) -> None:
    for call in (store.load, lambda id: store.save_frame(id, frame_of()), lambda i: store.save_state(i, state="done")):
        for id in ("nobody", "", "\ud800", "a\0b", "' or 1 --"):
            with pytest.raises(MissingFileError, match="is not in this store: choose one of the list"):
                call(id)


@pytest.mark.parametrize(
    ("values", "field"), [({"state": "lost"}, "'state'"), ({"state": "done", "outcome": "good"}, "'outcome'")]
)
def test_a_wrong_state_is_refused(store: EpisodeStore, values: dict, field: str) -> None:
    id = store.create(SETUP, goal="g")
    with pytest.raises(InputError, match=field):
        store.save_state(id, **values)


def test_a_setup_and_a_forecast_name_the_field_that_is_wrong() -> None:
    with pytest.raises(InputError, match="field 'executor': 'phone'"):
        EpisodeSetup(task="t", executor="phone")
    with pytest.raises(InputError, match="field 'author': 'cat'"):
        ForecastMade(forecast=parse_forecast("", horizon=1), author="cat")


# ---- search


@pytest.fixture
def filled(store: EpisodeStore) -> EpisodeStore:
    """Four episodes of one day each."""
    for day, (task, goal, planner, outcome) in enumerate(
        [
            ("alarm_on", "Turn the alarm on", "tiny", "success"),
            ("alarm_on", "Schalte den Wecker früh ein", "big", "failure"),
            ("wifi", "Turn Wi-Fi off, 100% \"now\"", "tiny", "impossible"),
            ("notes", "Write a note \ud800", "tiny", "unknown"),
        ],
        start=1,
    ):
        id = store.create(replace(SETUP, task=task), goal=goal, planner_name=planner,
                          created=f"2026-03-0{day}T12:00:00.000+00:00")
        store.save_state(id, state="done" if outcome != "unknown" else "running", outcome=outcome)
    return store


@pytest.mark.parametrize(
    ("query", "tasks"),
    [
        ({}, ["notes", "wifi", "alarm_on", "alarm_on"]),
        ({"text": "turn"}, ["wifi", "alarm_on"]),
        ({"text": "  TUR ala "}, ["alarm_on"]),
        ({"text": "fruh"}, ["alarm_on"]),
        ({"text": "wi-fi"}, ["wifi"]),
        ({"text": 'now"'}, ["wifi"]),
        ({"text": "big"}, ["alarm_on"]),
        ({"text": "alarm OR wifi"}, []),
        ({"text": "goal:turn"}, []),
        ({"text": "nothing of this"}, []),
        ({"text": "\ud800"}, ["notes", "wifi", "alarm_on", "alarm_on"]),
        ({"outcome": "failure"}, ["alarm_on"]),
        ({"state": "running"}, ["notes"]),
        ({"planner": "tiny", "task": "alarm_on"}, ["alarm_on"]),
        ({"planner": "ti"}, []),
        ({"since": "2026-03-03"}, ["notes", "wifi"]),
        ({"until": "2026-03-02"}, ["alarm_on", "alarm_on"]),
        ({"since": "2026-03-02", "until": "2026-03-02"}, ["alarm_on"]),
        ({"since": "2026-03-04T13:00+02:00"}, ["notes"]),
        ({"since": "2026-03-04T12:30"}, []),
        ({"text": "turn", "until": "2026-03-01"}, ["alarm_on"]),
    ],
)
def test_search_finds_what_fits_all_that_is_given(filled: EpisodeStore, query: dict, tasks: list[str]) -> None:
    found = filled.search(**query)
    assert ([row.task for row in found.rows], found.total) == (tasks, len(tasks))


@pytest.mark.parametrize("text", ['"', '""', "*", "-", "'", "a*", "(", "^x", "NEAR(", "\0", "{}", ":", "%", "🙂"])
def test_no_search_text_is_an_error(filled: EpisodeStore, text: str) -> None:
    assert filled.search(text).total <= 4


def test_search_pages_through_all_rows_and_knows_how_many_there_are(filled: EpisodeStore) -> None:
    pages = [filled.search(limit=3, offset=offset) for offset in (0, 3, 6)]
    assert [len(page.rows) for page in pages] == [3, 1, 0]
    assert {page.total for page in pages} == {4}
    assert len({row.id for page in pages for row in page.rows}) == 4


def test_an_episode_is_found_by_its_id_and_by_a_planner_named_later(filled: EpisodeStore) -> None:
    id = filled.create(SETUP, goal="new")
    filled.save_state(id, state="running", planner_name="qwen3-vl")
    assert [row.id for row in filled.search(id).rows] == [row.id for row in filled.search("qwen3").rows] == [id]
    assert filled.planners() == ["big", "qwen3-vl", "tiny"]
    assert filled.tasks() == ["alarm_on", "notes", "wifi"]


@pytest.mark.parametrize(
    ("query", "field"),
    [({"outcome": "good"}, "'outcome'"), ({"state": "?"}, "'state'"), ({"since": "yesterday"}, "'since'"),
     ({"until": "2026-13-01"}, "'until'"), ({"limit": 0}, "'limit'"), ({"limit": 501}, "'limit'"),
     ({"offset": -1}, "'offset'"), ({"offset": 10**30}, "'offset'")],
)
def test_a_wrong_filter_is_named(filled: EpisodeStore, query: dict, field: str) -> None:
    with pytest.raises(InputError, match=field):
        filled.search(**query)
