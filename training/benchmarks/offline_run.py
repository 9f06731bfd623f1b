"""One offline evaluation from its settings to its figures: what `tracer1 evaluate PROTOCOL` and a queue call."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from executors.errors import InputError, MissingFileError
from executors.tool_agents import get_tool_agent
from executors.trajectory import Trajectory, read_trajectories
from training.benchmarks.baselines import BASELINES
from training.benchmarks.evaluation import (
    Evaluation,
    make_samples,
    only_writer,
    open_folder,
    read_settings,
    save_results,
    scored_steps,
    summarise_samples,
)
from training.benchmarks.journal import Journal
from training.benchmarks.offline import (
    Grounder,
    OnProgress,
    State,
    build_states,
    config_to_json,
    ground_forecasts,
    grounder_of,
    make_forecasts,
    oracle_grounder,
)
from training.benchmarks.protocols import get_protocol
from training.benchmarks.references import by_id, is_blind, read_references
from training.config import DataConfig, ForecastConfig
from training.datasets.simulator import record_trajectories
from training.planner import Planner, load_planner

SIMULATOR = "simulator"
ORACLE_AGENT = "oracle"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineSettings:
    """What is evaluated on what.

    - `data`: a trajectory file, or "simulator" for the embedded world's oracle episodes; `split` and `num_episodes`
      narrow it. None takes all of a file, "test" and 96 of the simulator.
    - `planner`: a planner's specification, or the name of a baseline ("oracle", "random"). `horizon` and
      `history_length` replace its own T and K.
    - `tool_agents`: names, of which "oracle" takes points from the record.
    - `references`: the data set's own file, where a protocol needs more than trajectories hold.
    """

    protocol: str
    data: str
    planner: str
    out: Path
    tool_agents: tuple[str, ...] = ("elements",)
    references: str | None = None
    split: str | None = None
    num_episodes: int | None = None
    seed: int = 0
    level: str = "high"
    reactive: bool = False
    horizon: int | None = None
    history_length: int | None = None
    batch_size: int = 16

    def arguments(self) -> list[str]:
        """The words after `tracer1 evaluate` that mean these settings; only those that are no default are said."""
        words = [self.protocol, "--planner", self.planner]
        if self.data != SIMULATOR:
            words += ["--data", self.data]
        for agent in self.tool_agents:
            words += ["--tool-agent", agent]
        words += ["--reactive"] if self.reactive else []
        for option, name in _OPTIONS.items():
            value = getattr(self, name)
            if value != OfflineSettings.__dataclass_fields__[name].default:
                words += [option, str(value)]
        return [*words, "--out", str(self.out)]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values; the inverse of `from_json`."""
        return {**asdict(self), "out": str(self.out), "tool_agents": list(self.tool_agents)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> OfflineSettings:
        """The settings of a `to_json` record.

        Raises:
            InputError: the record has another form.
        """
        try:
            return cls(**{**record, "out": Path(record["out"]), "tool_agents": tuple(record["tool_agents"])})
        except (TypeError, KeyError) as error:
            raise InputError(f"these are no settings of an evaluation ({error!r}): make them anew") from None


_OPTIONS = {
    "--references": "references", "--split": "split", "--episodes": "num_episodes", "--seed": "seed",
    "--level": "level", "--horizon": "horizon", "--history": "history_length", "--batch-size": "batch_size",
}
"""Options of `tracer1 evaluate` that take one value -> the setting; `arguments` writes them."""


def evaluate_offline(
    settings: OfflineSettings,
    *,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
    load: Callable[[str], Planner] = load_planner,
) -> list[dict[str, Any]] | None:
    """Runs what is missing and returns the figures of each tool agent; None when it was stopped.

    The folder `settings.out` is gone on with when it holds the same evaluation; the planner is not even loaded when its
    forecasts are all there.

    Raises:
        InputError: a setting is not allowed, the data hold no step of the protocol's set, or the folder belongs to
            another evaluation.
        MissingFileError: data or planner do not exist.
        OutputError: the folder cannot be written, or another evaluation is writing it.
    """
    protocol = get_protocol(settings.protocol)
    grounders = {name: _grounder_loader(name) for name in settings.tool_agents}
    trajectories, about_data = _load_data(settings)
    planner = PlannerShelf(
        settings.planner, load, horizon=settings.horizon, history_length=settings.history_length
    )
    config = planner.config(read_settings(settings.out))
    horizon = 1 if settings.reactive else settings.horizon or config.horizon
    recorded = None if settings.references is None else by_id(read_references(Path(settings.references)))
    states = list(
        build_states(trajectories, protocol, horizon=horizon, level=settings.level, recorded=recorded)
    )
    if not states:
        raise InputError(
            f"{settings.data} holds no step of protocol {protocol.name}'s set "
            f"({', '.join(protocol.datasets) or 'any data set'}): give other data or another protocol"
        )
    twice = [state_id for state_id, count in Counter(state.id for state in states).items() if count > 1]
    if twice:
        raise InputError(f"{settings.data}: step {twice[0]!r} occurs twice: leave one of the episodes out")
    about = {
        **about_data,
        "datasets": sorted({state.references[0].dataset for state in states}),
        "level": settings.level,
        "planner": settings.planner,
        "mode": "reactive" if settings.reactive else "anticipatory",
        "horizon": horizon,
        "config": config_to_json(config),
    }
    open_folder(settings.out, about)
    with only_writer(settings.out):
        return _run(settings, states, planner, config, grounders, about, on_progress, should_stop)


def _run(
    settings: OfflineSettings, states: Sequence[State], planner: PlannerShelf, config: ForecastConfig,
    grounders: Mapping[str, Callable[[], Grounder]], about: dict[str, Any], on_progress: OnProgress | None,
    should_stop: Callable[[], bool] | None,
) -> list[dict[str, Any]] | None:  # fmt: skip
    """Both passes and the figures; None when it was stopped."""
    forecasts = Journal(settings.out / "forecasts.jsonl")
    options = {"on_progress": on_progress, "should_stop": should_stop}
    if not make_forecasts(states, planner.load, forecasts, config, batch_size=settings.batch_size, **options):
        return None
    planner.drop()  # a tool agent may need the memory
    summaries = []
    for name, load_grounder in grounders.items():
        actions = Journal(settings.out / f"actions.{name}.jsonl")
        phase = f"actions of {name}"
        if not ground_forecasts(states, forecasts.records, load_grounder, actions, phase=phase, **options):
            return None
        summaries.append(_finish(settings, states, name, forecasts, actions, about))
    return summaries


def _finish(
    settings: OfflineSettings,
    states: Sequence[State],
    agent: str,
    forecasts: Journal,
    actions: Journal,
    about: dict[str, Any],
) -> dict[str, Any]:
    protocol = get_protocol(settings.protocol)
    windows = [state.references for state in states]
    samples = make_samples(protocol, windows, forecasts.records, actions.records)
    evaluation = Evaluation(
        name=settings.out.name,
        settings=about,
        protocol=protocol.name,
        version=protocol.version,
        tool_agent=agent,
        samples=tuple(samples),
        folder=settings.out,
    )
    summary = {
        "benchmark": evaluation.benchmark,
        "planner": settings.planner,
        "tool_agent": agent,
        "mode": about["mode"],
        "horizon": about["horizon"],
        "level": settings.level,
        "data": about["data"],
        "num_without_screenshot": sum(is_blind(state.references[0].slices) for state in states),
        **summarise_samples(protocol, scored_steps(windows, samples), samples),
    }
    save_results(settings.out, evaluation, summary)
    return summary


def _grounder_loader(name: str) -> Callable[[], Grounder]:
    if name == ORACLE_AGENT:
        return lambda: oracle_grounder
    try:
        agent = get_tool_agent(name)  # an unknown name is told before anything is loaded
    except InputError as error:
        hint = "" if "@" in name else f"; or {ORACLE_AGENT}, which takes the recorded points"
        raise InputError(f"{error}{hint}") from None
    return lambda: grounder_of(agent)


class PlannerShelf:
    """The planner of a specification or a baseline's name, loaded when it is first needed; T and K may be replaced."""

    def __init__(
        self, name: str, load: Callable[[str], Planner], *, horizon: int | None = None,
        history_length: int | None = None, baselines: Mapping[str, Callable[[], Planner]] = BASELINES,
    ) -> None:  # fmt: skip
        """Loads nothing yet; None keeps the planner's own T and K."""
        self._name, self._load, self._planner = name, load, None
        self._baselines = baselines
        self._changes = {"horizon": horizon, "history_length": history_length}

    def config(self, stored: dict[str, Any] | None) -> ForecastConfig:
        """How the planner is asked: as the folder says where the planner is the same, else as the planner says."""
        if stored is not None and stored.get("planner") == self._name:
            try:
                return self._changed(ForecastConfig(**stored["config"]))
            except (TypeError, ValueError, KeyError) as error:
                raise InputError(f"the folder's field 'config' is damaged ({error}): give another --out") from None
        return self.load().config

    def load(self) -> Planner:
        """The planner, with T and K replaced where that is asked."""
        if self._planner is None:
            own = self._baselines.get(self._name)
            self._planner = self._load(self._name) if own is None else own()
            self._planner.config = self._changed(self._planner.config)
        return self._planner

    def _changed(self, config: ForecastConfig) -> ForecastConfig:
        return replace(config, **{name: value for name, value in self._changes.items() if value is not None})

    def drop(self) -> None:
        """Forgets the planner."""
        self._planner = None


def simulator_name(data: DataConfig) -> str:
    """How an evaluation names its episodes of the embedded world; `simulator_data` reads it."""
    return f"{SIMULATOR}/{data.split}, {data.num_episodes} episodes, seed {data.seed}"


def simulator_data(name: str) -> DataConfig | None:
    """The episodes of the embedded world that an evaluation's "data" names; None for a file.

    >>> simulator_data("simulator/test, 96 episodes, seed 0").num_episodes
    96
    >>> simulator_data("episodes.jsonl") is None
    True
    """
    found = _SIMULATOR_NAME.fullmatch(name)
    if found is None:
        return None
    return DataConfig(split=found[1], num_episodes=int(found[2]), seed=int(found[3]), mistake_rate=0.0)


_SIMULATOR_NAME = re.compile(SIMULATOR + r"/(\w+), (\d{1,6}) episodes, seed (\d{1,18})")


def _load_data(settings: OfflineSettings) -> tuple[list[Trajectory], dict[str, Any]]:
    """The trajectories and what identifies them."""
    if settings.data == SIMULATOR:
        data = DataConfig(
            split=settings.split or "test", num_episodes=settings.num_episodes or 96, seed=settings.seed,
            mistake_rate=0.0,
        )
        return list(record_trajectories(data)), {"data": simulator_name(data), "data_hash": ""}
    path = Path(settings.data)
    trajectories = [t for t in read_trajectories(path) if settings.split is None or t.split == settings.split]
    trajectories = trajectories[: settings.num_episodes]
    if not trajectories:
        where = "" if settings.split is None else f" of split {settings.split!r}"
        raise InputError(f"{path} holds no trajectory{where}: give another file or split")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:24]
    except OSError as error:
        raise MissingFileError(f"cannot read {path} ({error.strerror}): check the path") from None
    narrowed = "".join(
        f", {text}"
        for text in (
            settings.split and f"split {settings.split}",
            settings.num_episodes and f"first {settings.num_episodes} episodes",
        )
        if text
    )
    return trajectories, {
        "data": path.name + narrowed,
        "data_path": str(path.resolve()),
        "data_hash": digest,
    }
