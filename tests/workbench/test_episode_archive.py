"""The list of past episodes and two of them side by side, as HTML."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from executors.actions import Action
from executors.trajectory import Trajectory
from tests.workbench.episode_makers import frames_of, oracle_way, store_way
from training.forecast import ForecastStep
from workbench.episode_archive import PAGE_SIZE, render_archive
from workbench.episode_compare import Agreement, compare_episodes, render_comparison
from workbench.episode_store import EpisodeSetup, EpisodeStore, SearchResult, StoredEpisode

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    """An empty store."""
    return EpisodeStore(tmp_path)


@pytest.fixture(scope="module")
def way() -> Trajectory:
    """The oracle's three steps."""
    return oracle_way()


def text_of(html: str) -> str:
    """What is read on the page, spaces folded."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def fill(store: EpisodeStore, count: int) -> None:
    for number in range(count):
        store.create(EpisodeSetup(task="t"), goal=f"goal {number}")


# ---- the list


def test_rows_link_to_their_episodes_and_say_how_they_stand(store: EpisodeStore, way: Trajectory) -> None:
    done = store_way(store, way)
    waiting = store.create(EpisodeSetup(task="wifi"), goal="", owner="ada")
    html = render_archive(store.search())
    assert re.findall(r'href="\?episode=(\w+)"', html) == [waiting, done]
    words = text_of(html)
    assert "Episodes 1 to 2 of 2, newest first" in words
    assert "✓ reached 3 oracle" in words
    assert "… waiting 0 none yet" in words and "by ada" in words and "no goal" in words


def test_text_in_rows_stays_text(store: EpisodeStore) -> None:
    store.create(EpisodeSetup(task=HOSTILE), goal=HOSTILE, planner_name=HOSTILE, owner=HOSTILE)
    html = render_archive(store.search())
    assert "<img" not in html
    assert html.count("&lt;img") == 5  # goal twice: its link and the name of its box


def test_pages_lead_on_and_back(store: EpisodeStore) -> None:
    fill(store, 2 * PAGE_SIZE + 1)
    first, middle, last = (
        render_archive(store.search(limit=PAGE_SIZE, offset=offset), offset=offset)
        for offset in (0, PAGE_SIZE, 2 * PAGE_SIZE)
    )
    assert re.findall(r'data-offset="(\d+)"( disabled)?', first) == [("0", " disabled"), (str(PAGE_SIZE), "")]
    assert re.findall(r'data-offset="(\d+)"( disabled)?', middle) == [("0", ""), (str(2 * PAGE_SIZE), "")]
    assert re.findall(r'data-offset="\d+"( disabled)?', last) == ["", " disabled"]
    assert f"Episodes {2 * PAGE_SIZE + 1} to {2 * PAGE_SIZE + 1} of {2 * PAGE_SIZE + 1}" in last


def test_at_most_two_episodes_can_be_chosen(store: EpisodeStore) -> None:
    fill(store, 3)
    page = store.search()
    ids = [row.id for row in page.rows]
    assert render_archive(page, compared=ids[:1]).count(" disabled") == 0
    both = render_archive(page, compared=ids[:2])
    assert (both.count(" checked"), both.count(" disabled")) == (2, 1)


def test_an_empty_list_says_what_to_do() -> None:
    assert "Take a filter away" in render_archive(SearchResult((), 0))
    assert "go back to the first" in render_archive(SearchResult((), 3), offset=PAGE_SIZE)


# ---- the comparison


def pair(store: EpisodeStore, way: Trajectory, other_frames=None, other_way: Trajectory | None = None):
    left = store.load(store_way(store, way))
    right = store.load(store_way(store, other_way or way, other_frames, planner="other"))
    return left, right


def with_step(frames, place: int, **values: object):
    """The frames with other values in one step's record."""
    frame = frames[place]
    return [*frames[:place], replace(frame, step=replace(frame.step, **values)), *frames[place + 1 :]]


def test_equal_episodes_are_the_same_step_by_step(store: EpisodeStore, way: Trajectory) -> None:
    comparison = compare_episodes(*pair(store, way))
    assert [(s.number, s.agreement, s.is_same_screen) for s in comparison.steps] == [
        (n, Agreement.SAME, True) for n in (1, 2, 3)]
    assert (comparison.first_difference, comparison.differences) == (None, ())
    words = text_of(render_comparison(comparison))
    assert "All 3 steps are the same." in words and "different tasks" not in words
    assert "Step 1: the same step on the same screen" in words


def test_the_first_difference_is_named_and_can_be_shown(store: EpisodeStore, way: Trajectory) -> None:
    other = with_step(frames_of(way), 1, action=Action(type="wait"))
    comparison = compare_episodes(*pair(store, way, other[:2]))
    assert [s.agreement for s in comparison.steps] == [Agreement.SAME, Agreement.DIFFERENT, Agreement.ONLY_LEFT]
    assert comparison.first_difference == 2
    html = render_comparison(comparison, 3)
    assert '<button type="button" data-act="step" data-step="2">Show the first difference, step 2</button>' in html
    assert "1 of 3 steps are the same." in text_of(html)
    assert "Step 3: the right episode has no such step" in text_of(html)
    assert "Right: no step 3" in text_of(html)
    assert html.count("<img ") == 1


def test_steps_on_other_screens_are_compared_by_their_words(store: EpisodeStore, way: Trajectory) -> None:
    shifted = [replace(frame, observation=replace(frame.observation, image=frame.observation.load_image().rotate(180)))
               for frame in frames_of(way)]
    comparison = compare_episodes(*pair(store, way, shifted))
    assert [(s.agreement, s.is_same_screen) for s in comparison.steps] == [(Agreement.SAME, False)] * 3


def test_a_step_that_failed_is_the_same_only_as_one_that_failed_alike(store: EpisodeStore, way: Trajectory) -> None:
    failed = with_step(frames_of(way), 0, action=None, grounding=None, error="no element on this screen")
    one, other = pair(store, way, failed)
    assert compare_episodes(one, other).steps[0].agreement is Agreement.DIFFERENT
    assert compare_episodes(other, other).steps[0].agreement is Agreement.SAME
    assert "no element on this screen" in text_of(render_comparison(compare_episodes(one, other)))


def test_different_tasks_are_said_to_be_different(store: EpisodeStore, way: Trajectory) -> None:
    comparison = compare_episodes(*pair(store, way, other_way=oracle_way(seed=1)))
    assert comparison.differences[0] == "seed: 0 and 1"
    words = text_of(render_comparison(comparison))
    assert "These are different tasks (seed: 0 and 1; goal:" in words
    assert "Steps stand side by side by their number only." in words


def test_what_a_person_changed_is_said(store: EpisodeStore, way: Trajectory) -> None:
    frames = frames_of(way)
    made = replace(frames[0].forecasts[-1], author="person", changes=("step 1 was moved",))
    frames[0] = replace(frames[0], forecasts=(*frames[0].forecasts, made))
    html = render_comparison(compare_episodes(*pair(store, way, frames)))
    assert text_of(html).count("changed by a person") == 1


def test_episodes_without_steps_have_nothing_to_compare(store: EpisodeStore, way: Trajectory) -> None:
    left, right = pair(store, way, [])
    assert "no such step" in text_of(render_comparison(compare_episodes(left, right)))
    assert "Nothing to compare yet" in text_of(render_comparison(compare_episodes(right, right)))


@pytest.mark.parametrize("number", [-5, 0, 99])
def test_a_step_that_is_not_there_shows_the_nearest(store: EpisodeStore, way: Trajectory, number: int) -> None:
    comparison = compare_episodes(*pair(store, way))
    assert render_comparison(comparison, number) == render_comparison(comparison, 3 if number > 3 else 1)


def test_a_screenshot_that_is_gone_or_damaged_leaves_the_rest(store: EpisodeStore, way: Trajectory) -> None:
    left, right = pair(store, way)
    store.screenshot_path(left.frames[0].screen).unlink()
    store.screenshot_path(left.frames[1].screen).write_bytes(b"no image")
    comparison = compare_episodes(left, right)
    assert "does not exist" in text_of(render_comparison(comparison, 1))
    assert "is not a readable image" in text_of(render_comparison(comparison, 2))


def test_hostile_words_in_a_comparison_stay_text(store: EpisodeStore, way: Trajectory) -> None:
    frames = frames_of(way)
    forecast = replace(
        frames[0].step.forecast,
        steps=(ForecastStep(action=Action(type="type", content=HOSTILE), instruction=HOSTILE),),
    )
    frames = with_step(frames, 0, forecast=forecast, action=forecast.steps[0].action, error=HOSTILE)
    _, right = pair(store, way, frames)
    hostile: StoredEpisode = replace(right, goal=HOSTILE, planner_name=HOSTILE)
    html = render_comparison(compare_episodes(hostile, replace(hostile, goal=HOSTILE * 2)))
    assert "<img src=x" not in html and "&lt;img src=x" in html
