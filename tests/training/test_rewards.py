"""Stage 1's and Stage 2's rewards: worked numbers of the formula, edge rules, and properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import Action
from executors.errors import ExecutorError
from executors.geometry import BoxNorm, PointNorm
from executors.tool_agents import Grounding
from executors.trajectory import Observation, Step
from training.config import RewardConfig
from training.forecast import Forecast, ForecastStep, parse_forecast
from training.rewards import (
    argument_agreement,
    grounded_reward,
    has_target,
    instruction_similarity,
    repetition,
    similarity,
    trajectory_reward,
)

PLAIN = RewardConfig(gamma=0.5, lambda_align=1.0, lambda_rep=0.4, sim="operation", rep="exact")


def tap(label, verb="tap"):
    return ForecastStep(action=Action(type="click"), instruction=f'{verb} the "{label}" row')


def step(kind, instruction="do it", **arguments):
    return ForecastStep(action=Action(type=kind, **arguments), instruction=instruction)


BACK = step("press_back", "go back")
DONE = step("finished", "the goal is reached")
SCROLL = step("scroll", "scroll down", direction="down")


def forecast(*steps, reason=None):
    return Forecast(steps=tuple(steps), reason=reason, kind=None if reason is None else "content")


# gamma 0.5, lambda_align 1, lambda_rep 0.4: R written out by hand from the formula
@pytest.mark.parametrize(
    ("predicted", "reference", "total"),
    [
        ([tap("A"), BACK, DONE], [tap("A"), BACK, DONE], 1 + 0.5 + 0.25),
        ([tap("A"), BACK], [tap("A"), BACK, DONE], 1 + 0.5),
        ([BACK, tap("A")], [tap("A"), BACK], 0.0),
        ([tap("A"), tap("A")], [tap("A"), BACK], 1 + 0.5 * (0 - 0.4)),
        ([tap("A"), tap("A")], [tap("A"), tap("B")], 1 + 0.5 * (1 - 0.4)),
        ([SCROLL, SCROLL], [SCROLL, SCROLL], 1 + 0.5),
        ([tap("A"), BACK], [tap("A")], 1 - 0.5 * 0.4),
        ([DONE, tap("A")], [DONE, tap("A")], 1 - 0.5 * 0.4),
        ([DONE, tap("A")], [tap("A"), BACK], -0.5 * 0.4),
        ([], [], 0.0),
        ([tap("A")], [], -0.4),
    ],
    ids=["all right", "shorter", "wrong types", "repeated and wrong", "repeated type", "reference repeats too",
         "past the reference's end", "past its own end", "ends too early", "both empty", "empty reference"],
)  # fmt: skip
def test_trajectory_reward_is_the_formula(predicted, reference, total):
    result = trajectory_reward(forecast(*predicted), reference, PLAIN, 4)
    assert result.total == pytest.approx(total)
    assert len(result.steps) == len(predicted)


def test_steps_past_the_end_cost_nothing_when_ignored_unless_they_repeat():
    config = RewardConfig(gamma=0.5, lambda_rep=0.4, sim="operation", rep="exact", overlong="ignore")
    assert trajectory_reward(forecast(tap("A"), BACK), [tap("A")], config, 4).total == 1.0
    assert trajectory_reward(forecast(tap("A"), tap("A")), [tap("A")], config, 4).total == pytest.approx(1 - 0.2)


def test_steps_past_the_horizon_are_not_looked_at():
    assert trajectory_reward(forecast(tap("A"), BACK), [tap("A"), DONE], PLAIN, 1).total == 1.0


def test_reply_that_breaks_off_keeps_the_steps_before_the_break():
    reply = parse_forecast('1. click() | tap the "A" row\n2. dance() | dance', horizon=4)
    result = trajectory_reward(reply, [tap("A"), BACK], PLAIN, 4)
    assert (result.total, result.parse_ok, len(result.steps)) == (1.0, False, 1)


@pytest.mark.parametrize("text", ["", "no plan", "<think> never ends", "1. dance() | dance"])
def test_reply_without_a_readable_step_gets_the_configured_value(text):
    config = RewardConfig(parse_failure=-0.7)
    result = trajectory_reward(parse_forecast(text, horizon=4), [tap("A")], config, 4)
    assert (result.total, result.steps, result.parse_ok) == (-0.7, (), False)


def test_wrong_label_costs_half_of_a_click():
    assert similarity(tap("Wi-Fi"), tap("Sound"), "operation_instruction") == 0.5
    assert similarity(tap("wi-fi"), tap("Wi-Fi"), "operation_instruction") == 1.0


def test_tool_calls_of_different_tools_are_different_operations():
    search = step("tool_call", name="search", arguments={"q": "x"})
    assert similarity(search, step("tool_call", name="ocr", arguments={"q": "x"}), "operation") == 0.0
    other = step("tool_call", name="search", arguments={"q": "y"})
    assert similarity(search, other, "operation_arguments") == 0.5


def test_a_call_with_its_arguments_in_another_order_repeats_it():
    call = step("tool_call", name="add", arguments={"a": 1, "b": {"c": [2], "d": True}})
    again = step("tool_call", name="add", arguments={"b": {"d": True, "c": [2]}, "a": 1.0})
    assert repetition([call, again], "exact") == 1.0
    other = step("tool_call", name="add", arguments={"a": True, "b": {"c": [2], "d": True}})  # Python's True equals 1
    assert repetition([call, other], "exact") == 0.0
    assert similarity(call, other, "operation_arguments") == 0.75


def test_typing_another_sign_is_worth_nothing():
    assert argument_agreement(Action(type="type", content="+"), Action(type="type", content="-")) == 0.0


@pytest.mark.parametrize(
    ("mine", "theirs", "value"),
    [
        ({"direction": "up"}, {"direction": "up"}, 1.0),
        ({"direction": "up"}, {"direction": "down"}, 0.0),
        ({"direction": "up", "point": PointNorm(0.1, 0.1)}, {"direction": "up"}, 1.0),
    ],
)
def test_points_do_not_count_as_arguments(mine, theirs, value):
    assert argument_agreement(Action(type="scroll", **mine), Action(type="scroll", **theirs)) == value


@pytest.mark.parametrize(
    ("mine", "theirs", "value"),
    [
        ('tap the "+" button', 'tap the "-" button', 0.0),
        ("tap the Wi-Fi row", 'tap the "Wi-Fi" row', 1.0),
        ("tap the wifi row", 'tap the "Wi-Fi" row', 0.0),
        ('drag "B" to "A"', 'drag "A" to "B"', 0.0),
        ("it's done", "it's done", 1.0),
        ("", "", 1.0),
        ("go", "", 0.0),
    ],
)
def test_labels_must_match(mine, theirs, value):
    assert instruction_similarity(mine, theirs) == value


def test_cycle_sees_the_same_targets_in_other_words_and_exact_does_not():
    loop = [tap("A"), tap("B"), tap("A", "open"), tap("B", "open")]
    assert repetition(loop, "exact") == 0.0 and repetition(loop, "cycle") == 1.0
    assert repetition(loop[:3], "cycle") == 0.0
    assert repetition([tap("A"), tap("A")], "none") == 0.0


LABELS = st.sampled_from(["A", "B", "Wi-Fi", "Save"])
STEPS = st.one_of(
    st.builds(tap, LABELS, st.sampled_from(["tap", "open"])),
    st.sampled_from([BACK, DONE, SCROLL, step("type", 'type "milk"', content="milk"), step("wait")]),
)
LISTS = st.lists(STEPS, max_size=7)
CONFIGS = st.builds(
    RewardConfig,
    gamma=st.floats(0, 1),
    lambda_align=st.floats(0, 3),
    lambda_rep=st.floats(0, 3),
    sim=st.sampled_from(["operation", "operation_arguments", "operation_instruction"]),
    rep=st.sampled_from(["exact", "cycle", "none"]),
    overlong=st.sampled_from(["penalise", "ignore"]),
)


@given(LISTS, LISTS, CONFIGS, st.integers(1, 8))
def test_reward_stays_in_its_bounds(predicted, reference, config, horizon):
    total = trajectory_reward(forecast(*predicted), reference, config, horizon).total
    weight = sum(config.gamma**t for t in range(horizon))
    assert -config.lambda_rep * weight - 1e-9 <= total <= config.lambda_align * weight + 1e-9 or (
        not predicted and total == config.parse_failure
    )


def _until_terminal(steps):
    for i, one in enumerate(steps):
        if one.action.is_terminal:
            return steps[: i + 1]
    return steps


@given(LISTS, CONFIGS)
def test_repeating_the_reference_is_worth_most(reference, config):
    reference = _until_terminal(reference)
    result = trajectory_reward(forecast(*reference), reference, config, 8)
    assert result.total == pytest.approx(sum(config.lambda_align * config.gamma**t for t in range(len(reference))))


@given(LISTS.filter(bool), LISTS, STEPS, CONFIGS)
def test_a_right_step_more_is_never_worth_less(predicted, reference, extra, config):
    predicted = [one for one in predicted if not one.action.is_terminal][: len(reference)]
    if not predicted or len(predicted) >= len(reference):
        return
    before = trajectory_reward(forecast(*predicted), reference, config, 8).total
    right = reference[len(predicted)]
    if repetition([*predicted, right], config.rep):
        return
    after = trajectory_reward(forecast(*predicted, right), reference, config, 8).total
    assert after >= before - 1e-9


@given(LISTS, LISTS, CONFIGS)
def test_babbling_past_the_end_never_pays(predicted, reference, config):
    reference = _until_terminal(reference)
    predicted = [one for one in predicted if not one.action.is_terminal]
    cut = predicted[: len(reference)]
    if not cut:
        return
    long = trajectory_reward(forecast(*predicted), reference, config, 8).total
    assert long <= trajectory_reward(forecast(*cut), reference, config, 8).total + 1e-9


@given(STEPS, STEPS, st.sampled_from(["operation", "operation_arguments", "operation_instruction"]))
def test_similarity_is_symmetric_and_one_only_for_equals(mine, theirs, kind):
    value = similarity(mine, theirs, kind)
    assert 0 <= value <= 1 and value == pytest.approx(similarity(theirs, mine, kind))
    assert similarity(mine, mine, kind) == 1.0


P = PointNorm
BOX = BoxNorm(0.4, 0.4, 0.6, 0.6)


def recorded(kind, *, target=None, **arguments):
    action = Action(type=kind, **arguments)
    return Step(observation=Observation(), action=action, instruction="do it", target=target)


# (grounded action, recorded step, reward at tolerance 0.1): the rules in grounded_reward's docstring, one row each
@pytest.mark.parametrize(
    ("action", "reference", "reward"),
    [
        (Action(type="click", point=P(0.6, 0.6)), recorded("click", point=P(0.5, 0.5), target=BOX), 1.0),
        (Action(type="click", point=P(0.61, 0.5)), recorded("click", point=P(0.5, 0.5), target=BOX), 0.0),
        (Action(type="click", point=P(0.59, 0.5)), recorded("click", point=P(0.5, 0.5)), 1.0),
        (Action(type="click", point=P(0.61, 0.5)), recorded("click", point=P(0.5, 0.5)), 0.0),
        (Action(type="click"), recorded("click", point=P(0.5, 0.5)), 0.0),
        (Action(type="long_press", point=P(0.5, 0.5)), recorded("click", point=P(0.5, 0.5)), 0.0),
        (Action(type="drag", start_point=P(0.5, 0.5), end_point=P(0.9, 0.9)),
         recorded("drag", start_point=P(0.4, 0.4), end_point=P(0.9, 0.85), target=BOX), 1.0),
        (Action(type="drag", start_point=P(0.5, 0.5), end_point=P(0.5, 0.5)),
         recorded("drag", start_point=P(0.4, 0.4), end_point=P(0.9, 0.85), target=BOX), 0.0),
        (Action(type="type", content=" Milk "), recorded("type", content="milk", point=P(0.1, 0.1)), 1.0),
        (Action(type="type", content="milk\n"), recorded("type", content="milk"), 0.0),
        (Action(type="type", content="milk\n"), recorded("type", content="Milk\n"), 1.0),
        (Action(type="hotkey", key="c ctrl"), recorded("hotkey", key="ctrl c"), 1.0),
        (Action(type="hotkey", key="ctrl v"), recorded("hotkey", key="ctrl c"), 0.0),
        (Action(type="scroll", direction="down"), recorded("scroll", direction="down", point=P(0.5, 0.5)), 1.0),
        (Action(type="scroll", direction="up"), recorded("scroll", direction="down"), 0.0),
        (Action(type="open_app", app_name="settings"), recorded("open_app", app_name="Settings"), 1.0),
        (Action(type="wait"), recorded("wait", seconds=3.0), 1.0),
        (Action(type="press_back"), recorded("press_back"), 1.0),
        (Action(type="finished", content="anything"), recorded("finished"), 1.0),
        (Action(type="finished", content=" 42 "), recorded("finished", content="42"), 1.0),
        (Action(type="finished", content="42\n"), recorded("finished", content="42"), 1.0),
        (Action(type="type", content="42\n"), recorded("type", content="42"), 0.0),
        (Action(type="finished"), recorded("finished", content="42"), 0.0),
        (Action(type="call_user", content="no network"), recorded("call_user", content="it is offline"), 1.0),
        (Action(type="finished"), recorded("call_user"), 0.0),
        (Action(type="tool_call", name="ocr", arguments={"image": "A.png"}),
         recorded("tool_call", name="ocr", arguments={"image": "a.png"}), 1.0),
        (Action(type="tool_call", name="ocr", arguments={}),
         recorded("tool_call", name="ocr", arguments={"image": "a.png"}), 0.0),
    ],
)  # fmt: skip
def test_grounded_reward_matches(action, reference, reward):
    assert grounded_reward(Grounding(action=action), reference, 0.1) == reward


def test_ungrounded_and_unreadable_are_wrong_but_a_failed_agent_is_no_reward():
    reference = recorded("click", point=P(0.5, 0.5))
    assert grounded_reward(Grounding(action=None, reason="no such button"), reference, 0.1) == 0.0
    assert grounded_reward(Grounding(action=None, reason="2 fit", num_candidates=2), reference, 0.1) == 0.0
    assert grounded_reward(None, reference, 0.1) == 0.0
    assert grounded_reward(ExecutorError("ground", "server gone"), reference, 0.1) is None


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1), st.floats(0.01, 1))
def test_wider_tolerance_never_loses_a_match(x, y, narrow, wide):
    narrow, wide = sorted((narrow, wide))
    reference = recorded("click", point=P(0.5, 0.5))
    result = Grounding(action=Action(type="click", point=P(x, y)))
    assert grounded_reward(result, reference, narrow) <= grounded_reward(result, reference, wide)


@pytest.mark.parametrize(
    ("action", "target", "expected"),
    [
        (Action(type="click", point=PointNorm(0.5, 0.5)), None, True),
        (Action(type="click"), BoxNorm(0.4, 0.4, 0.6, 0.6), True),
        (Action(type="click"), None, False),
        (Action(type="drag", start_point=PointNorm(0.1, 0.1), end_point=PointNorm(0.9, 0.9)), None, True),
        (Action(type="drag", start_point=PointNorm(0.1, 0.1)), BoxNorm(0.0, 0.0, 0.2, 0.2), False),
        (Action(type="drag", end_point=PointNorm(0.9, 0.9)), BoxNorm(0.0, 0.0, 0.2, 0.2), True),
        (Action(type="scroll", direction="down"), None, True),
        (Action(type="type", content="milk"), None, True),
        (Action(type="press_back"), None, True),
    ],
)
def test_a_step_can_be_judged_when_every_point_it_needs_is_recorded(action, target, expected):
    recorded = Step(observation=Observation(), action=action, instruction="do it", target=target)
    assert has_target(recorded) is expected
