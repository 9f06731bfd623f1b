"""Episodes whose parts fail for real: each ends with a recorded reason, within its time limits, and leaves nothing."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest

from executors.actions import Action
from executors.android import AndroidExecutor
from executors.browser import BrowserExecutor
from executors.desktop import DesktopExecutor
from executors.executor import Executor
from executors.geometry import ImageSize, PointNorm
from executors.permission import allow_real_devices, forbid_real_devices
from executors.simulator import SimulatorExecutor, make_task
from executors.vision_agents import GROUNDERS, VisionAgent
from tests.executors.test_android import adb, daemon  # noqa: F401
from tests.executors.xvfb import start_xvfb
from tests.support import require_program
from training.config import ForecastConfig
from training.episode_record import EpisodeRecord, StopReason
from training.forecast import Forecast, ForecastStep
from training.plan_act import Episode
from training.planner import OpenAIPlanner, PlanRequest

pytest.importorskip("playwright")

CLICK = Forecast(steps=(ForecastStep(action=Action(type="click", point=PointNorm(0.5, 0.5)), instruction="click it"),))
WORDS_ONLY = Forecast(steps=(ForecastStep(action=Action(type="click"), instruction="click it"),))


class Clicks:
    """A planner that breaks something at its second forecast, then goes on as if nothing had happened."""

    name, config = "clicks", ForecastConfig()

    def __init__(self, break_it: Callable[[], None], forecast: Forecast = CLICK) -> None:
        self._break_it, self._forecast, self._num_asked = break_it, forecast, 0

    def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
        self._num_asked += 1
        if self._num_asked == 2:
            self._break_it()
        return [self._forecast for _ in requests]


def run(executor: Executor, planner: object, limit_seconds: float, **options: object) -> EpisodeRecord:
    """The episode's record; it took no longer than the limit."""
    started = time.monotonic()
    record = Episode(executor, planner, goal="Click it.", max_steps=8, **options).run()
    executor.close()
    assert time.monotonic() - started < limit_seconds
    return record


def assert_broke_off(record: EpisodeRecord, boundaries: set[str], words: str) -> None:
    """The first step was done; then failures were recorded with their boundary, and ended it."""
    assert record.stop_reason is StopReason.EXECUTOR_ERROR
    assert record.steps[0].error is None
    assert record.num_errors >= 1 and words in " ".join(record.errors)
    assert record.steps[1].boundary in boundaries and record.steps[1].error


@pytest.fixture
def page(tmp_path) -> str:
    require_program("chromium", "chromium-browser")
    (tmp_path / "page.html").write_text("<!doctype html><title>A page</title><button>Press</button>")
    return (tmp_path / "page.html").as_uri()


def browser_processes(executor: BrowserExecutor) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if executor._mark in (p.info["cmdline"] or [])]


def test_browser_that_is_killed_ends_the_episode_and_leaves_no_process(page):
    executor = BrowserExecutor(page, size=ImageSize(320, 240), settle_seconds=0.0, time_limit_seconds=20.0)

    def kill() -> None:
        for process in browser_processes(executor):
            process.kill()

    record = run(executor, Clicks(kill), 60.0)
    assert_broke_off(record, {"execute", "observe"}, "browser")
    assert browser_processes(executor) == []


@pytest.fixture
def permitted(monkeypatch) -> Iterator[None]:
    monkeypatch.delenv("SPACE_ID", raising=False)
    allow_real_devices()
    yield
    forbid_real_devices()


def test_display_that_goes_ends_the_episode(permitted):
    server, name = start_xvfb()
    executor = DesktopExecutor(display=name, settle_seconds=0.0, time_limit_seconds=5.0)

    def kill() -> None:
        server.kill()
        server.wait(timeout=10)

    assert_broke_off(run(executor, Clicks(kill), 40.0), {"execute", "observe"}, "desktop")


def test_adb_server_that_is_killed_is_a_recorded_failure_and_the_episode_goes_on(adb, daemon, permitted):  # noqa: F811
    executor = AndroidExecutor(daemon.serial, settle_seconds=0.0, time_limit_seconds=10.0)

    def kill() -> None:
        for process in psutil.process_iter(["cmdline"]):
            if f"tcp:{adb}" in (process.info["cmdline"] or []):
                process.kill()

    record = run(executor, Clicks(kill), 90.0)
    assert record.stop_reason is StopReason.MAX_STEPS  # adbutils starts the server again, and the phone is found again
    assert record.num_errors >= 1 and record.steps[1].boundary in ("execute", "observe")
    assert record.steps[-1].error is None


class Broken(BaseHTTPRequestHandler):
    """A model server that answers as its server's `way` says; the first `num_good` answers are whole."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        server: BrokenServer = self.server
        server.num_asked += 1
        way = "good" if server.num_asked <= server.num_good else server.way
        text = {"choices": [{"message": {"role": "assistant", "content": server.reply}, "finish_reason": "stop"}]}
        body = json.dumps(text).encode()
        if way == "slow":
            server.released.wait(30)
            return
        self.send_response(500 if way == "500" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if way == "cut" else body)
        if way == "cut":
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_args: object) -> None:
        pass


class BrokenServer(ThreadingHTTPServer):
    """Counts what it is asked; see `Broken`."""

    daemon_threads = True

    def __init__(self, way: str, reply: str, num_good: int) -> None:
        super().__init__(("127.0.0.1", 0), Broken)
        self.way, self.reply, self.num_good, self.num_asked = way, reply, num_good, 0
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@pytest.fixture
def serve() -> Iterator[Callable[..., BrokenServer]]:
    servers: list[BrokenServer] = []

    def start(way: str, reply: str, num_good: int = 1) -> BrokenServer:
        servers.append(BrokenServer(way, reply, num_good))
        return servers[-1]

    yield start
    for server in servers:
        server.released.set()
        server.shutdown()
        server.server_close()


WAYS = ["500", "slow", "cut"]


@pytest.mark.parametrize("way", WAYS)
def test_planners_server_that_breaks_ends_the_episode(serve, way):
    server = serve(way, "1. scroll(direction='down') | scroll down")
    planner = OpenAIPlanner(server.url, "m", timeout_seconds=1.0, max_retries=1)
    record = run(SimulatorExecutor(make_task("alarm_on", "train", 0)), planner, 40.0)
    assert_broke_off(record, {"plan"}, "server")
    assert [step.boundary for step in record.steps[1:]] == ["plan"] * 3  # asked again, then given up
    assert server.num_asked == 1 + 3 * 2


@pytest.mark.parametrize("way", WAYS)
def test_tool_agents_server_that_breaks_ends_the_episode(serve, way):
    server = serve(way, "(500,500)")
    agent = VisionAgent(GROUNDERS["ui-tars-1.0"], server.url, "m", timeout_seconds=1.0, max_retries=1)
    numbered = iter(range(99))

    class NewWords(Clicks):
        def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
            step = replace(WORDS_ONLY.steps[0], instruction=f"click number {next(numbered)}")  # nothing is kept
            return [Forecast(steps=(step,)) for _ in requests]

    record = run(SimulatorExecutor(make_task("alarm_on", "train", 0)), NewWords(lambda: None), 40.0, tool_agent=agent)
    assert_broke_off(record, {"ground"}, "server")
    assert server.num_asked == 1 + 3 * 2
