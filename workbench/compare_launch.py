"""An evaluation to launch: the form as it was typed, the draft it makes, and both as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from executors.errors import InputError
from executors.files import expanded_path
from training.benchmarks.baselines import BASELINES
from training.benchmarks.offline import LEVELS
from training.benchmarks.offline_run import ORACLE_AGENT, SIMULATOR, OfflineSettings
from training.benchmarks.on_policy import TITLES, OnPolicySettings
from training.benchmarks.protocols import PROTOCOLS
from workbench.compare_html import name_html
from workbench.runs.desk import RunDesk
from workbench.runs.draft import check_name
from workbench.runs.evaluation_draft import EvaluationDraft
from workbench.runs.row import RunRow
from workbench.screen import render_empty, safe_text
from workbench.train_html import duration, render_checks, render_command

MODES = ("anticipatory", "reactive")
TOOL_AGENTS = ("elements", ORACLE_AGENT)
_LONGEST = 1000
_NUMBERS = {"episodes": "num_episodes", "horizon": "horizon", "history": "history_length"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationForm:
    """The form's fields as text; nothing in it is trusted. An empty number takes the default."""

    name: str = ""
    protocol: str = "grounded"
    planner: str = "random"
    data: str = SIMULATOR
    references: str = ""
    split: str = ""
    level: str = LEVELS[0]
    mode: str = MODES[0]
    agents: tuple[str, ...] = TOOL_AGENTS[:1]
    episodes: str = ""
    seed: str = "0"
    horizon: str = ""
    history: str = ""
    device: str = "cpu"

    @classmethod
    def of_page(cls, data: Any) -> EvaluationForm:
        """The form that a page sent; raises InputError when it is no form."""
        if not isinstance(data, Mapping):
            raise InputError("the form did not arrive whole: load the page again")
        texts = {f.name: data.get(f.name, f.default) for f in fields(cls) if f.name != "agents"}
        agents = data.get("agents", [])
        if not all(isinstance(text, str) and len(text) <= _LONGEST and "\0" not in text for text in texts.values()):
            raise InputError(f"a field is no text of at most {_LONGEST} characters: load the page again")
        if not isinstance(agents, list) or not all(isinstance(agent, str) for agent in agents):
            raise InputError("tool agents: give a list of names")
        return cls(**{name: text.strip() for name, text in texts.items()}, agents=tuple(agents))

    def draft(self, desk: RunDesk, root: Path) -> EvaluationDraft:
        """What launching would queue; paths become absolute, for runs are started in the project's folder.

        Args:
            desk: whose queue.
            root: the folder of evaluations.

        Raises:
            InputError: the name or a number is not allowed.
        """
        if not self.name:
            raise InputError("name: give the evaluation a name, such as sft_phone")
        if self.mode not in MODES:
            raise InputError(f"mode {self.mode[:40]!r} is not one of {', '.join(MODES)}")
        if self.protocol not in (*TITLES, *PROTOCOLS):
            known = ", ".join((*TITLES, *PROTOCOLS))
            raise InputError(f"benchmark {self.protocol[:40]!r} is unknown: choose one of {known}")
        out = root.absolute() / check_name(self.name)
        settings = self._on_policy(out) if self.protocol in TITLES else self._offline(out)
        return desk.evaluation_draft(settings, devices=(self.device,))

    def _on_policy(self, out: Path) -> OnPolicySettings:
        return OnPolicySettings(
            benchmark=self.protocol,
            planner=self._planner(),
            out=out,
            split=self.split or "test",
            reactive=self.mode == "reactive",
            seed=_whole(self.seed or "0", "seed"),
            **({"num_episodes": _whole(self.episodes, "episodes")} if self.episodes else {}),
        )

    def _offline(self, out: Path) -> OfflineSettings:
        return OfflineSettings(
            protocol=self.protocol,
            data=self.data if self.data == SIMULATOR else _absolute(self.data, "data"),
            planner=self._planner(),
            out=out,
            tool_agents=tuple(dict.fromkeys(self.agents)),
            references=_absolute(self.references, "references") if self.references else None,
            split=self.split or None,
            level=self.level,
            reactive=self.mode == "reactive",
            seed=_whole(self.seed or "0", "seed"),
            **{name: _whole(text, field) for field, name in _NUMBERS.items() if (text := getattr(self, field))},
        )

    def _planner(self) -> str:
        if not self.planner:
            raise InputError("planner: name a checkpoint, openai:MODEL@URL, or a baseline such as random")
        folder = expanded_path(self.planner)
        return str(folder.absolute()) if self.planner not in BASELINES and folder.is_dir() else self.planner


def _absolute(text: str, field: str) -> str:
    if not text:
        raise InputError(f"{field}: name a file, or {SIMULATOR} for the embedded world")
    return str(expanded_path(text).absolute())


def _whole(text: str, field: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 12):
        raise InputError(f"{field} {text[:40]!r} is not allowed: give a whole number")
    return int(text)


def render_form(devices: Sequence[str], planners: Sequence[str], data: Sequence[str]) -> str:
    """The empty form.

    Args:
        devices: those of the machine.
        planners: checkpoints that may be chosen, beside the baselines.
        data: trajectory files that may be chosen, beside the embedded world.
    """
    form = EvaluationForm()
    agents = "".join(
        f'<label class="cmp-tick"><input type="checkbox" name="agents" value="{agent}"'
        f'{" checked" if agent in form.agents else ""}> {words}</label>'
        for agent, words in zip(TOOL_AGENTS, ("elements", "oracle (recorded points)"), strict=True)
    )
    benchmarks = [(name, f"{name} (on-policy)") for name in TITLES] + [(name, name) for name in PROTOCOLS]
    lists = _datalist("cmp-planners", [*BASELINES, *planners]) + _datalist("cmp-data", [SIMULATOR, *data])
    rows = (
        _field("Name", f'<input name="name" placeholder="sft_phone" {_PLAIN}>', "names the folder of its results"),
        _field("Benchmark", _select("protocol", benchmarks, form.protocol), "on-policy: it acts until each task ends"),
        _field("Planner", f'<input name="planner" list="cmp-planners" value="{form.planner}" {_PLAIN}>',
               "checkpoint folder or hub id, openai:MODEL@URL, or a baseline"),
        _offline_field("Data", f'<input name="data" list="cmp-data" value="{form.data}" {_PLAIN}>',
                       "trajectory file of tracer1 import, or the embedded world"),
        _offline_field("References", f'<input name="references" {_PLAIN}>',
                       "the data set's own file, if a protocol needs it"),
        _field("Split", f'<input name="split" {_PLAIN}>', "all of a file, else test"),
        _offline_field("Level", _select("level", [(level, level) for level in LEVELS], form.level)),
        _field("Mode", _select("mode", [(mode, mode) for mode in MODES], form.mode), "reactive asks for one step"),
        _field("Episodes", _number("episodes"), "all of a file, else 96"),
        _field("Seed", _number("seed", form.seed)),
        _offline_field("Horizon T", _number("horizon"), "the planner's own"),
        _offline_field("History K", _number("history"), "the planner's own"),
        _field("Device", _select("device", [(device, device) for device in devices], form.device)),
    )  # fmt: skip
    return (
        f'<form class="cmp-form" data-on-policy="{" ".join(TITLES)}" onsubmit="return false">'
        f'{"".join(rows)}<fieldset class="cmp-field" data-offline>'
        f"<legend>Tool agents</legend>{agents}</fieldset>{lists}</form>"
    )


_PLAIN = 'spellcheck="false" autocomplete="off"'


def _offline_field(label: str, control: str, help: str = "") -> str:
    """A field that on-policy benchmarks lack; the page hides it with them."""
    return _field(label, control, help, " data-offline")


def _field(label: str, control: str, help: str = "", attribute: str = "") -> str:
    more = f'<span class="tr-help">{safe_text(help)}</span>' if help else ""
    return f'<label class="cmp-field"{attribute}><span>{label}</span>{control}{more}</label>'


def _number(name: str, value: str = "") -> str:
    return f'<input name="{name}" inputmode="numeric" value="{value}" {_PLAIN}>'


def _select(name: str, choices: Sequence[tuple[str, str]], chosen: str) -> str:
    options = "".join(
        f'<option value="{safe_text(value)}"{" selected" if value == chosen else ""}>{safe_text(words)}</option>'
        for value, words in choices
    )
    return f'<select name="{name}">{options}</select>'


def _datalist(id: str, values: Sequence[str]) -> str:
    return f'<datalist id="{id}">' + "".join(f'<option value="{safe_text(v, 400)}">' for v in values) + "</datalist>"


def render_plan(draft: EvaluationDraft, refusal: str = "") -> str:
    """What launching would do: the button, the checks, and the very command."""
    checks = draft.checks() if not refusal else []  # they look at files, which is not for those who may not launch
    errors = sum(check.level == "error" for check in checks)
    blocked = refusal or (f"{errors} check{'s' if errors > 1 else ''} must pass first" if errors else "")
    return (
        f'<div class="tr-plan">{render_launch(blocked)}{render_checks(checks)}<section><h3>Command</h3>'
        '<p class="tr-soft">This argument list is run, without a shell.</p>'
        f"{render_command(draft.command_text())}</section></div>"
    )


def render_launch(blocked: str) -> str:
    """The button, and why it cannot be pressed; empty `blocked` where it can."""
    note = f'<p class="tr-blocked" role="status">{safe_text(blocked)}</p>' if blocked else ""
    return (
        f'<div class="tr-launch"><button type="button" class="tr-button tr-primary" data-act="launch"'
        f'{" disabled" if blocked else ""}>Launch</button>{note}</div>'
    )


def render_runs(rows: Sequence[RunRow]) -> str:
    """The evaluations that the queue knows, with their progress."""
    if not rows:
        return render_empty("No evaluation was launched here", ["Those that are stand in the Train tab's queue, too."])
    items = []
    for row in rows:
        words = [row.reason] if row.reason else []
        if row.total:
            words.insert(0, f"{row.step} of {row.total} steps")
        if row.eta_seconds is not None:
            words.insert(1, f"{duration(row.eta_seconds)} left")
        meter = (
            f'<progress class="tr-progress" max="{row.total}" value="{min(row.step, row.total)}" '
            f'aria-label="Progress of {safe_text(row.id, 100)}"></progress>'
            if row.state == "running" and row.total else ""
        )  # fmt: skip
        items.append(
            f'<li data-id="{safe_text(row.id, 200)}"><strong>{name_html(row.id, 100)}</strong> '
            f'<span class="tr-state tr-{row.state}">{row.state}</span> '
            f'<span class="tr-soft">{safe_text(" · ".join(words), 300)}</span>{meter}</li>'
        )
    return f'<ul class="cmp-runs">{"".join(items)}</ul>'
