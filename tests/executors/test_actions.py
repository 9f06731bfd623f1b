"""The registry of actions, its checks, and the text of calls."""

import pytest

from executors.actions import (
    ACTIONS,
    ALIASES,
    Action,
    Space,
    actions_in,
    format_call,
    prompt_text,
    quote,
    validate,
)  # fmt: skip
from executors.errors import InputError
from executors.formatting import format_reply
from executors.geometry import ImageSize, PointNorm

MIDDLE = PointNorm(0.5, 0.25)
FULL_HD = ImageSize(1920, 1080)


def test_every_argument_is_a_field_of_action_and_every_alias_leads_to_a_verb():
    assert {arg.name for spec in ACTIONS.values() for arg in spec.args} <= set(Action.__dataclass_fields__)
    assert set(ALIASES.values()) == set(ACTIONS)


def test_an_alias_belongs_to_one_action_only():
    names = [name for spec in ACTIONS.values() for name in (spec.name, *spec.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("action", "field"),
    [
        (Action(type="fly"), "type"),
        (Action(type="click"), "point"),
        (Action(type="click", point=PointNorm(1.2, 0.5)), "point"),
        (Action(type="click", point=PointNorm(float("nan"), 0.5)), "point"),
        (Action(type="click", point=MIDDLE, content="x"), "content"),
        (Action(type="drag", start_point=MIDDLE), "end_point"),
        (Action(type="scroll", direction="sideways"), "direction"),
        (Action(type="scroll"), "direction"),
        (Action(type="type"), "content"),
        (Action(type="hotkey", key=" "), "key"),
        (Action(type="open_app", app_name=""), "app_name"),
        (Action(type="wait", seconds=-1), "seconds"),
        (Action(type="wait", seconds=float("inf")), "seconds"),
        (Action(type="wait", seconds=True), "seconds"),
        (Action(type="tool_call", name="x"), "arguments"),
    ],
)
def test_validate_names_the_field(action, field):
    assert f"'{field}'" in validate(action)


def test_targets_may_be_missing_in_a_forecast_but_other_arguments_may_not():
    assert validate(Action(type="click"), need_targets=False) is None
    assert "'content'" in validate(Action(type="type"), need_targets=False)
    assert "off the image" in validate(Action(type="click", point=PointNorm(2, 0)), need_targets=False)


@pytest.mark.parametrize(
    ("record", "match"),
    [
        ({}, "type"),
        ({"type": "fly"}, "fly"),
        ({"type": "click", "where": 1}, "where"),
        ({"type": "click", "point": [1]}, "point"),
        ({"type": "click", "point": [0.1, float("nan")]}, "point"),
        ({"type": "type", "content": 5}, "content"),
    ],
)
def test_from_json_names_the_field(record, match):
    with pytest.raises(InputError, match=match):
        Action.from_json(record)


def test_json_keeps_every_argument():
    action = Action(type="drag", start_point=MIDDLE, end_point=PointNorm(1.0, 0.0))
    assert Action.from_json(action.to_json()) == action
    call = Action(type="tool_call", name="ocr", arguments={"image": 1})
    assert Action.from_json(call.to_json()) == call


def test_terminal_actions_are_finished_and_call_user():
    assert [name for name in ACTIONS if Action(type=name).is_terminal] == ["finished", "call_user"]


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("canonical", "click(point=[0.5, 0.25])"),
        ("ui-tars-1.0", "click(start_box='<|box_start|>(500,250)<|box_end|>')"),
        ("doubao", "click(point='<point>500 250</point>')"),
        ("ui-tars-1.5", "click(point='<point>966 273</point>')"),
        ("qwen3-vl", "click(point=[500, 250])"),
    ],
)
def test_format_call_writes_the_family_syntax(family, expected):
    assert format_call(Action(type="click", point=MIDDLE), family=family, image=FULL_HD) == expected


def test_families_that_count_pixels_need_the_image_size():
    for write in (format_call, format_reply):
        with pytest.raises(InputError, match="image size"):
            write(Action(type="click", point=MIDDLE), family="qwen2.5-vl")


def test_seconds_are_written_without_loss():
    assert format_call(Action(type="wait", seconds=2.0)) == "wait(seconds=2)"
    assert format_call(Action(type="wait", seconds=1234.5678)) == "wait(seconds=1234.5678)"


def test_quote_writes_a_newline_after_a_drive_as_a_hex_escape():
    assert quote("C:\new") == r"'C:\x0aew'"
    assert quote(r"C:\new") == r"'C:\\new'"
    assert quote("it's\n") == r"'it\'s\n'"


def test_format_reply_writes_the_family_form():
    click = Action(type="click", point=MIDDLE)
    assert format_reply(click) == "click(point=[0.5, 0.25])"
    assert format_reply(click, thought="a\nb") == "Thought: a b\nAction: click(point=[0.5, 0.25])"
    assert format_reply(click, family="doubao") == "Action: click(point='<point>500 250</point>')"
    assert format_reply(click, family="qwen3-vl", thought="Tap it.") == (
        'Thought: Tap it.\n<tool_call>\n{"name": "computer_use", "arguments": '
        '{"action": "left_click", "coordinate": [500, 250]}}\n</tool_call>'
    )
    assert '"mobile_use", "arguments": {"action": "click"' in format_reply(
        click, family="qwen3-vl", space=Space.MOBILE
    )


def test_prompt_text_lists_the_space_with_or_without_points():
    assert "click(point=...)" in prompt_text(Space.MOBILE, with_points=True)
    assert "click()" in prompt_text(Space.MOBILE, with_points=False)
    assert {spec.name for spec in actions_in(Space.TOOLS)} == {"finished", "call_user", "tool_call"}
