"""The Train tab's panels as HTML: the list of runs, the chosen run, the machine, and what a launch would do.

Pure functions of rows and drafts; every text is escaped on the way. Buttons carry `data-act` and `data-run` and stand
only where the row says that the action is possible.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from workbench.runs.alerts import Alert
from workbench.runs.checks import Check
from workbench.runs.draft import Draft
from workbench.runs.gpus import Gpu, Machine, RunLoad
from workbench.runs.row import RunRow
from workbench.screen import render_empty, safe_text
from workbench.train_form import show_value

STAGE_WORDS = {
    "sft": "SFT", "stage1": "Stage 1", "stage2": "Stage 2", "pipeline": "All three", "evaluate": "Evaluation",
}
_STATE_MARKS = {
    "waiting": "◷", "held": "Ⅱ", "starting": "◌", "running": "▶", "finished": "✓", "stopped": "■", "killed": "✕",
    "failed": "!", "crashed": "!", "cancelled": "–",
}
"""A sign for each state, so that colour is not the only difference."""
_LEVEL_MARKS = {"ok": "✓", "warning": "!", "error": "✕"}
_ACTIONS = {
    "stop": ("Stop and save", "Stops after the present step and saves a checkpoint; can be resumed"),
    "save": ("Save now", "Saves a checkpoint after the present step and goes on"),
    "evaluate": ("Evaluate now", "Scores greedy replies after the present step and goes on"),
    "resume": ("Resume", "Goes on with this run from its last checkpoint"),
    "chain": ("Next stage from this", "Drafts the next stage with this run's result as its start"),
    "again": ("Another seed", "Drafts the same run with another seed"),
    "clone": ("Clone", "Drafts a new run with these settings"),
    "release": ("Release", "Lets the run start when its turn comes"),
    "hold": ("Hold", "Keeps the run in the queue without starting it"),
    "cancel": ("Cancel", "Takes the run out of the queue"),
    "kill": ("Kill", "Ends the processes at once; steps after the last checkpoint are lost"),
}
"""Action -> (button, what it does), in the order of the buttons."""
_ASKED_WORDS = {"stop": "stop and save", "save": "save", "evaluate": "evaluate", "kill": "kill"}


def duration(seconds: float | None) -> str:
    """A duration in words of two units at most; empty when it is unknown.

    >>> duration(5), duration(185), duration(7260), duration(200_000), duration(None)
    ('5 s', '3 min 5 s', '2 h 1 min', '2 d 7 h', '')
    """
    if seconds is None:
        return ""
    left = max(0, round(seconds))
    for unit, size, small, small_size in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if left >= size:
            rest = left % size // small_size
            return f"{left // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{left} s"


def size_words(num_bytes: float) -> str:
    """A number of bytes in GiB or MiB.

    >>> size_words(3 * 2**30), size_words(2**20 * 12.4)
    ('3.0 GiB', '12 MiB')
    """
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.0f} MiB"


# ---------------------------------------------------------------- the list of runs


def render_runs(rows: Sequence[RunRow], *, shown: str = "", compared: Collection[str] = ()) -> str:
    """The list of runs: the queue in its order, then all others.

    Args:
        rows: as the desk lists them.
        shown: id of the run that is looked at.
        compared: ids of the runs whose curves are laid over it.
    """
    if not rows:
        return render_empty("No runs yet", ["Choose a preset, look at the checks, and launch: the run appears here."])
    waiting = [row for row in rows if row.place is not None]
    others = [row for row in rows if row.place is None]
    queue = _run_list("Queue", waiting, shown, compared) if waiting else ""
    return queue + (_run_list("Runs", others, shown, compared) if others else "")


def _run_list(title: str, rows: Sequence[RunRow], shown: str, compared: Collection[str]) -> str:
    items = "".join(_run_item(row, row.id == shown, row.id in compared, len(rows)) for row in rows)
    return f'<h3 class="tr-list-title">{title}</h3><ul class="tr-runs" aria-label="{title}">{items}</ul>'


def _run_item(row: RunRow, is_shown: bool, is_compared: bool, num_rows: int) -> str:
    name = safe_text(row.id, 100)
    current = ' aria-current="true"' if is_shown else ""
    checked = " checked" if is_compared or is_shown else ""
    order = _order_buttons(row, num_rows) if "reorder" in row.actions else ""
    queue_buttons = "".join(_button(row, act, is_small=True) for act in ("hold", "release", "cancel")
                            if act in row.actions)
    tools = f'<div class="tr-run-tools">{order}{queue_buttons}</div>' if order or queue_buttons else ""
    return (
        f'<li class="tr-run{" tr-shown" if is_shown else ""}" data-id="{name}">'
        f'<input type="checkbox" class="tr-compare" data-run="{name}"{checked}{" disabled" if is_shown else ""} '
        f'title="Lay its curves over the shown run\'s" aria-label="Compare {name}">'
        f'<button type="button" class="tr-run-name" data-show="{name}"{current}><bdi>{name}</bdi></button>'
        f"{_state(row)}<p class=\"tr-run-line\">{_line(row)}</p>{_progress(row)}{tools}</li>"
    )


def _state(row: RunRow) -> str:
    state = "stalled" if row.is_stalled else row.state
    mark = "!" if row.is_stalled else _STATE_MARKS.get(row.state, "?")
    return f'<span class="tr-state tr-{state}"><span aria-hidden="true">{mark}</span> {safe_text(state)}</span>'


def _line(row: RunRow) -> str:
    """One line under a run's name: stage, progress, or why it waits."""
    words = [STAGE_WORDS.get(row.stage, row.stage)]
    if row.devices not in ((), ("cpu",)):
        words.append(", ".join(row.devices))
    if row.place is not None:
        return safe_text(f"{words[0]} · {row.reason or 'waits for its turn'}", 200)
    if row.total:
        words.append(f"step {row.step} of {row.total}")
    if row.eta_seconds is not None:
        words.append(f"{duration(row.eta_seconds)} left")
    elif row.created:
        words.append(time.strftime("%d %b %H:%M", time.localtime(row.created)))
    return safe_text(" · ".join(words), 200)


def _progress(row: RunRow) -> str:
    if row.state not in ("running", "starting") or not row.total:
        return ""
    return (
        f'<progress class="tr-progress" max="{row.total}" value="{min(row.step, row.total)}" '
        f'aria-label="Step {row.step} of {row.total}"></progress>'
    )


def _order_buttons(row: RunRow, num_rows: int) -> str:
    place = row.place or 1
    up, down = (" disabled" if place <= 1 else ""), (" disabled" if place >= num_rows else "")
    name = safe_text(row.id, 100)
    return "".join(
        f'<button type="button" class="tr-small" data-act="reorder" data-run="{name}" data-place="{place + move}"'
        f'{off} aria-label="{words} in the queue" title="{words} in the queue">{arrow}</button>'
        for arrow, move, off, words in (("↑", -1, up, "Earlier"), ("↓", 1, down, "Later"))
    )


def _button(row: RunRow, act: str, *, is_small: bool = False) -> str:
    words, title = _ACTIONS[act]
    asked = row.requests.get(act)
    if asked:
        words = {"asked": "asked …", "seen": "after this step …"}.get(asked, "asked …")
        words = f"{_ASKED_WORDS.get(act, act).capitalize()}: {words}"
    look = "tr-small" if is_small else f"tr-button{' tr-danger' if act == 'kill' else ''}"
    lost = f' data-step="{row.step}"' if act == "kill" else ""
    return (
        f'<button type="button" class="{look}" data-act="{act}" data-run="{safe_text(row.id, 100)}"{lost}'
        f'{" disabled" if asked else ""} title="{title}">{safe_text(words)}</button>'
    )


# ---------------------------------------------------------------- the chosen run


def render_head(
    row: RunRow, *, alerts: Sequence[Alert] = (), met: Sequence[Mapping[str, Any]] = (),
    events: Sequence[Mapping[str, Any]] = (), load: RunLoad | None = None, command: str = "",
    is_recorded: bool = False,
) -> str:
    """One run: state, progress, alerts, what the trainer confirmed, and the buttons that make sense now.

    Args:
        row: as the desk lists it.
        alerts: those that hold now.
        met: those that were met since the start, oldest first: "step", "time", "reason".
        events: what the trainer confirmed, oldest first: "step", "time", "event" and more.
        load: what its processes use.
        command: of its last start.
        is_recorded: whether this server runs nothing, so that all it shows was recorded elsewhere.
    """
    buttons = "".join(_button(row, act) for act in _ACTIONS if _is_offered(row, act))
    facts = [*(["Recorded run"] if is_recorded else []), STAGE_WORDS.get(row.stage, row.stage)]
    if row.total:
        facts.append(f"step {row.step} of {row.total}")
    if row.elapsed_seconds is not None:
        taken = duration(row.elapsed_seconds)
        facts.append(f"{taken} so far" if row.state == "running" else f"ran for {taken}")
    if row.eta_seconds is not None:
        facts.append(f"{duration(row.eta_seconds)} left")
    if row.preset:
        facts.append(f"preset {row.preset}")
    if row.devices:
        processes = f", {row.num_processes} processes" if row.num_processes > 1 else ""
        facts.append(f"{', '.join(row.devices)}{processes}")
    if load is not None and load.num_processes:
        facts.append(f"{load.cpu_share:.1f} cores, {size_words(load.ram_bytes)} RAM"
                     + (f", {size_words(load.gpu_bytes)} GPU" if load.gpu_bytes else ""))
    if row.state == "running" and row.heartbeat_age_seconds is not None:
        facts.append(f"heartbeat {duration(row.heartbeat_age_seconds)} ago")
    copy = f"<details><summary>Command</summary>{render_command(command)}</details>" if command else ""
    return (
        f'<section class="tw-card tr-head" aria-label="Chosen run"><div class="tr-head-top">'
        f'<h2 class="tr-title"><bdi>{safe_text(row.id, 100)}</bdi></h2>{_state(row)}</div>'
        f'<p class="tr-facts">{" · ".join(safe_text(fact) for fact in facts)}</p>{_progress(row)}'
        f"{_reason(row)}{render_alerts(alerts)}"
        f'<div class="tr-buttons">{buttons}</div>{_render_events(events)}{_render_met(met)}{copy}</section>'
    )


def _is_offered(row: RunRow, act: str) -> bool:
    return act in row.actions or (act == "again" and "clone" in row.actions)


def _reason(row: RunRow) -> str:
    tone = " tr-bad" if row.state in ("failed", "crashed") or row.is_stalled else ""
    reason = row.reason
    if row.is_stalled:
        reason = f"no heartbeat for {duration(row.heartbeat_age_seconds)}: the process lives but does not go on"
    sentence = f'<p class="tr-reason{tone}">{safe_text(reason)}</p>' if reason else ""
    if not row.error_lines:
        return sentence
    lines = safe_text("\n".join(row.error_lines), 4000)
    return f'{sentence}<pre class="tr-cause" aria-label="Last lines of output"><code>{lines}</code></pre>'


def render_alerts(alerts: Sequence[Alert]) -> str:
    """The alerts that hold now; nothing when there is none."""
    if not alerts:
        return ""
    items = "".join(
        f'<li class="tr-alert tr-{alert.level}"><span aria-hidden="true">{_LEVEL_MARKS.get(alert.level, "!")}</span>'
        f'<span>{safe_text(alert.reason)}</span><span class="tr-soft">step {alert.step}</span></li>'
        for alert in alerts
    )
    return f'<ul class="tr-alerts" role="alert" aria-label="Alerts">{items}</ul>'


def _render_events(events: Sequence[Mapping[str, Any]]) -> str:
    if not events:
        return ""
    items = "".join(f"<li>{_event(event)}</li>" for event in reversed(events[-4:]))
    return f'<ul class="tr-events" aria-label="What the trainer confirmed">{items}</ul>'


def _render_met(met: Sequence[Mapping[str, Any]]) -> str:
    if not met:
        return ""
    items = "".join(
        f'<li><span class="tr-soft">{_clock(alert.get("time"))}</span> {safe_text(alert.get("reason", ""))} '
        f'<span class="tr-soft">step {safe_text(alert.get("step", ""))}</span></li>'
        for alert in reversed(met[-50:])
    )
    words = f"{len(met)} alert{'' if len(met) == 1 else 's'} met since the start"
    return f'<details><summary>{words}</summary><ul class="tr-events">{items}</ul></details>'


def _clock(seconds: Any) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds)) if isinstance(seconds, (int, float)) else ""


def _event(event: Mapping[str, Any]) -> str:
    known = {"time", "step", "event"}
    words = str(event.get("event", "")).replace("_", " ")
    more = ", ".join(f"{key} {show_value(value)}" for key, value in event.items() if key not in known)
    step = f" at step {event['step']}" if isinstance(event.get("step"), int) else ""
    return (
        f'<span class="tr-soft">{_clock(event.get("time"))}</span> <span>{safe_text(words)}{safe_text(step)}</span> '
        f'<span class="tr-soft">{safe_text(more, 160)}</span>'
    )


def render_settings(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """The settings of the shown run (first) beside those of the compared ones; rows that differ come first.

    Args:
        configs: run id -> flat settings (dotted keys).
    """
    keys = list(dict.fromkeys(key for config in configs.values() for key in config))
    absent = object()

    def differs(key: str) -> bool:
        values = [config.get(key, absent) for config in configs.values()]
        return any(value != values[0] for value in values)

    changed = [key for key in keys if differs(key)]
    same = [key for key in keys if key not in changed]
    head = "".join(f'<th scope="col"><bdi>{safe_text(name, 60)}</bdi></th>' for name in configs)

    def table(rows: Sequence[str], label: str) -> str:
        body = "".join(
            f'<tr><th scope="row"><code>{safe_text(key)}</code></th>'
            + "".join(f"<td>{safe_text(_setting(config, key), 200)}</td>" for config in configs.values())
            + "</tr>"
            for key in rows
        )
        return f'<table class="tr-table"><caption>{label}</caption><thead><tr><th scope="col">Setting</th>{head}' \
               f"</tr></thead><tbody>{body}</tbody></table>"

    if len(configs) < 2:
        return table(keys, "All settings of this run; tick others in the list to compare") if keys else ""
    shown = table(changed, f"{len(changed)} settings differ") if changed else (
        '<p class="tr-soft">The runs have the same settings.</p>'
    )
    return f"{shown}<details><summary>{len(same)} equal settings</summary>{table(same, 'Equal settings')}</details>"


def _setting(config: Mapping[str, Any], key: str) -> str:
    return show_value(config[key]) if key in config else "–"


# ---------------------------------------------------------------- machine


def render_machine(machine: Machine) -> str:
    """Load of the machine: each GPU, then CPU, RAM and disk."""
    ram = machine.ram_used_bytes / max(1, machine.ram_total_bytes)
    used = 1 - machine.disk_free_bytes / max(1, machine.disk_total_bytes)
    meters = [
        _meter(f"CPU, {machine.num_cores} cores", machine.cpu_share, f"{machine.cpu_share:.0%}"),
        _meter("RAM", ram, f"{size_words(machine.ram_used_bytes)} of {size_words(machine.ram_total_bytes)}"),
        _meter("Disk of the runs", used, f"{size_words(machine.disk_free_bytes)} free"),
    ]
    gpus = "".join(_render_gpu(gpu) for gpu in machine.gpus) or '<p class="tr-soft">No NVIDIA GPU: one CPU slot.</p>'
    return f'<div class="tr-meters">{gpus}{"".join(meters)}</div>'


def _render_gpu(gpu: Gpu) -> str:
    facts = []
    if gpu.temperature_celsius is not None:
        facts.append(f"{gpu.temperature_celsius:.0f} °C")
    if gpu.power_watts is not None:
        limit = f" of {gpu.power_limit_watts:.0f}" if gpu.power_limit_watts else ""
        facts.append(f"{gpu.power_watts:.0f}{limit} W")
    if gpu.process_bytes:
        facts.append(f"{len(gpu.process_bytes)} process{'es' if len(gpu.process_bytes) > 1 else ''}")
    memory = f"{size_words(gpu.used_bytes)} of {size_words(gpu.total_bytes)}"
    load = "" if gpu.load_share is None else _meter(f"{gpu.device} load", gpu.load_share, f"{gpu.load_share:.0%}")
    return (
        f'<div class="tr-gpu"><p><strong>{gpu.device}</strong> {safe_text(gpu.name, 60)}</p>{load}'
        f"{_meter(f'{gpu.device} memory', gpu.used_bytes / max(1, gpu.total_bytes), memory)}"
        f'<p class="tr-soft">{safe_text(" · ".join(facts))}</p></div>'
    )


def _meter(label: str, share: float, words: str) -> str:
    share = min(1.0, max(0.0, share))
    return (
        f'<div class="tr-meter"><span>{safe_text(label)}</span><span class="tr-soft">{safe_text(words)}</span>'
        f'<meter max="1" high="0.9" value="{share:.3f}" aria-label="{safe_text(label)}">{share:.0%}</meter></div>'
    )


# ---------------------------------------------------------------- before a launch


def render_plan(
    drafts: Sequence[Draft], changes: Sequence[tuple[str, Any, Any]], checks: Sequence[Check], *, preset: str,
    refusal: str = "",
) -> str:
    """What a launch would do: checks with reasons, the difference from the preset, and the very command.

    Args:
        drafts: one for each run that would be queued.
        changes: (key, preset's value, value here).
        checks: of all drafts.
        preset: its name; empty where the form began as something else.
        refusal: why nothing is launched here; empty where it is.
    """
    errors = sum(check.level == "error" for check in checks)
    blocked = refusal or (f"{errors} check{'s' if errors > 1 else ''} must pass first" if errors else "")
    commands = "".join(render_command(draft.command_text(), label=_command_label(draft, drafts)) for draft in drafts)
    return (
        f'<div class="tr-plan">{_launch(blocked, refusal, len(drafts))}{render_checks(checks)}'
        f"{_render_changes(changes, preset)}"
        f'<section><h3>Command</h3><p class="tr-soft">This argument list is run, without a shell.</p>{commands}'
        "</section></div>"
    )


def _command_label(draft: Draft, drafts: Sequence[Draft]) -> str:
    return f"{STAGE_WORDS[draft.stage]}: {draft.name}" if len(drafts) > 1 else ""


def _launch(blocked: str, refusal: str, num_runs: int) -> str:
    words = "Launch" if num_runs == 1 else f"Launch {num_runs} runs"
    tone = " tr-refused" if refusal else ""
    note = f'<p class="tr-blocked{tone}" role="status">{safe_text(blocked)}</p>' if blocked else ""
    return (
        f'<div class="tr-launch"><button type="button" class="tr-button tr-primary" data-act="launch"'
        f'{" disabled" if blocked else ""}>{words}</button>{note}</div>'
    )


def render_checks(checks: Sequence[Check]) -> str:
    items = "".join(
        f'<li class="tr-check tr-{check.level}"><span class="tr-mark" aria-hidden="true">'
        f'{_LEVEL_MARKS.get(check.level, "?")}</span><div><span class="tw-sr">{check.level}: </span>'
        f"<strong>{safe_text(check.name)}</strong> {safe_text(check.reason)}{_detail(check.detail)}</div></li>"
        for check in checks
    )
    return f'<section><h3>Checks</h3><ul class="tr-checks">{items}</ul></section>' if items else ""


def _detail(text: str) -> str:
    return f"<details><summary>Arithmetic</summary><pre>{safe_text(text, 4000)}</pre></details>" if text else ""


def _render_changes(changes: Sequence[tuple[str, Any, Any]], preset: str) -> str:
    if not preset:
        return ""
    title = f"Difference from {safe_text(preset)}"
    if not changes:
        return f'<section><h3>{title}</h3><p class="tr-soft">None.</p></section>'
    rows = "".join(
        f'<tr><th scope="row"><code>{safe_text(key)}</code></th><td>{safe_text(show_value(before), 120)}</td>'
        f"<td>{safe_text(show_value(after), 120)}</td></tr>"
        for key, before, after in changes
    )
    return (
        f'<section><h3>{title}</h3><table class="tr-table tr-diff"><thead><tr><th scope="col">Setting</th>'
        f'<th scope="col">Preset</th><th scope="col">Here</th></tr></thead><tbody>{rows}</tbody></table></section>'
    )


def render_broken_plan(sentence: str, *, key: str = "") -> str:
    """The plan of a form that is not right: the one sentence, the setting it names, and no way to launch."""
    return (
        f'<div class="tr-plan" data-wrong="{safe_text(key, 100)}">{_launch("The form has an error", "", 1)}'
        f'<p class="tr-reason tr-bad" role="alert">{safe_text(sentence)}</p></div>'
    )


def render_command(text: str, *, label: str = "") -> str:
    title = f'<p class="tr-soft">{safe_text(label)}</p>' if label else ""
    return (
        f'{title}<div class="tr-command"><pre tabindex="0"><code>{safe_text(text, 20_000)}</code></pre>'
        '<button type="button" class="tr-small" data-copy>Copy</button></div>'
    )


def render_message(sentence: str, *, tone: str = "info", run_id: str = "") -> str:
    """What came of an action, in one sentence; `run_id` is the run that the page should turn to.

    `tone` is "info", "success" or "error".
    """
    if not sentence:
        return ""
    role = "alert" if tone == "error" else "status"
    return (
        f'<div class="tw-card tw-status tw-{tone} tr-message" role="{role}" data-turn-to="{safe_text(run_id, 200)}" '
        f'data-at="{time.monotonic_ns()}"><span class="tw-sentence">{safe_text(sentence)}</span>'
        '<button type="button" class="tr-small" data-dismiss aria-label="Dismiss">✕</button></div>'
    )
