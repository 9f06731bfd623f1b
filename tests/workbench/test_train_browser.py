"""The Train tab in a real browser; every test also fails on console errors and on requests that leave the machine."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.training.grpo_helpers import tiny_checkpoint
from tests.workbench.conftest import free_port
from tests.workbench.train_helpers import ATTACK, first_sample, group_record, make_run, reply_of
from tests.workbench.train_server import start_server
from training.run_folder import RunFolder

TRAINING_MS = 600_000


@pytest.fixture(scope="module")
def runs_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recorded runs: one with rollouts, one to compare with, one with more points than a chart shows."""
    root = tmp_path_factory.mktemp("runs")
    sample = first_sample()
    recorded = make_run(root, "recorded", steps=40)
    kept = recorded.keep_screen(sample.load_image(), sample.observation.elements)
    replies = [reply_of(sample, 3), reply_of(sample, 1), f"{ATTACK}</think>1. click() | {ATTACK}", "nothing"]
    recorded.log_rollouts({**group_record(sample, replies, step=step), **kept} for step in (1, 2))
    make_run(root, "other", steps=40, seed=1)
    flat = make_run(root, "flat", steps=1)
    flat.log_metrics(2, 2.0, {"clip_share": 0.0})
    flat.log_metrics(3, 3.0, {"clip_share": 0.0})
    long = make_run(root, "long", steps=1)
    with (long.path / "metrics.jsonl").open("a") as file:
        file.writelines(f'{{"step": {n}, "time": {n}.0, "reward": {n % 7}.0}}\n' for n in range(2, 20_001))
    return root


@pytest.fixture(scope="module")
def server(runs_root: Path) -> Iterator[str]:
    """The address of the app on the recorded runs."""
    port = free_port()
    process = start_server(runs_root, port)
    yield f"http://localhost:{port}"
    process.terminate()
    process.wait(timeout=60)


def open_tab(page, run: str = "") -> None:
    """Goes to the Train tab, and to a run or, with "new", to the form."""
    page.get_by_role("tab", name="Train").click()
    page.locator("#tr-launcher form").wait_for(state="attached")
    if run:
        page.locator(f'[data-show="{run}"]').click()
    if run == "new":
        page.locator("#tr-launcher form").wait_for()
    elif run:
        page.locator("#tr-head h2", has_text=run).wait_for()


def painted(page, run: str) -> None:
    """Waits until this run's curves are drawn."""
    page.locator(f'#tr-charts[data-painted="{run}"] .main-svg').first.wait_for()


PLOT = "document.querySelector('[data-chart=reward] .tr-plot')"


def zoom(page, start: float, end: float) -> None:
    """Zooms the reward chart as dragging over it does."""
    page.evaluate(f'Plotly.relayout({PLOT}, {{"xaxis.range[0]": {start}, "xaxis.range[1]": {end}}})')


def x_range(page) -> list[float]:
    """The shown range of the reward chart's x axis."""
    return page.evaluate(f"{PLOT}._fullLayout.xaxis.range")


def test_curves_are_drawn_and_a_zoom_stays_while_points_arrive(server: str, runs_root: Path, open_page) -> None:
    page = open_page.open(server)
    open_tab(page, "recorded")
    painted(page, "recorded")
    assert page.locator(".tr-chart").count() == 3
    assert page.evaluate(f"{PLOT}._fullLayout.yaxis.range[0]") >= 0
    zoom(page, 5, 9)
    with (runs_root / "recorded" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 41, "time": 1e9, "reward": 1.0, "kl": 0.5, "loss": 0.1}) + "\n")
    page.wait_for_function(f"""{PLOT.replace("reward", "kl")}.data.at(-1).x.at(-1) === 41""")
    assert x_range(page) == [5, 9]
    page.locator("#tr-unzoom").click()
    page.wait_for_function(f"""{PLOT}._fullLayout.xaxis.range[1] > 40""")


def test_a_share_that_is_always_0_has_no_axis_below_it(server: str, open_page) -> None:
    page = open_page.open(server)
    open_tab(page, "flat")
    painted(page, "flat")
    clip = PLOT.replace("reward", "clip")
    page.wait_for_function(f"{clip}?.data")  # charts are drawn one after the other
    assert page.evaluate(f"{clip}.data.at(-1).y") == [0, 0]
    assert page.evaluate(f"{clip}._fullLayout.yaxis.range[0]") >= 0


def test_a_zoomed_part_of_a_long_run_is_fetched_whole(server: str, open_page) -> None:
    page = open_page.open(server)
    open_tab(page, "long")
    painted(page, "long")
    points = f"{PLOT}.data.at(-1).x.length"
    assert page.evaluate(points) == 500
    zoom(page, 100, 120)
    page.wait_for_function(f"{points} === 23")
    assert x_range(page) == [100, 120]


def test_runs_are_laid_over_each_other_and_survive_a_reload(server: str, open_page) -> None:
    page = open_page.open(server)
    open_tab(page, "recorded")
    page.get_by_label("Compare other").check()
    page.locator(r'#tr-charts[data-runs="recorded\a other"]').wait_for()  # a line feed, as CSS writes it
    page.get_by_role("tab", name="Settings").click()
    page.locator("#tr-settings", has_text="settings differ").wait_for()
    page.reload()
    open_tab(page)
    page.locator("#tr-head h2", has_text="recorded").wait_for()
    page.locator("#tr-settings", has_text="optim.seed").wait_for()
    assert page.get_by_label("Compare other").is_checked()


def test_the_lens_draws_a_group_explains_a_reward_and_keeps_text_as_text(server: str, open_page) -> None:
    page = open_page.open(server)
    open_tab(page, "recorded")
    page.get_by_role("tab", name="Rollouts").click()
    page.locator("#tr-lens-group svg .tw-mark").first.wait_for()
    rows = page.locator(".tr-completion")
    assert rows.count() == 4 and rows.first.get_by_text("best").count() == 1
    rows.first.get_by_text("Why this reward").click()
    assert "as recorded" in rows.first.inner_text()
    rows.first.get_by_role("button", name="Draw all its steps").click()
    page.get_by_role("button", name="All first steps").wait_for()
    page.get_by_role("button", name="Follow this prompt").click()
    page.locator("#tr-lens-list", has_text="This prompt at 2 steps").wait_for()
    page.get_by_role("button", name="All prompts").click()
    page.locator("#tr-lens-text").fill("no such goal")
    page.locator("#tr-lens-list", has_text="No rollouts here").wait_for()
    assert page.locator("#tr-lens-group img[src=x]").count() == 0


def test_the_log_follows_unless_scrolled_up_and_is_searched(server: str, runs_root: Path, open_page) -> None:
    page = open_page.open(server)
    open_tab(page, "recorded")
    page.get_by_role("tab", name="Log").click()
    log = page.locator("#tr-log")
    log.get_by_text("step 40/40").wait_for()
    file = runs_root / "recorded" / "log.txt"
    at_end = "(box) => box.scrollHeight - box.scrollTop - box.clientHeight < 24"
    with file.open("a") as out:
        out.write("".join(f"line {n}\n" for n in range(200)))
    page.wait_for_function("document.getElementById('tr-log').textContent.includes('line 199')")
    assert log.evaluate(at_end)
    log.evaluate("(box) => box.scrollTo({top: 0})")
    page.locator("#tr-log-state", has_text="paused").wait_for()
    with file.open("a") as out:
        out.write("the last word\n")
    page.wait_for_function("document.getElementById('tr-log').textContent.includes('the last word')")
    assert log.evaluate("(box) => box.scrollTop") == 0
    page.locator("#tr-log-end").click()
    page.locator("#tr-log-state", has_text="following").wait_for()
    page.locator("#tr-log-search").fill("LAST word")
    page.locator("#tr-log mark", has_text="last word").wait_for()
    page.locator("#tr-log-search").fill("")
    page.wait_for_function("document.getElementById('tr-log').textContent.includes('step 1/40')")


def test_the_form_marks_changes_names_errors_and_shows_the_command(server: str, open_page) -> None:
    page = open_page.open(server)
    open_tab(page, "new")
    page.locator("select[name=preset]").select_option("smoke")
    page.locator("#tr-plan", has_text="hidden_size=64").wait_for()
    steps = page.locator("[name='optim.num_steps']")
    steps.fill("7")
    page.locator("#tr-plan code", has_text="optim.num_steps=7").first.wait_for()
    assert "1 changed" in page.locator('[data-name="optim"] summary').inner_text()
    steps.fill("seven")
    page.locator("#tr-plan", has_text="'seven' is not a whole number").wait_for()
    assert steps.get_attribute("aria-invalid") == "true"
    assert page.locator("[data-act=launch]").is_disabled()
    page.locator('[data-reset="optim.num_steps"]').click()
    page.locator("#tr-plan code", has_text="optim.num_steps=30").first.wait_for()
    page.locator("[name=find]").fill("warmup ratio")
    assert page.locator(".tr-field:visible").count() == 1


def test_a_demo_refuses_to_launch_replays_a_recorded_run_and_says_so(runs_root: Path, open_page) -> None:
    port = free_port()
    process = start_server(runs_root, port, is_space=True)
    try:
        page = open_page.open(f"http://localhost:{port}")
        open_tab(page, "new")
        page.locator("#tr-plan", has_text="This is a demo").wait_for()
        assert page.locator("[data-act=launch]").is_disabled()
        assert "training.cli" in page.locator("#tr-plan").inner_text()
        page.locator('[data-show="recorded"]').click()
        painted(page, "recorded")
        page.locator("#tr-replay").click()
        page.locator("#tr-replay-note", has_text="Replay of what was recorded").wait_for()
        page.locator("#tr-replay").click()
        page.context.close()  # a page that asks a dead server logs errors, which is not what is tested here
    finally:
        process.terminate()
        process.wait(timeout=60)


# ---- with real training


def launch(page, *, stage: str, name: str, **values: str) -> None:
    """Fills the form for a small run of the smoke preset and launches it."""
    page.locator('[data-show="new"]').click()
    page.locator(f"input[name=stage][value={stage}]").check(force=True)
    page.locator(f"input[name=stage][value={stage}]:checked").wait_for(state="attached")
    page.locator("select[name=preset]").select_option("smoke")
    page.wait_for_function("""document.querySelector("[name='grpo.group_size']")?.dataset.preset === "4" """)
    fields = {"name": name, **{key.replace("__", "."): value for key, value in values.items()}}
    for key, value in fields.items():
        field = page.locator(f"[name='{key}']")
        field.evaluate("(input) => { for (let d = input.closest('details'); d; d = null) d.open = true; }")
        field.fill(value)
    page.locator("#tr-plan code", has_text=f"/{name}").wait_for()
    page.locator("[data-act=launch]:not([disabled])").click()
    page.locator("#tr-head h2", has_text=name).wait_for()


def wait_state(page, state: str) -> None:
    """Waits until the chosen run is in this state."""
    page.locator(f"#tr-head .tr-state.tr-{state}").wait_for(timeout=TRAINING_MS)


def num_points(page) -> int:
    """Points of the reward curve that are drawn."""
    return page.evaluate(f"{PLOT}?.data?.at(-1)?.x.length ?? 0")


def wait_points(page, more_than: int) -> None:
    """Waits until the reward curve has grown."""
    page.wait_for_function(f"({PLOT}?.data?.at(-1)?.x.length ?? 0) > {more_than}", timeout=TRAINING_MS)


@pytest.mark.flows
@pytest.mark.timeout(2400)
def test_a_run_lives_through_reload_killed_server_stop_resume_and_a_killed_trainer(
    tmp_path: Path, browser, open_page
) -> None:
    root, port = tmp_path / "runs", free_port()
    processes = [start_server(root, port)]
    trainers: list[Callable[[], dict]] = []
    small = {
        "model": str(tiny_checkpoint()), "data__num_episodes": "4", "grpo__group_size": "2", "optim__batch_size": "2",
        "grpo__max_completion_tokens": "16", "optim__save_every": "1",
    }  # fmt: skip
    try:
        page = open_page.open(f"http://localhost:{port}")
        open_tab(page)
        launch(page, stage="stage1", name="long", optim__num_steps="3000", **small)
        trainers.append(lambda: json.loads((root / "long" / "run.json").read_text()))
        wait_state(page, "running")
        wait_points(page, 2)

        page.reload()
        open_tab(page)
        page.locator("#tr-head h2", has_text="long").wait_for()
        painted(page, "long")
        wait_points(page, num_points(page))

        page.close()  # a page that asks a dead server logs errors, which is not what is tested here
        os.kill(processes[0].pid, signal.SIGKILL)
        processes[0].wait(timeout=60)
        assert RunFolder.open(root / "long").is_alive()
        processes.append(start_server(root, port))
        page = open_page.open(f"http://localhost:{port}")
        open_tab(page, "long")
        wait_state(page, "running")

        page.locator('#tr-head [data-act="stop"]').click()
        wait_state(page, "stopped")
        stopped_at = RunFolder.open(root / "long").metrics()[-1]["step"]
        assert RunFolder.open(root / "long").last_checkpoint().name == f"checkpoint-{stopped_at}"
        page.locator('#tr-head [data-act="resume"]').click()
        wait_state(page, "running")
        wait_points(page, stopped_at)

        os.kill(trainers[0]()["pid"], signal.SIGKILL)
        wait_state(page, "crashed")
        assert "step" in page.locator("#tr-head .tr-cause").inner_text()
        page.locator('#tr-head [data-act="resume"]').click()
        wait_state(page, "running")
        page.on("dialog", lambda dialog: dialog.accept())
        page.locator('#tr-head [data-act="kill"]').click()
        wait_state(page, "killed")
        steps = [row["step"] for row in RunFolder.open(root / "long").metrics()]
        assert steps == sorted(set(steps))  # one line for each step, however often it was resumed

        launch(page, stage="stage1", name="short", optim__num_steps="2", **small)
        wait_state(page, "finished")
        page.locator('#tr-head [data-act="chain"]').click()
        page.locator("input[name=stage][value=stage2]:checked").wait_for(state="attached")
        assert page.locator("[name=model]").input_value() == str(root / "short" / "final")
        group_size = int(page.locator("[name='grpo.group_size']").input_value())
        page.locator("[name=name]").fill("second")
        page.locator("[name='optim.num_steps']").fill("2")
        page.locator("#tr-plan code", has_text="/second").wait_for()
        page.locator("[data-act=launch]:not([disabled])").click()
        page.locator("#tr-head h2", has_text="second").wait_for()
        wait_state(page, "finished")
        page.get_by_role("tab", name="Rollouts").click()
        page.locator("#tr-lens-group .tw-frame img").wait_for()
        assert page.locator(".tr-completion").count() == group_size
        page.context.close()
    finally:
        _end(root, processes)


def _end(root: Path, processes: list) -> None:
    """Ends what this test started: its servers, and trainers whose run folder is below its root."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)
    for path in root.glob("*/run.json"):
        run = RunFolder.open(path.parent)
        if run.is_alive():
            psutil.Process(run.info["pid"]).kill()
