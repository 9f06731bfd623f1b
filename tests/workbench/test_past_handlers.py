"""The list of past episodes: handlers as plain functions."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from workbench.episode_store import EpisodeSetup, EpisodeStore
from workbench.past_handlers import Browse, PastHandlers
from workbench.people import People, Role

ANY = ("", "", "", "", "", "")


@pytest.fixture
def past(tmp_path: Path) -> PastHandlers:
    """The list over a store of thirty episodes."""
    store = EpisodeStore(tmp_path)
    for number in range(30):
        store.create(EpisodeSetup(task=f"task_{number % 2}"), goal=f"Do number {number}", planner_name="oracle")
    return PastHandlers(store, People())


def event(**data: object) -> SimpleNamespace:
    return SimpleNamespace(_data=data)


def test_the_list_is_read_anew_with_the_choices_there_are(past: PastHandlers) -> None:
    outcomes, planners, tasks, rows, compared = past.refresh(Browse(), *ANY)
    assert [value for _, value in tasks.choices] == ["", "task_0", "task_1"]
    assert [value for _, value in planners.choices] == ["", "oracle"] and len(outcomes.choices) == 5
    assert "Do number 29" in rows and "of 30" in rows
    assert "Tick two episodes" in compared


def test_search_and_pages(past: PastHandlers) -> None:
    browse = Browse()
    rows, _ = past.on_event(browse, *ANY, event=event(what="page", offset=25))
    assert "Do number 4" in rows and "Do number 29" not in rows
    rows, _ = past.search(browse, "number 7", "", "", "", "", "")
    assert "Do number 7" in rows and browse.offset == 0
    rows, _ = past.search(browse, "", "", "", "task_1", "", None)
    assert "of 15" in rows


@pytest.mark.parametrize("filters", [("", "won", "", "", "", ""), ("", "", "", "", "yesterday", "")])
def test_a_wrong_filter_is_one_sentence(past: PastHandlers, filters: tuple) -> None:
    rows, _ = past.search(Browse(), *filters)
    assert "The list cannot be shown" in rows


def test_two_are_compared_and_no_third(past: PastHandlers) -> None:
    browse, ids = Browse(), [row.id for row in past.store.search().rows[:3]]
    _, compared = past.on_event(browse, *ANY, event=event(what="compare", episode=ids[0], is_on=True))
    assert "Tick one more episode" in compared
    for id in ids[1:]:
        _, compared = past.on_event(browse, *ANY, event=event(what="compare", episode=id, is_on=True))
    assert browse.compared == ids[:2] and "Do number 29" in compared
    past.on_event(browse, *ANY, event=event(what="compare", episode=ids[0], is_on=False))
    assert browse.compared == ids[1:2]


@pytest.mark.parametrize(
    "data", [None, [], {}, {"what": "page", "offset": -1}, {"what": "page", "offset": True}, {"what": "step"},
             {"what": "compare", "episode": 3, "is_on": True}, {"what": "page", "offset": 10**30}],
)  # fmt: skip
def test_what_a_browser_should_not_send_changes_nothing(past: PastHandlers, data: object) -> None:
    browse = Browse()
    rows, _ = past.on_event(browse, *ANY, event=SimpleNamespace(_data=data))
    assert (browse.offset, browse.compared, browse.step) == (0, [], 1) and "Do number 29" in rows


def test_an_episode_that_is_not_there_cannot_be_compared(past: PastHandlers) -> None:
    browse = Browse()
    for id in ("../../etc", "gone"):
        _, compared = past.on_event(browse, *ANY, event=event(what="compare", episode=id, is_on=True))
    assert "cannot be compared" in compared


def test_strangers_see_no_list(past: PastHandlers) -> None:
    past.people = People(by_name={"ada": SimpleNamespace(role=Role.VIEWER)})
    *_, rows, _ = past.refresh(Browse(), *ANY, request=SimpleNamespace(username=None))
    assert "logged in" in rows and "Do number" not in rows
    *_, rows, _ = past.refresh(Browse(), *ANY, request=SimpleNamespace(username="ada"))
    assert "Do number 29" in rows
