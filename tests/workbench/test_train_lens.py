"""The rollout lens: completions are judged again by the trainer's own rule, and drawn on their screenshot."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from executors.actions import Action
from executors.geometry import PointNorm
from tests.workbench.train_helpers import ATTACK, first_sample, group_record, reply_of
from training.checkpoint import save_planner_settings
from training.config import ForecastConfig, RewardConfig
from training.config_reading import to_dict
from training.presets import get_preset
from training.samples import Sample
from workbench.runs.reader import RolloutGroup, RolloutSummary
from workbench.screen import Place
from workbench.train_lens import (
    LensSettings,
    completion_marks,
    group_marks,
    judge_group,
    reference_mark,
    spread_of,
)
from workbench.train_lens_html import render_group, render_group_list

BROKEN = "I do not know"


@pytest.fixture(scope="module")
def sample() -> Sample:
    """A prompt whose first step is to open the clock."""
    return first_sample()


@pytest.fixture
def settings(tmp_path: Path) -> LensSettings:
    """Those of a Stage 1 run of the smoke preset in a folder without settings of its own."""
    return LensSettings.of_run("stage1", to_dict(get_preset("smoke").stage1), tmp_path)


def test_the_forecast_is_read_as_the_trainer_read_it(tmp_path: Path) -> None:
    save_planner_settings(tmp_path, ForecastConfig(horizon=3))
    assert LensSettings.of_run("stage2", {}, tmp_path).forecast.horizon == 3


def group_of(sample: Sample, replies: list[str], screen: Path | None = None, **changes) -> RolloutGroup:
    """The group that the reader would give for these replies."""
    record = group_record(sample, replies)
    size = sample.observation.image_size
    fields = dict(
        step=1, prompt_id=record["id"], goal=record["goal"], screen=screen, image_size=(size.width_px, size.height_px),
        reference=tuple(record["reference"]), completions=tuple(record["completions"]), observation=sample.observation,
    )  # fmt: skip
    return RolloutGroup(**{**fields, **changes})


@pytest.fixture
def group(sample: Sample, tmp_path: Path) -> RolloutGroup:
    """A perfect reply, a shorter one, and one that cannot be read."""
    screen = tmp_path / "screen.png"
    sample.load_image().save(screen)
    return group_of(sample, [reply_of(sample, 3), reply_of(sample, 1), BROKEN], screen)


def test_best_worst_and_parts_are_those_of_the_rule(group: RolloutGroup, settings: LensSettings) -> None:
    whole, short, broken = judge_group(group, settings)
    assert (whole.tone, short.tone, broken.tone) == ("best", "", "worst")
    assert len(whole.parts.steps) == 3 and short.parts.total == pytest.approx(short.reward, abs=1e-6)
    assert broken.reward == RewardConfig().parse_failure and not broken.forecast.ok
    assert all(one.is_as_recorded for one in (whole, short, broken))


def test_a_reward_that_the_rule_does_not_give_is_told(group: RolloutGroup, settings: LensSettings) -> None:
    other = replace(settings, reward=RewardConfig(gamma=0.1))
    assert not judge_group(group, other)[0].is_as_recorded
    assert "The trainer recorded" in render_group(group, other)
    assert "as recorded" in render_group(group, settings)


def test_first_steps_without_points_are_grounded_on_the_element_tree(group, settings, sample: Sample) -> None:
    marks = group_marks(group, judge_group(group, settings), settings)
    clock = next(e for e in sample.observation.elements if e.text == "Clock")
    assert [mark.number for mark in marks] == [1, 2]  # the broken reply has no step to draw
    assert all(mark.place is Place.HERE for mark in marks)
    assert clock.box.left < marks[0].anchor.x < clock.box.right and clock.box.top < marks[0].anchor.y < clock.box.bottom
    assert reference_mark(group, settings).anchor == marks[0].anchor


def test_the_grounding_that_was_rewarded_is_what_is_drawn_in_stage_2(sample: Sample, settings: LensSettings) -> None:
    action = Action(type="click", point=PointNorm(0.25, 0.75))
    completion = {"text": reply_of(sample, 1), "reward": 0.0, "grounding": {"action": action.to_json(), "reason": None}}
    group = group_of(sample, [], completions=(completion,))
    (mark,) = group_marks(group, judge_group(group, replace(settings, reward=None)), settings)
    assert (mark.anchor.x, mark.anchor.y) == (0.25, 0.75)
    page = render_group(group, replace(settings, stage="stage2", reward=None))
    assert "does not fit the recorded step" in page


@pytest.mark.parametrize(
    ("grounding", "words"),
    [
        ({"error": "agent broke"}, "left its group: agent broke"),
        ({"action": None, "reason": "two elements fit"}, "two elements fit"),
        ({"action": {"type": "no_such"}}, "grounded nothing"),
        ("nonsense", "grounded nothing"),
    ],
)
def test_a_tool_agent_without_an_action_is_told_as_it_was(sample, settings, grounding, words: str) -> None:
    completion = {"text": reply_of(sample, 1), "reward": None, "grounding": grounding}
    group = group_of(sample, [], completions=(completion,))
    page = render_group(group, replace(settings, stage="stage2", reward=None))
    assert words in page and "not scored" in page


def test_the_picture_has_a_mark_and_a_row_for_each_completion(group: RolloutGroup, settings: LensSettings) -> None:
    page = render_group(group, settings)
    assert "data:image/png;base64," in page
    for number in (1, 2):
        assert len(re.findall(rf'<g class="tw-mark [^>]*data-mark="forecast-{number}"', page)) == 1
        assert len(re.findall(rf'<li class="tr-completion [^>]*data-mark="forecast-{number}"', page)) == 1
    assert page.count('<li class="tr-completion') == 3


def test_one_completion_is_drawn_whole(group: RolloutGroup, settings: LensSettings) -> None:
    judged = judge_group(group, settings)
    assert [mark.number for mark in completion_marks(group, judged[0], settings)] == [1, 2, 3]
    page = render_group(group, settings, chosen=1)
    assert "all steps of completion 1" in page and "All first steps" in page


def test_without_a_screenshot_the_forecasts_are_listed(sample: Sample, settings: LensSettings) -> None:
    page = render_group(group_of(sample, [reply_of(sample, 2)], image_size=None), settings)
    assert "No screenshot was kept" in page and "tw-rows" in page


def test_a_missing_screenshot_file_is_told(sample: Sample, settings: LensSettings, tmp_path: Path) -> None:
    page = render_group(group_of(sample, [reply_of(sample, 2)], tmp_path / "gone.png"), settings)
    assert "cannot be shown" in page


def test_a_flat_group_says_that_it_teaches_nothing(sample: Sample, settings: LensSettings) -> None:
    group = group_of(sample, [BROKEN, BROKEN])
    assert {one.tone for one in judge_group(group, settings)} == {""}
    assert "teaches nothing" in render_group(group, settings)


def test_nothing_scored_has_no_spread() -> None:
    assert spread_of([None, None]) is None and spread_of([]) is None


def test_hostile_replies_stay_text(sample: Sample, settings: LensSettings) -> None:
    reply = f'{ATTACK}</think>1. click() | tap "{ATTACK}"\n{ATTACK}'
    group = group_of(sample, [reply], goal=ATTACK, prompt_id=ATTACK)
    summary = RolloutSummary(step=1, prompt_id=ATTACK, goal=ATTACK, offset=0, num_completions=1, num_parse_failures=1,
                             mean_reward=1.0, least_reward=1.0, best_reward=1.0)
    page = render_group(group, settings) + render_group_list([summary], chosen=0, follows=ATTACK)
    assert "<img src=x" not in page


def test_a_damaged_record_is_shown_as_far_as_it_goes(sample: Sample, settings: LensSettings) -> None:
    group = group_of(sample, [], reference=({"action": {"type": "no_such"}},), completions=({"reward": "high"},))
    assert "no step could be read" in render_group(group, settings)


def test_newest_groups_come_first_and_none_says_so() -> None:
    summaries = [
        RolloutSummary(step=step, prompt_id="p", goal="g", offset=step, num_completions=2, num_parse_failures=0,
                       mean_reward=None, least_reward=None, best_reward=None)
        for step in (1, 2)
    ]
    page = render_group_list(summaries, chosen=2)
    assert page.index('data-group="2"') < page.index('data-group="1"') and "not scored" in page
    assert "No rollouts here" in render_group_list([], chosen=None)
