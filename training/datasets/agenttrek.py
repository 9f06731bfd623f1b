"""AgentTrek -> trajectories of text: web steps on accessibility trees, one row a step, without any screenshot.

    text only       the public file has no screenshots and no coordinates. A step's observation is the accessibility
                    tree as text, its actions have no point, and `meta.elements` has the id of the element that each
                    acts on (null without one). Such a trajectory can teach plans; it cannot be grounded on pixels
    element         its role and name come from the tree, so that the instruction reads: click the button "Search"
    episodes        rows of a task stand in a row; a row's step is the number of steps in its history, and a row whose
                    goal is another, or whose step does not grow, begins the next episode
    scroll(dx, dy)  pixels of the wheel, positive is right and down
    press           `hotkey` with our key names; go_back, go_forward, new_tab and tab_close are the browser's own keys
    hover + click   on the same element is one click; any other two actions are a broken step
    messages        send_msg_to_user is `finished` with the message, report_infeasible is `call_user`
    no counterpart  goto, tab_focus, clear, upload_file, drag_and_drop and mouse actions: broken steps

Source: the card of xlangai/AgentTrek and BrowserGym's action set; the row's form follows AgentLab's prompts.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from executors.actions import Action
from executors.errors import MissingFileError
from executors.trajectory import Observation, Step, Trajectory
from training.datasets.base import Importer, Notes, Place, RawRecord, show, text_of
from training.datasets.json_records import parse_object, read_array_or_lines
from training.datasets.normalise import describe, key_name, reveal_of_wheel
from training.datasets.skip import Skip

_LINES = r"[^\n]*(?:\n(?!#)[^\n]*)*"
_GOAL = re.compile(rf"^#+ Goal:[ \t]*\n?({_LINES})", re.MULTILINE)
_TREE = re.compile(rf"^#+ AXTree:[ \t]*\n({_LINES})", re.MULTILINE)
_HISTORY = re.compile(r"^# History of interaction[^\n]*((?:\n(?!# (?!#))[^\n]*)*)", re.MULTILINE)
_PAST_STEP = re.compile(r"^## step (\d{1,6})", re.IGNORECASE | re.MULTILINE)
_PAST_ACTION = re.compile(r"^### Action:", re.MULTILINE)
_QUOTED = r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\""""
_NODE = re.compile(rf"\s+(?P<role>[\w-]+)\s+(?P<name>{_QUOTED})")
_PAGE = re.compile(rf"RootWebArea\s+(?P<name>{_QUOTED})")
_THINK = re.compile(r"<think>(.*?)</think>", re.DOTALL)
_ACTION = re.compile(r"<action>(.*?)</action>", re.DOTALL)
_MAX_ACTION_CHARS = 20_000


class AgentTrek(Importer):
    """Reads AgentTrek's file; a record is one row, a step."""

    name = "agenttrek"
    grouping = "run"

    def find_files(self, path: Path) -> list[Path]:
        """The file, or all .json and .jsonl files of a folder."""
        files = [path] if path.is_file() else sorted(p for p in path.glob("*") if p.suffix in (".json", ".jsonl"))
        if not files:
            raise MissingFileError(f"{path} is no file and holds no .json file: give agenttrek_1207.json")
        return files

    def read(self, file: Path) -> Iterator[RawRecord]:
        """The file's rows."""
        return read_array_or_lines(file)

    def convert(self, raw: RawRecord, notes: Notes) -> tuple[Trajectory, Place]:
        """The step of one row as a trajectory of its own, and its place in its episode."""
        notes.num_source_steps = 1
        prompt, reply = _read_messages(parse_object(raw.data).get("messages"))
        found = _GOAL.search(prompt)
        goal = text_of(found[1]) if found else ""
        if not goal:
            raise Skip("no goal", "messages", "the prompt has no ## Goal:")
        key = f"{self.name}-{hashlib.sha256(goal.encode()).hexdigest()[:12]}"
        notes.record = key
        tree = _TREE.search(prompt)
        if tree is None or not tree[1].strip():
            raise Skip("no AXTree", "messages", "the prompt has no ## AXTree:")
        history = _HISTORY.search(prompt)
        told = _ACTION.search(reply)
        if told is None:
            raise Skip("wrong action", "messages", f"{show(reply[-200:])} has no <action>")
        action, bid = read_action(told[1])
        thought = _THINK.search(reply)
        page = _PAGE.search(tree[1])
        notes.num_instructions_generated += 1
        step = Step(
            observation=Observation(text=tree[1].strip("\n"), summary=_unquote(page["name"]) if page else ""),
            action=action, instruction=describe(action, _element(tree[1], bid) if bid else ""),
            thought=text_of(thought[1]) if thought else "",
        )
        trajectory = Trajectory(
            id=key, goal=goal, steps=(step,), source=self.name, platform="browser", licence=self.licence,
            outcome={"finished": "success", "call_user": "impossible"}.get(action.type, ""),
            meta={"elements": [bid]},
        )
        return trajectory, Place(key=key, step=_step_number(history[1] if history else ""))


def _read_messages(messages: Any) -> tuple[str, str]:
    """(the user's prompt, the assistant's reply) of a row.

    Raises:
        Skip: either is missing.
    """
    if not isinstance(messages, list):
        raise Skip("wrong messages", "messages", f"{show(messages)} is not a list")
    texts: dict[str, str] = {}
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(role, str) or not isinstance(content, str):
            raise Skip("wrong messages", f"messages[{index}]", f"{show(message)} has no role, or no text")
        texts[role] = content
    for role in ("user", "assistant"):
        if role not in texts:
            raise Skip("wrong messages", "messages", f"there is none of the {role}")
    return texts["user"], texts["assistant"]


def _step_number(history: str) -> int:
    """How many steps the history tells: by its headings, else by its actions."""
    numbers = [int(number) for number in _PAST_STEP.findall(history)]
    return max(numbers) + 1 if numbers else len(_PAST_ACTION.findall(history))


def _element(tree: str, bid: str) -> str:
    """An element of the tree in words: its role and its name in quotes; only its id when the tree does not have it."""
    mark, end = f"[{bid}]", 0
    while end >= 0 and (start := tree.find(mark, end)) >= 0:  # a pattern for every node of the tree takes far longer
        before = tree[tree.rfind("\n", 0, start) + 1 : start]
        node = None if before.strip() else _NODE.match(tree, start + len(mark))
        if node is not None:
            name = text_of(_unquote(node["name"]))
            return f'the {node["role"]} "{name}"' if name else f"the {node['role']} [{bid}]"
        end = tree.find("\n", start)
    return f"element [{bid}]"


def _unquote(text: str) -> str:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text[1:-1]
    return value if isinstance(value, str) else text[1:-1]


def read_action(code: str) -> tuple[Action, str | None]:
    """(the canonical action of BrowserGym calls, the id of the element it acts on or None).

    Raises:
        Skip: not one action, an unknown one, or a wrong argument.

    >>> read_action("scroll(0, -400)")[0].direction
    'up'
    >>> read_action("fill('237', 'red shoes')")
    (Action(type='type', ..., content='red shoes', ...), '237')
    """
    calls = _read_calls(code)
    if len(calls) == 2 and calls[0][0] == "hover" and calls[1][0] == "click" and calls[0][1][:1] == calls[1][1][:1]:
        calls = calls[1:]
    if len(calls) != 1:
        raise Skip("several actions", "messages", f"{show(code)} is more than one action")
    name, args = calls[0]
    if name not in _READERS:
        raise Skip("unknown action", "messages", f"{name} has no counterpart")
    return _READERS[name](name, args)


def _read_calls(code: str) -> list[tuple[str, list[Any]]]:
    """(name, positional and named arguments in order) of each call."""
    try:
        body = ast.parse(code.strip()).body if len(code) <= _MAX_ACTION_CHARS else []
        calls = []
        for statement in body:
            call = statement.value if isinstance(statement, ast.Expr) else None
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                raise ValueError("not a call")
            values = [*call.args, *(keyword.value for keyword in call.keywords)]
            calls.append((call.func.id, [ast.literal_eval(value) for value in values]))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise Skip("wrong action", "messages", f"{show(code)} is not calls with literal arguments") from None
    if not calls:
        raise Skip("wrong action", "messages", "the action is empty or too long")
    return calls


Reader = Callable[[str, list[Any]], tuple[Action, str | None]]


def _argument(name: str, args: list[Any], index: int, kinds: type | tuple[type, ...]) -> Any:
    value = args[index] if index < len(args) else None
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise Skip("wrong argument", "messages", f"{name}: {show(value)} is not allowed as argument {index + 1}")
    return value


_BUTTONS = {"left": "click", "right": "right_single", "middle": "middle_click"}


def _on_element(kind: str) -> Reader:
    def read(name: str, args: list[Any]) -> tuple[Action, str]:
        bid = _argument(name, args, 0, str)
        button = args[1] if len(args) > 1 and kind == "click" else "left"
        if button not in ("left", "right", "middle"):
            raise Skip("wrong argument", "messages", f"{name}: {show(button)} is not a button")
        return Action(type=_BUTTONS[button] if kind == "click" else kind), bid

    return read


def _fill(name: str, args: list[Any]) -> tuple[Action, str]:
    text = _argument(name, args, 1, str)
    if not text:
        raise Skip("unknown action", "messages", f"{name} with an empty text has no counterpart")
    return Action(type="type", content=text), _argument(name, args, 0, str)


def _select(name: str, args: list[Any]) -> tuple[Action, str]:
    options = _argument(name, args, 1, (str, list))
    options = [options] if isinstance(options, str) else options
    if len(options) != 1 or not isinstance(options[0], str):
        raise Skip("wrong argument", "messages", f"{name}: {show(options)} is not one option")
    return Action(type="select", value=options[0]), _argument(name, args, 0, str)


def _scroll(name: str, args: list[Any]) -> tuple[Action, None]:
    direction = reveal_of_wheel(_argument(name, args, 0, (int, float)), _argument(name, args, 1, (int, float)))
    if direction is None:
        raise Skip("wrong argument", "messages", f"{name} by zero does nothing")
    return Action(type="scroll", direction=direction), None


def _press(index: int) -> Reader:
    def read(name: str, args: list[Any]) -> tuple[Action, str | None]:
        combination = _argument(name, args, index, str)
        keys = [key_name(key) for key in combination.split("+")] if combination != "+" else ["+"]
        if not all(keys):
            raise Skip("wrong argument", "messages", f"{name}: {show(combination)} are not keys")
        return Action(type="hotkey", key=" ".join(keys)), _argument(name, args, 0, str) if index else None

    return read


def _keys(key: str) -> Reader:
    return lambda name, args: (Action(type="hotkey", key=key), None)


def _wait(name: str, args: list[Any]) -> tuple[Action, None]:
    ms = _argument(name, args, 0, (int, float)) if args else 1000
    if not 0 <= ms <= 3_600_000:
        raise Skip("wrong argument", "messages", f"{name}: {show(ms)} is not 0..3600000 milliseconds")
    return Action(type="wait", seconds=ms / 1000), None


def _say(kind: str) -> Reader:
    return lambda name, args: (Action(type=kind, content=_argument(name, args, 0, str) or None), None)


_READERS: dict[str, Reader] = {
    "click": _on_element("click"), "dblclick": _on_element("left_double"), "hover": _on_element("hover"),
    "focus": _on_element("click"), "fill": _fill, "select_option": _select, "scroll": _scroll, "press": _press(1),
    "keyboard_press": _press(0), "go_back": _keys("alt left"), "go_forward": _keys("alt right"),
    "new_tab": _keys("ctrl t"), "tab_close": _keys("ctrl w"), "noop": _wait, "send_msg_to_user": _say("finished"),
    "report_infeasible": _say("call_user"),
}
