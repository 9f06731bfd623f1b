"""JSON-like values in model text, leniently read and never evaluated."""

from __future__ import annotations

import json
import re
from json.decoder import scanstring
from typing import Any

MAX_DEPTH = 40
"""Levels of nesting; no real action needs more than five."""

_MAX_INT_DIGITS = 300  # longer whole numbers become infinity, which every reader of a number refuses

_SPACE = re.compile(r"\s*+")
_NUMBER = re.compile(r"[-+]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][-+]?[0-9]++)?(?![\w.])")
_WORD = re.compile(r"[-+]?[A-Za-z_][\w.-]*+")
_WORDS = {
    "true": True, "false": False, "null": None, "none": None,
    "nan": float("nan"), "infinity": float("inf"), "-infinity": float("-inf"), "inf": float("inf"),
    "-inf": float("-inf"),
}  # fmt: skip
# A single-quoted string ends at a quote before a delimiter, so that an apostrophe inside it is a letter.
_STRING_END = {
    "'": re.compile(r"\\.|'(?=\s*+(?:[,:}\])]|\Z))", re.DOTALL),
    '"': re.compile(r'\\.|"', re.DOTALL),
}

_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "x0a": "\n", "x09": "\t", "x0d": "\r",
}  # fmt: skip
_NAME = r"""[^\s\\'"<>|?*:]++"""
_COMPONENT = rf"\\(?!x0[9ad]|[ntr](?:\Z|[\s\\]))(?:{_NAME}(?:[ ]{_NAME}){{1,2}}(?=\\)|{_NAME})"
_ESCAPE = re.compile(
    rf"(?P<path>(?:(?<![A-Za-z0-9])|(?<=\\[ntr]))[C-Zc-z]:(?:{_COMPONENT})+)|\\(?P<escape>x0[9ad]|.)", re.DOTALL
)


class MalformedError(Exception):
    """Model text that could not be read at `position`; caught inside this package."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position


def skip_space(text: str, position: int) -> int:
    """The first position from `position` on that is not white space."""
    return _SPACE.match(text, position).end()


def unescape(text: str) -> str:
    r"""The text between two quotes of a call, with its backslash escapes resolved; the inverse of `actions.quote`.

    Escapes are \\ \' \" \n \t \r and \x0a \x09 \x0d; any other backslash stays (`\d` is two characters). Models often
    write Windows paths without doubling the backslash, so after a drive from C: to Z: whose next backslash is single,
    the backslashes of the path are letters: 'C:\new' is a folder. The path ends at white space (one or two spaces are
    allowed inside a component that another one follows, as in `Program Files`), a quote or a lone n, t or r, so a
    trailing \n still submits. `quote` doubles backslashes and writes a newline after a drive as \x0a, so its output
    never looks like such a path.

    Source: escapes of the UI-TARS prompts (\' \" \n); UI-TARS itself reads 'C:\new' as a newline.

    >>> unescape(r"C:\new") == r"C:\new", unescape(r"abc\n") == "abc\n"
    (True, True)
    """
    return _ESCAPE.sub(_resolve, text) if "\\" in text else text


def _resolve(match: re.Match[str]) -> str:
    if match["path"] is not None:
        return match["path"]
    return _ESCAPES.get(match["escape"], match[0])


def read_literal(text: str, position: int, depth: int = 0) -> tuple[Any, int]:
    """The value that starts at `position` and the position after it.

    JSON, plus single quotes, trailing commas, tuples, True/False/None and unquoted keys. A `}` may be missing where
    the reply ends or a closing tag follows, since models drop the last one; numbers that overflow become infinity.

    Raises:
        MalformedError: the text is none of these or nests deeper than `MAX_DEPTH`.
    """
    if depth > MAX_DEPTH:
        raise MalformedError(position, f"values nest more than {MAX_DEPTH} levels deep")
    position = skip_space(text, position)
    char = text[position : position + 1]
    if char == "{":
        return _read_object(text, position + 1, depth)
    if char in ("[", "("):
        return _read_list(text, position + 1, "]" if char == "[" else ")", depth)
    if char in ("'", '"'):
        return read_string(text, position)
    if number := _NUMBER.match(text, position):
        return _to_number(number[0]), number.end()
    word = _WORD.match(text, position)
    if word and word[0].lower() in _WORDS:
        return _WORDS[word[0].lower()], word.end()
    raise MalformedError(position, f"expected a value, found {shown(text[position : position + 20])}")


def _to_number(token: str) -> int | float:
    if len(token) <= _MAX_INT_DIGITS and token.lstrip("+-").isdecimal():
        return int(token)
    return float(token)


def read_string(text: str, position: int) -> tuple[str, int]:
    """The quoted string that starts at `position` and the position after its closing quote."""
    if text[position] == '"':
        try:
            return scanstring(text, position + 1, False)
        except (json.JSONDecodeError, ValueError):
            pass  # an escape that JSON does not have, or no closing quote: the lenient rule below tells them apart
    start, ends = position + 1, _STRING_END[text[position]]
    for token in ends.finditer(text, start):
        if not token[0].startswith("\\"):
            return unescape(text[start : token.start()]), token.end()
    raise MalformedError(position, "a quote is never closed")


def _read_list(text: str, position: int, closer: str, depth: int) -> tuple[list[Any], int]:
    values: list[Any] = []
    while True:
        position = skip_space(text, position)
        if text.startswith(closer, position):
            return values, position + 1
        value, position = read_literal(text, position, depth + 1)
        values.append(value)
        position = _skip_comma(text, position, closer)


def _read_object(text: str, position: int, depth: int) -> tuple[dict[str, Any], int]:
    values: dict[str, Any] = {}
    while True:
        position = skip_space(text, position)
        if text.startswith("}", position):
            return values, position + 1
        if values and _is_missing_brace(text, position):
            return values, position
        key, position = _read_key(text, position)
        position = skip_space(text, position)
        if not text.startswith(":", position):
            raise MalformedError(position, f"expected : after the key {shown(key)}")
        values[key], position = read_literal(text, position + 1, depth + 1)
        position = _skip_comma(text, position, "}")


def _read_key(text: str, position: int) -> tuple[str, int]:
    if text[position : position + 1] in ("'", '"'):
        return read_string(text, position)
    word = _WORD.match(text, position)
    if word is None:
        raise MalformedError(position, f"expected a key, found {shown(text[position : position + 20])}")
    return word[0], word.end()


def _is_missing_brace(text: str, position: int) -> bool:
    if position < len(text):
        return text.startswith(("</", "```"), position)
    return text.rstrip()[-1] in "]}\"'"  # a number or word at the very end may have been cut


def _skip_comma(text: str, position: int, closer: str) -> int:
    position = skip_space(text, position)
    if text.startswith(",", position):
        return position + 1
    if text.startswith(closer, position) or (closer == "}" and _is_missing_brace(text, position)):
        return position
    raise MalformedError(position, f"expected , or {closer}, found {shown(text[position : position + 20])}")


def shown(value: object, limit: int = 60) -> str:
    """`repr` of a value for a reason, cut to `limit` characters; safe to print whatever the model wrote."""
    if isinstance(value, str) and len(value) > limit:
        return ascii(value[:limit]) + "..."
    text = ascii(value)
    return text if len(text) <= limit else text[:limit] + "..."
