"""The forecast grammar: what is read, what is an error, and that formatting and parsing agree."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executors.actions import ACTIONS, Action, ArgKind
from executors.geometry import ImageSize, PointNorm
from training.forecast import Forecast, ForecastStep, format_plan, format_reply, parse_forecast, without_points

SAVE = ForecastStep(action=Action(type="click"), instruction='tap the "Save" button')
DONE = ForecastStep(action=Action(type="finished"), instruction="done")


def test_reply_with_thought_and_plan_is_read():
    forecast = parse_forecast(format_reply("Notes : button Save", [SAVE, DONE]), horizon=4)
    assert forecast.ok
    assert forecast.thought == "Notes : button Save"
    assert forecast.steps == (SAVE, DONE)


def test_steps_past_the_horizon_are_dropped_without_an_error():
    forecast = parse_forecast(format_plan([SAVE, SAVE, DONE]), horizon=2)
    assert forecast.ok and forecast.steps == (SAVE, SAVE)


def test_steps_after_finished_are_kept_for_the_reward_to_judge():
    assert len(parse_forecast(format_plan([DONE, SAVE]), horizon=4).steps) == 2


# (reply, steps that can be read, kind, part of the reason)
BROKEN = [
    ("", 0, "structural", "no step line"),
    ("I would tap Save.", 0, "structural", "no step line"),
    ("<think>I wonder", 0, "structural", "never ends"),
    ("Home</think>", 0, "structural", "no step line"),
    ("1. click()", 0, "structural", "no bar"),
    ("1. click( | tap", 0, "structural", "step 1"),
    ("1. fly() | fly away", 0, "content", "fly"),
    ("1. type() | type something", 0, "content", "content"),
    ("1. scroll(direction='sideways') | scroll", 0, "content", "sideways"),
    ("1. click() |  ", 0, "content", "instruction is empty"),
    ("1. click() | tap\nand then some words", 1, "structural", "line after step 1"),
    ("1. click() | tap\n2. fly() | fly", 1, "content", "step 2"),
    ("1. # nothing\n2. click() | tap", 0, "structural", "step 1"),
    ("1. `click()` | tap\n2. wait() | wait", 0, "structural", "step 1"),
    ("1. | tap\n2. wait() | wait", 0, "structural", "step 1"),
    ("1.\n2. wait() | wait", 0, "structural", "step 1"),
    ("(1) click() | tap\n2. wait() | wait", 0, "structural", "before the first step"),
    ("<plan>1. click() | tap\n2. wait() | wait</plan>", 0, "structural", "before the first step"),
    ("<think>a</think><think>b\n1. click() | tap", 0, "structural", "never ends"),
    ("Well. <think>b\n1. click() | tap", 0, "structural", "never ends"),
]


@pytest.mark.parametrize(("reply", "num_steps", "kind", "reason"), BROKEN)
def test_broken_reply_is_data_with_the_steps_before_the_break(reply, num_steps, kind, reason):
    forecast = parse_forecast(reply, horizon=6)
    assert not forecast.ok
    assert (len(forecast.steps), forecast.kind) == (num_steps, kind)
    assert reason in forecast.reason


@pytest.mark.parametrize(
    "reply",
    [
        "Plan:\n1. click() | tap",
        "```\n1. click() | tap\n```",
        "Step 1: click() | tap",
        "- 1) click() | tap",
        "\n\n 1 . click() | tap \n\n",
        "I looked.</think>old</think>1. click() | tap",
        "Wi-Fi | Bluetooth (on)\n1. click() | tap",
        "It is 12:30 now.\n12:30 is late.\n3.5 steps are left.\n7. click() | tap",
        "<think>a</think><think>b</think>1. click() | tap",
    ],
)
def test_usual_dressings_of_a_plan_are_accepted(reply):
    forecast = parse_forecast(reply, horizon=3)
    assert forecast.ok, forecast.reason
    assert forecast.steps == (ForecastStep(action=Action(type="click"), instruction="tap"),)


def test_text_with_bars_newlines_and_numbered_lines_survives_the_grammar():
    step = ForecastStep(action=Action(type="type", content="a | b\n2. click() | x"), instruction="type | it")
    assert parse_forecast(format_plan([step, DONE]), horizon=3).steps == (step, DONE)


@pytest.mark.parametrize(("reply", "num_whole", "is_ok"), [
    ("1. click() | tap", 0, False), ("1. click() | tap\n", 1, True), ("1. click() | tap\n2. click() | ta", 1, False),
    ("1. click() | tap\n2. click() | tap\n3.", 2, True),
])  # fmt: skip
def test_step_that_ends_with_a_reply_that_was_cut_off_is_broken(reply, num_whole, is_ok):
    forecast = parse_forecast(reply, horizon=2, is_cut=True)
    assert (len(forecast.steps), forecast.ok) == (num_whole, is_ok)


def test_a_step_may_speak_of_the_tag_that_opens_a_thought():
    step = ForecastStep(action=Action(type="type", content="<think>"), instruction="type <think>")
    assert parse_forecast(format_plan([step]), horizon=1).steps == (step,)


def test_numbers_are_not_compared():
    reply = "0. click() | tap\n0. click() | tap\n\n12) click() | tap"
    assert len(parse_forecast(reply, horizon=5).steps) == 3


def test_coordinates_are_read_in_the_frame_of_the_family():
    forecast = parse_forecast(
        "1. click(point=[500, 250]) | tap", horizon=1, family="qwen3-vl", image=ImageSize(1000, 500)
    )
    assert forecast.steps[0].action.point == PointNorm(0.5, 0.25)


_words = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1).filter(
    lambda text: " ".join(text.split()) == text
)
_values = {
    ArgKind.TEXT: st.text(st.characters(blacklist_categories=("Cs",))),
    ArgKind.KEYS: st.sampled_from(["enter", "ctrl c", "alt f4"]),
    ArgKind.DIRECTION: st.sampled_from(["up", "down", "left", "right"]),
    ArgKind.SECONDS: st.integers(0, 60).map(float),
    ArgKind.NAME: _words.filter(lambda text: text.strip()),
    ArgKind.MAPPING: st.dictionaries(st.sampled_from(["query", "image"]), st.one_of(st.integers(), _words)),
}


@st.composite
def _steps(draw):
    spec = ACTIONS[draw(st.sampled_from(sorted(ACTIONS)))]
    values = {a.name: draw(_values[a.kind]) for a in spec.args if a.kind is not ArgKind.POINT and a.required}
    return ForecastStep(action=Action(type=spec.name, **values), instruction=draw(_words))


@settings(max_examples=300, deadline=None)
@given(st.lists(_steps(), min_size=1, max_size=5))
def test_every_plan_reads_back_as_it_was_written(steps):
    forecast = parse_forecast(format_reply("a thought", steps), horizon=5)
    assert forecast.ok, forecast.reason
    assert list(forecast.steps) == steps


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_no_text_raises(text):
    assert isinstance(parse_forecast(text, horizon=3), Forecast)
    assert isinstance(parse_forecast("1. click(" + text, horizon=3), Forecast)


def test_forecast_survives_json():
    forecast = parse_forecast('x</think>1. click() | tap\n2. type(content="a") | type\nrubbish', horizon=4)
    assert Forecast.from_json(json.loads(json.dumps(forecast.to_json()))) == forecast


def test_points_are_taken_off_for_a_planner_that_leaves_grounding_to_the_tool_agent():
    drag = Action(type="drag", start_point=PointNorm(0, 0), end_point=PointNorm(1, 1))
    assert without_points(drag) == Action(type="drag")


def test_families_that_count_pixels_plan_tool_calls_without_a_screenshot():
    line = "1. tool_call(name='OCR', arguments={\"image\": \"a.png\"}) | read it"
    parsed = parse_forecast(line, horizon=2, family="qwen2.5-vl", image=None)
    assert parsed.ok and parsed.first.action.arguments == {"image": "a.png"}
    assert not parse_forecast("1. click(point=[700, 500]) | tap it", horizon=2, family="qwen2.5-vl", image=None).ok
