"""Evaluations of GTA and GAIA in the Compare tab, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.benchmarks.copies import say, write_gaia, write_gta, write_replay
from tests.workbench.conftest import start_app
from training.benchmarks import gaia_run, gta_run
from training.benchmarks.gaia import read_tasks
from training.benchmarks.gta import read_samples
from training.benchmarks.tool_runs import RunSettings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory, data_root: Path) -> Iterator[str]:
    """The address of an app with two evaluations of each mode of GTA and of GAIA, one of each pair wrong everywhere."""
    root = tmp_path_factory.mktemp("app")
    gta, gaia, stored = write_gta(root / "gta"), write_gaia(root / "gaia"), root / "evaluations"
    goals = {goal for s in read_samples(gta) for goal in (gta_run.end_query(s).goal, gta_run.step_trajectory(s).goal)}
    tasks = read_tasks(gaia)
    wrong = write_replay(root / "wrong.jsonl", dict.fromkeys(
        [*goals, *(gaia_run.query_of(task).goal for task in tasks)], [say("no")]))  # fmt: skip
    right = write_replay(root / "right.jsonl", {gaia_run.query_of(task).goal: [say(task.answer)] for task in tasks})
    for mode, evaluate in (("step", gta_run.evaluate_steps), ("end", gta_run.evaluate_end)):
        for name, planner in (("right", "oracle"), ("wrong", wrong)):
            evaluate(RunSettings(data=gta, planner=planner, out=stored / f"{mode}-{name}"))
    for name, planner in (("right", right), ("wrong", wrong)):
        gaia_run.evaluate(RunSettings(data=gaia, planner=planner, out=stored / f"gaia-{name}"))
    process, url, _ = start_app("--planner", f"replay:{data_root / 'oracle.jsonl'}", "--data", str(data_root),
                                "--evaluations", str(stored), store=root / "store")  # fmt: skip
    yield url
    process.terminate()
    process.wait(timeout=60)


@pytest.mark.parametrize(
    ("kind", "counts", "shown"),
    # exact tests by hand: 2 x 0.5^n for n queries or steps that only one got right (2 of end, 3 of GAIA, 7 of 8 steps)
    [("end", "0.5000", "the image"), ("step", "0.0156", "the image"), ("gaia", "0.2500", "in your own copy")],
)  # fmt: skip
def test_two_runs_are_compared_and_a_query_opens(
    server: str, open_page, tmp_path: Path, kind: str, counts: str, shown: str
) -> None:
    page = open_page.open(server)
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.get_by_label(f"{kind}-right").check()
    page.get_by_label(f"{kind}-wrong").check()
    page.locator(".cmp-benchmark, section", has_text=counts).first.wait_for()
    page.get_by_role("button", name=f"samples that only {kind}-right got right").click()
    rows = page.locator("[data-flip]")
    rows.first.focus()
    page.keyboard.press("Enter")
    flip = page.locator(".cmp-flip")
    flip.wait_for()
    page.screenshot(path=tmp_path / f"{kind}.png", full_page=True)
    if shown == "the image":
        flip.locator(".tw-screen svg").nth(1).wait_for()
    else:
        assert shown in flip.inner_text()
