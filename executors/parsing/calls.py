"""One call `name(args...)` in model text, read with quotes and brackets respected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from executors.actions import ALIASES
from executors.parsing.literals import MalformedError, read_literal, shown, skip_space, unescape

MORE_VERBS = ("swipe", "hscroll", "system_button", "terminate", "answer", "interact")
"""Verbs of Qwen's tool calls that are not names of registry actions but are read as one."""

POINT_NAMES = frozenset(
    "point start_point end_point start_box end_box box bbox coordinate coordinates coordinate2 start_coordinate "
    "end_coordinate position start end".split()
)
_ARGUMENT_NAMES = POINT_NAMES | frozenset(
    "content text answer key keys hotkey direction seconds time t duration app_name app value option name "
    "arguments pixels button status x y".split()
)

VERB = "(?i:" + "|".join(sorted({*ALIASES, *MORE_VERBS}, key=len, reverse=True)) + ")"
MARKER = r"\*{0,2}(?i:actions?)\*{0,2}[ \t]*+[:\uff1a]\*{0,2}"
_BOUNDARY = rf"(?:{MARKER}|(?:{VERB})[ \t]*+\()"

_HEAD = re.compile(r"\s*+(?P<name>[A-Za-z_][\w.]*+)[ \t]*+\(")
_KEY = re.compile(r"(?P<name>[A-Za-z_]\w*+)\s*+=\s*+")
_NEXT_CALL = re.compile(rf"(?:{MARKER}\s*+)?{VERB}[ \t]*+\(\s*+(?:[)'\"]|[A-Za-z_]\w*+\s*+=)")
_COORDINATES = re.compile(r"[^'\"\u2019\u201d\n]*+")
_BARE = re.compile(r"[^,()\n]*+")
_CLOSING = {"'": "'", '"': '"', "\u2018": "\u2019", "\u201c": "\u201d"}  # typographic quotes pair up
_STRING_PREFIX = re.compile(r"[rRuUbBfF]{1,2}(?=['\"])")
_POINT_TAG = re.compile(
    r"<\|?(?:box_start|point|bbox|box)\|?>[\s0-9.,()\[\]eE+-]*+(?:<(?:/(?:point|bbox|box)|\|box_end\|)>)?"
)
_TOKENS = {quote: re.compile(rf"\\.|{quote}|\n\s*+", re.DOTALL) for quote in _CLOSING.values()}
# What may follow the quote that closes a text: the next argument, the end of the call and then of the line or the bar
# before a forecast's instruction, another call, or the end of the reply. `weak` is a closing parenthesis with other
# text behind it.
_CLOSE = re.compile(
    rf"\s*+(?:,\s*+(?:{'|'.join(sorted(_ARGUMENT_NAMES))})\s*+="
    rf"|(?:,\s*+)?\)[ \t]*+(?:\Z|[\r\n#;<`|]|,?[ \t]*+{_BOUNDARY})|\Z)"
    rf"|[ \t]*+\r?\n\s*+{_BOUNDARY}|(?P<weak>\s*+\))"
)
_NEXT_UNNAMED = re.compile(r"\s*+,\s*+['\"\u2018\u201c\[{]")  # what may follow an unnamed text: hotkey('ctrl', 'c')
_MAX_AFTER_WEAK = 2000  # how far to look for a better end; keeps a reply of many such calls linear
_END = re.compile(r"\s*+\)\s*+\Z")


@dataclass(frozen=True, slots=True)
class RawCall:
    """A call as the model wrote it: verb, named arguments (str, number, list, dict or None), unnamed ones in order."""

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    positional: tuple[Any, ...] = ()


def scan_call(text: str, start: int = 0) -> tuple[RawCall | None, int, str | None]:
    """The call at `start` (white space before it is skipped), the position after it, and None or what is wrong.

    A text may hold unescaped apostrophes, newlines, parentheses and "Action:": a quote closes it only where the next
    argument, the end of the call or the end of the reply follows. A closing quote or parenthesis may be missing after
    a point that is complete, and a parenthesis at the end of a line; a text without its closing quote is an error,
    since half of it may be missing. So are a name given twice and, as in Python, an unnamed argument after a named one:
    one of them would be dropped in silence.

    Args:
        text: model text of any length; read once, from left to right.
        start: where the call begins.

    Returns:
        (call, position after it, None), or (None, position of the fault, reason).

    >>> scan_call("type(content='it's ok') # done")
    (RawCall(name='type', args={'content': "it's ok"}, positional=()), 23, None)
    >>> scan_call("no call")
    (None, 0, 'no call `name(...)` found')
    """
    head = _HEAD.match(text, start)
    if head is None:
        return None, start, "no call `name(...)` found"
    try:
        args, positional, end = _scan_arguments(text, head.end())
    except MalformedError as problem:
        return None, problem.position, str(problem)
    return RawCall(head["name"], args, tuple(positional)), end, None


def _scan_arguments(text: str, position: int) -> tuple[dict[str, Any], list[Any], int]:
    args: dict[str, Any] = {}
    positional: list[Any] = []
    while True:
        position = skip_space(text, position)
        if position >= len(text):
            raise MalformedError(position, "the call is cut off")
        if text[position] == ")":
            return args, positional, position + 1
        key = _KEY.match(text, position)
        name = key["name"].lower() if key else None
        if name in args:
            raise MalformedError(position, f"{shown(name)} is given twice")
        if name is None and args:
            raise MalformedError(position, f"an argument without a name after {shown(next(reversed(args)))}")
        value, position = _scan_value(text, key.end() if key else position, name)
        if name is None:
            positional.append(value)
        else:
            args[name] = value
        after = skip_space(text, position)
        if after >= len(text):
            return args, positional, after
        if text[after] == ")":
            return args, positional, after + 1
        if text[after] == ",":
            position = after + 1
        elif "\n" in text[position:after] or text[after] in "#;<`":
            return args, positional, position
        elif after > position and (key := _KEY.match(text, after)) and key["name"].lower() in _ARGUMENT_NAMES:
            position = after  # a forgotten comma
        else:
            label = name or f"argument {len(positional)}"
            raise MalformedError(after, f"expected , or ) after {label}, found {shown(text[after : after + 20])}")


def _scan_value(text: str, position: int, name: str | None) -> tuple[Any, int]:
    char = text[position : position + 1]
    if char in _CLOSING:
        return _scan_point_text(text, position) if name in POINT_NAMES else _scan_text(text, position, name)
    if char and char in "[({":
        return read_literal(text, position)
    if tag := _POINT_TAG.match(text, position):
        return tag[0], tag.end()
    if prefix := _STRING_PREFIX.match(text, position):
        return _scan_text(text, prefix.end(), name, is_raw="r" in prefix[0].lower())
    bare = _BARE.match(text, position)
    word = bare[0].strip()
    if not word:
        raise MalformedError(position, f"{name or 'an argument'} has no value")
    return (None if word in ("None", "null") else word), bare.end()


def _scan_point_text(text: str, position: int) -> tuple[str, int]:
    """Coordinates between quotes; they hold no quotes themselves, so the first one or the line's end closes them."""
    coordinates = _COORDINATES.match(text, skip_space(text, position + 1))
    value, end = coordinates[0].strip(), coordinates.end()
    if end < len(text) and text[end] != "\n":
        return value, end + 1
    if not value.endswith((">", ")", "]")):
        raise MalformedError(position, "the coordinates are cut off")
    return value, end


def _scan_text(text: str, position: int, name: str | None, is_raw: bool = False) -> tuple[str, int]:
    quote = _CLOSING[text[position]]
    triple = quote * 3
    if text.startswith(triple, position) and (end := text.find(triple, position + 3)) >= 0:
        return _decode(text[position + 3 : end], is_raw), end + 3
    start = position + 1
    weak = last_resort = None
    for token in _TOKENS[quote].finditer(text, start):
        if weak is not None and token.start() > weak + _MAX_AFTER_WEAK:
            break
        if token[0] == quote:
            close = _CLOSE.match(text, token.end())
            if (close and close["weak"] is None) or (name is None and _NEXT_UNNAMED.match(text, token.end())):
                return _decode(text[start : token.start()], is_raw), token.end()
            if close and weak is None:
                weak = token.start()
        elif token[0][0] == "\n":
            if _NEXT_CALL.match(text, token.end()):
                break  # the text would swallow the next call
        elif token[0][1] == quote and _END.match(text, token.end()):
            last_resort = token.start() + 1  # 'C:\') : the quote looks escaped, but nothing else closes the text
    end = weak if weak is not None else last_resort
    if end is None:
        raise MalformedError(position, "a quote is never closed")
    return _decode(text[start:end], is_raw), end + 1


def _decode(text: str, is_raw: bool) -> str:
    return text if is_raw else unescape(text)
