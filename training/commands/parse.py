"""`tracer1 parse`: model replies on standard input -> their actions, one JSON object per reply."""

from __future__ import annotations

import argparse
import json
import re
import sys

from executors.actions import Action, format_call
from executors.errors import InputError
from executors.geometry import FAMILIES, ImageSize, get_family
from executors.parsing import ParseResult, parse_reply

HELP = "read model replies from standard input and print the actions they hold"

_SEPARATOR = re.compile(r"^---[ \t]*\r?(?:\n|\Z)", re.MULTILINE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's options."""
    parser.description = (
        "Reads replies from standard input, separated by NUL characters if there is one, else by lines that hold "
        "only '---'. A reply that cannot be read is printed with its reason; it is no error of the command."
    )
    parser.add_argument("--family", required=True, help=f"whose coordinates: {', '.join(FAMILIES)}")
    parser.add_argument("--image-size", metavar="WxH", help="the screenshot's size in pixels, such as 1920x1080")
    parser.add_argument("--json", action="store_true", help="print one JSON object per reply")


def run(args: argparse.Namespace) -> int:
    """Prints what each reply holds; 0 whether or not the replies could be read.

    Raises:
        InputError: unknown family, or an image size that is missing, garbled or not possible for the family.
    """
    family = get_family(args.family)
    if args.image_size is None and family.scale is None:
        raise InputError(f"--image-size is missing: {family.name} counts pixels of the resized image, give WxH")
    image = None if args.image_size is None else ImageSize.parse(args.image_size)
    for number, reply in enumerate(split_replies(_read_stdin()), start=1):
        result = parse_reply(reply, family=family, image=image)
        print(json.dumps(to_record(result), allow_nan=False) if args.json else _describe(number, result))
    return 0


def _read_stdin() -> str:
    if sys.stdin is None:
        raise InputError("standard input is closed: pipe the replies into the command, or write < FILE")
    buffer = getattr(sys.stdin, "buffer", None)
    text = sys.stdin.read() if buffer is None else buffer.read().decode("utf-8", errors="replace")
    return text.removeprefix("\ufeff")


def split_replies(text: str) -> list[str]:
    """The replies of a text: split at NUL characters if it holds one, else at lines that hold only "---".

    A separator at the very end ends the last reply and opens no empty one; an empty text is one empty reply.

    >>> split_replies("a\\n---\\nb\\n---\\n")
    ['a\\n', 'b\\n']
    """
    replies = text.split("\0") if "\0" in text else _SEPARATOR.split(text)
    if len(replies) > 1 and not replies[-1].strip():
        replies.pop()
    return replies


def to_record(result: ParseResult) -> dict[str, object]:
    """The JSON object of a result: ok, reason, actions, kind, thought."""
    return {
        "ok": result.ok,
        "reason": result.reason,
        "actions": [action.to_json() for action in result.actions],
        "kind": result.kind,
        "thought": result.thought,
    }


def _describe(number: int, result: ParseResult) -> str:
    if not result.ok:
        return f"reply {number}: {result.kind} failure: {result.reason}"
    return "\n".join([f"reply {number}: {len(result.actions)} action(s)", *map(_describe_action, result.actions)])


def _describe_action(action: Action) -> str:
    return "  " + format_call(action).encode("ascii", errors="backslashreplace").decode("ascii")
