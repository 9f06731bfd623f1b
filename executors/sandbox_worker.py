"""What runs inside the sandbox: one Python process that answers requests over a socket, one JSON object to a line.

    {"code": text, "tools": {name: [argument, ...]}}      runs model-written code; its variables stay for the next
    {"function": "module:name", "arguments": {...}}       calls a function of this project

While code runs it may ask for a tool with {"call": name, "arguments": {...}}; the answer is {"value": ...} or
{"error": text}. The end is {"done": true, "error": text or null, "value": ..., "answer": text or null}. What is printed
goes to standard output, which the other side reads. This file is started by path and imports the standard library only,
so that a process is ready soon. Nothing here is a boundary: code can change all of it; the limits are the kernel's.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import linecache
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

_MAX_TRACEBACK_LINES = 20


class FinalAnswer(BaseException):
    """Raised by `final_answer` in the code: the episode ends with this text."""


class Channel:
    """The socket to the other side; one question at a time."""

    def __init__(self, fd: int) -> None:
        """Takes the socket with this number."""
        self._socket = socket.socket(fileno=fd)
        self._lines = self._socket.makefile("r", encoding="ascii")
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Sends one object; raises TypeError or ValueError when it is no JSON."""
        self._socket.sendall(json.dumps(message, allow_nan=False).encode("ascii") + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """The next object, or None when the other side is gone."""
        line = self._lines.readline()
        return json.loads(line) if line else None

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Sends one object and waits for the answer to it."""
        with self._lock:
            self.send(message)
            return self.receive() or {"error": "the other side is gone"}


def apply_limits(limits: dict[str, int], user: int | None) -> None:
    """Sets the kernel's limits for this process and all it starts, then gives up being root where it is."""
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        most = value + 1 if name == "CPU" else value  # at the soft limit SIGXCPU says what happened
        allowed = [(soft if hard == resource.RLIM_INFINITY else min(soft, hard)) for soft in (value, most)]
        resource.setrlimit(kind, (allowed[0], allowed[1]))
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)


def tool_stub(channel: Channel, name: str, names: list[str]) -> Callable[..., Any]:
    """A function that asks the other side for a tool; positional arguments get their names."""

    def stub(*args: Any, **arguments: Any) -> Any:
        if len(args) > len(names):
            raise TypeError(f"{name}() takes at most {len(names)} arguments, {len(args)} were given")
        for key, value in zip(names, args):
            if key in arguments:
                raise TypeError(f"{name}() got {key!r} twice")
            arguments[key] = value
        try:
            reply = channel.ask({"call": name, "arguments": arguments})
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(f"{name}() takes text, numbers, lists and dicts only ({error})") from None
        if reply.get("error") is not None:
            raise RuntimeError(reply["error"])
        return reply.get("value")

    stub.__name__ = name
    return stub


def final_answer(answer: Any = "") -> None:
    """Ends the episode with this answer."""
    raise FinalAnswer(str(answer))


def run_code(code: str, variables: dict[str, Any], label: str) -> dict[str, Any]:
    """Runs code in the episode's variables; returns the object that ends the request."""
    linecache.cache[label] = (len(code), None, code.splitlines(keepends=True), label)
    try:
        exec(compile(code, label, "exec"), variables)
    except FinalAnswer as answer:
        return {"done": True, "error": None, "answer": str(answer)}
    except BaseException as error:  # noqa: BLE001 - a named boundary: whatever the code raised is the reply
        return {"done": True, "error": describe(error, label)}
    return {"done": True, "error": None}


def describe(error: BaseException, label: str) -> str:
    """The traceback of the code's own lines, at most its last twenty."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == label]
    lines = "".join([*traceback.format_list(frames), *traceback.format_exception_only(error)]).splitlines()
    return "\n".join(lines[-_MAX_TRACEBACK_LINES:])


def call_function(path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Calls `module:name` of this project; an exception is the reply's error."""
    try:
        module, _, name = path.partition(":")
        return {"done": True, "error": None, "value": getattr(importlib.import_module(module), name)(**arguments)}
    except Exception as error:  # noqa: BLE001 - a named boundary: a tool that raises is recorded
        return {"done": True, "error": f"{type(error).__name__}: {error}"}


def end_leftovers() -> None:
    """Ends what the code started and left running; only inside its own process namespace."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """Answers requests until the other side closes the socket."""
    settings = json.loads(sys.argv[1])
    apply_limits(settings["limits"], settings["user"])
    os.chdir(settings["folder"])
    sys.path[:0] = settings["paths"]
    channel = Channel(settings["fd"])
    variables: dict[str, Any] = {"__name__": "__main__", "final_answer": final_answer}
    count, pid = 0, os.getpid()
    while (request := channel.receive()) is not None:
        if "code" in request:
            for name, names in request["tools"].items():
                variables.setdefault(name, tool_stub(channel, name, names))
            reply = run_code(request["code"], variables, f"<step {count}>")
            count += 1
            if os.getpid() != pid:
                os._exit(0)  # a child that the code forked ends with the code
        else:
            reply = call_function(request["function"], request["arguments"])
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stdout.flush()
            sys.stderr.flush()
        if settings["is_own_namespace"]:
            end_leftovers()
        try:
            channel.send(reply)
        except (TypeError, ValueError, RecursionError) as error:
            channel.send({"done": True, "error": f"the result cannot be sent ({error})"})


if __name__ == "__main__":
    main()
