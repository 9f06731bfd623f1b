"""The desk: everything a person does with training runs, for the page and for tests. No gradio."""

from __future__ import annotations

import dataclasses
import logging
import shlex
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from executors.errors import InputError, MissingFileError, OutputError, WorkbenchError
from training.benchmarks.offline_run import OfflineSettings
from training.benchmarks.on_policy import OnPolicySettings
from training.benchmarks.watched import STAGE as EVALUATE
from training.config_reading import to_dict, with_changes
from training.pipeline import PIPELINE_FOLDERS
from training.presets import get_preset
from training.run_folder import RunFolder
from workbench.runs import launcher
from workbench.runs.alerts import Alert, AlertWatch, find_alerts
from workbench.runs.draft import CPU, Draft, check_name, make_draft
from workbench.runs.evaluation_draft import AnyDraft, EvaluationDraft
from workbench.runs.gpus import RunLoad, read_gpus, read_load
from workbench.runs.lineage import again_values, chained_values
from workbench.runs.observe import ENDED, RESUMABLE, Observed, observe, open_folder
from workbench.runs.queue import CANCELLED, HELD, STARTED, WAITING, Entry, Queue, whose_turn
from workbench.runs.row import RunRow, run_row

REQUESTS = ("stop", "kill", "save", "evaluate")
_ALERT_SECONDS = 10.0
_log = logging.getLogger(__name__)


class RunDesk:
    """The queue, the processes and the run folders of one root folder; safe to use from several threads."""

    def __init__(
        self,
        root: Path,
        store: Path,
        *,
        refusal: str = "",
        on_alert: Callable[[str, Alert], None] | None = None,
        start: Callable[[AnyDraft, str], subprocess.Popen[bytes]] = launcher.start,
    ) -> None:
        """Opens the desk; call `watch` to let waiting runs start.

        Args:
            root: folder of run folders; is made when it does not exist.
            store: the SQLite file of the queue; is made when it does not exist.
            refusal: why nothing may be launched or changed here (a demo); empty where all is allowed.
            on_alert: is called once with the run's id for each new alert, from the watching thread.
            start: starts the process of a draft.

        Raises:
            OutputError: root or store cannot be written.
        """
        self.root = Path(root).absolute()
        self.refusal = refusal
        self._on_alert, self._start = on_alert, start
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._watches: dict[str, AlertWatch] = {}
        self._next_alerts = 0.0
        self._processes: dict[int, psutil.Process] = {}
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make folder {root} ({error.strerror}): choose another") from None
        self._queue = Queue(Path(store))

    # ------------------------------------------------------------------ drafts

    def new_name(self, stage: str) -> str:
        """A free name for a run of this stage, such as "stage1-20260317-104501"."""
        name = base = f"{stage}-{time.strftime('%Y%m%d-%H%M%S')}"
        number = 1
        while self._is_taken(name):
            number += 1
            name = f"{base}-{number}"
        return name

    def draft(
        self,
        stage: str,
        values: dict[str, Any],
        *,
        name: str = "",
        devices: Sequence[str] = (CPU,),
        num_processes: int = 1,
        preset: str = "",
        after: str = "",
    ) -> Draft:
        """The draft of form values (nested, plain); an empty name gives a new one.

        Raises:
            InputError: an unknown stage, key or device, or a value that is not allowed.
        """
        return make_draft(
            stage,
            values,
            self.root / check_name(name or self.new_name(stage)),
            devices=tuple(devices),
            num_processes=num_processes,
            preset=preset,
            after=after,
        )

    def pipeline_drafts(
        self, preset: str, seed: int = 0, *, name: str = "", devices: Sequence[str] = (CPU,)
    ) -> list[Draft]:
        """The stages of a preset in order, each after the one before; stages that the preset lacks are left out."""
        stages = get_preset(preset, seed)
        base = check_name(name or self.new_name(preset))
        drafts: list[Draft] = []
        for part in PIPELINE_FOLDERS:
            config = getattr(stages, part)
            if config is None:
                continue
            values = to_dict(config)
            before = drafts[-1] if drafts else None
            if before is not None:
                values["model"] = str(before.out / "final")
            drafts.append(
                self.draft(
                    part.removesuffix("_again"), values, name=f"{base}-{part.replace('_', '-')}", devices=devices,
                    num_processes=max(1, sum(device != CPU for device in devices)),
                    preset=preset, after="" if before is None else before.name,
                )
            )  # fmt: skip
        return drafts

    def evaluation_draft(
        self, settings: OfflineSettings | OnPolicySettings, *, devices: Sequence[str] = (CPU,)
    ) -> EvaluationDraft:
        """The draft of an evaluation; its run is named as the evaluation's folder is, after "evaluate-".

        Raises:
            InputError: the folder's name cannot be a run's, or the devices are not allowed.
        """
        name = check_name(f"{EVALUATE}-{settings.out.name}")
        return EvaluationDraft(settings=settings, out=self.root / name, devices=tuple(devices))

    def clone(self, run_id: str, **changes: Any) -> Draft:
        """A draft with the settings of a run, under a new name.

        Args:
            run_id: the run.
            changes: fields of the draft (`name`, `devices`, `num_processes`, `preset`, `after`), and
                `config={"optim.seed": 3}` with dotted keys.

        Raises:
            MissingFileError: there is no such run.
            InputError: a change is not allowed.
        """
        self._check_trains(run_id)
        entry = self._queue.get(run_id)
        options: dict[str, Any] = {"preset": "", "after": ""}
        if entry is not None:
            draft = entry.draft
            options = {"devices": draft.devices, "num_processes": draft.num_processes, "preset": draft.preset}
            options["after"] = draft.after
        values = with_changes(self.config(run_id), changes.pop("config", {}))
        return self.draft(self._stage(run_id), values, **{**options, **changes})

    def again(self, run_id: str, seed: int | None = None) -> Draft:
        """The same with another seed: the given one, or one more than the greatest of the runs that are else equal."""
        self._check_trains(run_id)
        values = self.config(run_id)
        stage = self._stage(run_id)
        others = [self.config(row_id) for row_id in self._ids() if self._stage(row_id) == stage]
        return self.clone(run_id, config=again_values(values, others, seed))

    def chain(self, run_id: str) -> Draft:
        """The next stage from this run's result: Stage 1 from SFT, Stage 2 from Stage 1.

        The settings are those of the run's preset; without one, Stage 2 takes data, forecast, sampling and optimisation
        of its Stage 1, and Stage 1 the data of its SFT. A run that is not finished is waited for.

        Raises:
            InputError: nothing comes after this stage.
        """
        entry = self._queue.get(run_id)
        preset = "" if entry is None else entry.draft.preset
        stage, values, preset = chained_values(self._stage(run_id), self.config(run_id), preset)
        values["model"] = str(self.folder(run_id) / "final")
        options: dict[str, Any] = {"preset": preset}
        if entry is not None:
            options |= {"devices": entry.draft.devices, "num_processes": entry.draft.num_processes}
        if self.row(run_id).state != "finished":
            options["after"] = run_id
        return self.draft(stage, values, **options)

    # ------------------------------------------------------------------ queue

    def launch(self, draft: AnyDraft) -> str:
        """Puts the draft at the queue's end and returns the run's id; it starts as soon as its devices are free.

        Raises:
            InputError: a check has an error, the name is taken, or this desk refuses.
        """
        self._allow()
        run_id = draft.name
        if draft.out != self.root / run_id or draft.resume:
            raise InputError(f"run folder {draft.out} is not in {self.root}: give the run a name, not a path")
        error = next((check for check in draft.checks() if check.level == "error"), None)
        if error is not None:
            raise InputError(f"{error.name}: {error.reason}")
        with self._queue.writing() as db:
            if self._is_taken(run_id, self._queue.get(run_id, db)):
                raise InputError(f"a run named {run_id!r} exists: choose another name")
            self._queue.append(db, run_id, draft)
        return run_id

    def hold(self, run_id: str) -> None:
        """A waiting run stays in the queue and is not started."""
        self._change(run_id, (WAITING,), HELD)

    def release(self, run_id: str) -> None:
        """A held run waits again."""
        self._change(run_id, (HELD,), WAITING)

    def cancel(self, run_id: str) -> None:
        """Takes a waiting or held run out of the queue; a resume that waits leaves its run as it was."""
        self._change(run_id, (WAITING, HELD), CANCELLED)

    def reorder(self, run_id: str, place: int) -> None:
        """Moves a waiting or held run to this place of the queue, from 1; beyond the end is the end."""
        self._allow()
        with self._queue.writing() as db:
            self._waiting(run_id, (WAITING, HELD), self._queue.get(run_id, db))
            self._queue.move(db, run_id, place)

    def _change(self, run_id: str, allowed: tuple[str, ...], state: str) -> None:
        self._allow()
        with self._queue.writing() as db:
            entry = self._waiting(run_id, allowed, self._queue.get(run_id, db))
            if state == CANCELLED and entry.draft.resume:
                state = STARTED
            self._queue.update(db, run_id, state=state)

    def _waiting(self, run_id: str, allowed: tuple[str, ...], entry: Entry | None) -> Entry:
        if entry is None:
            raise MissingFileError(f"run {run_id!r} is not in the queue: choose one of those listed")
        if entry.state not in allowed:
            state = self._observed(run_id, entry).state
            raise InputError(f"run {run_id!r} is {state}: only one that is {' or '.join(allowed)} can be changed so")
        return entry

    # ------------------------------------------------------------------ running

    def request(self, run_id: str, what: str) -> None:
        """Asks a running trainer for one of `REQUESTS`.

        All but "kill" are confirmed by the trainer, see `RunRow.requests` and `reader.read_events`; "kill" ends all of
        the run's processes at once and returns when none is left.

        Raises:
            InputError: the request is unknown, or the run does not run.
            OutputError: the request cannot be written, or a process would not end.
        """
        self._allow()
        if what not in REQUESTS:
            raise InputError(f"request {what!r} is unknown: choose one of {', '.join(REQUESTS)}")
        entry, run = self._queue.get(run_id), open_folder(self.folder(run_id))
        if what not in ("stop", "kill"):
            self._check_trains(run_id)
        state = self._observed(run_id, entry).state
        if what == "kill" and state in ("starting", "running"):
            self._kill(run_id)
        elif state == "running" and run is not None:
            run.request(what)
        else:
            raise InputError(f"run {run_id!r} is {state}: only a running one can be asked to {what}")

    def _kill(self, run_id: str) -> None:
        with self._queue.writing() as db:  # not while another server starts or resumes it
            entry, run = self._queue.get(run_id, db), open_folder(self.folder(run_id))
            known: dict[int, float | None] = {}
            if run is not None and run.is_alive():
                run.mark_killed()
                known[run.info["pid"]] = run.info["process_started"]
            if entry is not None:
                self._queue.update(db, run_id, killed=1)
                if entry.pid is not None:
                    known[entry.pid] = entry.process_started
            launcher.kill(self.folder(run_id), known)
        self._reap()
        if self._observed(run_id, self._queue.get(run_id)).is_occupying:
            raise OutputError(f"a process of run {run_id!r} does not end: it waits for the disk or the driver")

    def resume(self, run_id: str) -> None:
        """Puts a stopped, killed, failed or crashed run back at the queue's end, to go on from its last checkpoint.

        Raises:
            InputError: the run is in another state, or its settings cannot be read.
        """
        self._allow()
        with self._queue.writing() as db:
            entry = self._queue.get(run_id, db)
            observed = self._observed(run_id, entry)
            if observed.state not in RESUMABLE or observed.is_occupying:
                raise InputError(f"run {run_id!r} is {observed.state}: only one that has ended early can go on")
            has_begun = open_folder(self.folder(run_id)) is not None
            draft = self._draft_of_folder(run_id) if entry is None else entry.draft
            self._queue.append(db, run_id, dataclasses.replace(draft, resume=has_begun, after=""))

    def _draft_of_folder(self, run_id: str) -> AnyDraft:
        """The draft of a run that was started at a command line."""
        if self._stage(run_id) == EVALUATE:
            settings = OfflineSettings.from_json(self.config(run_id))
            return EvaluationDraft(settings=settings, out=self.folder(run_id))
        return make_draft(self._stage(run_id), self.config(run_id), self.folder(run_id))

    def reconcile(self) -> list[RunRow]:
        """Compares what was started with what runs, and returns the runs that have ended since the last look."""
        self._reap()
        ended: list[RunRow] = []
        for entry in self._queue.entries():
            state = self._observed(entry.id, entry).state if entry.state == STARTED else entry.state
            if state == entry.seen:
                continue
            with self._queue.writing() as db:
                now = self._queue.get(entry.id, db)
                if now is None or now.seen == state:
                    continue  # another server has told it
                self._queue.update(db, entry.id, seen=state)
            if state in ENDED:
                ended.append(self.row(entry.id))
        return ended

    def tick(self) -> list[str]:
        """Starts every waiting run whose turn it is; returns their ids."""
        self._reap()
        if self.refusal or not any(entry.state == WAITING for entry in self._queue.entries()):
            return []
        started: list[str] = []
        with self._queue.writing() as db:  # no other server starts anything meanwhile
            entries = self._queue.entries(db)
            for entry in self._turn(entries)[0]:
                self._launch(db, entry)
                started.append(entry.id)
        return started

    def _turn(self, entries: Sequence[Entry]) -> tuple[list[Entry], dict[str, str]]:
        waiting = [entry for entry in entries if entry.state in (WAITING, HELD)]
        if not waiting:
            return [], {}
        seen = {entry.id: self._observed(entry.id, entry) for entry in entries}
        busy = {d: e.id for e in entries if seen[e.id].is_occupying for d in e.draft.devices}
        states = {run_id: observed.state for run_id, observed in seen.items()}
        for before in {entry.draft.after for entry in waiting} - {"", *states}:
            states[before] = self._observed(before, None).state
        devices = (CPU, *(gpu.device for gpu in read_gpus()))
        return whose_turn([e for e in waiting if not seen[e.id].is_occupying], busy, states, devices)

    def _launch(self, db: Any, entry: Entry) -> None:
        """Starts a process and writes it down in one transaction, so that nobody starts it again."""
        launch = uuid.uuid4().hex
        values: dict[str, Any] = {"state": STARTED, "launch": launch, "killed": 0, "exit_code": None, "error": ""}
        try:
            child = self._start(entry.draft, launch)
            self._children[entry.id] = child
            values |= {"pid": child.pid, "process_started": psutil.Process(child.pid).create_time()}
        except WorkbenchError as error:
            values |= {"pid": None, "process_started": None, "error": str(error)}
        self._queue.update(db, entry.id, **values)

    def _reap(self) -> None:
        """Notes the exit codes of this server's own children that have ended."""
        with self._lock:
            ended = {run_id: child for run_id, child in self._children.items() if child.poll() is not None}
            for run_id in ended:
                del self._children[run_id]
        for run_id, child in ended.items():
            with self._queue.writing() as db:
                entry = self._queue.get(run_id, db)
                if entry is not None and entry.pid == child.pid:
                    self._queue.update(db, run_id, exit_code=child.returncode)

    def watch(self, seconds: float = 1.0) -> None:
        """Starts waiting runs, reconciles and looks for alerts from a thread of its own until `close`."""

        def work() -> None:
            while not self._done.wait(seconds):
                try:
                    self.reconcile()
                    self.tick()
                    self.look_for_alerts()
                except Exception:  # the thread must outlive a full disk or a broken run folder; the page tells both
                    _log.exception("the queue could not be looked after")

        self._thread = threading.Thread(target=work, name="run-queue", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the watching; runs go on."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        self._queue.close()

    # ------------------------------------------------------------------ reading

    def list(self) -> list[RunRow]:
        """All runs: the queue in its order, then all others, newest first; run folders made at the command line too."""
        entries = self._queue.entries()
        reasons = self._turn(entries)[1]
        by_id = {entry.id: entry for entry in entries}
        places = {e.id: n for n, e in enumerate((e for e in entries if e.state in (WAITING, HELD)), start=1)}
        rows = [self._row(run_id, by_id.get(run_id), places.get(run_id), reasons.get(run_id, ""))
                for run_id in self._ids(entries)]  # fmt: skip
        return sorted(rows, key=lambda row: (row.place is None, row.place or -row.created))

    def row(self, run_id: str) -> RunRow:
        """One run; raises MissingFileError when there is none."""
        entries = self._queue.entries()
        entry = next((entry for entry in entries if entry.id == run_id), None)
        if entry is None or entry.state not in (WAITING, HELD):
            return self._row(run_id, entry, None, "")
        place = [e.id for e in entries if e.state in (WAITING, HELD)].index(run_id) + 1
        return self._row(run_id, entry, place, self._turn(entries)[1].get(run_id, ""))

    def _row(self, run_id: str, entry: Entry | None, place: int | None, reason: str) -> RunRow:
        run, observed = self._look(run_id, entry)
        folder = self.folder(run_id)
        return run_row(run_id, folder, run, entry, observed, place=place, reason=reason, may_change=not self.refusal)

    def _observed(self, run_id: str, entry: Entry | None) -> Observed:
        return self._look(run_id, entry)[1]

    def _look(self, run_id: str, entry: Entry | None) -> tuple[RunFolder | None, Observed]:
        run = open_folder(self.folder(run_id))
        if run is None and entry is None:
            raise MissingFileError(f"run {run_id!r} does not exist: choose one of those listed")
        return run, observe(run, entry)

    def _ids(self, entries: Sequence[Entry] | None = None) -> list[str]:
        """All runs: of the queue, and run folders up to two levels below the root."""
        known = [entry.id for entry in (self._queue.entries() if entries is None else entries)]
        found = [*self.root.glob("*/run.json"), *self.root.glob("*/*/run.json")]
        return [*dict.fromkeys([*known, *(path.parent.relative_to(self.root).as_posix() for path in sorted(found))])]

    def _is_taken(self, name: str, entry: Entry | None = None) -> bool:
        """Whether a run of this name exists; one that was cancelled before it began does not."""
        entry = entry or self._queue.get(name)
        folder = self.root / name
        return (entry is not None and entry.state != CANCELLED) or (folder.exists() and any(folder.iterdir()))

    def _stage(self, run_id: str) -> str:
        entry = self._queue.get(run_id)
        if entry is not None:
            return entry.draft.stage
        return RunFolder.open(self.folder(run_id)).stage

    def _check_trains(self, run_id: str) -> None:
        if self._stage(run_id) == EVALUATE:
            raise InputError(f"run {run_id!r} is an evaluation: launch another one in the Compare tab")

    def _allow(self) -> None:
        if self.refusal:
            raise InputError(self.refusal)

    def folder(self, run_id: str) -> Path:
        """The run's folder, inside the root; raises InputError for an id that leads out of it."""
        parts = run_id.split("/")
        if not 1 <= len(parts) <= 2:
            raise InputError(f"run {run_id!r} is not a name below {self.root}: choose one of those listed")
        for part in parts:
            check_name(part)
        return self.root.joinpath(*parts)

    def config(self, run_id: str) -> dict[str, Any]:
        """The run's settings as nested plain values; of a run that has not begun those of its draft."""
        run, entry = open_folder(self.folder(run_id)), self._queue.get(run_id)
        if run is not None:
            return run.config
        if entry is None:
            raise MissingFileError(f"run {run_id!r} does not exist: choose one of those listed")
        return entry.draft.values()

    def command(self, run_id: str) -> str:
        """The command of the run's last start, as it can be copied; empty when it is unknown."""
        entry = self._queue.get(run_id)
        if entry is not None:
            return entry.draft.command_text()
        run = open_folder(self.folder(run_id))
        return "" if run is None else shlex.join(run.info.get("command") or [])

    def alerts(self, run_id: str) -> list[Alert]:
        """The alerts that hold now, worst first; none for a run that does not run."""
        row = self.row(run_id)
        if row.state != "running":
            return []
        with self._lock:
            watch = self._watches.setdefault(run_id, AlertWatch(self.folder(run_id)))
            return find_alerts(watch.update(), row.heartbeat_age_seconds)

    def alert_log(self, run_id: str) -> list[dict[str, Any]]:
        """The alerts that were met while a server watched, oldest first: kind, level, step, time, reason."""
        return [dict(row) for row in self._queue.alerts(run_id)]

    def look_for_alerts(self) -> None:
        """Writes down the alerts of running runs that were not met yet since their start, at most every few seconds."""
        if time.monotonic() < self._next_alerts:
            return
        self._next_alerts = time.monotonic() + _ALERT_SECONDS
        for row in self.list():
            if row.state != "running":
                continue
            begun = time.time() - (row.elapsed_seconds or 0.0)
            met = {alert["kind"] for alert in self.alert_log(row.id) if alert["time"] >= begun}
            for alert in self.alerts(row.id):
                if alert.kind not in met:
                    self._queue.log_alert(row.id, alert.kind, alert.level, alert.step, alert.reason)
                    if self._on_alert is not None:
                        self._on_alert(row.id, alert)

    def load(self, run_id: str) -> RunLoad:
        """What the run's processes use now."""
        entry, run = self._queue.get(run_id), open_folder(self.folder(run_id))
        known: dict[int, float | None] = {}
        if run is not None and isinstance(run.info.get("pid"), int):
            known[run.info["pid"]] = run.info.get("process_started")
        if entry is not None and entry.pid is not None:
            known[entry.pid] = entry.process_started
        found = {process.pid: process for process in launcher.processes_of(self.folder(run_id), known)}
        with self._lock:  # CPU shares are measured between two looks at the same objects
            kept = {pid: self._processes.get(pid, process) for pid, process in found.items()}
            self._processes = {pid: p for pid, p in self._processes.items() if p.is_running()} | kept
            return read_load(list(kept.values()))
