"""What the Train tab reads, asked as a page asks."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil
import pytest

from tests.workbench.train_helpers import first_sample, group_record, make_run, reply_of
from workbench.runs.desk import RunDesk
from workbench.train_views import MAX_RUNS, TrainViews


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of runs."""
    return tmp_path / "runs"


@pytest.fixture
def views(root: Path) -> TrainViews:
    """Views of a desk that starts nothing."""
    return TrainViews(RunDesk(root, root / "queue.sqlite"))


def test_a_look_sends_only_what_the_page_has_not(
    views: TrainViews, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = psutil.disk_usage(str(root))
    monkeypatch.setattr(psutil, "disk_usage", lambda _: disk)  # the page shows it, and others use this disk
    make_run(root)
    first = views.look({"shown": "first"})
    assert first["known"] == ["first"] and set(first["parts"]) == {"runs", "head", "machine"}
    seen = {name: part["hash"] for name, part in first["parts"].items()}
    again = views.look({"shown": "first", "seen": seen})
    assert "runs" not in again["parts"] and "head" not in again["parts"]


def test_a_run_whose_process_is_gone_is_shown_as_crashed(views: TrainViews, root: Path) -> None:
    run = make_run(root, state="running")
    info = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**info, "process_started": info["process_started"] - 1000}))
    page = views.look({"shown": "first"})["parts"]
    assert "crashed" in page["runs"]["html"] and "step 5/5" in page["head"]["html"]


def test_curves_come_once_and_then_only_what_is_new(views: TrainViews, root: Path) -> None:
    run = make_run(root, steps=3)
    (first,) = views.curves({"runs": [{"id": "first"}]})["runs"]
    assert first["is_new"] and first["series"]["reward"]["x"] == [1, 2, 3]
    has = {key: first[key] for key in ("id", "generation", "rows")}
    (nothing,) = views.curves({"runs": [has]})["runs"]
    assert nothing["series"] == {} and not nothing["is_new"]
    run.log_metrics(4, 1.0, {"reward": 0.5})
    (new,) = views.curves({"runs": [has]})["runs"]
    assert new["series"]["reward"] == {"x": [4], "y": [0.5]} and new["rows"] == 4 and not new["is_new"]


def test_a_run_that_was_cut_back_is_sent_anew(views: TrainViews, root: Path) -> None:
    run = make_run(root, steps=5)
    (first,) = views.curves({"runs": [{"id": "first"}]})["runs"]
    lines = (run.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    partial = run.path / "metrics.partial"
    partial.write_text("".join(lines[:2]))
    partial.replace(run.path / "metrics.jsonl")
    has = {key: first[key] for key in ("id", "generation", "rows")}
    (anew,) = views.curves({"runs": [has]})["runs"]
    assert anew["is_new"] and anew["generation"] != first["generation"] and anew["series"]["reward"]["x"] == [1, 2]


def test_another_server_s_generation_is_not_trusted(views: TrainViews, root: Path) -> None:
    make_run(root, steps=3)
    (run,) = views.curves({"runs": [{"id": "first", "generation": "other", "rows": 2}]})["runs"]
    assert run["is_new"] and len(run["series"]["reward"]["x"]) == 3


def test_runs_are_laid_over_each_other_and_one_without_a_folder_has_no_rows(views: TrainViews, root: Path) -> None:
    make_run(root, "a"), make_run(root, "b", stage="sft")
    answer = views.curves({"runs": [{"id": "a"}, {"id": "b"}, {"id": "gone"}]})
    assert [run["rows"] for run in answer["runs"]] == [5, 5, 0]
    assert [chart["key"] for chart in answer["charts"]] == ["reward", "kl", "loss"]


@pytest.mark.parametrize(
    "question",
    [
        None, [], "runs", {}, {"runs": "first"}, {"runs": [1]}, {"runs": [{"id": 7}]}, {"runs": [{}] * (MAX_RUNS + 1)},
        {"runs": [{"id": "x" * 500}]}, {"runs": [], "axis": "hours"}, {"runs": [], "axis": ["step"]},
        {"runs": [], "between": [1]}, {"runs": [], "between": "1,2"}, {"runs": [], "metrics": [1]},
    ],
)  # fmt: skip
def test_a_malformed_question_gets_one_sentence(views: TrainViews, question: object) -> None:
    answer = views.curves(question)
    assert set(answer) == {"error"} and "\n" not in answer["error"]


@pytest.mark.parametrize("run_id", ["../outside", "/etc", "..", "a/../../b", "first\0", "~root"])
def test_an_id_never_leads_out_of_the_runs(views: TrainViews, root: Path, run_id: str) -> None:
    make_run(root.parent, "outside")
    root.mkdir(exist_ok=True)
    for method in (views.log, views.lens):
        assert "error" in method({"id": run_id})
    answer = views.curves({"runs": [{"id": run_id}]})
    assert "error" in answer or "error" in answer["runs"][0]


def test_the_log_is_sent_from_where_the_page_is(views: TrainViews, root: Path) -> None:
    run = make_run(root, steps=2)
    first = views.log({"id": "first"})
    assert first["text"].count("\n") == 2
    with (run.path / "log.txt").open("a") as log:
        log.write("one more\n")
    again = views.log({"id": "first", "cursor": first["cursor"]})
    assert again["text"] == "one more\n" and not again["is_reset"]
    assert views.log({"id": "first", "search": "STEP 2"})["hits"][0]["text"].startswith("step 2/2")
    assert "error" in views.log({"id": "first", "cursor": ["x", None]})


def test_the_lens_filters_and_keeps_the_group_that_is_read(views: TrainViews, root: Path) -> None:
    sample = first_sample()
    run = make_run(root, groups=[group_record(sample, [reply_of(sample, 1), "no"], step=1)])
    first = views.lens({"id": "first"})
    assert "at step" not in first["parts"]["list"]["html"] and "Why this reward" in first["parts"]["group"]["html"]
    run.log_rollouts([group_record(sample, ["no", "no"], step=2)])
    seen = {name: part["hash"] for name, part in first["parts"].items()}
    again = views.lens({"id": "first", "group": first["group"], "seen": seen})
    assert again["group"] == first["group"] and set(again["parts"]) == {"list"}
    assert "2 groups" in again["parts"]["list"]["html"]
    assert "1 groups" in views.lens({"id": "first", "least": "0.1"})["parts"]["list"]["html"]
    assert "No rollouts here" in views.lens({"id": "first", "text": "no such goal"})["parts"]["list"]["html"]
    assert "is not a number" in views.lens({"id": "first", "least": "much"})["error"]
    followed = views.lens({"id": "first", "prompt": sample.id})["parts"]["list"]["html"]
    assert "This prompt at 2 steps" in followed


def test_a_group_is_drawn_on_the_screenshot_that_the_trainer_kept(views: TrainViews, root: Path) -> None:
    sample = first_sample()
    run = make_run(root)
    kept = run.keep_screen(sample.load_image(), sample.observation.elements)
    run.log_rollouts([{**group_record(sample, [reply_of(sample, 1)]), **kept}])
    page = views.lens({"id": "first"})["parts"]["group"]["html"]
    assert "data:image/webp;base64," in page and 'class="tw-mark tw-forecast tw-here' in page


def test_settings_are_compared_and_a_removed_run_is_left_out(views: TrainViews, root: Path) -> None:
    make_run(root, "a", seed=0), make_run(root, "b", seed=1)
    page = views.settings({"ids": ["a", "b", "gone"]})["html"]
    assert "2 settings differ" in page and "optim.seed" in page


def test_a_live_update_of_a_long_run_is_quick(views: TrainViews, root: Path) -> None:
    run = make_run(root, steps=1)
    lines = "".join(f'{{"step": {n}, "time": {n}.0, "reward": 0.5, "kl": 0.1}}\n' for n in range(2, 50_000))
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(lines)
    (first,) = views.curves({"runs": [{"id": "first"}]})["runs"]
    run.log_metrics(50_000, 1.0, {"reward": 0.5})
    started = time.process_time()
    (new,) = views.curves({"runs": [{key: first[key] for key in ("id", "generation", "rows")}]})["runs"]
    assert new["series"]["reward"]["x"] == [50_000]
    assert time.process_time() - started < 0.15  # of the whole first read it would be several times this
