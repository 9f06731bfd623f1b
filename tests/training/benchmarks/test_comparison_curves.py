"""Accuracy by lookahead with intervals, and plan stability of evaluations."""

from __future__ import annotations

import pytest

from executors.actions import Action
from training.benchmarks.comparison import compare, lookahead_intervals, score_of
from training.benchmarks.evaluation import Evaluation, Sample, StepResult, lookahead_rates, plan_stability_of
from training.benchmarks.protocols import Prediction, StepScore
from training.benchmarks.reports import to_markdown
from training.benchmarks.statistics import cluster_bootstrap_interval, wilson_interval
from training.forecast import parse_forecast

ONE, TWO = "1. press_home() | home\n2. wait() | wait\n3. finished() | done", "1. wait() | wait\n2. finished() | done"


def sample(episode: str, index: int, successes: list[float | None], reply: str | None = None) -> Sample:
    steps = tuple(
        StepResult(
            reference=Action(type="wait"), target=None, prediction=Prediction.of(Action(type="wait")),
            score=StepScore(is_type_right=True, success=success),
        )
        for success in successes
    )  # fmt: skip
    forecast = None if reply is None else parse_forecast(reply, horizon=3).to_json()
    return Sample(id=f"{episode}/{index}", episode=episode, index=index, prompt="p", steps=steps, forecast=forecast)


def test_each_lookahead_has_the_interval_of_its_own_steps_over_whole_episodes():
    samples = [sample(f"e{n % 9}", n, [float(n % 3 > 0), float(n % 2)][: 1 + (n < 20)]) for n in range(40)]
    values, episodes = [float(n % 2) for n in range(20)], [f"e{n % 9}" for n in range(20)]
    intervals = lookahead_intervals(samples)
    assert list(intervals) == list(lookahead_rates(samples)) == ["1", "2"]
    assert intervals["2"] == cluster_bootstrap_interval(values, episodes)


def test_steps_that_the_protocol_leaves_out_are_in_no_interval():
    intervals = lookahead_intervals([sample("a", 0, [1.0, None]), sample("b", 0, [1.0, 1.0])])
    assert intervals["1"] == pytest.approx(wilson_interval(2, 2))
    assert intervals["2"] == pytest.approx(wilson_interval(1, 1))


def test_stability_pairs_states_that_follow_one_another_and_no_others():
    steady = [sample("a", 0, [1.0], ONE), sample("a", 1, [1.0], TWO)]
    assert plan_stability_of(steady) == 1.0
    assert plan_stability_of(reversed(steady)) == 1.0  # order does not matter
    assert plan_stability_of([sample("a", 0, [1.0], ONE), sample("a", 2, [1.0], TWO)]) is None
    assert plan_stability_of([sample("a", 0, [1.0], ONE), sample("b", 1, [1.0], TWO)]) is None
    assert plan_stability_of([sample("a", 0, [1.0], ONE), sample("a", 1, [1.0])]) is None  # the planner failed
    assert plan_stability_of([sample("a", 0, [1.0], ONE), sample("a", 1, [1.0], "hm")]) == 0.0


def test_score_and_report_tell_the_stability():
    def evaluation(name: str) -> Evaluation:
        samples = (sample("a", 0, [1.0], ONE), sample("a", 1, [0.0], TWO))
        settings = {"data": "t.jsonl", "datasets": []}
        return Evaluation(
            name=name, settings=settings, protocol="grounded", version=1, tool_agent="elements", samples=samples
        )

    assert score_of(evaluation("x")).stability == 1.0
    report = to_markdown(compare([evaluation("x"), evaluation("y")]))
    assert "plan stability" in report and "| x | 50.0 | " in report and "| 100.0 | " in report
