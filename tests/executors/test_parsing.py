"""Model text to actions: the probes that break other parsers, round trips, and text of every other kind."""

import argparse
import io
import json
import math
import random
import re
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executors.actions import ACTIONS, DIRECTIONS, Action, ArgKind, Space, format_call, quote
from executors.errors import InputError
from executors.formatting import format_reply
from executors.geometry import FAMILIES, ImageSize, PointNorm
from executors.parsing import ParseResult, RawCall, build_action, parse_reply, scan_call, unescape
from training.commands import parse as parse_command

FULL_HD = ImageSize(1920, 1080)
PHONE = ImageSize(1080, 2400)


def read(text: str, family: str = "doubao", image: ImageSize | None = FULL_HD) -> list[dict]:
    result = parse_reply(text, family=family, image=image)
    assert result.ok, result.reason
    assert result.reason is None and result.kind is None
    return [action.to_json() for action in result.actions]


def fail(text: str, family: str = "doubao", image: ImageSize | None = FULL_HD) -> ParseResult:
    result = parse_reply(text, family=family, image=image)
    assert not result.ok
    assert result.actions == () and result.reason
    return result


CLICK = [{"type": "click", "point": [0.1, 0.2]}]


# Source: the probes of the upstream `ui_tars` parser (0.1.4, model_type "doubao"); about half of them break it.
@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("click(start_box='(100,200)')", CLICK),
        ("click(start_box='(100,200,120,240)')", [{"type": "click", "point": [0.11, 0.22]}]),
        ("click(point='<point>100 200</point>')", CLICK),
        ("scroll(point='<point>100 200</point>', direction='down')",
         [{"type": "scroll", "point": [0.1, 0.2], "direction": "down"}]),
        ("drag(start_point='<point>100 200</point>', end_point='<point>300 400</point>')",
         [{"type": "drag", "start_point": [0.1, 0.2], "end_point": [0.3, 0.4]}]),
        ("wait()", [{"type": "wait"}]),
        ("press_home()", [{"type": "press_home"}]),
        ("finished()", [{"type": "finished"}]),
        ("hotkey(key='ctrl c')", [{"type": "hotkey", "key": "ctrl c"}]),
        ("hotkey('ctrl','c')", [{"type": "hotkey", "key": "ctrl c"}]),
        ("hotkey('ctrl', 'shift', 't')", [{"type": "hotkey", "key": "ctrl shift t"}]),
        ('hotkey("ctrl", "c")', [{"type": "hotkey", "key": "ctrl c"}]),
        ("hotkey(ctrl, c)", [{"type": "hotkey", "key": "ctrl c"}]),
        ("hotkey(key='ctrl', 'c')", [{"type": "hotkey", "key": "ctrl c"}]),
        ("hotkey(key='[\"ctrl\", \"c\"]')", [{"type": "hotkey", "key": "ctrl c"}]),
        ("hotkey(key='ctrl [')", [{"type": "hotkey", "key": "ctrl ["}]),
        ("hotkey(key='[')", [{"type": "hotkey", "key": "["}]),
        ("hotkey(key='ctrl, shift, t')", [{"type": "hotkey", "key": "ctrl shift t"}]),
        ("hotkey(key='ctrl ,')", [{"type": "hotkey", "key": "ctrl ,"}]),
        ("open_app(app_name='Clock')", [{"type": "open_app", "app_name": "Clock"}]),
        ("click(start_box='(100,200)')\n\nclick(start_box='(100,200)')", CLICK * 2),
        ("click(start_box='(100,200)')\nclick(start_box='(100,200)')", CLICK * 2),
        ("click(start_box='(100,200)'", CLICK),
        ("click(start_box='(100,200)') # done", CLICK),
        ("type(content='it's ok')", [{"type": "type", "content": "it's ok"}]),
        (r"type(content='it\'s ok')", [{"type": "type", "content": "it's ok"}]),
        ("type(content='say \"hi\"')", [{"type": "type", "content": 'say "hi"'}]),
        (r"type(content='abc\n')", [{"type": "type", "content": "abc\n"}]),
        ("click(start_box='<|box_start|>(100,200)<|box_end|>')", CLICK),
        ("click(start_box='[100,200,100,200]')", CLICK),
        ("click(start_box='<bbox>637 964 637 964</bbox>')", [{"type": "click", "point": [0.637, 0.964]}]),
        ("click(point='<point>100.5 200.5</point>')", [{"type": "click", "point": [0.1005, 0.2005]}]),
        ("click(point='<point>450 565</point>", [{"type": "click", "point": [0.45, 0.565]}]),
        ('type(content="hello")', [{"type": "type", "content": "hello"}]),
        ("type(content='abc\ndef')", [{"type": "type", "content": "abc\ndef"}]),
        ("type(content='Action: go')", [{"type": "type", "content": "Action: go"}]),
        ("type(content='a\nAction: go')", [{"type": "type", "content": "a\nAction: go"}]),
        ("type(content='point=5')", [{"type": "type", "content": "point=5"}]),
        ("type(content='C:\\new')", [{"type": "type", "content": "C:\\new"}]),
        ("type(content='08817', start_box='(10,20)')", [{"type": "type", "content": "08817", "point": [0.01, 0.02]}]),
        ("finished(content='it's done')", [{"type": "finished", "content": "it's done"}]),
        ("open_app(app_name='Lowe's')", [{"type": "open_app", "app_name": "Lowe's"}]),
        ("finished(content='f('x') (it's)')", [{"type": "finished", "content": "f('x') (it's)"}]),
        ("wait(t=5)", [{"type": "wait", "seconds": 5.0}]),
        ("long_press(start_box='(100,200)', time='2')", [{"type": "long_press", "point": [0.1, 0.2], "seconds": 2.0}]),
        ("long_press(start_box='(100,200)', time='')", [{"type": "long_press", "point": [0.1, 0.2]}]),
        ("select(start_box='(100,200)')", [{"type": "select", "point": [0.1, 0.2]}]),
        ("click(100, 200)", CLICK),
        ("click(start_box='(100,200)') then click(start_box='(100,200)')", CLICK * 2),
        ("click(start_box='(100,200)'), click(start_box='(100,200)');", CLICK * 2),
        ("[click(start_box='(100,200)')]", CLICK),
        ("click(start_box='(100,200)')\nThen I would wait() or click(that).", CLICK),
        ("click(start_box=(100, 200))", CLICK),
        ("click(point=<point>100 200</point>)", CLICK),
        ("click(point=\uff08100\uff0c200\uff09)", CLICK),
        ("click(point='<point>\uff11\uff10\uff10 \uff12\uff10\uff10</point>')", CLICK),
        ("click(point=\u2018<point>100 200</point>\u2019)", CLICK),
        ("type(content=\u201chello, \u201cyou\u201d\u201d)", [{"type": "type", "content": "hello, \u201cyou\u201d"}]),
        ("type(content='\u201chello\u201d')", [{"type": "type", "content": "\u201chello\u201d"}]),
        ("scroll('<point>100 200</point>', 'down')", [{"type": "scroll", "point": [0.1, 0.2], "direction": "down"}]),
        ("drag('<point>100 200</point>', '<point>300 400</point>')",
         [{"type": "drag", "start_point": [0.1, 0.2], "end_point": [0.3, 0.4]}]),
        ("tool_call('ocr', {'image': 1})", [{"type": "tool_call", "name": "ocr", "arguments": {"image": 1}}]),
        ("click (100, 200)", CLICK),
        ("click(100, 200), then click(100, 200) and type('x')", [*CLICK, *CLICK, {"type": "type", "content": "x"}]),
        ("Action: click(100, 200)", CLICK),
        ("Left_Click(coordinate=[100, 200])", CLICK),
        ("click(x=100, y=200)", CLICK),
        ("click(start_box='<|box_start|>(100,200),(100,200)<|box_end|>')", CLICK),
        ("type(content='C:\\')", [{"type": "type", "content": "C:\\"}]),
        ("type(content='''it's''')", [{"type": "type", "content": "it's"}]),
        ("type(content='a') to search\nwait()", [{"type": "type", "content": "a"}, {"type": "wait"}]),
        ("type(content='a', )", [{"type": "type", "content": "a"}]),
        ("scroll(point='<point>100 200</point>' direction='down')",
         [{"type": "scroll", "point": [0.1, 0.2], "direction": "down"}]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "Action: ", "Action:", "Action\uff1a", "Thought: I act.\nAction: "])
def test_calls_are_read(call, expected, prefix):
    assert read(prefix + call) == expected


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("Thought: a\nb\nAction: wait()", "a\nb"),
        ("Thought: a Action: wait()", "a"),
        ("Reflection: r\nAction_Summary: s\nAction: wait()", "s"),
        ("Action_Summary: s\nAction: wait()", "s"),
        ("<think>hm</think>\nAction: wait()", "hm"),
        ("<think>hm</think>\nThought: a\nAction: wait()", "a"),
        ("hm\n</think>\n\nAction: wait()", "hm"),
        ("<think_fast>hm</think_fast>wait()", "hm"),
        ("<Thought>T</Thought>\nAction_Summary: S\nAction: wait()</Output>", "T"),
        ("```\nwait()\n```", None),
        ("```python\nThought: a\nAction: wait()\n```", "a"),
        ("Action: ```wait()```", None),
        ("**Thought:** a\n**Action:** `wait()`", "a"),
        ("I will wait.\nwait()", "I will wait."),
        ('I wait.\n<tool_call>{"name": "mobile_use", "arguments": {"action": "wait"}}</tool_call>', "I wait."),
        ('{"thought": "a", "action": "wait"}', "a"),
        ("\ufeff\x00wait()<|im_end|>", None),
    ],
)
def test_thoughts_and_wrappers(text, thought):
    result = parse_reply(text, family="doubao", image=FULL_HD)
    assert result == ParseResult(ok=True, actions=(Action(type="wait"),), thought=thought)


def test_a_parenthesis_in_an_action_told_in_words_is_no_call():
    # Qwen3-VL's mobile cookbook asks for an imperative behind `Action:` and the call behind it.
    call = '<tool_call>{"name": "mobile_use", "arguments": {"action": "wait"}}</tool_call>'
    assert read("Action: Click (tap) the button.\n" + call, "qwen3-vl") == [{"type": "wait"}]


def test_several_action_lines_survive_in_order():
    text = "Thought: a\nAction: press_home()\nThought: b\nAction: wait()\n### Action: press_back()"
    assert [record["type"] for record in read(text)] == ["press_home", "wait", "press_back"]


@pytest.mark.parametrize(
    ("text", "kind", "match"),
    [
        ("", "structural", "empty"),
        (" \n", "structural", "empty"),
        (None, "structural", "empty"),
        ("I tap the button.", "structural", "no action call"),
        ("Action: ", "structural", "without a call"),
        ("Action: click", "structural", "without a call"),
        ("Action: wait()\nAction: click[1]", "structural", "call 2"),
        ("wait()\nclick[1]", "structural", r"call 2 \(click\)"),
        ("wait() then click(point=", "structural", r"call 2 \(click\)"),
        ("click(", "structural", "cut off"),
        ("click(point=", "structural", "no value"),
        ("click(point='<point>450 56", "structural", "cut off"),
        ("type(content='hel", "structural", "never closed"),
        ("type(content='hel\nwait()", "structural", "never closed"),
        ("wait() then click(", "structural", r"call 2 \(click\)"),
        ("type(content=hello, world)", "structural", "an argument without a name after 'content'"),
        ("hotkey(key=ctrl, c)", "structural", "an argument without a name after 'key'"),
        ("long_press(point=[1, 2], 2)", "structural", "an argument without a name after 'point'"),
        ("type(content='a', content='b')", "structural", "'content' is given twice"),
        ("type(content=f(x))", "structural", "after content"),
        ("Action: click\uff08point=[1, 2]\uff09", "structural", r"expected \( after the verb"),
        ("Action: Click (tap) the button", "structural", "without a call"),
        ("wait()\nclick(start_box='(1,2)' start)", "structural", r"call 2 \(click\)"),
        ('{"name": "mobile_use", "arguments": {"action"', "structural", "JSON"),
        ("[" * 5000, "structural", "no action"),
        ('{"a":' * 5000, "structural", "levels deep"),
        ("click(point=" + "[" * 5000, "structural", "levels deep"),
        ('{"foo": 1}', "structural", "names no action"),
        ("fly(x=1)", "content", r"call 1 \(fly\): 'fly' is not an action"),
        ('{"type": "fly"}', "content", "fly"),
        ("click()", "content", "point"),
        ("click(start_box='')", "content", "point"),
        ("click(start_box='=')", "content", "point"),
        ("click(start_box='(1,2,3)')", "content", "point"),
        ("click(start_box='(x1,y1)')", "content", "point"),
        ("click(start_box='(1001,5)')", "content", "x=1001 is off the image"),
        ("click(start_box='(5,-1)')", "content", "y=-1 is off the image"),
        ("click(point=[1e999, 5])", "content", "not finite"),
        ("click(point=[NaN, 5])", "content", "not finite"),
        ("click(point=[" + "9" * 9000 + ", 5])", "content", "not finite"),
        ("drag(start_box='(1,2)')", "content", "end_point"),
        ("scroll(start_box='(1,2)')", "content", "direction"),
        ("scroll(direction='sideways')", "content", "direction"),
        ("hotkey(key='')", "content", "key"),
        ("open_app(app_name='')", "content", "app_name"),
        ("type()", "content", "content"),
        ("wait(t=soon)", "content", "seconds"),
        ("wait()\nfly()", "content", r"call 2 \(fly\)"),
        ('{"action": "left_click_drag", "coordinate": [1, 2]}', "content", "start_coordinate"),
        ('{"action": "terminate"}', "content", "status"),
        ('{"action": "system_button", "button": "Power"}', "content", "button"),
        ('{"action": "scroll", "pixels": 0}', "content", "pixels"),
        ('{"name": "ocr", "arguments": {"scale": 1e999}}', "content", "not finite"),
        ('{"name": "mobile_use", "arguments": {}}', "content", "action is missing"),
    ],
)
def test_failures_have_a_kind_and_a_reason(text, kind, match):
    result = fail(text)
    assert result.kind == kind
    assert re.search(match, result.reason)


def test_the_edge_of_the_frame_is_on_the_image():
    assert read("click(start_box='(1000,0)')") == [{"type": "click", "point": [1.0, 0.0]}]
    assert read("click(point=[1932, 1092])", "qwen2.5-vl") == [{"type": "click", "point": [1.0, 1.0]}]
    assert "x=1933" in fail("click(point=[1933, 5])", "qwen2.5-vl").reason


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_syntax_is_read_in_the_frame_of_every_family(family):
    width, height = FAMILIES[family].frame_size(FULL_HD)
    x, y = width / 2, height / 4
    for text in (
        f"Action: click(start_box='<|box_start|>({x},{y})<|box_end|>')",
        f"click(point='<point>{x} {y}</point>')",
        f"click(point=[{x}, {y}])",
        f'{{"type": "click", "point": [{x}, {y}]}}',
        f'<tool_call>{{"name": "mobile_use", "arguments": {{"action": "click", "coordinate": [{x}, {y}]}}}}',
    ):
        assert read(text, family) == [{"type": "click", "point": [0.5, 0.25]}]


# Qwen2.5-VL and Qwen3-VL tool-call schemas; the frame is 0..1000.
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"action": "key", "text": "volume_up"}, {"type": "hotkey", "key": "volume_up"}),
        ({"action": "key", "keys": ["Ctrl", "C"]}, {"type": "hotkey", "key": "ctrl c"}),
        ({"action": "key", "keys": "ctrl+shift+t"}, {"type": "hotkey", "key": "ctrl shift t"}),
        ({"action": "left_click", "coordinate": [100, 200]}, CLICK[0]),
        ({"action": "double_click", "coordinate": [100, 200]}, {"type": "left_double", "point": [0.1, 0.2]}),
        ({"action": "triple_click", "coordinate": [100, 200]}, {"type": "triple_click", "point": [0.1, 0.2]}),
        ({"action": "right_click", "coordinate": [100, 200]}, {"type": "right_single", "point": [0.1, 0.2]}),
        ({"action": "mouse_move", "coordinate": [100, 200]}, {"type": "hover", "point": [0.1, 0.2]}),
        ({"action": "left_click_drag", "start_coordinate": [100, 200], "coordinate": [300, 400]},
         {"type": "drag", "start_point": [0.1, 0.2], "end_point": [0.3, 0.4]}),
        ({"action": "left_click_drag", "coordinate": [100, 200], "coordinate2": [300, 400]},
         {"type": "drag", "start_point": [0.1, 0.2], "end_point": [0.3, 0.4]}),
        ({"action": "long_press", "coordinate": [100, 200], "time": 2},
         {"type": "long_press", "point": [0.1, 0.2], "seconds": 2.0}),
        ({"action": "type", "text": "hi"}, {"type": "type", "content": "hi"}),
        ({"action": "open", "text": "Clock"}, {"type": "open_app", "app_name": "Clock"}),
        ({"action": "wait", "time": 3}, {"type": "wait", "seconds": 3.0}),
        ({"action": "scroll", "pixels": 10}, {"type": "scroll", "direction": "up"}),
        ({"action": "scroll", "pixels": -10}, {"type": "scroll", "direction": "down"}),
        ({"action": "hscroll", "pixels": 10}, {"type": "scroll", "direction": "right"}),
        ({"action": "hscroll", "pixels": -10}, {"type": "scroll", "direction": "left"}),
        ({"action": "system_button", "button": "Back"}, {"type": "press_back"}),
        ({"action": "system_button", "button": "Home"}, {"type": "press_home"}),
        ({"action": "system_button", "button": "Menu"}, {"type": "press_appselect"}),
        ({"action": "system_button", "button": "Enter"}, {"type": "hotkey", "key": "enter"}),
        ({"action": "terminate", "status": "success"}, {"type": "finished"}),
        ({"action": "terminate", "status": "failure"}, {"type": "call_user"}),
        ({"action": "answer", "text": "42"}, {"type": "finished", "content": "42"}),
    ],
)  # fmt: skip
def test_qwen_tool_calls_become_registry_actions(arguments, expected):
    record = {"name": "computer_use", "arguments": arguments}
    for text in (json.dumps(record), f"Action: Do it.\n<tool_call>\n{json.dumps(record)}\n</tool_call>", str(record)):
        assert read(text, "qwen3-vl") == [expected]
    assert read(json.dumps(arguments), "qwen3-vl") == [expected]
    assert read(json.dumps({"function": {**record, "arguments": json.dumps(arguments)}}), "qwen3-vl") == [expected]


def test_json_is_read_leniently():
    assert read("{'action': 'click', 'coordinate': (100, 200,),}") == CLICK
    assert read('<tool_call>{"name": "mobile_use", "arguments": {"action": "click", "coordinate": [1e2, 200]}') == CLICK
    assert read('[{"type": "click", "point": [100, 200]}, {"type": "wait"}]') == [*CLICK, {"type": "wait"}]
    assert read('{"actions": [{"action": "wait"}]}') == [{"type": "wait"}]
    assert read('{"action_type": "click", "action_inputs": {"start_box": "(100,200)"}}') == CLICK
    assert read('{"action": "click", "args": {"coordinate": "[100, 200]"}}') == CLICK
    assert read("{\"action\": \"type\", \"text\": \"it's \\d\"}") == [{"type": "type", "content": r"it's \d"}]
    assert read('{"name": "ocr", "arguments": {"image": 1}}') == [
        {"type": "tool_call", "name": "ocr", "arguments": {"image": 1}}
    ]


# A finger moves the content with it, so content on the other side appears; ties are vertical (GUI-Odyssey's scoring).
@pytest.mark.parametrize(
    ("end", "direction"),
    [
        ((500, 200), "down"),
        ((500, 800), "up"),
        ((200, 500), "right"),
        ((800, 500), "left"),
        ((700, 701), "up"),
        ((700, 699), "left"),
        ((700, 700), "up"),
        ((700, 300), "down"),
        ((500, 500), "down"),
    ],
)
def test_finger_paths_become_scrolls_in_the_opposite_direction(end, direction):
    expected = [{"type": "scroll", "point": [0.5, 0.5], "direction": direction}]
    x, y = end
    assert read(f"scroll(start_box='(500,500)', end_box='({x},{y})')", "ui-tars-1.0", PHONE) == expected
    assert read(f"swipe(start_point=[500, 500], end_point=[{x}, {y}])", "ui-tars-1.0", PHONE) == expected
    swipe = {"action": "swipe", "coordinate": [500, 500], "coordinate2": [x, y]}
    assert read(json.dumps({"name": "mobile_use", "arguments": swipe}), "qwen3-vl", PHONE) == expected


def test_a_direction_of_scroll_names_what_appears_and_one_of_swipe_the_finger():
    assert read("scroll(direction='down')") == [{"type": "scroll", "direction": "down"}]
    assert read("swipe(direction='up')") == [{"type": "scroll", "direction": "down"}]
    assert read("drag(start_box='(1,2)', end_box='(1,900)')")[0]["type"] == "drag"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"C:\new", r"C:\new"),
        (r"dir C:\temp\notes\r1.txt", r"dir C:\temp\notes\r1.txt"),
        (r"C:\new\n", "C:\\new\n"),
        (r"dir C:\n", "dir C:\n"),
        (r"C:\\new\next", "C:\\new\next"),
        (r"C:\Program Files\nodejs", r"C:\Program Files\nodejs"),
        (r"a\nC:\new", "a\nC:\\new"),
        (r"Note:\nfirst", "Note:\nfirst"),
        (r"\d+\.\w", r"\d+\.\w"),
        (r"it\'s \"so\"\t", 'it\'s "so"\t'),
    ],
)
def test_escapes_and_windows_paths(written, meant):
    assert unescape(written) == meant
    assert read(f"type(content='{written}')") == [{"type": "type", "content": meant}]


ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)
TRICKY_TEXT = st.lists(
    st.sampled_from(
        ["'", '"', "\\", "\n", "\t", "\r", "C:", "n", "ew", " ", ")", "(", ",", "content=", "Action: ", "wait()",
         "<tool_call>", "{", "}", "</think>", "```", "#", "x0a", "Thought:", "point='"]
    ),
    max_size=12,
).map("".join)  # fmt: skip
TEXTS = ANY_TEXT | TRICKY_TEXT
KEYS = st.lists(st.sampled_from(["ctrl", "c", "+", "enter", "f5"]), min_size=1, max_size=3).map(" ".join)
POINTS = st.builds(PointNorm, st.floats(0, 1), st.floats(0, 1))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
VALUES = {
    ArgKind.POINT: POINTS,
    ArgKind.TEXT: TEXTS,
    ArgKind.KEYS: KEYS,
    ArgKind.DIRECTION: st.sampled_from(DIRECTIONS),
    ArgKind.SECONDS: st.floats(0, 3600),
    ArgKind.NAME: TEXTS.filter(str.strip) | st.sampled_from(["click", "mobile_use", "ocr"]),
    ArgKind.MAPPING: st.dictionaries(TEXTS, JSON_VALUES, max_size=3),
}


@st.composite
def actions(draw):
    spec = draw(st.sampled_from(list(ACTIONS.values())))
    values = {arg.name: draw(VALUES[arg.kind]) for arg in spec.args if arg.required or draw(st.booleans())}
    return Action(type=spec.name, **values)


def assert_same(read_back: Action, action: Action, family: str, image: ImageSize) -> None:
    width, height = FAMILIES[family].frame_size(image)
    unit = 1e-4 if family == "canonical" else 1.0
    for name in Action.__dataclass_fields__:
        expected, found = getattr(action, name), getattr(read_back, name)
        if isinstance(expected, PointNorm):
            assert abs(found.x - expected.x) <= 0.51 * unit / width
            assert abs(found.y - expected.y) <= 0.51 * unit / height
        else:
            assert found == expected, name


@settings(max_examples=400, deadline=None)
@given(action=actions(), family=st.sampled_from(sorted(FAMILIES)), image=st.sampled_from([FULL_HD, PHONE]))
def test_a_formatted_call_is_read_back(action, family, image):
    call = format_call(action, family=family, image=image)
    result = parse_reply(call, family=family, image=image)
    assert result.ok, (result.reason, call)
    assert_same(*result.actions, action, family, image)
    raw, end, problem = scan_call("  " + call + " rest", 2)
    assert (end, problem) == (2 + len(call), None)


@settings(max_examples=400, deadline=None)
@given(
    action=actions(), family=st.sampled_from(sorted(FAMILIES)), image=st.sampled_from([FULL_HD, PHONE]),
    thought=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="<"), max_size=30),
)  # fmt: skip
def test_a_formatted_reply_is_read_back(action, family, image, thought):
    reply = format_reply(action, family=family, image=image, thought=thought)
    result = parse_reply(reply, family=family, image=image)
    assert result.ok, (result.reason, reply)
    assert_same(*result.actions, action, family, image)
    assert (result.thought or "") == " ".join((thought or "").split())


@given(point=st.none() | POINTS, direction=st.sampled_from(DIRECTIONS))
def test_a_swipe_for_a_phone_keeps_its_direction(point, direction):
    reply = format_reply(
        Action(type="scroll", point=point, direction=direction), family="qwen3-vl", space=Space.MOBILE
    )
    assert '"swipe"' in reply
    assert read(reply, "qwen3-vl")[0]["direction"] == direction


@settings(max_examples=500)
@given(TEXTS)
def test_unescape_undoes_quote(text):
    assert unescape(quote(text)[1:-1]) == text


@settings(max_examples=300, deadline=None)
@given(text=TEXTS | st.text(), family=st.sampled_from(sorted(FAMILIES)))
def test_any_text_is_data(text, family):
    check_result(parse_reply(text, family=family, image=PHONE))


def check_result(result: ParseResult) -> None:
    assert result.ok == bool(result.actions) == (result.reason is None) == (result.kind is None)
    if not result.ok:
        assert result.kind in ("structural", "content")
        assert len(result.reason) < 500
        result.reason.encode()


SEEDS = [
    "Thought: I tap it.\nAction: click(start_box='<|box_start|>(100,200)<|box_end|>')",
    "Action: drag(start_point='<point>1 2</point>', end_point='<point>3 4</point>')",
    "Action: type(content='it's C:\\new \\'x\\'\\n', start_box='(1,2)') # done\nAction: wait(t=5)",
    '<think>a</think>\n<tool_call>\n{"name": "mobile_use", "arguments": {"action": "swipe", "coordinate": [1, 2], '
    '"coordinate2": [1e3, -4.5]}}\n</tool_call>',
    '[{"type": "tool_call", "name": "x", "arguments": {"a": [null, true, "\\ud83d"]}}, {"action": "wait"}]',
    "```python\nscroll(point=[0.5, 0.25], direction='down')\nfinished(content=\"ok\")\n```",
]
PIECES = [
    "'", '"', "(", ")", "[", "]", "{", "}", ",", ":", "=", "\\", "\n", " ", "\x00", "\ud800", "\uff1a", "<point>",
    "</point>", "Action:", "Thought:", "</think>", "<tool_call>", "1e999", "NaN", "-", "wait()", "click(", "#", "```",
    "9" * 400, "\u202e",
]  # fmt: skip


def mutated_replies(count: int):
    """Seed replies with one to four random cuts, copies and insertions each."""
    rng = random.Random(0)
    for _ in range(count):
        text = rng.choice(SEEDS)
        for _ in range(rng.randint(1, 4)):
            at = int(rng.random() * (len(text) + 1))
            end = at + int(rng.random() * 9)
            kind = rng.random()
            if kind < 0.4:
                text = text[:at] + text[end:]
            elif kind < 0.8:
                text = text[:at] + rng.choice(PIECES) + text[at:]
            else:
                text = text[at:] + text[:at]
        yield text


def test_a_hundred_thousand_mutated_replies_never_raise():
    families = sorted(FAMILIES)
    num_ok = 0
    for number, text in enumerate(mutated_replies(100_000)):
        result = parse_reply(text, family=families[number % len(families)], image=FULL_HD)
        num_ok += result.ok
        assert result.ok == (result.reason is None)
        assert result.ok == bool(result.actions)
    assert 5_000 < num_ok < 95_000


@pytest.mark.parametrize(
    "unit",
    ["' ", "')x", "', ", "[", '{"a":', "[\n", "Action:", "<think>", "<tool_call>{", "\n'", "\\", "C:\\a b c ",
     "wait()\n", "wait() x ", "type('x') y\n", "```", "#", '{"action":"wait"},'],
)  # fmt: skip
@pytest.mark.parametrize("head", ["", "Action: type(content='", "["])
def test_a_long_reply_takes_linear_time(head, unit):
    begin = time.perf_counter()
    check_result(parse_reply(head + unit * (200_000 // len(unit)), family="doubao", image=None))
    assert time.perf_counter() - begin < 5.0  # about 0.2 s; a quadratic scan takes minutes


def test_unknown_family_and_impossible_images_are_errors_of_a_person():
    with pytest.raises(InputError, match="gpt"):
        parse_reply("", family="gpt", image=FULL_HD)
    with pytest.raises(InputError, match="image size"):
        parse_reply("wait()", family="qwen2.5-vl", image=None)
    with pytest.raises(InputError, match="aspect ratio"):
        parse_reply("wait()", family="qwen2.5-vl", image=ImageSize(1, 300))


def test_targets_may_be_left_to_the_tool_agent():
    raw, end, problem = scan_call("1. click() tap Save", 2)
    assert (raw, end, problem) == (RawCall("click"), 10, None)
    assert build_action(raw, "doubao", None, need_targets=False) == Action(type="click")
    assert "point" in build_action(raw, "doubao", None, need_targets=True)
    assert build_action(RawCall("drag"), "doubao", None, need_targets=False) == Action(type="drag")
    assert parse_reply("click()", family="doubao", image=None, need_targets=False).ok


def test_scan_call_reports_where_the_fault_is():
    assert scan_call("x = 1") == (None, 0, "no call `name(...)` found")
    assert scan_call("click(content='b' c)") == (None, 14, "a quote is never closed")
    assert scan_call("wait(t=[5] c)") == (None, 11, "expected , or ) after t, found 'c)'")


def run_command(monkeypatch, capsys, data: bytes, *options: str) -> list[str]:
    parser = argparse.ArgumentParser()
    parse_command.add_arguments(parser)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
    assert parse_command.run(parser.parse_args(list(options))) == 0
    return capsys.readouterr().out.splitlines()


def test_command_prints_one_object_per_reply(monkeypatch, capsys):
    data = b"Thought: a\nAction: click(start_box='(500,250)')\n---\nhello\n---\n"
    options = ("--family", "ui-tars-1.0", "--image-size", "1920x1080", "--json")
    first, second = run_command(monkeypatch, capsys, data, *options)
    assert first.startswith('{"ok": true, "reason": null, "actions": [{"type": "click", "point": [0.5, 0.25]}]')
    assert json.loads(first)["thought"] == "a"
    assert json.loads(second) == {
        "ok": False, "reason": "the reply holds no action call", "actions": [], "kind": "structural",
        "thought": "hello",
    }  # fmt: skip


def test_command_splits_at_nul_and_survives_invalid_utf8(monkeypatch, capsys):
    data = b"wait()\n---\nwait()\x00type(content='\xff\xfe')\x00\x00wait()\x00"
    records = [json.loads(line) for line in run_command(monkeypatch, capsys, data, "--family", "canonical", "--json")]
    assert [record["ok"] for record in records] == [True, True, False, True]
    assert len(records[0]["actions"]) == 2
    assert records[1]["actions"][0]["content"] == "\ufffd\ufffd"


def test_command_takes_separators_with_space_and_windows_line_ends(monkeypatch, capsys):
    data = b"\xef\xbb\xbfwait()\r\n---\r\nwait()\n--- \nwait()\n---"
    records = [json.loads(line) for line in run_command(monkeypatch, capsys, data, "--family", "canonical", "--json")]
    assert [record["actions"] for record in records] == [[{"type": "wait"}]] * 3


def test_command_says_that_standard_input_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input is closed"):
        parse_command.run(argparse.Namespace(family="canonical", image_size=None, json=True))


def test_command_prints_a_short_form(monkeypatch, capsys):
    lines = run_command(monkeypatch, capsys, b"wait()\n---\n", "--family", "canonical")
    assert lines == ["reply 1: 1 action(s)", "  wait()"]
    assert "structural failure" in run_command(monkeypatch, capsys, b"", "--family", "canonical")[0]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--family", "gpt"], "gpt"),
        (["--family", "qwen2.5-vl"], "--image-size"),
        (["--family", "doubao", "--image-size", "big"], "big"),
    ],
)
def test_command_names_a_wrong_option(monkeypatch, capsys, options, match):
    with pytest.raises(InputError, match=match):
        run_command(monkeypatch, capsys, b"wait()", *options)


def test_command_imports_nothing_heavy():
    code = "import sys, training.commands.parse; print({'torch', 'numpy', 'PIL', 'gradio'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_points_are_finite_numbers_on_the_image():
    for text in mutated_replies(2_000):
        for action in parse_reply(text, family="doubao", image=None).actions:
            for name in ("point", "start_point", "end_point"):
                point = getattr(action, name)
                assert point is None or (point.is_on_image and math.isfinite(point.x + point.y))
