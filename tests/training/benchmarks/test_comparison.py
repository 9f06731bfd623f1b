"""Comparisons: what is refused, what is shown as better, slices, flips and the three reports."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from executors.actions import Action
from executors.errors import InputError
from training.benchmarks.comparison import (
    NO_DIFFERENCE,
    NotComparableError,
    check_comparable,
    compare,
    compare_pair,
    flips,
    judge,
)
from training.benchmarks.evaluation import (
    Evaluation,
    Sample,
    StepResult,
    load_evaluation,
    open_folder,
    sample_from_json,
    sample_to_json,
    save_results,
)
from training.benchmarks.protocols import Outcome, Prediction, StepScore
from training.benchmarks.reports import to_csv, to_html, to_markdown
from training.cli import main

WAIT = Action(type="wait")


def result(success: float | None, reference: Action = WAIT, outcome: Outcome = Outcome.OK) -> StepResult:
    score = StepScore(is_type_right=bool(success), success=success)
    return StepResult(
        reference=reference, target=None, prediction=Prediction(action=WAIT, outcome=outcome), score=score
    )


def evaluation(name: str, flags, *, per_episode: int = 2, **changes) -> Evaluation:
    """One sample per flag, in episodes of `per_episode`; even episodes belong to the app Mail, odd ones to Maps."""
    samples = tuple(
        Sample(
            id=f"e{n // per_episode}/{n % per_episode}",
            episode=f"e{n // per_episode}",
            index=n % per_episode,
            prompt="p",
            steps=(result(float(flag)), result(0.0)),
            slices={"app": ("Mail", "Maps")[n // per_episode % 2], "length": "1-5"},
        )
        for n, flag in enumerate(flags)
    )
    given = {
        "name": name, "settings": {"data": "t.jsonl", "datasets": ["made"], "config": {"horizon": 4}},
        "protocol": "grounded", "version": 1, "tool_agent": "elements", "samples": samples,
    }  # fmt: skip
    return Evaluation(**{**given, **changes})


def flags(num_right: int, num_all: int = 60) -> list[bool]:
    return [n < num_right for n in range(num_all)]


def test_clear_winner_is_named_with_interval_and_corrected_p_value():
    report = compare([evaluation("sft", flags(20)), evaluation("rl", flags(45))])
    (pair,) = report.benchmarks[0].pairs
    assert (pair.gap, pair.num_only_a, pair.num_only_b) == (pytest.approx(25 / 60), 0, 25)
    assert 0 < pair.low < pair.gap < pair.high
    assert pair.p_holm == pair.p_value == pytest.approx(2 * 0.5**25)
    assert pair.better == "rl"


def test_no_winner_is_named_where_the_interval_crosses_zero():
    rng = random.Random(1)
    report = compare([evaluation(name, [rng.random() < 0.5 for _ in range(60)]) for name in ("a", "b")])
    (pair,) = report.benchmarks[0].pairs
    assert pair.low <= 0 <= pair.high
    assert pair.better == NO_DIFFERENCE
    assert pair.smallest_gap >= 0.1


def test_steps_of_one_episode_are_not_taken_for_independent():
    def pair(per_episode: int):
        found = [evaluation(name, some, per_episode=per_episode) for name, some in (("a", flags(0)), ("b", flags(40)))]
        return compare(found).benchmarks[0].pairs[0]

    alone, whole = pair(1), pair(20)
    assert whole.high - whole.low > alone.high - alone.low
    assert (alone.better, whole.better) == ("b", NO_DIFFERENCE)  # three episodes show nothing


def test_one_episode_says_nothing_about_others():
    pair = compare_pair(evaluation("a", flags(20), per_episode=60), evaluation("b", flags(40), per_episode=60))
    assert (pair.num_episodes, pair.low, pair.high) == (1, -1.0, 1.0)
    assert judge([pair])[0].better == NO_DIFFERENCE


def test_holm_corrects_over_all_pairs_and_benchmarks():
    right = {"a": 24, "b": 30, "c": 36}
    found = []
    for data in ("one", "two"):
        settings = {"data": data, "datasets": []}
        found += [evaluation(name, flags(count), per_episode=1, settings=settings) for name, count in right.items()]
    report = compare(found)
    pairs = [pair for benchmark in report.benchmarks for pair in benchmark.pairs]
    assert len(pairs) == 6
    smallest = min(pair.p_value for pair in pairs)
    assert [p.p_holm for p in pairs if p.p_value == smallest][0] == pytest.approx(6 * smallest)
    single = compare(found[:2]).benchmarks[0].pairs[0]
    assert single.better == "b"  # p = 0.031 alone
    assert {pair.better for pair in pairs if (pair.a, pair.b) == ("a", "b")} == {NO_DIFFERENCE}


def changed(base: Evaluation, **changes) -> Evaluation:
    samples = list(base.samples)
    samples[0] = replace(samples[0], **changes)
    return replace(base, samples=tuple(samples))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: replace(e, version=2), "protocol versions 1 and 2"),
        (lambda e: replace(e, protocol="osatlas"), "protocols 'grounded' and 'osatlas'"),
        (lambda e: replace(e, tool_agent="oracle"), "tool agents 'elements' and 'oracle'"),
        (lambda e: replace(e, samples=e.samples[1:]), "1 samples only in a .*'e0/0'"),
        (lambda e: changed(e, id="new"), "1 samples only in a .*; 1 samples only in b .*'new'"),
        (lambda e: changed(e, prompt="q"), "prompts of 1 samples .*'e0/0'"),
        (lambda e: changed(e, steps=(result(1.0, Action(type="press_back")),)), "recorded steps of 1 samples"),
    ],
)
def test_what_differs_is_refused_and_named(change, words):
    a = evaluation("a", flags(3, 6))
    with pytest.raises(NotComparableError, match=f"a and b cannot be compared, they differ in: .*{words}"):
        check_comparable(a, change(evaluation("b", flags(3, 6))))


def test_prompts_may_differ_when_that_is_compared_and_the_report_says_so():
    a, b = evaluation("a", flags(3, 6)), changed(evaluation("b", flags(3, 6)), prompt="q")
    other = replace(b, settings={**b.settings, "config": {"horizon": 6}})
    with pytest.raises(NotComparableError, match="horizon 4 and 6"):
        compare([a, other])
    report = compare([a, other], allow_different_prompts=True)
    assert report.notes == ("Prompts were allowed to differ.",)
    assert "Prompts were allowed to differ." in to_markdown(report)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], "nothing to compare"),
        ([evaluation("a", flags(1, 2))], "for a alone"),
        ([evaluation("a", flags(1, 2)), evaluation("a", flags(1, 2))], "called 'a'"),
    ],
)
def test_too_few_or_namesakes_are_refused(found, words):
    with pytest.raises(InputError, match=words):
        compare(found)


def test_steps_that_a_protocol_leaves_out_do_not_count():
    a, b = (changed(evaluation(name, flags(3, 6)), steps=(result(None),)) for name in "ab")
    (benchmark,) = compare([a, b]).benchmarks
    assert {score.num_samples for score in benchmark.scores} == {5}
    nothing = evaluation("a", []), evaluation("b", [])
    with pytest.raises(InputError, match="no sample that counts"):
        compare(nothing)


def test_slices_and_lookahead_stand_per_name():
    (benchmark,) = compare([evaluation("a", [1, 1, 0, 0]), evaluation("b", [0, 0, 0, 1])]).benchmarks
    assert benchmark.slices["app"] == {
        "Mail": {"a": {"rate": 1.0, "num": 2}, "b": {"rate": 0.0, "num": 2}},
        "Maps": {"a": {"rate": 0.0, "num": 2}, "b": {"rate": 0.5, "num": 2}},
    }
    assert benchmark.lookahead["b"] == {"1": {"rate": 0.25, "num": 4}, "2": {"rate": 0.0, "num": 4}}


def test_flips_hold_both_samples_losses_first():
    a, b = evaluation("a", [1, 1, 0, 0]), evaluation("b", [1, 0, 1, 0])
    assert [(flip.id, flip.right) for flip in flips(a, b)] == [("e0/1", "a"), ("e1/0", "b")]
    assert flips(a, b)[0].a.success == 1.0 and flips(a, b)[0].b.success == 0.0


def test_errors_and_unreadable_replies_stand_beside_the_score():
    a = changed(evaluation("a", flags(3, 4)), steps=(result(0.0, outcome=Outcome.FAILED),))
    b = changed(evaluation("b", flags(3, 4)), steps=(result(0.0, outcome=Outcome.UNREADABLE),))
    first, second = compare([a, b]).benchmarks[0].scores
    assert (first.num_errors, first.parse_failure_rate) == (1, 0.0)
    assert (second.num_errors, second.parse_failure_rate) == (0, 0.25)


def test_samples_survive_the_disk(tmp_path):
    made = evaluation("x", flags(2, 5))
    for sample in made.samples:
        assert sample_from_json(sample_to_json(sample)) == sample
    open_folder(tmp_path / "x", made.settings)
    path = save_results(tmp_path / "x", made, {})
    loaded = load_evaluation(path)
    assert (loaded.samples, loaded.benchmark, loaded.name) == (made.samples, made.benchmark, "x")


@pytest.mark.parametrize("damage", ["{", '{"id": 1}', "7"])
def test_damaged_result_line_is_named(tmp_path, damage):
    made = evaluation("x", flags(2, 3))
    open_folder(tmp_path, made.settings)
    path = save_results(tmp_path, made, {})
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], damage, *lines[3:]]))
    with pytest.raises(InputError, match="line 3: damaged"):
        load_evaluation(path)


HOSTILE = '=cmd|"<script>alert(1)</script>'


def hostile_report():
    a = evaluation(HOSTILE, flags(10))
    return compare([a, evaluation("b", flags(30))])


def test_markdown_has_a_row_for_each_score_and_pair():
    text = to_markdown(compare([evaluation("sft", flags(20)), evaluation("rl", flags(45))]))
    assert "| sft | 33.3 |" in text and "| sft | rl | +41.7 |" in text and "| rl |" in text
    assert "### By app" in text and "By length" not in text  # a slice of one group says nothing
    assert all(line.count("|") == text.splitlines()[n + 1].count("|") for n, line in enumerate(text.splitlines()[:-1])
               if line.startswith("|") and text.splitlines()[n + 1].startswith("| ---"))  # fmt: skip


def test_markdown_keeps_a_bar_in_a_name_inside_its_cell():
    assert '=cmd\\|"' in to_markdown(hostile_report())


def test_csv_is_read_back_and_runs_no_formula():
    rows = list(csv.DictReader(io.StringIO(to_csv(hostile_report()))))
    gap = [row for row in rows if row["table"] == "Pairs" and row["column"] == "gap"]
    assert [row["value"] for row in gap] == ["+33.3"]
    assert all(not row["row"].startswith("=") for row in rows)
    assert {row["table"] for row in rows} >= {"Scores", "Pairs", "By app", "Accuracy by lookahead"}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]


def test_html_is_one_page_without_scripts_or_links():
    page = to_html(hostile_report())
    found = _Tags()
    found.feed(page)
    assert "script" not in found.tags and found.links == [] and "table" in found.tags
    assert "&lt;script&gt;" in page


def test_published_scores_stand_in_a_table_of_their_own():
    settings = {"data": "ac.jsonl", "datasets": ["android_control"]}
    report = compare([
        evaluation(name, flags(count), protocol="osatlas", settings=settings) for name, count in (("a", 20), ("b", 45))
    ])  # fmt: skip
    for text in (to_markdown(report), to_html(report)):
        ours, _, published = text.partition("not run here")
        assert "UI-TARS-72B" in published and "UI-TARS-72B" not in ours
    assert "published" in {row["table"] for row in csv.DictReader(io.StringIO(to_csv(report)))}


@pytest.fixture
def folders(tmp_path):
    for name, count in (("sft", 20), ("rl", 45)):
        made = evaluation(name, flags(count))
        open_folder(tmp_path / name, made.settings)
        save_results(tmp_path / name, made, {})
    return tmp_path


def test_compare_command_prints_and_writes_reports(folders, capsys):
    reports = [str(folders / f"out/r.{suffix}") for suffix in ("md", "csv", "html")]
    options = [part for path in reports for part in ("--report", path)]
    assert main(["compare", "evaluations", f"first={folders / 'sft'}", str(folders / "rl"), "--flips", *options]) == 0
    out = capsys.readouterr().out
    assert "| first | rl | +41.7 |" in out and "e10/0: only rl" in out
    assert "| first |" in (folders / "out/r.md").read_text()
    assert (folders / "out/r.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "nothing to compare"),
        (["sft"], "for sft alone"),
        (["none", "rl"], "holds no results"),
        (["sft", "rl", "--report", "r.pdf"], "choose .md, .csv or .html"),
        (["sft", "rl", "--tool-agent", "oracle"], "nothing to compare"),
    ],
)
def test_compare_command_refuses_in_one_sentence(folders, monkeypatch, capsys, argv, words):
    monkeypatch.chdir(folders)
    assert main(["compare", "evaluations", *argv]) == 2
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error


def test_compare_simulator_still_wants_its_file(capsys):
    assert main(["compare", "simulator"]) == 2
    assert "--out is missing" in capsys.readouterr().err
