"""SFT against Stage 2, trained and evaluated by the command line, compared in a real browser.

The second planner is the shipped one after a single Stage 2 step at a learning rate far too high, so that the two
differ; it shows nothing about Stage 2. Both are asked on the embedded world, and on the sample of AndroidControl, which
holds no screenshots, so that they plan from the goal and the history.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workbench.conftest import ROOT, START_SECONDS, start_app

pytestmark = pytest.mark.slow


def run(*args: object) -> None:
    """A `tracer1` command that must succeed."""
    command = [sys.executable, "-m", "training.cli", *map(str, args)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=START_SECONDS, capture_output=True)


@pytest.fixture(scope="module")
def planners(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shipped SFT planner, and one that Stage 2 made of it."""
    sft, out = ROOT / "assets" / "tiny_planner", tmp_path_factory.mktemp("train") / "stage2"
    settings = [
        f"model={sft}", "data.num_episodes=12", "optim.num_steps=1", "optim.batch_size=16", "optim.learning_rate=1e-3",
        "grpo.temperature=1.6", "grpo.max_completion_tokens=64", "eval_samples=0",
    ]  # fmt: skip
    run("train", "stage2", "--out", out, *(word for setting in settings for word in ("--set", setting)))
    return {"sft": sft, "stage2": out / "final"}


@pytest.fixture(scope="module")
def evaluate(planners: dict[str, Path], tmp_path_factory: pytest.TempPathFactory):
    """Evaluates both planners with both tool agents; returns the folder that holds the evaluations."""
    root = tmp_path_factory.mktemp("evaluations")

    def both(benchmark: str, *options: object) -> Path:
        agents = ("--tool-agent", "elements", "--tool-agent", "oracle", "--horizon", "2")
        for name, planner in planners.items():
            run("evaluate", benchmark, "--planner", planner, *agents, *options, "--out", root / f"{name}-{benchmark}")
        return root

    return both


@pytest.fixture
def serve(data_root: Path, tmp_path: Path) -> Iterator:
    """Starts the app over a folder of evaluations; returns its address."""
    started = []

    def start(evaluations: Path) -> str:
        options = ("--planner", f"replay:{data_root / 'oracle.jsonl'}", "--data", str(data_root))
        process, url, _ = start_app(*options, "--evaluations", str(evaluations), store=tmp_path / "store")
        started.append(process)
        return url

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=60)


def test_checkpoints_are_compared_on_the_embedded_world(evaluate, serve, open_page, tmp_path: Path) -> None:
    page = open_page.open(serve(evaluate("grounded", "--episodes", 5)))
    page.on("dialog", lambda dialog: dialog.accept("sft-stage2"))
    page.get_by_role("tab", name="Compare", exact=True).click()
    for name in ("sft-grounded", "stage2-grounded"):
        page.locator(f'[data-choose="{name}/grounded.elements"]').check()
    page.get_by_role("button", name="samples that only sft-grounded got right").click()
    page.locator("[data-flip]").first.click()
    page.locator(".cmp-flip .tw-screen img").nth(1).wait_for()  # both, each on the screenshot
    page.get_by_role("button", name="To annotation queue").click()
    page.locator(".cmp-flip .cmp-queued").wait_for()
    page.get_by_role("tab", name="Comparison", exact=True).click()
    page.get_by_role("button", name="Save as").click()
    page.locator(".tr-message", has_text="Saved as sft-stage2").wait_for()
    for name in ("Markdown", "CSV", "HTML"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        report = Path(download.value.path()).read_text(encoding="utf-8")
        assert "sft-grounded" in report and "stage2-grounded" in report


def test_checkpoints_are_compared_on_androidcontrol(samples: Path, evaluate, serve, open_page, tmp_path: Path) -> None:
    data = tmp_path / "android_control.jsonl"
    run("import", "ui_s1", samples / "android_control" / "android_control_test_part1.jsonl", "--out", data)
    page = open_page.open(serve(evaluate("osatlas", "--data", data, "--episodes", 4)))
    page.get_by_role("tab", name="Compare", exact=True).click()
    for agent in ("elements", "oracle"):
        for name in ("sft", "stage2"):
            page.locator(f'[data-choose="{name}-osatlas/osatlas.{agent}"]').check()
    for agent in ("elements", "oracle"):
        found = page.locator(".cmp-result", has_text=f"first 4 episodes with {agent}")
        found.locator(".cmp-none", has_text="too few to tell").wait_for()
        found.get_by_role("table", name="Scores").get_by_text("sft-osatlas").wait_for()
    page.get_by_text("22 of 22 states have no screenshot").first.wait_for()
    page.locator('[data-choose="stage2-osatlas/osatlas.oracle"]').uncheck()
    page.get_by_text("evaluated for sft-osatlas alone").wait_for()  # refused, and says which
