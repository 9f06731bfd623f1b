"""Ablation sweeps: one evaluation for each combination of settings, then a table and a figure.

A setting is varied at the evaluation ("horizon", "history": T and K) or, dotted, in the training of a stage that starts
from the planner ("reward.gamma", "reward.lambda_rep", "forecast.horizon"). With a stage to train, the planner itself is
also evaluated: it is the row without the stage. Runs and evaluations lie in the sweep's folder; what is finished there
is not done again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.errors import InputError
from training.benchmarks.comparison import PairResult, Score, check_comparable, compare_pair, judge, score_of
from training.benchmarks.evaluation import Evaluation, file_stem, load_evaluation
from training.benchmarks.markdown import percent, table
from training.benchmarks.reports import harmless, p_text

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from training.benchmarks.offline_run import OfflineSettings

EVALUATION_AXES = ("horizon", "history")
WITHOUT_STAGE = "without the stage"
_UNSAFE = re.compile(r"[^A-Za-z0-9._=-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A setting and the values it takes, as text."""

    key: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Axis:
        """The axis of "key=value,value,...".

        Raises:
            InputError: the text has another form, or an evaluation's value is no whole number.

        >>> Axis.parse("reward.gamma=0.5,1")
        Axis(key='reward.gamma', values=('0.5', '1'))
        """
        key, sep, rest = text.partition("=")
        values = tuple(dict.fromkeys(value.strip() for value in rest.split(",")))
        if not sep or not key.strip() or not all(values):
            raise InputError(f"--vary {text!r} is not KEY=VALUE,VALUE: write for example horizon=1,2,4")
        key = key.strip()
        if "." not in key and key not in EVALUATION_AXES:
            known = " or ".join(EVALUATION_AXES)
            raise InputError(f"--vary {key!r} is no setting: give {known}, or a stage's own such as reward.gamma")
        if key in EVALUATION_AXES and not all(value.isdecimal() for value in values):
            raise InputError(f"--vary {text!r}: {key} takes whole numbers")
        return cls(key=key, values=values)

    @property
    def is_trained(self) -> bool:
        """Whether the setting belongs to a stage's training."""
        return self.key not in EVALUATION_AXES


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One combination: the planner's name, and the values of the training (None: not trained) and of the evaluation."""

    planner: str
    trained: Mapping[str, str] | None = None
    evaluated: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How tables call it.

        >>> Point(planner="sft", evaluated={"horizon": "4"}).name
        'sft, horizon=4'
        """
        values = {**(self.trained or {}), **self.evaluated}
        return ", ".join([self.planner, *(f"{key}={value}" for key, value in values.items())])

    @property
    def folder(self) -> str:
        """A folder's name for it."""
        mark = [] if self.trained is None else ["trained"]
        values = {**(self.trained or {}), **self.evaluated}
        return _UNSAFE.sub("-", "_".join([self.planner, *mark, *(f"{k}={v}" for k, v in values.items())]))

    @property
    def run_folder(self) -> str:
        """The name of its training run's folder."""
        return replace(self, evaluated={}).folder


def points(planners: Sequence[str], axes: Sequence[Axis], *, is_trained: bool) -> list[Point]:
    """All combinations, planner by planner; with training each planner comes untrained first.

    Raises:
        InputError: a stage's setting is varied without a stage to train, a key twice, or a planner twice.

    >>> [p.name for p in points(["a"], [Axis.parse("horizon=1,2")], is_trained=False)]
    ['a, horizon=1', 'a, horizon=2']
    """
    trained = [axis for axis in axes if axis.is_trained]
    if trained and not is_trained:
        raise InputError(f"--vary {trained[0].key} belongs to a stage's training: name the stage with --train")
    for what, names in (("--vary", [axis.key for axis in axes]), ("--planner", list(planners))):
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise InputError(f"{what} {twice[0]!r} is given twice: give each once")
    evaluated = [axis for axis in axes if not axis.is_trained]
    runs: list[Mapping[str, str] | None] = [None]
    if is_trained:
        runs += _combinations(trained)
    return [
        Point(planner=planner, trained=run, evaluated=values)
        for planner in planners
        for run in runs
        for values in _combinations(evaluated)
    ]


def _combinations(axes: Sequence[Axis]) -> list[dict[str, str]]:
    keys = [axis.key for axis in axes]
    return [dict(zip(keys, values, strict=True)) for values in product(*(axis.values for axis in axes))]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """A point's score, and its test against the sweep's first point (None for that itself)."""

    point: Point
    score: Score
    against_first: PairResult | None = None


def rows_of(found: Sequence[tuple[Point, Evaluation]]) -> list[SweepRow]:
    """The rows of a finished sweep: each against the first, p-values corrected together; prompts may differ.

    Raises:
        NotComparableError: the evaluations are not of the same samples and protocol.
    """
    (_, first), *others = found
    pairs = []
    for _, evaluation in others:
        check_comparable(first, evaluation, allow_different_prompts=True)
        pairs.append(compare_pair(first, evaluation))
    judged = [None, *judge(pairs)]
    return [
        SweepRow(point=point, score=score_of(evaluation), against_first=pair)
        for (point, evaluation), pair in zip(found, judged, strict=True)
    ]


def run_sweep(
    sweep: Sequence[Point],
    planners: Mapping[str, str],
    settings: OfflineSettings,
    train: Callable[[Point, Path], str] | None,
    evaluate: Callable[[OfflineSettings], Any],
) -> list[SweepRow]:
    """Trains and evaluates what is missing and returns the rows.

    Args:
        sweep: of `points`.
        planners: name -> specification.
        settings: of every evaluation; its `out` is the sweep's folder, its planner is not looked at.
        train: trains a point's planner in a run folder, unless that is finished, and returns the checkpoint.
        evaluate: runs one evaluation.
    """
    found = []
    for point in sweep:
        planner = planners[point.planner]
        if point.trained is not None:
            planner = train(point, settings.out / "runs" / point.run_folder)
        folder = settings.out / "evaluations" / point.folder
        values = point.evaluated
        own = replace(
            settings,
            planner=planner,
            out=folder,
            horizon=int(values["horizon"]) if "horizon" in values else settings.horizon,
            history_length=int(values["history"]) if "history" in values else settings.history_length,
        )
        evaluate(own)
        path = folder / f"results.{file_stem(settings.protocol, settings.tool_agents[0])}.jsonl"
        found.append((point, load_evaluation(path, point.name)))
    return rows_of(found)


_HEAD = ("step success", "95 %", "steps", "errors", "gap to the first", "95 %", "p (Holm)", "shown")


def _keys(rows: Sequence[SweepRow]) -> list[str]:
    """The varied settings, those of the training first."""
    trained = [key for row in rows for key in row.point.trained or ()]
    return list(dict.fromkeys([*trained, *(key for row in rows for key in row.point.evaluated)]))


def _cells(rows: Sequence[SweepRow]) -> tuple[list[str], list[list[str]]]:
    """(head, rows) of the table, one column for each varied setting."""
    keys = _keys(rows)
    has_runs = any(row.point.trained is not None for row in rows)
    lines = []
    for row in rows:
        values = {**(row.point.trained or {}), **row.point.evaluated}
        stage = [("trained" if row.point.trained is not None else WITHOUT_STAGE)] if has_runs else []
        score, pair = row.score, row.against_first
        test = ["", "", "", ""] if pair is None else [
            f"{100 * pair.gap:+.1f}", f"{100 * pair.low:+.1f} to {100 * pair.high:+.1f}", p_text(pair.p_holm),
            "better" if pair.better == pair.b else "worse" if pair.better == pair.a else pair.better,
        ]  # fmt: skip
        lines.append([
            row.point.planner, *stage, *(values.get(key, "") for key in keys), percent(score.rate),
            f"{percent(score.low)} to {percent(score.high)}", str(score.num_samples), str(score.num_errors), *test,
        ])  # fmt: skip
    return ["planner", *(["stage"] if has_runs else []), *keys, *_HEAD], lines


def sweep_markdown(rows: Sequence[SweepRow]) -> str:
    """The rows as a Markdown table; differences are tested against the first row."""
    return table(*_cells(rows))


def sweep_csv(rows: Sequence[SweepRow]) -> str:
    """The rows as CSV, with the columns of `sweep_markdown`."""
    head, lines = _cells(rows)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *(map(harmless, line) for line in lines)])
    return out.getvalue()


def sweep_figure(rows: Sequence[SweepRow]) -> go.Figure:
    """Step success with 95 % intervals: curves over the first varied setting when it is a number, else one bar a row.

    Rows that differ in anything else than that setting are curves of their own.
    """
    import plotly.graph_objects as go

    keys = _keys(rows)
    axis = next((key for key in keys if _is_numeric(rows, key)), None)
    figure = go.Figure()
    if axis is None:
        names = [row.point.name for row in rows]
        figure.add_bar(x=names, y=[100 * row.score.rate for row in rows], error_y=_error(rows), name="step success")
    else:
        curves: dict[str, list[SweepRow]] = {}
        for row in rows:
            curves.setdefault(_without(row.point, axis), []).append(row)
        for name, some in curves.items():
            at = [row for row in some if _value(row, axis) is not None]
            for row in (row for row in some if _value(row, axis) is None):
                figure.add_hline(y=100 * row.score.rate, line_dash="dot", annotation_text=f"{name}, {WITHOUT_STAGE}")
            if at:
                figure.add_scatter(
                    x=[float(_value(row, axis)) for row in at], y=[100 * row.score.rate for row in at],
                    error_y=_error(at), mode="lines+markers", name=name,
                )  # fmt: skip
        figure.update_xaxes(title_text=axis)
    figure.update_yaxes(title_text="step success, %", range=[0, 100])
    return figure.update_layout(template="plotly_white", showlegend=True)


def _value(row: SweepRow, key: str) -> str | None:
    return {**(row.point.trained or {}), **row.point.evaluated}.get(key)


def _is_numeric(rows: Sequence[SweepRow], key: str) -> bool:
    values = {value for row in rows if (value := _value(row, key)) is not None}
    return len(values) > 1 and all(re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", value) for value in values)


def _without(point: Point, key: str) -> str:
    values = {**(point.trained or {}), **point.evaluated}
    return ", ".join([point.planner, *(f"{k}={v}" for k, v in values.items() if k != key)])


def _error(rows: Sequence[SweepRow]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (row.score.high - row.score.rate) for row in rows],
        "arrayminus": [100 * (row.score.rate - row.score.low) for row in rows],
    }
