"""pyautogui and computer code of recorded steps -> canonical actions, read with `ast` and never run.

The grammar is AgentNet's: newline-separated calls of `pyautogui.*` and `computer.*` with literal arguments and
coordinates 0..1. A step's code is one action, written as one call or as one of these pairs:

    moveTo + click, scroll, hscroll or dragTo      the second call acts at the pointer
    write + press('enter')                         typing that submits: a trailing newline

Source: OpenCUA's data card and AgentNetBench samples (xlang-ai/OpenCUA); spellings that other readers of the corpus
report (varargs of hotkey, `fail`, triple_click) are accepted too.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from executors.actions import Action, validate
from executors.errors import InputError
from executors.geometry import PointNorm
from training.datasets.normalise import key_name, norm_value
from training.datasets.skip import Skip

MAX_CODE_CHARS = 100_000
"""Longest code of one step that is parsed."""

MAX_PRESSES = 100
"""Most presses of one key in one call."""

_MAX_INT = 10**9  # Python refuses to print numbers of thousands of digits, so none may reach a message


class CodeError(InputError):
    """Code that is not one action of the grammar; `kind` is the short reason that reports count."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeReading:
    """What a step's code says: its action, or None where it does nothing, and the small repairs that were made."""

    action: Action | None
    repairs: tuple[str, ...] = ()


@dataclass(slots=True)
class _Call:
    """One call: its name without module, case and underscores, and its literal arguments."""

    name: str
    shown: str
    args: list[Any]
    kwargs: dict[str, Any]
    repairs: list[str] = field(default_factory=list)

    def get(self, *names: str, position: int | None = None, default: Any = None) -> Any:
        """The argument of one of these names, or at this position."""
        for name in names:
            if name in self.kwargs:
                return self.kwargs[name]
        if position is not None and position < len(self.args):
            return self.args[position]
        return default

    def fail(self, message: str) -> CodeError:
        return CodeError("wrong argument", f"{self.shown}: {message}")


def read_code(code: str) -> CodeReading:
    r"""The action of one step's code.

    A scroll of zero and the writing of nothing are no action: `action` is None. A coordinate that leaves 0..1 by no
    more than `CLAMP_TOLERANCE` is moved to the edge. The amount of a scroll is not kept, only its direction.

    Args:
        code: Python text of one to three calls.

    Raises:
        CodeError: the text is not such calls, a call is unknown, an argument is wrong, or there are several actions.

    Source: AgentNet's `value.code`; the mapping is ours where UI-TARS's verbs have no equal (hover, triple_click).

    >>> read_code("pyautogui.moveTo(x=0.4, y=0.8)\npyautogui.scroll(-3)").action.to_json()
    {'type': 'scroll', 'point': [0.4, 0.8], 'direction': 'down'}
    >>> read_code("pyautogui.write(message='milk')\npyautogui.press('enter')").action.content
    'milk\n'
    """
    return _reading_of(_read_calls(code))


def read_calls(calls: Sequence[tuple[str, Mapping[str, Any]]]) -> CodeReading:
    """The action of one step that is given as names of calls with their arguments, by the same rules.

    Args:
        calls: (name in any case, arguments by name), such as ("click", {"x": 0.5, "y": 0.25}).

    Raises:
        CodeError: as `read_code`.
    """
    if not calls:
        raise CodeError("not code", "there is no call")
    return _reading_of(
        [_Call(name=name.lower().replace("_", ""), shown=name, args=[], kwargs=dict(kwargs)) for name, kwargs in calls]
    )


def _reading_of(calls: list[_Call]) -> CodeReading:
    action = _action_of(calls)
    if action is not None:
        problem = validate(action)
        if problem is not None:
            raise CodeError("wrong argument", problem)
    return CodeReading(action=action, repairs=tuple(note for call in calls for note in call.repairs))


def _read_calls(code: str) -> list[_Call]:
    if len(code) > MAX_CODE_CHARS:
        raise CodeError("not code", f"{len(code)} characters are more than the {MAX_CODE_CHARS} of one step")
    try:
        body = ast.parse(code.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CodeError("not code", f"{_shorten(code)} is not Python ({error})") from None
    if not body:
        raise CodeError("not code", "there is no call")
    return [_read_call(statement) for statement in body]


def _read_call(statement: ast.stmt) -> _Call:
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call):
        raise CodeError("not code", f"{_shorten(ast.unparse(statement))} is not a call")
    function = call.func
    is_dotted = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
    if not is_dotted or function.value.id not in ("pyautogui", "computer"):
        raise CodeError("unknown call", f"{_shorten(ast.unparse(function))} is not a call of pyautogui or computer")
    shown = f"{function.value.id}.{function.attr}"
    names = [keyword.arg for keyword in call.keywords]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise CodeError("wrong argument", f"{shown}: {repeated} is given twice")
    numbers = (node.value for node in ast.walk(call) if isinstance(node, ast.Constant))
    if any(isinstance(number, int) and number > _MAX_INT for number in numbers):
        raise CodeError("wrong argument", f"{shown}: a whole number is above {_MAX_INT}")
    try:
        args = [ast.literal_eval(node) for node in call.args]
        kwargs = {keyword.arg or "**": ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise CodeError("wrong argument", f"{shown}: an argument is not a literal value") from None
    return _Call(name=function.attr.lower().replace("_", ""), shown=shown, args=args, kwargs=kwargs)


def _action_of(calls: list[_Call]) -> Action | None:
    for call in calls:
        if call.name not in _READERS:
            raise CodeError("unknown call", f"{call.shown} is not known: the grammar has {', '.join(_READERS)}")
    first = _READERS[calls[0].name](calls[0], None)
    if len(calls) == 1:
        return first
    if len(calls) == 2 and first is not None:
        second = calls[1]
        if first.type == "hover" and second.name in _AT_POINTER:
            return _READERS[second.name](second, first.point)
        if first.type == "type" and second.name == "press" and set(_keys(second)) == {"enter"}:
            return replace(first, content=first.content + "\n" * len(_keys(second)))
    raise CodeError("several actions", f"{' + '.join(call.shown for call in calls)} is more than one action")


def _point(call: _Call, pointer: PointNorm | None, *, required: bool = True, offset: int = 0) -> PointNorm | None:
    """The call's own point, else the pointer's place."""
    x, y = call.get("x", position=offset), call.get("y", position=offset + 1)
    if x is None and y is None:
        if pointer is None and required:
            raise call.fail("x and y are missing")
        return pointer
    return PointNorm(_coordinate(call, "x", x), _coordinate(call, "y", y))


def _coordinate(call: _Call, name: str, value: object) -> float:
    number = _number(call, name, value)
    try:
        norm, is_moved = norm_value(number, 1, name)
    except Skip as skip:
        raise CodeError(skip.reason, f"{call.shown}: {name}={number:g} is not in 0..1") from None
    if is_moved:
        call.repairs.append("coordinate moved to the edge")
    return norm


def _number(call: _Call, name: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 1e9:
        raise call.fail(f"{name}={value!r} is not a number")
    return float(value)


_CLICKS = {("left", 1): "click", ("left", 2): "left_double", ("left", 3): "triple_click", ("right", 1): "right_single",
           ("middle", 1): "middle_click"}
_BUTTONS = {"left": "left", "primary": "left", "right": "right", "secondary": "right", "middle": "middle"}


def _read_click(button: str, clicks: int) -> Callable[[_Call, PointNorm | None], Action]:
    def read(call: _Call, pointer: PointNorm | None) -> Action:
        pressed = _BUTTONS.get(str(call.get("button", default=button)).lower())
        times = call.get("clicks", default=clicks)
        kind = _CLICKS.get((pressed, times)) if isinstance(times, int) else None
        if kind is None:
            raise call.fail(f"{times!r} clicks of button {call.get('button', default=button)!r} are not an action")
        return Action(type=kind, point=_point(call, pointer))

    return read


def _read_move(call: _Call, pointer: PointNorm | None) -> Action:
    return Action(type="hover", point=_point(call, pointer))


def _read_drag(call: _Call, pointer: PointNorm | None) -> Action:
    button = call.get("button", default="left")
    if _BUTTONS.get(str(button).lower()) != "left":
        raise call.fail(f"a drag with button {button!r} is not an action")
    end = _point(call, None)
    if pointer is None:
        raise call.fail("no moveTo before it tells where the drag starts")
    return Action(type="drag", start_point=pointer, end_point=end)


def _read_scroll(negative: str, positive: str) -> Callable[[_Call, PointNorm | None], Action | None]:
    def read(call: _Call, pointer: PointNorm | None) -> Action | None:
        amount = _number(call, "clicks", call.get("clicks", "amount", position=0))
        point = _point(call, pointer, required=False, offset=1)
        if amount == 0:
            call.repairs.append("scroll of zero left out")
            return None
        return Action(type="scroll", point=point, direction=positive if amount > 0 else negative)

    return read


def _read_write(call: _Call, pointer: PointNorm | None) -> Action | None:
    text = call.get("message", "text", position=0)
    if isinstance(text, list) and all(isinstance(part, str) for part in text):
        text = "".join(text)
    if not isinstance(text, str):
        raise call.fail(f"message={text!r} is not text")
    if not text:
        call.repairs.append("writing of nothing left out")
        return None
    return Action(type="type", content=text)


def _read_keys(call: _Call, pointer: PointNorm | None) -> Action:
    return Action(type="hotkey", key=" ".join(_keys(call)))



def _keys(call: _Call) -> list[str]:
    """Canonical key names in order, repeated as often as they are pressed."""
    given = call.get("keys", "key")
    names = list(call.args) if given is None else [given]
    if names and isinstance(names[0], (list, tuple)):
        names = [*names[0], *(names[1:] if call.name == "hotkey" else ())]
    elif call.name == "press" and given is None:
        names = names[:1]  # press(keys, presses)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise call.fail(f"keys={names!r} are not key names")
    keys = [key_name(name) for name in names]
    presses = call.get("presses", position=1, default=1) if call.name == "press" else 1
    if not isinstance(presses, int) or isinstance(presses, bool) or not 1 <= presses <= MAX_PRESSES:
        raise call.fail(f"presses={presses!r} is not 1..{MAX_PRESSES}")
    if not all(keys):
        raise call.fail(f"keys={names!r} are not key names")
    return keys * presses


def _read_wait(call: _Call, pointer: PointNorm | None) -> Action:
    seconds = call.get("seconds", "time", "duration", position=0)
    return Action(type="wait", seconds=None if seconds is None else _number(call, "seconds", seconds))


def _read_terminate(call: _Call, pointer: PointNorm | None) -> Action:
    status = call.get("status", position=0)
    kind = {"success": "finished", "failure": "call_user", "fail": "call_user"}.get(str(status).lower())
    if kind is None:
        raise call.fail(f"status={status!r} is not success or failure")
    answer = call.get("answer")
    return Action(type=kind, content=answer if isinstance(answer, str) and answer else None)


_READERS: dict[str, Callable[[_Call, PointNorm | None], Action | None]] = {
    "click": _read_click("left", 1),
    "leftclick": _read_click("left", 1),
    "rightclick": _read_click("right", 1),
    "middleclick": _read_click("middle", 1),
    "doubleclick": _read_click("left", 2),
    "tripleclick": _read_click("left", 3),
    "moveto": _read_move,
    "dragto": _read_drag,
    "scroll": _read_scroll("down", "up"),
    "vscroll": _read_scroll("down", "up"),
    "hscroll": _read_scroll("left", "right"),
    "write": _read_write,
    "typewrite": _read_write,
    "press": _read_keys,
    "hotkey": _read_keys,
    "wait": _read_wait,
    "terminate": _read_terminate,
}
_AT_POINTER = frozenset({"click", "leftclick", "rightclick", "middleclick", "doubleclick", "tripleclick", "dragto",
                         "scroll", "vscroll", "hscroll"})


def _shorten(text: str, limit: int = 60) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")
