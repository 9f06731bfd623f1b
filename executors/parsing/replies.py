"""A whole reply of a model -> a `ParseResult`: its thought and its actions, or the reason why it has none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from executors.actions import ALIASES, Action
from executors.geometry import ImageSize, ModelFamily
from executors.parsing.build import Frame, build_in_frame
from executors.parsing.calls import MARKER, MORE_VERBS, VERB, RawCall, scan_call
from executors.parsing.literals import MalformedError, read_literal, shown

Kind = Literal["structural", "content"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseResult:
    """What a reply holds.

    `kind` is "structural" (no or garbled syntax) or "content" (well-formed, but an unknown verb, a point off the
    image, a missing argument) when `ok` is False, and `reason` says which part failed; `actions` is then empty.
    """

    ok: bool
    reason: str | None = None
    kind: Kind | None = None
    actions: tuple[Action, ...] = ()
    thought: str | None = None


class _ReplyError(Exception):
    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


# What tells a call such as `click (100, 200)` from prose such as "Click (tap) the button".
_ARGUMENT = r"(?=\s*+(?:\Z|[)'\"\u2018\u201c\[({<\d.+-]|[A-Za-z_]\w*+\s*+=))"
_SKIP = re.compile(
    r"(?:[\s\x00-\x1f\ufeff\u200b]++|`++(?:python|json|text|plaintext|xml|tool_code|tool_call)?|[;,*\u2022>-]|[0-9]{1,3}[.)](?=\s)"
    rf"|\[(?=\s*+{VERB}[ \t]*+\()|#++(?=[ \t]*+{MARKER})|#[^\n]*+|<(?:/?[A-Za-z_]\w{{0,40}}+|\|\w{{1,40}}+\|)>)*+"
)
_MARKER = re.compile(rf"(?:{MARKER}[ \t]*+)++")
_LINE_MARKER = re.compile(rf"^[ \t>#-]*+(?P<marker>{MARKER})", re.MULTILINE)
_INLINE_MARKER = rf"(?<!\w){MARKER}(?=\s*+[`*]*+{VERB}[ \t]*+\()"
_TOOL_TAG = r"<tool_call>(?=\s*+[\[{`])"
_LINE_CALL = re.compile(rf"^[ \t`*-]*+(?={VERB}[ \t]*+\(|\{{|\[\s*+\{{)", re.MULTILINE)
_HEAD = re.compile(rf"[A-Za-z_][\w.]*+\(|{VERB}[ \t]++\({_ARGUMENT}")
_OBJECT = re.compile(r"\{|\[\s*+\{|\[\s*+\]")
_AFTER_PROSE = re.compile(rf"\n|{_TOOL_TAG}|{_INLINE_MARKER}")
_AFTER_PROSE_OF_CALL = re.compile(
    rf"\n|{_TOOL_TAG}|{_INLINE_MARKER}|(?<![\w.]){VERB}(?:\({_ARGUMENT}|[ \t]++\((?=\s*+(?:\)|[A-Za-z_]\w*+\s*+=)))"
)
_GARBLED = re.compile(rf"(?P<verb>{VERB})[\[{{<\uff08]")
_TOOL_CALL = re.compile(_TOOL_TAG)
_INLINE = re.compile(_INLINE_MARKER)

_THINK_OPEN = re.compile(r"\s*+<((?i:think(?:_\w{1,40})?|thought))>")
_THINK_CLOSE = re.compile(r"</(?i:think(?:_\w{1,40})?|thought)>")
_LABEL = re.compile(
    r"(?:\s*+`{3}\w*+)?[\s*#]*+(?P<label>(?i:thoughts?|reflection|action_summary))\*{0,2}\s*+[:\uff1a]\*{0,2}"
)
_SUMMARY = re.compile(r"(?<!\w)(?i:action_summary)\s*+[:\uff1a]")
_OPEN_FENCE = re.compile(r"`{3}\w*\Z")


def parse_reply(
    text: str, *, family: str | ModelFamily, image: ImageSize | None, need_targets: bool = True
) -> ParseResult:
    """The actions and the thought of a model's reply; never an exception for anything that the model wrote.

    UI-TARS text (`Thought: ... Action: click(...)`), Qwen's `<tool_call>` JSON, bare JSON objects or lists and bare
    calls are all read for every family; the family decides the frame of the coordinates. Calls are read in order, one
    or several to a line or to an `Action:` label; prose between them is skipped, and a call inside prose is read only
    on the line of another call. A reply of which one call fails fails
    as a whole, so half of a plan is never run. An empty reply is a structural failure. A reply that begins with a call
    or an object is read from there; else from its first `Action:` at the start of a line or its first `<tool_call>`.

    Args:
        text: the model's reply; of any length (linear time) and holding anything.
        family: a `ModelFamily` or its name.
        image: size of the screenshot that the model saw; None only for families with a relative frame.
        need_targets: whether a missing required point is a content failure; a forecast leaves points out.

    Raises:
        InputError: the family is unknown, or the image cannot be a screenshot of it.

    Source: `ui_tars.action_parser` (UI-TARS) and UI-TARS-desktop's action parser; we read calls with a scanner instead
    of `ast` and keep every action. Tool-call schemas: Qwen2.5-VL and Qwen3-VL cookbooks.

    >>> parse_reply("Action: click(point='<point>500 250</point>')", family="doubao", image=None).actions[0].point
    PointNorm(x=0.5, y=0.25)
    >>> parse_reply("click(point=[2, 0.5])", family="canonical", image=None).reason
    'call 1 (click): point: x=2 is off the image (0..1)'
    """
    frame = Frame.of(family, image)
    if not isinstance(text, str) or not text.strip():
        return ParseResult(ok=False, kind="structural", reason="the reply is empty")
    think, start = _leading_think(text)
    body = _find_body(text, start)
    thought = _thought(text[start : len(text) if body is None else body], think)
    if body is None:
        return ParseResult(ok=False, kind="structural", reason="the reply holds no action call", thought=thought)
    actions: list[Action] = []
    try:
        for raw in _walk(text, body):
            if isinstance(raw, str):
                thought = thought or raw
                continue
            action = build_in_frame(raw, frame, need_targets=need_targets)
            if isinstance(action, str):
                raise _ReplyError("content", f"{_label_of(len(actions) + 1, raw.name)}: {action}")
            actions.append(action)
        if not actions:
            raise _ReplyError("structural", "the reply holds no action call")
    except _ReplyError as problem:
        return ParseResult(ok=False, kind=problem.kind, reason=str(problem), thought=thought)
    return ParseResult(ok=True, actions=tuple(actions), thought=thought)


def _label_of(number: int, name: str) -> str:
    return f"call {number} ({name if name.isascii() and len(name) <= 40 else shown(name, 40)})"


def _leading_think(text: str) -> tuple[str | None, int]:
    """The text of a think block that opens the reply (its opening tag may be in the prompt) and where it ends."""
    opening = _THINK_OPEN.match(text)
    closing = _THINK_CLOSE.search(text, opening.end() if opening else 0)
    if closing is None:
        return None, opening.end() if opening else 0
    if opening is None and _find_body(text[: closing.start()], 0) is not None:
        return None, 0  # the tag belongs to an argument or to prose behind the first action
    inner = text[opening.end() if opening else 0 : closing.start()].strip()
    return inner or None, closing.end()


def _find_body(text: str, start: int) -> int | None:
    """Where the actions begin, or None when nothing looks like one."""
    first = _SKIP.match(text, start).end()
    if _HEAD.match(text, first) or _OBJECT.match(text, first):
        return start
    marker, tag = _LINE_MARKER.search(text, start), _TOOL_CALL.search(text, start)
    if marker or tag:
        return min(match.start(match.lastindex or 0) for match in (marker, tag) if match)
    for pattern in (_INLINE, _LINE_CALL):
        if match := pattern.search(text, start):
            return match.start()
    return None


def _thought(before: str, think: str | None) -> str | None:
    """The thought among the text before the actions: what `Thought:` or `Action_Summary:` labels, else all of it."""
    label = _LABEL.match(before)
    if label is None:
        return think or _OPEN_FENCE.sub("", before.strip()).strip("`* \n\t\r") or None
    words, kind = before[label.end() :], label["label"].lower()
    if kind == "action_summary" and think is not None:
        return think
    if kind == "reflection" and (summary := _SUMMARY.search(words)):
        words = words[summary.end() :]
    return words.strip() or think


def _walk(text: str, position: int) -> Iterator[RawCall | str]:
    """The calls from `position` on, and a thought (str) where a JSON object carries one.

    Raises:
        _ReplyError: a call or object is garbled, or an `Action:` has none.
    """
    count, is_waiting, call_end = 0, False, None
    while True:
        position = _SKIP.match(text, position).end()
        if position >= len(text):
            break
        if marker := _MARKER.match(text, position):
            if is_waiting:
                raise _ReplyError("structural", f"call {count + 1}: an `Action:` without a call")
            position, is_waiting = marker.end(), True
        elif _OBJECT.match(text, position):
            try:
                value, position = read_literal(text, position)
            except MalformedError as problem:
                raise _ReplyError("structural", f"call {count + 1} (JSON): {problem}") from None
            for raw in _calls_of(value, count + 1):
                count += isinstance(raw, RawCall)
                yield raw
            is_waiting = False
        elif _HEAD.match(text, position):
            raw, end, problem = scan_call(text, position)
            if raw is None:
                name = text[position : text.index("(", position)].strip()
                raise _ReplyError("structural", f"{_label_of(count + 1, name)}: {problem}")
            yield raw
            position, count, is_waiting, call_end = end, count + 1, False, end
        elif garbled := _GARBLED.match(text, position):
            raise _ReplyError("structural", f"{_label_of(count + 1, garbled['verb'])}: expected ( after the verb")
        else:
            is_behind_call = call_end is not None and text.find("\n", call_end, position) < 0
            call_end = position if is_behind_call else None
            prose_end = (_AFTER_PROSE_OF_CALL if is_behind_call else _AFTER_PROSE).search(text, position + 1)
            if prose_end is None:
                break
            position = prose_end.start()
    if is_waiting:
        raise _ReplyError("structural", f"call {count + 1}: an `Action:` without a call")


TOOL_NAMES = ("mobile_use", "computer_use", "browser_use", "computer", "mobile")
_INNER = ("arguments", "parameters", "params", "args", "input", "action_inputs")


def _calls_of(value: Any, number: int) -> Iterator[RawCall | str]:
    """The calls of a JSON value: one object, a list of them, or an object with a list under "actions"."""
    if isinstance(value, list):
        for item in value:
            yield from _calls_of(item, number)
            number += 1
        return
    if not isinstance(value, dict):
        raise _ReplyError("structural", f"call {number} (JSON): {shown(value)} is not an object")
    for key in ("thought", "thoughts", "reasoning"):
        if isinstance(value.get(key), str) and value[key].strip():
            yield value[key].strip()
            break
    if isinstance(value.get("actions"), list):
        yield from _calls_of(value["actions"], number)
    else:
        yield from _call_of(value, number)


def _call_of(record: dict[str, Any], number: int) -> Iterator[RawCall | str]:
    if isinstance(record.get("function"), dict):
        record = record["function"]
    name = record.get("name")
    for key in ("type", "action", "action_type"):
        verb = record.get(key)
        if isinstance(verb, dict):
            yield from _calls_of(verb, number)
            return
        if isinstance(verb, str) and (key != "type" or _is_verb(verb) or not _names_another(record)):
            yield from _flat_call(verb, {k: v for k, v in record.items() if k != key}, number)
            return
    if not isinstance(name, str):
        raise _ReplyError("structural", f"call {number} (JSON): the object names no action")
    args = _arguments(record, number)
    if name.lower() in TOOL_NAMES:
        if not isinstance(args.get("action"), str):
            raise _ReplyError("content", f"{_label_of(number, name)}: action is missing")
        yield RawCall(args["action"], {k.lower(): v for k, v in args.items() if k != "action"})
    elif _is_verb(name):
        yield RawCall(name, {k.lower(): v for k, v in args.items()})
    else:
        yield RawCall("tool_call", {"name": name, "arguments": args})


def _flat_call(verb: str, args: dict[str, Any], number: int) -> Iterator[RawCall]:
    """The call of {"action": verb, ...}; the verb may be a whole call as text, the arguments an object of their own."""
    if "(" in verb:
        raw, _, problem = scan_call(verb)
        if raw is None:
            raise _ReplyError("structural", f"call {number}: {problem}")
        yield raw
        return
    if ALIASES.get(verb.lower()) != "tool_call":
        for key in _INNER:
            if isinstance(args.get(key), dict):
                args = {**args, **args[key]}
    yield RawCall(verb, {k.lower(): v for k, v in args.items()})


def _is_verb(name: str) -> bool:
    return name.lower() in ALIASES or name.lower() in MORE_VERBS


def _names_another(record: dict[str, Any]) -> bool:
    return any(isinstance(record.get(key), (str, dict)) for key in ("name", "action", "action_type"))


def _arguments(record: dict[str, Any], number: int) -> dict[str, Any]:
    args = next((record[key] for key in _INNER if record.get(key)), {})
    if isinstance(args, str):
        try:
            args = read_literal(args, 0)[0]
        except MalformedError as problem:
            raise _ReplyError("structural", f"call {number} (JSON): arguments: {problem}") from None
    if not isinstance(args, dict):
        raise _ReplyError("structural", f"call {number} (JSON): arguments are not an object")
    return args
