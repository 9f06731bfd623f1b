"""T3-Agent's Thought / Code form: what a reply is read as, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import Action
from executors.errors import InputError
from executors.parsing import parse_reply
from executors.parsing.code_form import code_of_action, format_code_reply, parse_code_reply

OCR = Action(type="tool_call", name="ocr", arguments={"image_path": "a.png"})


def python(code: str) -> Action:
    """The action of other code."""
    return Action(type="tool_call", name="python", arguments={"code": code})


@pytest.mark.parametrize(
    ("text", "thought", "action"),
    [
        ("Thought: Read it.\nCode:\n```py\nt = ocr('a.png')\nprint(t)\n```<end_action>", "Read it.", OCR),
        ("Code:\n```python\nprint(ocr(image_path='a.png'))\n```", None, OCR),
        ("```\nocr('a.png')\n", None, OCR),
        ("Thought: a\n```py\nprint(1)\n```\nObservation: 2\nCode:\n```py\nprint(3)\n```", "a", python("print(1)")),
        ("Thought: a\n```py\nprint(1)\n```\n```py\nprint(2)\n```", "a", python("print(1)")),
        ("Thought: b\n```py\nfinal_answer('42 km')\n```", "b", Action(type="finished", content="42 km")),
        ("```py\nx = 6\nfinal_answer(x * 7)\n```", None, python("x = 6\nfinal_answer(x * 7)")),
        ("```py\nfinal_answer(x)\n```", None, python("final_answer(x)")),
        ("```py\nprint(final_answer('a'))\n```", None, python("print(final_answer('a'))")),
        ("```py\nx = (\n```", None, python("x = (")),
        ("```py\nCalculator('1+1')\n```", None,
         Action(type="tool_call", name="Calculator", arguments={"expression": "1+1"})),
        ("```py\nobjectlocation(object='cat', image_path='a.png')\n```", None,
         Action(type="tool_call", name="objectlocation", arguments={"object": "cat", "image_path": "a.png"})),
        ("```py\nocr(b'a')\n```", None, python("ocr(b'a')")),
        ("```py\nocr({1: 2})\n```", None, python("ocr({1: 2})")),
        ("```py\nocr((1, 2))\n```", None, python("ocr((1, 2))")),
        ("```py\npython('print(1)')\n```", None, python("python('print(1)')")),
    ],
)  # fmt: skip
def test_a_reply_is_one_action(text: str, thought: str | None, action: Action) -> None:
    found = parse_code_reply(text)
    assert (found.ok, found.thought, found.actions) == (True, thought, (action,))


@pytest.mark.parametrize("text", ["", "  ", "Thought: I cannot.", "```py\n```", "Observation: x\n```py\nprint(1)\n```",
                                  "Code: print(1)", "<end_action>```py\nprint(1)\n```"])  # fmt: skip
def test_a_reply_without_code_is_a_structural_failure(text: str) -> None:
    found = parse_code_reply(text)
    assert (found.ok, found.kind, found.actions) == (False, "structural", ())


@given(st.text())
def test_any_text_gets_a_result(text: str) -> None:
    assert parse_code_reply(text).ok in (True, False)
    assert parse_code_reply(f"Thought: x\nCode:\n```py\n{text}\n```").kind in (None, "structural")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False, width=32) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5,
)  # fmt: skip


@given(values, st.text())
def test_a_tool_call_reads_back_from_its_code(value: object, answer: str) -> None:
    for action in (Action(type="tool_call", name="ocr", arguments={"image_path": value}),
                   Action(type="finished", content=answer)):
        if "```" not in answer and "```" not in repr(value) and "<end_action>" not in repr((value, answer)):
            assert parse_code_reply(format_code_reply(action, "why")).actions == (action,)


def test_both_forms_of_a_tool_call_are_the_same_action() -> None:
    call = '<tool_call>{"name": "ocr", "arguments": {"image_path": "a.png"}}</tool_call>'
    (from_json,) = parse_reply(call, family="canonical", image=None).actions
    (from_code,) = parse_code_reply(format_code_reply(OCR)).actions
    assert from_json == from_code == OCR


def test_other_actions_have_no_code() -> None:
    assert code_of_action(python("x = 1")) == "x = 1"
    with pytest.raises(InputError, match="'wait'"):
        code_of_action(Action(type="wait"))
