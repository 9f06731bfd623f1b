"""Alerts hold for runs that went wrong, and not for healthy ones."""

import math

import pytest

from training.config import SftConfig
from training.run_folder import RunFolder
from workbench.runs.alerts import KINDS, AlertWatch, Series, find_alerts

HEALTHY = {"loss": 0.1, "grad_norm": 1.0, "reward": 0.5, "kl": 0.01, "zero_variance_share": 0.3,
           "sampling_logp_difference": 0.01}  # fmt: skip


def _series(num_steps=60, **changed):
    """A healthy run, apart from metrics given as a function of the step."""
    columns = {name: [changed.get(name, lambda _, v=value: v)(step) for step in range(num_steps)]
               for name, value in HEALTHY.items()}  # fmt: skip
    return Series(steps=list(range(num_steps)), times=[10.0 * step for step in range(num_steps)], columns=columns)


def _kinds(series, age=1.0, now=None):
    return [alert.kind for alert in find_alerts(series, age, series.times[-1] + 5 if now is None else now)]


def test_a_healthy_run_has_none():
    assert _kinds(_series()) == []
    assert find_alerts(Series(), 1.0, 0.0) == []


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("nan", {"loss": lambda step: None if step == 55 else 0.1}),
        ("nan", {"grad_norm": lambda step: None if step >= 50 else 1.0}),
        ("kl", {"kl": lambda step: 0.01 if step < 40 else 5.0}),
        ("reward_collapse", {"reward": lambda step: 0.8 if step < 35 else 0.1}),
        ("zero_variance", {"zero_variance_share": lambda step: 1.0}),
        ("sampler_mismatch", {"sampling_logp_difference": lambda step: 0.4}),
    ],
)
def test_what_went_wrong_is_told(kind, changed):
    assert _kinds(_series(**changed)) == [kind]


@pytest.mark.parametrize(
    "changed",
    [
        {"loss": lambda step: None if step == 3 else 0.1},  # long ago
        {"reward": lambda step: 0.1 + step / 100},  # rises
        {"reward": lambda step: 0.5 + (step % 2) * 0.2},  # noise
        {"zero_variance_share": lambda step: 1.0 if step % 3 else 0.9},
        {"kl": lambda step: None},  # no distance is measured
        {"grad_norm": lambda step: None},  # is not logged
    ],
)
def test_what_is_all_right_is_not_told(changed):
    assert _kinds(_series(**changed)) == []


def test_few_steps_are_not_judged():
    assert _kinds(_series(5, kl=lambda step: 9.0, zero_variance_share=lambda step: 1.0)) == []


def test_a_silent_heartbeat_and_a_standing_step_are_told():
    series = _series()
    assert _kinds(series, age=31.0) == ["stalled"]
    assert _kinds(series, now=series.times[-1] + 601) == ["stalled"]
    assert _kinds(series, now=series.times[-1] + 599) == []
    assert _kinds(series, age=None, now=1e9) == []


def test_the_worst_comes_first_and_every_kind_is_known():
    series = _series(loss=lambda step: None, kl=lambda step: 9.0, zero_variance_share=lambda step: 1.0)
    alerts = find_alerts(series, 99.0, series.times[-1])
    assert [alert.kind for alert in alerts] == ["nan", "stalled", "kl", "zero_variance"]
    assert {alert.kind for alert in alerts} <= set(KINDS)
    assert [alert.level for alert in alerts] == ["error", "error", "error", "warning"]


def test_a_run_is_followed_from_its_folder_and_evaluations_are_no_missing_losses(tmp_path):
    run = RunFolder.create(tmp_path / "run", stage="sft", config=SftConfig(), command=[], seed=0)
    watch = AlertWatch(run.path)
    assert find_alerts(watch.update(), None) == []
    run.log_metrics(1, 0.1, {"loss": 0.5, "learning_rate": 0.1})
    run.log_metrics(1, 0.1, {"val/reward": 0.5})
    assert find_alerts(watch.update(), 1.0) == []
    run.log_metrics(2, 0.1, {"loss": math.inf, "learning_rate": 0.1})
    (alert,) = find_alerts(watch.update(), 1.0)
    assert (alert.kind, alert.step) == ("nan", 2) and watch.series.columns["reward"] == [None, None]
    RunFolder.resume(run.path, command=[], step=1)
    assert find_alerts(watch.update(), 1.0) == []
