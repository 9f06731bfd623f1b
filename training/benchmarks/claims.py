"""The paper's claims, tried in small: which planners are trained and evaluated for them, and what the figures say.

A variant is a planner that starts from the same SFT: trained further by one stage or two, with one setting changed, or
asked otherwise. Each is trained with several seeds; the planner of training seed s acts on the tasks of seed s, the
same for all variants, so that two variants are compared task by task.

Verdict on a claim "A is better than B", from the mean of the paired differences of success and its 95 % interval
(bootstrap over tasks; seeds pooled):

    seen            the whole interval lies above 0
    not seen        it lies below `WORTHWHILE`: a gain that would matter is excluded
    not decidable   anything else, at this number of episodes
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.errors import InputError, OutputError
from training.benchmarks.markdown import table
from training.benchmarks.statistics import cluster_bootstrap_interval, mcnemar_exact, wilson_interval
from training.forecast import Forecast
from training.planner import Planner, PlanRequest

if TYPE_CHECKING:
    import plotly.graph_objects as go

WORTHWHILE = 0.03
"""Gain of success, as a share, that would matter (ours)."""
SFT, REACTIVE, STAGE1, STAGE2, BOTH = "SFT", "reactive", "Stage 1", "Stage 2", "Stage 1 + 2"
HORIZONS = (1, 2, 4, 6, 8, 10, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One planner of the study.

    Without `stage` it is the start planner, or with `after` that variant's. `horizon` is T when asked, None the
    planner's own.
    """

    name: str
    stage: str = ""
    after: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    horizon: int | None = None

    def run_name(self, world: str, seed: int) -> str:
        """The name of its training run.

        >>> VARIANTS[BOTH].run_name("simulator", 2)
        'claims-simulator-stage-1-2-seed2'
        """
        words = "".join(c if c.isalnum() else " " for c in self.name.lower()).split()
        return f"claims-{world}-{'-'.join(words)}-seed{seed}"


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(name=SFT),
        Variant(name=REACTIVE, horizon=1),
        Variant(name=STAGE1, stage="stage1"),
        Variant(name=STAGE2, stage="stage2"),
        Variant(name=BOTH, stage="stage2", after=STAGE1),
        Variant(name="Stage 1, lambda_rep = 0", stage="stage1", changes={"reward.lambda_rep": 0.0}),
        Variant(name="Stage 1, gamma = 1", stage="stage1", changes={"reward.gamma": 1.0}),
        Variant(name="Stage 1, no KL", stage="stage1", changes={"grpo.kl_coef": 0.0}),
        *(Variant(name=f"T = {T}", horizon=T) for T in HORIZONS if T > 1),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the paper says, as "the first variant does better than the second"."""

    words: str
    better: str
    worse: str


CLAIMS = (
    Claim(words="Planning ahead beats planning one step at a time", better=SFT, worse=REACTIVE),
    Claim(words="Stage 1 improves the planner", better=STAGE1, worse=SFT),
    Claim(words="Stage 2 improves the planner", better=STAGE2, worse=SFT),
    Claim(words="Both stages improve the planner", better=BOTH, worse=SFT),
    Claim(words="Without Stage 2 the result is worse", better=BOTH, worse=STAGE1),
    Claim(words="Without the repetition penalty (lambda_rep = 0) the result is worse", better=STAGE1,
          worse="Stage 1, lambda_rep = 0"),
    Claim(words="Without the discount (gamma = 1) the result is worse", better=STAGE1, worse="Stage 1, gamma = 1"),
    Claim(words="Success rises with T up to about 10", better="T = 10", worse=REACTIVE),
    Claim(words="Success falls beyond T = 10", better="T = 10", worse="T = 12"),
    Claim(words="A KL trust region matters when one reference is rewarded (GUI-Libra's finding, not the paper's)",
          better=STAGE1, worse="Stage 1, no KL"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A variant's episodes of one seed: task -> whether it succeeded."""

    variant: str
    seed: int
    success: Mapping[str, bool]
    num_errors: int
    mean_steps: float

    def to_json(self) -> dict[str, Any]:
        """One line of the results file."""
        return {"variant": self.variant, "seed": self.seed, "success": dict(self.success),
                "num_errors": self.num_errors, "mean_steps": self.mean_steps}  # fmt: skip


def read_outcomes(path: Path) -> list[Outcome]:
    """What a study has evaluated so far; nothing when the file does not exist.

    Raises:
        InputError: a line is no outcome.
    """
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(Outcome(**json.loads(line)))
        except (ValueError, TypeError):
            raise InputError(f"{path} line {number} is no outcome: remove it, and it is evaluated again") from None
    return found


def append_outcome(path: Path, outcome: Outcome) -> None:
    """Adds a line to the results file; raises OutputError when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(outcome.to_json(), ensure_ascii=False) + "\n")
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): choose a folder you may write") from None


class AskedFor:
    """A planner that is asked for T steps whatever its own T is."""

    def __init__(self, planner: Planner, horizon: int) -> None:
        self._planner, self.horizon = planner, horizon
        self.name, self.config = planner.name, planner.config

    def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
        """Forecasts of `horizon` steps."""
        return self._planner.forecast([replace(request, horizon=self.horizon) for request in requests])


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the outcomes say about a claim; `gain` and the interval are shares, -1..1.

    `only_better` and `only_worse` count the tasks on which only the one succeeded, `p_value` is McNemar's exact test of
    them.
    """

    claim: Claim
    word: str
    gain: float
    low: float
    high: float
    num_pairs: int
    only_better: int
    only_worse: int
    p_value: float


def judge(claim: Claim, outcomes: Sequence[Outcome]) -> Verdict | None:
    """The verdict of the outcomes on a claim; None when one of its variants was not evaluated on the same tasks."""
    one, two = _by_task(claim.better, outcomes), _by_task(claim.worse, outcomes)
    keys = sorted(one.keys() & two.keys())
    if not keys:
        return None
    differences = [float(one[key]) - float(two[key]) for key in keys]
    low, high = cluster_bootstrap_interval(differences, keys)
    if low == high:  # all tasks agree: how rare another outcome may be (Clopper-Pearson for none of n)
        slack = 1 - 0.025 ** (1 / len(keys))
        low, high = max(-1.0, low - slack), min(1.0, high + slack)
    only_better, only_worse = differences.count(1.0), differences.count(-1.0)
    word = "seen" if low > 0 else "not seen" if high < WORTHWHILE else "not decidable"
    return Verdict(
        claim=claim, word=word, gain=sum(differences) / len(keys), low=low, high=high, num_pairs=len(keys),
        only_better=only_better, only_worse=only_worse, p_value=mcnemar_exact(only_better, only_worse),
    )


def _by_task(variant: str, outcomes: Sequence[Outcome]) -> dict[tuple[int, str], bool]:
    return {(o.seed, task): ok for o in outcomes if o.variant == variant for task, ok in o.success.items()}


def markdown(outcomes: Sequence[Outcome], about: Sequence[str]) -> str:
    """The results page: what was done, success of each variant, and the verdicts."""
    rows = []
    for name in VARIANTS:
        own = [o for o in outcomes if o.variant == name]
        if own:
            rate, low, high = _rate([ok for o in own for ok in o.success.values()])
            seeds = ", ".join(f"{100 * _rate(list(o.success.values()))[0]:.0f}" for o in own)
            count = sum(len(o.success) for o in own)
            steps = sum(o.mean_steps * len(o.success) for o in own) / count
            rows.append((name, f"{100 * rate:.1f}", f"{100 * low:.1f} to {100 * high:.1f}", seeds, str(count),
                         str(sum(o.num_errors for o in own)), f"{steps:.1f}"))  # fmt: skip
    head = ("variant", "success %", "95 %", "by seed", "episodes", "errors", "steps")
    judged = [(claim, judge(claim, outcomes)) for claim in CLAIMS]
    lines = []
    for claim, verdict in judged:
        what = f"{claim.better} against {claim.worse}"
        if verdict is None:
            lines.append((claim.words, what, "", "", "", "not evaluated"))
            continue
        gap = f"{100 * verdict.gain:+.1f} ({100 * verdict.low:+.1f} to {100 * verdict.high:+.1f})"
        lines.append((claim.words, what, gap, f"{verdict.only_better} : {verdict.only_worse}", f"{verdict.p_value:.3f}",
                      verdict.word))  # fmt: skip
    verdicts = table(("claim", "compared", "gain, points (95 %)", "only one right", "p", "verdict"), lines)
    return "\n\n".join([*about, table(head, rows), verdicts]) + "\n"


def figure(outcomes: Sequence[Outcome]) -> go.Figure:
    """Success with 95 % intervals on the tasks that all shown have in common: the trained variants as bars, and success
    over T as a curve.
    """
    from plotly.subplots import make_subplots

    known = {outcome.variant for outcome in outcomes}
    own = [name for name in VARIANTS if not name.startswith("T =") and name in known]
    asked = [name for name in (REACTIVE, *(f"T = {T}" for T in HORIZONS)) if name in known]
    bars, curve = _common(own, outcomes), _common(asked, outcomes)
    titles = (f"variants, {len(bars[own[0]]) if own else 0} tasks",
              f"the SFT planner asked for T steps, {len(curve[asked[0]]) if asked else 0} tasks")
    plot = make_subplots(cols=2, column_widths=[0.6, 0.4], subplot_titles=titles)
    _add(plot.add_bar, 1, own, bars)
    _add(plot.add_scatter, 2, [VARIANTS[name].horizon for name in asked], curve)
    plot.update_xaxes(title_text="T", col=2)
    plot.update_yaxes(range=[0, 100])
    plot.update_yaxes(title_text="success, %", col=1)
    return plot.update_layout(template="plotly_white", showlegend=False, width=1200, height=480)


def _common(names: Sequence[str], outcomes: Sequence[Outcome]) -> dict[str, list[bool]]:
    """Name -> success on the tasks of all these variants."""
    found = {name: _by_task(name, outcomes) for name in names}
    keys = set.intersection(*map(set, found.values())) if found else set()
    return {name: [by_task[key] for key in keys] for name, by_task in found.items()}


def _add(add: Callable[..., Any], col: int, x: Sequence[Any], flags: Mapping[str, Sequence[bool]]) -> None:
    found = [_rate(own) for own in flags.values() if own]
    add(row=1, col=col, x=list(x), y=[100 * rate for rate, _, _ in found], error_y={
        "type": "data", "symmetric": False, "array": [100 * (high - rate) for rate, _, high in found],
        "arrayminus": [100 * (rate - low) for rate, low, _ in found],
    })  # fmt: skip


def _rate(flags: Sequence[bool]) -> tuple[float, float, float]:
    """Share of successes and its Wilson 95 % interval."""
    return sum(flags) / len(flags), *wilson_interval(sum(flags), len(flags))
