"""What the planner is told: goal, the last K steps as text, one screenshot, never old ones."""

from __future__ import annotations

import pytest

from executors.actions import Action, Space
from executors.geometry import ImageSize, PointNorm
from executors.trajectory import Observation
from training.config import ForecastConfig
from training.prompts import HistoryItem, build_messages

SCREEN = Observation(image_size=ImageSize(256, 448), summary="Home")
PAST = [
    HistoryItem(summary=f"Page {n}", action=Action(type="click"), instruction=f'tap the "{n}" row') for n in range(9)
]


def _text(messages):
    return next(part["text"] for part in messages[0]["content"] if part["type"] == "text")


@pytest.mark.parametrize("style", ["compact", "full"])
def test_only_the_last_k_steps_are_told(style):
    config = ForecastConfig(prompt_style=style, history_length=2)
    text = _text(build_messages("Do it.", PAST, SCREEN, config, spaces=frozenset({Space.MOBILE})))
    assert "Do it." in text
    assert 'tap the "7" row' in text and 'tap the "8" row' in text
    assert 'tap the "6" row' not in text


def test_history_length_zero_tells_nothing_of_the_past():
    config = ForecastConfig(prompt_style="compact", history_length=0)
    text = _text(build_messages("Do it.", PAST, SCREEN, config, spaces=frozenset({Space.MOBILE})))
    assert text == "Goal: Do it.\nDone: nothing\nSteps: 6"


def test_screenshot_comes_before_the_text_and_is_the_only_image():
    config = ForecastConfig()
    content = build_messages("g", PAST, SCREEN, config, spaces=frozenset({Space.MOBILE}))[0]["content"]
    assert [part["type"] for part in content] == ["image", "text"]


def test_observation_without_a_screenshot_has_no_image_part_but_its_text():
    seen = Observation(text="42 rows")
    content = build_messages("g", [], seen, ForecastConfig(), spaces=frozenset({Space.TOOLS}))[0]["content"]
    assert [part["type"] for part in content] == ["text"]
    assert "42 rows" in content[0]["text"]


def test_past_click_is_told_without_its_place_where_pixels_cannot_be_counted():
    past = [HistoryItem(summary="", action=Action(type="click", point=PointNorm(0.5, 0.5)), instruction="tap it")]
    config = ForecastConfig(family="qwen2.5-vl")
    text = _text(build_messages("g", past, Observation(text="42"), config, spaces=frozenset({Space.TOOLS})))
    assert "Step 1: [] click() | tap it" in text


def test_half_characters_of_a_goal_can_be_sent():
    text = _text(build_messages("a\udcff", [], SCREEN, ForecastConfig(), spaces=frozenset({Space.MOBILE})))
    assert "Goal: a\ufffd\n" in text


def test_full_prompt_lists_only_the_actions_of_the_device():
    text = _text(build_messages("g", [], SCREEN, ForecastConfig(), spaces=frozenset({Space.MOBILE})))
    assert "long_press(" in text and "right_single(" not in text
    assert "at most 6 steps" in text


def test_goal_with_braces_and_screen_words_is_told_literally():
    text = _text(build_messages("{horizon} {0}", [], SCREEN, ForecastConfig(), spaces=frozenset({Space.MOBILE})))
    assert "Goal: {horizon} {0}" in text


def test_reactive_planner_is_asked_for_one_step():
    config = ForecastConfig(prompt_style="compact", horizon=6)
    text = _text(build_messages("g", [], SCREEN, config, spaces=frozenset({Space.MOBILE}), horizon=1))
    assert text.endswith("Steps: 1")
