"""The HTTP server of AndroidWorld's container: its tasks, its one phone, its judge.

The server answers nothing else than JSON; a failure inside it is status 500 without a reason. Screens are nested lists
of numbers, tens of megabytes each, read here by orjson.

Source: google-research/android_world, server/android_server.py (commit 90cf495), which says itself that it is
experimental.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from executors.android_world import read_pixels
from executors.errors import ExecutorError, InputError
from executors.trajectory import Observation

FAMILIES = ("android_world", "miniwob", "miniwob_subset", "android", "information_retrieval")


class AndroidWorldServer:
    """A client of one server; every failure is an ExecutorError with the boundary that it belongs to."""

    def __init__(self, url: str, *, timeout_seconds: float = 240.0) -> None:
        """Nothing is sent yet.

        Args:
            url: the server's root, such as "http://localhost:5000".
            timeout_seconds: longest silence; setting a task up takes minutes.

        Raises:
            InputError: the address is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"AndroidWorld server {url!r} is no address: give one such as http://localhost:5000")
        self.url = url.rstrip("/")
        self._client = httpx.Client(timeout=timeout_seconds, trust_env=False)

    def check(self) -> None:
        """Raises InputError when no AndroidWorld server answers there."""
        try:
            self._ask("reset", "GET", "/health")
        except ExecutorError as error:
            raise InputError(f"{self.url} is no ready AndroidWorld server ({error}): start its container") from None

    def make_suite(self, num_instances: int, seed: int, family: str) -> dict[str, int]:
        """Makes the tasks of a family anew; {task: number of its instances}, in the server's order.

        Args:
            num_instances: instances of each task, which differ in their values.
            seed: of these values; AndroidWorld's own runner takes 30.
            family: one of `FAMILIES`.
        """
        values = {"n_task_combinations": num_instances, "seed": seed, "task_family": family}
        self._ask("reset", "GET", "/suite/reinitialize", values)
        names = self._field("reset", "/suite/task_list", {"max_index": -1}, "task_list", list)
        return {
            str(name): self._field("reset", "/suite/task_length", {"task_type": name}, "length", int) for name in names
        }

    def start_task(self, name: str, index: int) -> str:
        """Sets the phone back, sets the task up, and returns its goal.

        The home screen comes first: a task may begin on a screen of its own.
        """
        self._ask("reset", "POST", "/reset", {"go_home": True})
        self._ask("reset", "POST", "/task/initialize", _task(name, index))
        return self._field("reset", "/task/goal", _task(name, index), "goal", str)

    def end_task(self, name: str, index: int) -> None:
        """Removes what the task has put on the phone."""
        self._ask("reset", "POST", "/task/tear_down", _task(name, index))

    def score(self, name: str, index: int) -> float:
        """The judge's score 0..1, without regard to whether the agent said that it is done."""
        found = self._field("judge", "/task/score", _task(name, index), "score", (int, float))
        if not 0 <= found <= 1:
            raise ExecutorError("judge", f"AndroidWorld judged {found!r}, which is no score 0..1")
        return float(found)

    def screen(self) -> Observation:
        """The screen once its elements have stopped changing, or after six seconds."""
        values = {"wait_to_stabilize": True}
        return read_pixels(self._field("observe", "/screenshot", values, "pixels", list))

    def act(self, action: dict[str, Any]) -> None:
        """Carries out one action in AndroidWorld's JSON form."""
        self._ask("execute", "POST", "/execute_action", body=action)

    def close(self) -> None:
        """Closes the connection; the server stays."""
        self._client.close()

    def _field(self, boundary: str, path: str, values: dict[str, Any], name: str, kind: Any) -> Any:
        found = self._ask(boundary, "GET", path, values).get(name)
        if not isinstance(found, kind) or isinstance(found, bool):
            raise ExecutorError(boundary, f"AndroidWorld's {path} gave no {name} but {_short(found)}")
        return found

    def _ask(
        self, boundary: str, method: str, path: str, values: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        try:
            answer = self._client.request(method, self.url + path, params=values, json=body)
        except httpx.TimeoutException:
            raise ExecutorError(boundary, f"AndroidWorld's {path} did not answer in time") from None
        except httpx.HTTPError as error:
            raise ExecutorError(boundary, f"AndroidWorld's {path} broke off ({error})") from None
        if answer.status_code != 200:
            raise ExecutorError(
                boundary, f"AndroidWorld's {path} failed (status {answer.status_code}: {_short(answer.text)})"
            )
        try:
            found = orjson.loads(answer.content)
        except orjson.JSONDecodeError as error:
            raise ExecutorError(boundary, f"AndroidWorld's {path} gave no JSON ({error})") from None
        if not isinstance(found, dict):
            raise ExecutorError(boundary, f"AndroidWorld's {path} gave no object but {_short(found)}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneAtServer:
    """The server's phone with one task."""

    server: AndroidWorldServer
    name: str
    index: int

    def start(self) -> str:
        """Sets the task up and returns its goal."""
        return self.server.start_task(self.name, self.index)

    def look(self) -> Observation:
        """The screen; the server gives no elements."""
        return self.server.screen()

    def act(self, action: dict[str, Any]) -> None:
        """Carries out one action."""
        self.server.act(action)

    def score(self) -> float:
        """The judge's score 0..1."""
        return self.server.score(self.name, self.index)


def _task(name: str, index: int) -> dict[str, Any]:
    return {"task_type": name, "task_idx": index}


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 120 else text[:119] + "…"
