"""T3-Agent's form of a step, Thought / Code / Observation, read into the same actions as tool calls.

    code that only calls one tool       `tool_call` of that tool; its arguments are literals, which may be stored before
                                        the call, as what it returns may be stored and printed after it
    only final_answer(literal)          `finished` with that text
    any other code                      `tool_call` of "python" with the code; it may call tools, and final_answer, when
                                        it runs
    Observation:, <end_action>          end the reply: what follows is not the model's to say

Code is parsed here, never run.

Source: mat-agent/MAT-Agent (T3-Agent), whose agent stops a reply at `<end_action>` or `Observation:`.
"""

from __future__ import annotations

import ast
import json
import math
import re
from typing import Any

from executors.actions import Action
from executors.errors import InputError
from executors.parsing.replies import ParseResult
from executors.toolbox.registry import all_tools

_CODE = re.compile(r"```(?:py|python)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_END = re.compile(r"<end_action>|^[ \t]*Observation:", re.MULTILINE)
_MAX_CODE_CHARS = 100_000


def split_reply(text: str) -> tuple[str, str]:
    r"""(thought, code) of a reply: what stands before `Code:`, and its first fenced block; "" where there is none.

    >>> split_reply("Thought: Add.\nCode:\n```py\nprint(1 + 1)\n```<end_action>")
    ('Add.', 'print(1 + 1)')
    """
    found = _CODE.search(text)
    thought = text.partition("```")[0].partition("Code:")[0]
    return thought.strip().removeprefix("Thought:").strip(), found[1].strip() if found else ""


def parse_code_reply(text: str) -> ParseResult:
    r"""The one action and the thought of a reply in T3-Agent's form; never an exception for what a model wrote.

    Code that is no Python is an action all the same: it fails when it is run, as T3-Agent counts it. A reply without
    code is a structural failure.

    >>> parse_code_reply('Thought: Look.\nCode:\n```py\nprint(ocr("a.png"))\n```').actions[0].arguments
    {'image_path': 'a.png'}
    """
    if not isinstance(text, str) or not text.strip():
        return ParseResult(ok=False, kind="structural", reason="the reply is empty")
    end = _END.search(text)
    thought, code = split_reply(text[: end.start()] if end else text)
    if not code:
        return ParseResult(ok=False, kind="structural", reason="the reply holds no code between ``` and ```",
                           thought=thought or None)
    return ParseResult(ok=True, actions=(action_of_code(code),), thought=thought or None)


def action_of_code(code: str) -> Action:
    """The action that code is, by the rules at the top of this module.

    >>> action_of_code("final_answer(5)").to_json()
    {'type': 'finished', 'content': '5'}
    """
    return action_of_body(code, read_body(code) or [])


def action_of_body(code: str, body: list[ast.stmt]) -> Action:
    """The same of code whose statements, none where it is no Python, were read before."""
    only = body[0].value if len(body) == 1 and isinstance(body[0], ast.Expr) else None
    if _is_call(only, "final_answer") and len(final_answers(body)) == 1:
        if (answer := literal_answer(only)) is not None:
            return Action(type="finished", content=answer)
    return _tool_call(body) or Action(type="tool_call", name="python", arguments={"code": code})


def code_of_action(action: Action) -> str:
    """The code that `action_of_code` reads as this action.

    Raises:
        InputError: the action is neither a tool call nor `finished`.

    >>> code_of_action(Action(type="tool_call", name="ocr", arguments={"image_path": "a.png"}))
    "print(ocr(image_path='a.png'))"
    """
    if action.type == "finished":
        return f"final_answer({action.content or ''!r})"
    if action.type != "tool_call":
        raise InputError(f"action {action.type!r} has no code: only tool_call and finished do")
    arguments = action.arguments or {}
    if action.name == "python" and isinstance(arguments.get("code"), str):
        return arguments["code"]
    return f"print({action.name}({', '.join(f'{name}={value!r}' for name, value in arguments.items())}))"


def format_code_reply(action: Action, thought: str = "") -> str:
    """A reply in T3-Agent's form with this thought and action."""
    return f"Thought: {thought}\n\nCode:\n```py\n{code_of_action(action)}\n```<end_action>"


def read_body(code: str) -> list[ast.stmt] | None:
    """The statements of code, none of code above 100000 characters; None when it is no Python."""
    try:
        return ast.parse(code).body if len(code) <= _MAX_CODE_CHARS else []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def final_answers(body: list[ast.stmt]) -> list[ast.Call]:
    """The calls of final_answer anywhere in these statements."""
    calls = [node for part in body for node in ast.walk(part) if isinstance(node, ast.Call)]
    return [call for call in calls if _is_call(call, "final_answer")]


def literal_answer(call: ast.Call) -> str | None:
    """The text of the literal that final_answer gets, None when it gets anything else.

    >>> literal_answer(read_body("final_answer([1, 'a'])")[0].value)
    "[1, 'a']"
    """
    try:
        return str(ast.literal_eval(call.args[0])) if call.args else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _tool_call(body: list[ast.stmt]) -> Action | None:
    """The one tool call that the code is, between literals stored before it and printing after it; else None."""
    literals: dict[str, Any] = {}
    while len(body) > 1 and (stored := _stored_literal(body[0])) is not None:
        literals[stored[0]] = stored[1]
        body = body[1:]
    if not 1 <= len(body) <= 2 or (len(body) == 2 and not _is_print_of_stored(body[0], body[1])):
        return None
    call = body[0].value if isinstance(body[0], (ast.Assign, ast.Expr)) else None
    if isinstance(body[0], ast.Expr) and _is_call(call, "print") and len(call.args) == 1 and not call.keywords:
        call = call.args[0]
    name = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
    names = _argument_names(name)
    if not names or len(call.args) > len(names) or any(keyword.arg is None for keyword in call.keywords):
        return None
    given = [*zip(names, call.args), *((keyword.arg, keyword.value) for keyword in call.keywords)]
    try:
        arguments = {key: literals[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node)
                     for key, node in given}
    except (KeyError, ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    is_plain = all(_is_json(value) for value in arguments.values())
    return Action(type="tool_call", name=name, arguments=arguments) if is_plain else None


def _argument_names(name: str) -> tuple[str, ...]:
    """The arguments of a tool in order; none for "python", whose calls are code of their own."""
    tool = all_tools().get(name) if name != "python" else None
    return tuple(argument.name for argument in tool.arguments) if tool else ()


def _stored_literal(statement: ast.stmt) -> tuple[str, Any] | None:
    is_stored = isinstance(statement, ast.Assign) and len(statement.targets) == 1
    if not is_stored or not isinstance(statement.targets[0], ast.Name):
        return None
    try:
        return statement.targets[0].id, ast.literal_eval(statement.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _is_print_of_stored(statement: ast.stmt, after: ast.stmt) -> bool:
    """Whether the second statement prints, perhaps behind other words, the name that the first one stores in."""
    stored = statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None
    shown = after.value if isinstance(after, ast.Expr) else None
    is_print = _is_call(shown, "print") and bool(shown.args) and isinstance(shown.args[-1], ast.Name)
    return is_print and isinstance(stored, ast.Name) and shown.args[-1].id == stored.id


def _is_call(node: Any, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _is_json(value: Any) -> bool:
    """Whether a literal is a JSON value and reads back as itself."""
    if isinstance(value, float) and not (math.isfinite(value) and abs(value) < 1e300):
        return False
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        return False
    try:
        return json.loads(json.dumps(value)) == value
    except (TypeError, ValueError, RecursionError):
        return False
