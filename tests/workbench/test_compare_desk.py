"""Stored, chosen, saved and reported evaluations: the shelf, the saved comparisons and the desk."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from executors.errors import InputError, MissingFileError
from tests.workbench.compare_helpers import BENCHMARK, make_evaluation, make_two
from training.benchmarks.comparison import NotComparableError
from workbench.annotation_queue import AnnotationQueue
from workbench.compare_desk import Choice, CompareDesk, FlipChoice
from workbench.compare_saved import SavedComparison, SavedComparisons
from workbench.compare_shelf import EvaluationShelf
from workbench.store import Store

PAIR = FlipChoice(benchmark=BENCHMARK, a="weak", b="strong")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluations")
    make_two(folder)
    make_evaluation(folder / "deep", "short", lambda state: False, horizon=1)
    make_evaluation(folder, "val", lambda state: False, split="val")
    return folder


BOTH = Choice(ids=("weak/grounded.elements", "strong/grounded.elements"))


def make_desk(root: Path, store: Path) -> CompareDesk:
    opened = Store(store)
    return CompareDesk(EvaluationShelf(root), SavedComparisons(opened), AnnotationQueue(opened))


@pytest.fixture
def desk(root, tmp_path) -> CompareDesk:
    return make_desk(root, tmp_path / "store")


def test_the_shelf_lists_every_evaluation_best_first_within_its_benchmark(root):
    rows = EvaluationShelf(root).list()
    assert [(row.name, row.benchmark == BENCHMARK) for row in rows] == [
        ("deep/short", True), ("strong", True), ("weak", True), ("val", False),
    ]  # fmt: skip
    assert rows[0].rate == 1.0 and rows[0].interval[1] == 1.0
    assert EvaluationShelf(root / "nowhere").list() == []


def test_an_evaluation_is_loaded_by_its_id_and_only_once(root):
    shelf = EvaluationShelf(root)
    evaluation, digest = shelf.load("deep/short/grounded.elements")
    assert evaluation.name == "deep/short" and evaluation.benchmark == BENCHMARK
    assert shelf.load("deep/short/grounded.elements") == (evaluation, digest)
    assert shelf.load("deep/short/grounded.elements")[0] is evaluation
    assert EvaluationShelf(root / "weak").load("./grounded.elements")[0].name == "weak"


@pytest.mark.parametrize(
    "id", ["", "weak", "/etc/passwd", "../weak/grounded.elements", "weak/../strong/grounded.elements",
           "./weak/grounded.elements", "weak//grounded.elements", "weak/\0", "gone/grounded.elements"]
)  # fmt: skip
def test_no_id_leads_out_of_the_root_or_to_nothing(root, id):
    with pytest.raises(MissingFileError):
        EvaluationShelf(root / "weak" if id.startswith("../") else root).load(id)


def test_summaries_that_cannot_be_read_are_left_out_and_damaged_results_are_told(tmp_path):
    make_evaluation(tmp_path, "one", lambda state: False, num_episodes=1)
    summary = json.loads((tmp_path / "one" / "summary.grounded.elements.json").read_text())
    wrong = ({"benchmark": 3}, {"ci95": [0.1]}, {"ci95": ["low", "high"]}, {"type": "all"}, {"step_success": {}})
    for number, text in enumerate(["{", "[]", *(json.dumps({**summary, **change}) for change in wrong)]):
        (tmp_path / f"wrong{number}").mkdir()
        (tmp_path / f"wrong{number}" / "summary.grounded.elements.json").write_text(text)
    shelf = EvaluationShelf(tmp_path)
    assert [row.name for row in shelf.list()] == ["one"]
    results = tmp_path / "one" / "results.grounded.elements.jsonl"
    lines = results.read_text().splitlines()
    record = json.loads(lines[1])
    record["forecast"] = {"steps": [{"action": {"type": "fly"}, "instruction": "x"}]}
    results.write_text("\n".join([lines[0], json.dumps(record)]))
    with pytest.raises(InputError, match="line 2: damaged"):
        shelf.load("one/grounded.elements")


def test_a_comparison_is_worked_out_once_until_a_result_changes(desk):
    first = desk.comparison(BOTH)
    assert desk.comparison(BOTH) is first
    (pair,) = first.benchmarks[0].pairs
    assert (pair.a, pair.b, pair.better) == ("weak", "strong", "strong")


@pytest.mark.parametrize("ids", [(), ("weak/grounded.elements",), tuple(f"{n}/x.y" for n in range(25))])
def test_too_few_or_too_many_are_refused(desk, ids):
    with pytest.raises(InputError, match=f"{len(ids)} evaluations are chosen: choose 2"):
        desk.comparison(Choice(ids=ids))


def test_what_must_not_be_compared_is_refused_and_prompts_may_be_let_differ(desk):
    ids = ("weak/grounded.elements", "deep/short/grounded.elements")
    with pytest.raises(NotComparableError, match="prompts"):
        desk.comparison(Choice(ids=ids))
    report = desk.comparison(Choice(ids=ids, allow_different_prompts=True))
    assert report.notes == ("Prompts were allowed to differ.",)
    with pytest.raises(NotComparableError, match="alone"):
        desk.comparison(Choice(ids=(*BOTH.ids, "val/grounded.elements")))


def test_flips_go_both_ways_and_agree_with_the_counts(desk):
    found = desk.flips(BOTH, PAIR)
    (pair,) = desk.comparison(BOTH).benchmarks[0].pairs
    sides = [sum(flip.right == name for flip in found) for name in ("weak", "strong")]
    assert sides == [pair.num_only_a, pair.num_only_b] and min(sides) > 0
    assert {flip.a.index for flip in found if flip.right == "weak"} == {3}


@pytest.mark.parametrize(
    "wanted",
    [FlipChoice(benchmark="other", a="weak", b="strong"), FlipChoice(benchmark=BENCHMARK, a="weak", b="weak"),
     FlipChoice(benchmark=BENCHMARK, a="weak", b="val")],
)  # fmt: skip
def test_flips_of_what_is_no_pair_are_refused(desk, wanted):
    with pytest.raises(InputError, match="are no pair of"):
        desk.flips(BOTH, wanted)


def test_reports_hold_the_same_figures_in_three_forms(desk):
    (pair,) = desk.comparison(BOTH).benchmarks[0].pairs
    gap = f"{100 * pair.gap:+.1f}"
    rows = list(csv.DictReader(io.StringIO(desk.report(BOTH, "csv"))))
    assert next(row["value"] for row in rows if row["column"] == "gap") == gap
    assert gap in desk.report(BOTH, "md")
    page = desk.report(BOTH, "html")
    assert gap in page and "<script" not in page and "http" not in page.lower().replace("http-equiv", "")
    with pytest.raises(InputError, match="report 'pdf' is unknown"):
        desk.report(BOTH, "pdf")


def test_a_saved_comparison_is_opened_by_its_name_in_another_process(desk, root, tmp_path):
    desk.save("first", Choice(ids=BOTH.ids, allow_different_prompts=True), "ada")
    again = make_desk(root, tmp_path / "store")
    assert again.open("first") == (Choice(ids=BOTH.ids, allow_different_prompts=True), [])
    (saved,) = again.saved.list()
    assert (saved.name, saved.person) == ("first", "ada")


def test_results_that_changed_or_went_since_are_told(tmp_path):
    make_two(tmp_path / "evaluations")
    desk = make_desk(tmp_path / "evaluations", tmp_path / "store")
    desk.save("kept", BOTH, "")
    results = tmp_path / "evaluations" / "weak" / "results.grounded.elements.jsonl"
    results.write_text(results.read_text()[:-1])
    assert desk.open("kept")[1] == [
        "The results of weak/grounded.elements have changed since this comparison was saved."
    ]
    for path in (tmp_path / "evaluations" / "weak").iterdir():
        path.unlink()
    assert desk.open("kept")[1] == ["weak/grounded.elements is not stored any more."]


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 81, "<b>"])
def test_names_that_cannot_be_links_are_refused(desk, name):
    with pytest.raises(InputError, match="name .* is not allowed"):
        desk.save(name, BOTH, "")


def test_a_taken_name_is_kept_unless_it_is_to_be_replaced(desk):
    desk.save("same", BOTH, "ada")
    with pytest.raises(InputError, match="a comparison named 'same' exists"):
        desk.save("same", BOTH, "bob")
    desk.save("same", BOTH, "bob", replace=True)
    assert desk.saved.load("same").person == "bob"


def test_what_cannot_be_compared_is_not_saved_and_a_deleted_one_is_gone(desk):
    with pytest.raises(NotComparableError):
        desk.save("wrong", Choice(ids=("weak/grounded.elements", "val/grounded.elements")), "")
    with pytest.raises(InputError, match="has 1 evaluations"):
        SavedComparison(name="one", digests={"a": "b"})
    desk.save("short-lived", BOTH, "")
    assert desk.saved.delete("short-lived") and not desk.saved.delete("short-lived")
    with pytest.raises(MissingFileError, match="no comparison is saved as 'short-lived'"):
        desk.open("short-lived")
