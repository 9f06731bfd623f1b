"""How fast a long run is read: `python -m tests.benchmarks.run_reader --json [--browser]`.

Makes a run of 100,000 steps and 20,000 rollout groups in a temporary folder and measures what a page asks for:

- first: the panels and all curves of a run that nobody has looked at since the server started;
- update: the same when one step was added, which is what a page asks for every second;
- rollouts: the list of the newest groups and one group, first and again; and a filter over all of them;
- with --browser, in a real Chromium: from the click on the run to its drawn curves, and the work of one live update in
  the page (merging the answer and drawing).

Wall and CPU times are both told: on a machine that does other work the first says little. Exit code 1 when a limit is
missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.workbench.train_helpers import first_sample, group_record, make_run, reply_of
from workbench.runs.desk import RunDesk
from workbench.train_views import TrainViews

LIMITS = {"first_seconds": 1.0, "update_p95_ms": 150.0}
"""On 2 cores."""
_METRICS = ("reward", "reward_std", "zero_variance_share", "sim_1", "sim_2", "sim_3", "rep", "kl", "entropy",
            "completion_tokens", "loss", "grad_norm", "step_seconds")  # fmt: skip


def make_long_run(root: Path, num_steps: int, num_groups: int) -> Path:
    """A run folder of this size; its numbers are random."""
    run = make_run(root, "long", steps=1)
    rng = np.random.default_rng(0)
    values = rng.random((num_steps, len(_METRICS))).round(6).tolist()
    with (run.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        for step, row in enumerate(values, start=2):
            record = {"step": step, "epoch": step / 1000, "time": 1.7e9 + step}
            file.write(json.dumps({**record, **dict(zip(_METRICS, row, strict=True))}) + "\n")
    sample = first_sample()
    record = group_record(sample, [reply_of(sample, 3), reply_of(sample, 1), "nothing", reply_of(sample, 2)])
    kept = run.keep_screen(sample.load_image(), sample.observation.elements)
    text = json.dumps({**record, **kept})
    with (run.path / "rollouts.jsonl").open("w", encoding="utf-8") as file:
        for number in range(num_groups):
            file.write(text.replace('"step": 1,', f'"step": {number // 4 + 1},', 1) + "\n")
    return run.path


def timed(action: Callable[[], Any]) -> tuple[Any, float, float]:
    """(result, wall seconds, CPU seconds)."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = action()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def p95_ms(seconds: list[float]) -> float:
    """The 95th percentile in milliseconds."""
    return round(float(np.percentile(seconds, 95)) * 1000, 1)


def measure_reading(root: Path, run: Path, num_updates: int) -> dict[str, float]:
    """What the server needs for one page."""
    import pyarrow.json  # noqa: F401  a server has imported it long before; its import is no part of reading

    views = TrainViews(RunDesk(root, root / "queue.sqlite"))

    def look(has: dict[str, Any]) -> dict[str, Any]:
        views.look({"shown": "long"})
        answer = views.curves({"runs": [has]})
        json.dumps(answer)
        return answer["runs"][0]

    found, first, first_cpu = timed(lambda: look({"id": "long"}))
    walls, cpus = [], []
    for number in range(num_updates):
        with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
            row = {"step": 10**6 + number, "time": 1.8e9 + number, **dict.fromkeys(_METRICS, 0.5)}
            file.write(json.dumps(row) + "\n")
        has = {key: found[key] for key in ("id", "generation", "rows")}
        found, wall, cpu = timed(lambda has=has: look(has))
        assert found["series"]["reward"]["x"] == [10**6 + number]
        walls.append(wall)
        cpus.append(cpu)
    opened, rollouts, rollouts_cpu = timed(lambda: views.lens({"id": "long"}))
    assert "Why this reward" in opened["parts"]["group"]["html"]
    again = [timed(lambda: views.lens({"id": "long", "group": opened["group"]}))[1:] for _ in range(num_updates)]
    _, filtered, filtered_cpu = timed(lambda: views.lens({"id": "long", "text": "no such goal"}))
    return {
        "first_seconds": round(first, 3), "first_cpu_seconds": round(first_cpu, 3),
        "update_p95_ms": p95_ms(walls), "update_cpu_p95_ms": p95_ms(cpus),
        "rollouts_first_seconds": round(rollouts, 3), "rollouts_first_cpu_seconds": round(rollouts_cpu, 3),
        "rollouts_update_p95_ms": p95_ms([wall for wall, _ in again]),
        "rollouts_update_cpu_p95_ms": p95_ms([cpu for _, cpu in again]),
        "rollouts_filter_seconds": round(filtered, 3), "rollouts_filter_cpu_seconds": round(filtered_cpu, 3),
    }  # fmt: skip


def measure_browser(root: Path, run: Path, num_updates: int) -> dict[str, float]:
    """What a person waits for in a real Chromium, the server's part included."""
    import shutil

    from playwright.sync_api import sync_playwright

    from tests.workbench.conftest import free_port
    from tests.workbench.train_server import start_server

    make_run(root, "short", steps=3)
    port = free_port()
    process = start_server(root, port)
    program = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(300_000)
            page.goto(f"http://localhost:{port}")
            page.get_by_role("tab", name="Train").click()
            page.locator('[data-show="short"]').click()
            page.locator('#tr-charts[data-painted="short"]').wait_for()  # Plotly is loaded
            started = time.perf_counter()
            page.locator('[data-show="long"]').click()
            page.locator('#tr-charts[data-painted="long"]').wait_for()
            first = time.perf_counter() - started
            updates = []
            for number in range(num_updates):
                with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"step": 2 * 10**6 + number, "time": 1.9e9 + number, "reward": 0.5}) + "\n")
                last = "document.querySelector('[data-chart=reward] .tr-plot').data.at(-1).x.at(-1)"
                page.wait_for_function(f"{last} === {2 * 10**6 + number}")
                updates.append(float(page.locator("#tr-charts").get_attribute("data-update-ms")) / 1000)
            browser.close()
    finally:
        process.terminate()
        process.wait(timeout=60)
    return {"browser_first_seconds": round(first, 3), "browser_update_p95_ms": p95_ms(updates)}


def main() -> int:
    """Measures and prints; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--browser", action="store_true", help="also measure in a real Chromium")
    parser.add_argument("--steps", type=int, default=100_000, help="metric rows (100000)")
    parser.add_argument("--groups", type=int, default=20_000, help="rollout groups (20000)")
    parser.add_argument("--updates", type=int, default=40, help="live updates that are measured (40)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run = make_long_run(root, args.steps, args.groups)
        result: dict[str, Any] = {"steps": args.steps, "groups": args.groups, "metrics": len(_METRICS)}
        result["metrics_megabytes"] = round((run / "metrics.jsonl").stat().st_size / 1e6, 1)
        result["rollouts_megabytes"] = round((run / "rollouts.jsonl").stat().st_size / 1e6, 1)
        result |= measure_reading(root, run, args.updates)
        if args.browser:
            result |= measure_browser(root, run, args.updates)
    missed = [name for name, limit in LIMITS.items() if result[name] > limit]
    result |= {"limits": LIMITS, "missed": missed}
    print(json.dumps(result) if args.json else "\n".join(f"{name:32} {value}" for name, value in result.items()))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
