"""Model text -> actions, without `eval`: what a model writes is data, and a bad reply is a `ParseResult` with a reason.

    literals.py   JSON-like values, leniently read: trailing commas, single quotes, Python's True and None
    calls.py      one call `name(args...)`, quotes and brackets respected, as a `RawCall`
    build.py      a `RawCall` in a family's frame -> an `Action` or a reason
    replies.py    a whole reply: thought, calls, tool calls -> a `ParseResult`
    code_form.py  T3-Agent's Thought / Code form -> the same `ParseResult`

Every part runs in time linear in the text, for a reply of any size.
"""

from executors.parsing.build import build_action
from executors.parsing.calls import RawCall, scan_call, unescape
from executors.parsing.replies import ParseResult, parse_reply

__all__ = ["ParseResult", "RawCall", "build_action", "parse_reply", "scan_call", "unescape"]
