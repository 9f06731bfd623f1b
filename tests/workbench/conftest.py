"""The running app, a browser, and a planner that knows the way, for the workbench's tests."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import httpx
import PIL.Image
import pytest

from executors.actions import Action
from executors.geometry import ImageSize, PointNorm
from executors.simulator import make_task, record_episode
from executors.trajectory import Observation, Step, Trajectory, write_trajectories
from tests.support import require_program
from training.planner import ReplayPlanner

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE, SPLIT = "alarm_on", "train"
PATIENCE_MS = 120_000
"""Longest wait for something on a page; a machine with other work to do needs it."""
START_SECONDS = 600
"""Longest wait for an answer; a machine with other work to do needs it."""


def oracle_trajectories(*seeds: int) -> list[Trajectory]:
    """The oracle's way through the tasks that these tests use."""
    return [record_episode(make_task(TEMPLATE, SPLIT, seed)) for seed in seeds]


@pytest.fixture(scope="session")
def oracle_planner() -> ReplayPlanner:
    """Forecasts what the oracle did on the tasks of seeds 0 to 2."""
    return ReplayPlanner.of_trajectories(oracle_trajectories(0, 1, 2))


@pytest.fixture(scope="session")
def recorded() -> Trajectory:
    """A recording with desktop screenshots of an odd size and without element trees."""
    steps = []
    for number, x in enumerate((0.25, 0.5, 0.75)):
        image = PIL.Image.new("RGB", (1276, 718), (40 * number, 90, 120))
        seen = Observation(image_size=ImageSize(1276, 718), image=image, summary=f"Screen {number}")
        action = Action(type="click", point=PointNorm(x, 0.5))
        steps.append(Step(observation=seen, action=action, instruction=f"tap {x}"))
    return Trajectory(
        id="desk", goal="Look at <b>three</b> screens.", steps=tuple(steps), source="made for tests", platform="desktop"
    )


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory, recorded: Trajectory) -> Path:
    """A data folder with the oracle's recordings and the desktop recording."""
    folder = tmp_path_factory.mktemp("data")
    write_trajectories(folder / "oracle.jsonl", oracle_trajectories(0, 1, 2))
    write_trajectories(folder / "desk.jsonl", [recorded])
    return folder


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_app(*args: str, store: Path, port: int = 0) -> tuple[subprocess.Popen, str, float]:
    """The app in a process of its own over this store, its address, and the seconds until it answered."""
    port = port or free_port()
    folders = ["--store", str(store), "--runs", str(store / "runs")]
    command = [sys.executable, "app.py", "--port", str(port), *folders, *args]
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    url = f"http://localhost:{port}"
    while time.monotonic() - started < START_SECONDS:
        if process.poll() is not None:
            pytest.fail(f"the app ended: {process.stdout.read()}")
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return process, url, time.monotonic() - started
        except httpx.HTTPError:
            time.sleep(0.1)
    process.kill()
    pytest.fail(f"the app did not answer within {START_SECONDS} s")


@pytest.fixture(scope="session")
def server(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running app whose planner knows the tests' tasks."""
    store = tmp_path_factory.mktemp("store")
    planner = f"replay:{data_root / 'oracle.jsonl'}"
    process, url, _ = start_app("--planner", planner, "--data", str(data_root), store=store)
    yield url
    process.terminate()
    process.wait(timeout=20)


class ModelServer:
    """An OpenAI-compatible server that gives one answer, once its gate is open."""

    def __init__(self, answer: str) -> None:
        self.answer, self.gate = answer, threading.Event()
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.asked += 1
                self.rfile.read(int(self.headers["content-length"]))
                outer.gate.wait(60)
                message = {"role": "assistant", "content": outer.answer}
                body = json.dumps({"id": "x", "object": "chat.completion", "created": 0, "model": "slow",
                                   "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
                with contextlib.suppress(OSError):  # the app may have hung up
                    self.send_response(200)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.gate.set()
        self.http.shutdown()


@pytest.fixture
def slow_model() -> Iterator[ModelServer]:
    """A model that always waits, and answers only when the test lets it."""
    server = ModelServer("1. wait() | wait a moment\n2. wait() | wait more")
    yield server
    server.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """The system's Chromium."""
    path = require_program("chromium", "chromium-browser", "google-chrome")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser) -> Iterator[object]:
    """Opens pages; at the end the test fails on console errors and on requests that leave the machine."""
    problems: list[str] = []
    contexts = []

    def open_page(url: str, **options: object):
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(_LEAVE_QUIETLY)
        page = context.new_page()
        page.on("console", lambda m: problems.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(f"page error: {error.stack or error}"))
        page.on("request", lambda request: problems.append(f"left: {request.url}") if _leaves(request.url) else None)
        page.goto(url)
        return page

    yield SimpleNamespace(open=open_page, problems=problems)
    for context in contexts:
        context.close()
    assert problems == []


# A page that is left breaks off its requests, and Gradio's client reports each as an error.
_LEAVE_QUIETLY = "addEventListener('beforeunload', () => { console.error = () => {}; })"


def _leaves(url: str) -> bool:
    return not url.startswith(("http://localhost:", "data:", "blob:", "file:"))
