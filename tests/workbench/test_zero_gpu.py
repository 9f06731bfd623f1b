"""The lent GPU of a ZeroGPU Space, with a stand-in for the package `spaces` and, where it is installed, with itself.

No machine of these tests is a ZeroGPU Space: what is tested is that forecasts are made in another process and come
back, and that the CPU makes them when that fails. CUDA itself is not.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gradio.context import LocalContext

from tests.training.planner_helpers import make_request
from training.config import ForecastConfig
from training.forecast import Forecast
from training.planner import PlanRequest, TransformersPlanner, load_planner
from workbench import zero_gpu
from workbench.asking import with_own_numbers
from workbench.episode_desk import EpisodeDesk
from workbench.episode_store import EpisodeSetup, EpisodeStore
from workbench.settings import SHIPPED_PLANNER, AppSettings
from workbench.ui import MAX_QUEUE, build_app
from workbench.zero_gpu import LentGpuPlanner, load_on_lent_gpu, on_gpu

ROOT = Path(__file__).resolve().parents[2]
ZERO_GPU = {"SPACES_ZERO_GPU": "true"}


def in_another_process(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """A stand-in for `spaces.GPU`: each call in a forked process, with arguments and result pickled."""
    assert options == {"duration": zero_gpu.MAX_SECONDS}

    def call(*args: Any) -> Any:
        fork = multiprocessing.get_context("fork")
        receiver, sender = fork.Pipe(duplex=False)
        given = pickle.dumps(args)
        process = fork.Process(target=lambda: sender.send((os.getpid(), function(*pickle.loads(given)))))
        process.start()
        pid, result = receiver.recv()
        process.join()
        calls.append((len(given), pid))
        return result

    calls = call.calls = []
    return call


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Puts this in the place of `spaces.GPU`, as if the app had started on ZeroGPU hardware."""

    def lend(gpu: Callable[..., Any]) -> Callable[..., Any]:
        monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=gpu))
        wrapped = on_gpu(zero_gpu._forecast_with_gpu, ZERO_GPU)
        monkeypatch.setattr(zero_gpu, "_forecast_on_gpu", wrapped)
        return wrapped

    return lend


@pytest.fixture(scope="module")
def on_cpu() -> TransformersPlanner:
    if not SHIPPED_PLANNER.is_dir():
        pytest.skip("there are no weights in assets/tiny_planner")
    return load_planner(str(SHIPPED_PLANNER))


def test_without_zero_gpu_nothing_is_wrapped_and_planners_are_the_ordinary_ones(on_cpu: TransformersPlanner) -> None:
    assert on_gpu(len, {}) is len and on_gpu(len, {"SPACES_ZERO_GPU": "false"}) is len
    assert type(load_on_lent_gpu(str(SHIPPED_PLANNER))) is TransformersPlanner


def test_the_real_package_leaves_functions_alone_elsewhere() -> None:
    spaces = pytest.importorskip("spaces", reason="the package spaces is not installed")
    assert spaces.GPU(len, duration=zero_gpu.MAX_SECONDS) is len


def test_without_the_package_zero_gpu_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "spaces", None)
    assert on_gpu(len, ZERO_GPU) is len
    assert "package spaces is missing" in caplog.text


def test_forecasts_are_made_in_the_process_that_has_the_gpu_and_weights_are_not_sent(lent, on_cpu) -> None:
    wrapped = lent(in_another_process)
    planner = load_on_lent_gpu(str(SHIPPED_PLANNER))
    assert isinstance(planner, LentGpuPlanner) and planner.config == on_cpu.config and planner.name == on_cpu.name
    assert planner.forecast([make_request()]) == on_cpu.forecast([make_request()])
    (short,) = with_own_numbers(planner, 1, None).forecast([make_request()])
    assert len(short.steps) == 1
    assert [pid != os.getpid() for _, pid in wrapped.calls] == [True, True]
    weights_bytes = sum(file.stat().st_size for file in SHIPPED_PLANNER.glob("*.safetensors"))
    assert all(num_bytes < weights_bytes / 10 for num_bytes, _ in wrapped.calls)


def test_where_no_gpu_is_to_be_had_the_cpu_forecasts_and_the_log_says_why(lent, on_cpu, caplog) -> None:
    def refuse(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            raise RuntimeError("You have exceeded your ZeroGPU quota")

        return call

    lent(refuse)
    assert load_on_lent_gpu(str(SHIPPED_PLANNER)).forecast([make_request()]) == on_cpu.forecast([make_request()])
    assert "exceeded your ZeroGPU quota" in caplog.text


def test_planners_that_compute_elsewhere_need_no_gpu(lent, tmp_path: Path) -> None:
    lent(in_another_process)
    example = ROOT / "assets" / "demo" / "episode.json"
    assert type(load_on_lent_gpu(f"replay:{example}")) is type(load_planner(f"replay:{example}"))


def test_an_episodes_forecast_knows_the_request_that_ordered_it(tmp_path: Path) -> None:
    asked_by = []

    class Recorder:
        name, config = "recorder", ForecastConfig()

        def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
            asked_by.append(LocalContext.request.get(None))
            return [Forecast(steps=(), reason="no reply", kind="structural") for _ in requests]

    desk = EpisodeDesk(EpisodeStore(tmp_path), tmp_path, lambda spec: Recorder())
    live = desk.live(desk.start(EpisodeSetup(task="alarm_on", split="train", seed=0)))
    before = LocalContext.request.set("visitor's request")
    live.forecast()
    LocalContext.request.reset(before)
    live.wait_idle(60)
    desk.close()
    assert asked_by == ["visitor's request"]


def test_zero_gpu_leaves_room_for_more_than_one_waiting_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")  # where Gradio's own choice is 1
    settings = AppSettings(planner="none", data_root=tmp_path, store_root=tmp_path, runs_root=tmp_path)
    assert build_app(settings, load=lambda path: None)._queue.max_size == MAX_QUEUE


class DeviceApi:
    """What `spaces` 0.51 asks of the machine that lends GPUs, as its api.py has it; every request is granted."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.asked.append(self.path.partition("?")[0])
                is_idle = "/release" in outer.asked
                granted = {"idle": is_idle, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": "t"}
                body = json.dumps(granted).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def device_api() -> Iterator[DeviceApi]:
    api = DeviceApi()
    yield api
    api.http.shutdown()


FORECAST_TWICE = """
import logging, sys
from concurrent.futures import ThreadPoolExecutor
logging.basicConfig()
from workbench import zero_gpu
import spaces.zero.torch
if "no-cuda" in sys.argv:  # this machine has no GPU to move weights to; all else is the package's own
    spaces.zero.torch.init = spaces.zero.torch.move = lambda *args, **options: None
from tests.training.planner_helpers import make_request
from training.planner import TransformersPlanner

def main():
    planner = zero_gpu.load_on_lent_gpu("assets/tiny_planner")
    assert type(planner) is zero_gpu.LentGpuPlanner
    expected = TransformersPlanner("assets/tiny_planner", device="cpu").forecast([make_request(horizon=2)])
    assert [planner.forecast([make_request(horizon=2)]) for _ in range(2)] == [expected, expected]

with ThreadPoolExecutor(1) as pool:  # as in the app: in the main thread the package emulates CUDA, which is slow
    pool.submit(main).result()
"""


@pytest.mark.slow
@pytest.mark.parametrize("has_gpu", [True, False], ids=["granted", "granted but broken"])
def test_the_real_package_forks_and_brings_the_forecast_back(
    has_gpu: bool, device_api: DeviceApi, on_cpu, run_python, tmp_path: Path
) -> None:
    pytest.importorskip("spaces", reason="the package spaces is not installed")
    (tmp_path / "cgroup").write_text("0::/space\n")
    env = {
        **os.environ, **ZERO_GPU, "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{device_api.http.server_port}",
        "ZEROGPU_PROC_SELF_CGROUP_PATH": str(tmp_path / "cgroup"), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = run_python("-c", FORECAST_TWICE, *(["no-cuda"] if has_gpu else []), env=env, timeout=600)
    assert done.returncode == 0, done.stderr
    assert ("the CPU makes it" in done.stderr) is not has_gpu
    granted = ["/schedule", "/allow", "/release"]
    again = ["/schedule", "/release"] if has_gpu else granted  # a process that lives is used again
    assert device_api.asked == [*granted, *again]
