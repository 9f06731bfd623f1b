"""Verdicts on the paper's claims, and the results file."""

from __future__ import annotations

from pathlib import Path

import pytest

from executors.errors import InputError
from tests.training.planner_helpers import ScriptedPlanner, make_request
from training.benchmarks.claims import (
    BOTH,
    CLAIMS,
    REACTIVE,
    SFT,
    STAGE1,
    VARIANTS,
    AskedFor,
    Claim,
    Outcome,
    append_outcome,
    figure,
    judge,
    markdown,
    read_outcomes,
)

CLAIM = Claim(words="ahead is better", better=SFT, worse=REACTIVE)


def outcome(variant: str, flags: str, seed: int = 0) -> Outcome:
    """Tasks called by their place; "1" is a success."""
    success = {f"task-{i}": flag == "1" for i, flag in enumerate(flags)}
    return Outcome(variant=variant, seed=seed, success=success, num_errors=0, mean_steps=3.0)


def test_a_gain_on_every_task_is_seen() -> None:
    verdict = judge(CLAIM, [outcome(SFT, "1" * 20), outcome(REACTIVE, "0" * 20)])
    assert (verdict.word, verdict.gain, verdict.only_better, verdict.only_worse) == ("seen", 1.0, 20, 0)


def test_a_loss_is_not_seen_and_equal_planners_too() -> None:
    assert judge(CLAIM, [outcome(SFT, "0" * 20), outcome(REACTIVE, "1" * 20)]).word == "not seen"
    same = judge(CLAIM, [outcome(SFT, "10" * 100), outcome(REACTIVE, "10" * 100)])
    assert (same.word, same.gain) == ("not seen", 0.0) and 0.0 < same.high < 0.03


def test_few_tasks_on_which_nothing_differs_decide_nothing() -> None:
    same = judge(CLAIM, [outcome(SFT, "101"), outcome(REACTIVE, "101")])
    assert same.word == "not decidable" and same.low < -0.5 < 0.5 < same.high


def test_a_small_gain_on_few_tasks_is_not_decidable() -> None:
    verdict = judge(CLAIM, [outcome(SFT, "1110000000"), outcome(REACTIVE, "1100000000")])
    assert verdict.word == "not decidable" and verdict.low <= 0 < verdict.high


def test_only_tasks_that_both_did_are_compared_seed_by_seed() -> None:
    better = [outcome(SFT, "11"), outcome(SFT, "11", seed=1)]
    verdict = judge(CLAIM, [*better, outcome(REACTIVE, "1000", seed=1)])
    assert (verdict.num_pairs, verdict.gain) == (2, 0.5)
    assert judge(CLAIM, better) is None


def test_every_claim_names_two_variants_that_exist_and_differ() -> None:
    for claim in CLAIMS:
        assert {claim.better, claim.worse} <= VARIANTS.keys() and claim.better != claim.worse
    assert VARIANTS[BOTH].after == STAGE1
    assert len({variant.run_name("simulator", 0) for variant in VARIANTS.values()}) == len(VARIANTS)


def test_results_are_kept_and_a_damaged_line_is_told(tmp_path: Path) -> None:
    path = tmp_path / "study" / "outcomes.jsonl"
    assert read_outcomes(path) == []
    append_outcome(path, outcome(SFT, "10"))
    append_outcome(path, outcome(STAGE1, "11", seed=2))
    assert read_outcomes(path) == [outcome(SFT, "10"), outcome(STAGE1, "11", seed=2)]
    with path.open("a") as out:
        out.write('{"variant": "SFT"}\n')
    with pytest.raises(InputError, match="line 3"):
        read_outcomes(path)


def test_the_page_holds_rates_and_verdicts_and_says_what_was_not_evaluated() -> None:
    text = markdown([outcome(SFT, "1100"), outcome(REACTIVE, "1000")], ["About."])
    assert "| SFT | 50.0 |" in text and "| reactive | 25.0 |" in text
    assert "+25.0 (" in text and "not evaluated" in text


def test_the_figure_shows_rates_with_their_intervals() -> None:
    plot = figure([outcome(SFT, "1100"), outcome(REACTIVE, "1000"), outcome("T = 4", "1111")])
    bars, curve = plot.data
    assert list(bars.x) == [SFT, REACTIVE] and list(bars.y) == [50.0, 25.0]
    assert list(curve.x) == [1, 4] and list(curve.y) == [25.0, 100.0]
    assert plot.layout.annotations[0].text == "variants, 4 tasks"
    assert curve.error_y.array[1] == 0.0 and curve.error_y.arrayminus[1] > 40


def test_the_figure_counts_only_tasks_that_all_have_in_common() -> None:
    easy = [outcome(SFT, "0000"), outcome(SFT, "1111", seed=1), outcome(REACTIVE, "0001")]
    bars = figure(easy).data[0]
    assert list(bars.y) == [0.0, 25.0]  # the tasks of seed 1, on which only one was tried, are left out


def test_a_planner_is_asked_for_another_t() -> None:
    planner = ScriptedPlanner("1. wait() | wait")
    AskedFor(planner, 4).forecast([make_request()])
    assert [request.horizon for request in planner.asked] == [4]
