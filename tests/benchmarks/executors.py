"""What an executor adds to the library calls that it is made of: one click and the look at what came of it.

    python tests/benchmarks/executors.py [--json] [--quick]

For each device, in turns within one run: `execute(click)` of the executor without its settling pause, and the bare
calls that do the same work, one after the other on the same open device (a click, a screenshot decoded to RGB, and the
element tree where there is one). The overhead is the difference of each pair; its bar is 10 ms at the 95th percentile.

- browser: Playwright's sync API, a page in headless Chromium.
- desktop: pyautogui and mss, a window under Xvfb.
- android: adbutils, the real adb server, a fake device daemon that speaks the true protocol.

Wall-clock time is noise on a machine that does other work, and most of it is the device's: the load is told beside the
figures, and the CPU time of this process, which other work hardly changes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import PIL.Image  # noqa: E402

from executors.actions import Action  # noqa: E402
from executors.android import AndroidExecutor  # noqa: E402
from executors.browser import MAX_ELEMENTS, BrowserExecutor, elements_script  # noqa: E402
from executors.desktop import DesktopExecutor  # noqa: E402
from executors.device import DeviceExecutor  # noqa: E402
from executors.geometry import ImageSize, PointNorm  # noqa: E402
from executors.permission import allow_real_devices  # noqa: E402
from tests.executors.fake_adbd import FakeAdbd, Phone  # noqa: E402
from tests.executors.xvfb import Window, end, start_xvfb  # noqa: E402
from tests.support import require_program  # noqa: E402

BAR_MS = 10.0
CLICK = Action(type="click", point=PointNorm(0.5, 0.75))
PAGE = "<!doctype html><title>A page</title>" + "".join(f"<button>Button {n}</button> " for n in range(40))

Spent = tuple[float, float]
"""Milliseconds on the wall, and of this process's CPU time."""
Pair = tuple[DeviceExecutor, Callable[[], Any]]


@contextmanager
def browser() -> Iterator[Pair]:
    """A page of forty buttons, and Playwright's own calls on it."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(PAGE)
        executor = BrowserExecutor(page.as_uri(), size=ImageSize(640, 480), settle_seconds=0.0)
        executor.reset()

        def bare() -> None:
            page = executor._page
            page.mouse.click(320, 360)
            with PIL.Image.open(io.BytesIO(page.screenshot(caret="initial"))) as shot:
                shot.convert("RGB")
            page.evaluate(elements_script(), MAX_ELEMENTS)
            page.title()

        yield executor, bare
        executor.close()


@contextmanager
def desktop() -> Iterator[Pair]:
    """A window that fills an X display, and pyautogui's and mss's own calls on it."""
    server, name = start_xvfb()
    window = Window(name)
    executor = DesktopExecutor(display=name, settle_seconds=0.0)
    executor.reset()

    def bare() -> None:
        executor._gui.moveTo(320, 360)
        executor._gui.mouseDown(button="left")
        executor._gui.mouseUp(button="left")
        shot = executor._screens.grab(executor._screens.monitors[1])
        PIL.Image.frombytes("RGB", shot.size, shot.bgra, "raw", "BGRX")

    try:
        yield executor, bare
    finally:
        executor.close()
        end(window.process)
        end(server)


@contextmanager
def android() -> Iterator[Pair]:
    """A toy phone behind a real adb server of its own, and adbutils's own calls on it."""
    program = require_program("adb")
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"ANDROID_ADB_SERVER_PORT": "15137", "ADBUTILS_ADB_PATH": program, "HOME": home}
        subprocess.run([program, "start-server"], check=True, capture_output=True, timeout=60)
        daemon = FakeAdbd(Phone())
        executor = AndroidExecutor(daemon.serial, settle_seconds=0.0)
        executor.reset()
        x, y = CLICK.point.to_px(executor.observe().image_size)

        def bare() -> None:
            executor._device.shell2(f"input tap {x} {y}", timeout=30, encoding=None)
            shot = executor._device.shell2("screencap -p", timeout=30, encoding=None).output
            with PIL.Image.open(io.BytesIO(shot)) as image:
                image.convert("RGB")
            dump = "/sdcard/window_dump.xml"
            executor._device.shell2(f"uiautomator dump {dump} && cat {dump}", timeout=30, encoding=None)

        try:
            yield executor, bare
        finally:
            executor.close()
            daemon.close()
            subprocess.run([program, "kill-server"], check=False, capture_output=True, timeout=60)


DEVICES = {"browser": browser, "desktop": desktop, "android": android}


def measure(executor: DeviceExecutor, bare: Callable[[], Any], num_pairs: int) -> dict[str, Any]:
    """Milliseconds of both sides and of their differences; the first pair, which warms up, is left out."""
    whole: list[Spent] = []
    alone: list[Spent] = []

    def timed(work: Callable[[], Any], into: list[Spent]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        into.append(((time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000))

    turns = (
        lambda: executor._call("benchmark", lambda: timed(bare, alone)),  # it too runs on the device's thread
        lambda: timed(lambda: executor.execute(CLICK), whole),
    )
    for pair in range(num_pairs + 1):
        for turn in turns if pair % 2 else reversed(turns):
            turn()
    return figures(whole[1:], alone[1:])


def figures(whole: Sequence[Spent], alone: Sequence[Spent]) -> dict[str, Any]:
    """p50 and p95 of both sides and of the overhead, pair by pair, in milliseconds; the bar is on the wall's.

    >>> figures([(12.0, 3.0), (13.0, 3.0)], [(10.0, 1.0), (10.0, 2.0)])["overhead_p50_ms"]
    2.5
    """
    overhead = [(w[0] - a[0], w[1] - a[1]) for w, a in zip(whole, alone, strict=True)]
    result: dict[str, Any] = {"num": len(whole)}
    for name, times in (("executor", whole), ("library", alone), ("overhead", overhead)):
        for clock, place in (("", 0), ("_cpu", 1)):
            cuts = statistics.quantiles([t[place] for t in times], n=100, method="inclusive")
            result |= {f"{name}{clock}_p50_ms": round(cuts[49], 2), f"{name}{clock}_p95_ms": round(cuts[94], 2)}
    return result | {"bar_p95_ms": BAR_MS, "is_within_bar": result["overhead_p95_ms"] <= BAR_MS}


def run(*, is_quick: bool = False) -> dict[str, Any]:
    """All figures as a JSON object."""
    allow_real_devices()
    result: dict[str, Any] = {
        "num_cpus": len(os.sched_getaffinity(0)), "load_average": round(os.getloadavg()[0], 2), "is_quick": is_quick,
    }  # fmt: skip
    for name, open_pair in DEVICES.items():
        with open_pair() as (executor, bare):
            result[name] = measure(executor, bare, 10 if is_quick else 200)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the figures; returns 0 whether or not they are within the bar."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.add_argument("--quick", action="store_true", help="few pairs, to see that all runs")
    args = parser.parse_args(argv)
    with redirect_stdout(sys.stderr):  # python-xlib prints its warnings among the figures
        result = run(is_quick=args.quick)
    if args.json:
        print(json.dumps(result, indent=1))
        return 0
    for name in DEVICES:
        f = result[name]
        print(
            f"{name:8} executor {f['executor_p50_ms']:6.1f} / {f['executor_p95_ms']:6.1f} ms  library "
            f"{f['library_p50_ms']:6.1f} / {f['library_p95_ms']:6.1f} ms  overhead {f['overhead_p50_ms']:5.1f} / "
            f"{f['overhead_p95_ms']:5.1f} ms, CPU {f['overhead_cpu_p50_ms']:4.1f} / {f['overhead_cpu_p95_ms']:4.1f} ms "
            f"(p50 / p95)  {'within' if f['is_within_bar'] else 'ABOVE'} {BAR_MS:g} ms"
        )
    print(f"{result['num_cpus']} CPUs, load {result['load_average']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
