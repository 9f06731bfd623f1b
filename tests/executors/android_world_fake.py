"""A server with the contract of AndroidWorld's (server/android_server.py), and faults that a test asks for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

WIDTH, HEIGHT = 36, 80
ACTIONS = {"click", "double_tap", "scroll", "swipe", "input_text", "navigate_home", "navigate_back", "keyboard_enter",
           "open_app", "status", "wait", "long_press", "answer", "unknown"}  # fmt: skip
FIELDS = {"action_type", "index", "x", "y", "text", "direction", "goal_status", "app_name", "keycode", "clear_text"}


class Server(ThreadingHTTPServer):
    """One phone. A task is fulfilled when its word was typed ("type WORD") or answered ("answer WORD").

    `faults` maps a path to (status, text), seconds to wait, or a JSON value that is answered instead; `faults_of` does
    so for a task that is set up. `requests` are (method, path, values, body) of all that was asked.
    """

    daemon_threads = True

    def __init__(self, goals: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.goals, self.num_instances = goals, 2
        self.faults: dict[str, Any] = {}
        self.faults_of: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.actions: list[dict[str, Any]] = []
        self.interaction_cache, self.task, self.is_rotated = "", "", False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, method: str, path: str, values: dict[str, str], body: Any) -> Any:
        """What the real server answers; KeyError and ValueError become its status 500."""
        match method, path:
            case "GET", "/health":
                return {"status": "success"}
            case "POST", "/reset":
                assert values["go_home"] in ("true", "false")
                self.actions, self.interaction_cache, self.task, self.is_rotated = [], "", "", False
            case "GET", "/suite/reinitialize":
                self.num_instances = int(values["n_task_combinations"])
                assert values["seed"].isdigit() and values["task_family"]
            case "GET", "/suite/task_list":
                names = list(self.goals)
                last = int(values["max_index"])
                return {"task_list": names if not 0 <= last <= len(names) else names[:last]}
            case "GET", "/suite/task_length":
                return {"length": self.num_instances if values["task_type"] in self.goals else 1 / 0}
            case "POST", "/task/initialize":
                self.task = self._goal(values)
            case "POST", "/task/tear_down":
                self._goal(values)
                self.task = ""
            case "GET", "/task/goal":
                return {"goal": self._goal(values)}
            case "GET", "/task/score":
                return {"score": self._score(self._goal(values))}
            case "GET", "/screenshot":
                assert values["wait_to_stabilize"] in ("true", "false")
                color = [len(self.actions) % 256, 0, 90]
                width, height = (HEIGHT, WIDTH) if self.is_rotated else (WIDTH, HEIGHT)
                return {"pixels": [[color] * width] * height}
            case "POST", "/execute_action":
                self._execute(body)
            case _:
                raise KeyError(path)
        return {"status": "success", "message": "done"}

    def _goal(self, values: dict[str, str]) -> str:
        if int(values["task_idx"]) >= self.num_instances:
            raise KeyError(values["task_idx"])
        return self.goals[values["task_type"]]

    def _execute(self, action: dict[str, Any]) -> None:
        if action["action_type"] not in ACTIONS or set(action) - FIELDS or ("index" in action and "x" in action):
            raise ValueError(f"Invalid action: {action}")
        if action["action_type"] == "answer":
            self.interaction_cache = action["text"]
            return
        self.actions.append(action)
        self.is_rotated = self.is_rotated or action.get("app_name") == "wide"

    def _score(self, goal: str) -> float:
        kind, _, word = goal.partition(" ")
        if kind == "answer":
            return float(self.interaction_cache == word)
        return float(any(action.get("text") == word for action in self.actions))


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def _respond(self) -> None:
        parts = urlsplit(self.path)
        values = dict(parse_qsl(parts.query))
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.requests.append((self.command, parts.path, values, body))
        faults = {**self.server.faults, **self.server.faults_of.get(values.get("task_type", ""), {})}
        fault = faults.get(parts.path)
        if isinstance(fault, float):
            time.sleep(fault)
        if isinstance(fault, tuple):
            self._send(*fault)
            return
        try:
            found = self.server.answer(self.command, parts.path, values, body)
        except (KeyError, ValueError, ZeroDivisionError):
            self._send(500, "Internal Server Error")
            return
        self._send(200, json.dumps(found if fault is None or isinstance(fault, float) else fault))

    do_GET = do_POST = _respond

    def _send(self, status: int, text: str) -> None:
        data = text.encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            pass  # the client gave up waiting

    def log_message(self, *_args: object) -> None:
        pass


@contextmanager
def serve(goals: dict[str, str]) -> Iterator[Server]:
    """A running server on a free port of this machine."""
    server = Server(goals)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
