"""The run folder: the only thing that a training process and everything that looks at it share.

    config.yaml      the full config, secrets removed
    NAME.revision.json   the dataset revision that was trained on, copied from beside the data where they are of one
    run.json         stage, schema version, command, versions, platform, seed, pid and the process's start time
    status.json      state (running, finished, stopped, failed), reason, time
    heartbeat.json   time, step, total, requests seen; every two seconds while the process lives
    metrics.jsonl    one object per optimiser step: step, epoch, time, every metric
    rollouts.jsonl   one object per prompt and step: goal, completions with texts, rewards and advantages
    events.jsonl     what was asked of the run and done: time, step, event
    screens/         the screenshots of the rollouts, by the hash of their pixels
    tracer1.json     how completions were asked for and parsed
    log.txt          what was printed; log.1.txt and so on are older
    checkpoints/     checkpoint-<step>/, each with complete.json once it is whole
    final/           the result
    stop, save, evaluate   written by a reader and removed when it is done: what to do after the present step
    kill             written by a reader before it ends the process
    launch/          of who launched the run: command, settings of several processes, what they printed

JSON files are replaced atomically; lines are appended whole, and a reader leaves out a last line that was torn by a
kill. This module needs neither torch nor transformers (training.run_callback connects it to their trainers).
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import yaml

from executors.errors import InputError, MissingFileError, OutputError, WorkbenchError
from training.config_reading import read_config, to_dict
from training.run_files import ENCODING, cut_lines, finite, read_json, read_lines, write_atomic
from training.run_log import logged
from training.run_record import RUN_SCHEMA_VERSION, process_record, run_record, scrubbed_command, without_secrets

HEARTBEAT_SECONDS = 2.0
STATES = ("running", "finished", "stopped", "failed", "crashed", "killed")
"""A status file says one of the first four; "crashed" is what a reader sees when it says running and nobody runs, and
"killed" when a person ended the process."""
REQUESTS = ("stop", "save", "evaluate")
"""What a reader may ask of a training process; each is a file in the run folder."""
MAX_SCREENS = 5000
"""Screenshots kept of one run; rollouts beyond have none."""
_LAUNCH_FOLDER = "launch"
_LEAST_FREE_BYTES = 1 << 20
"""Free space below which an error is told as a full disk; the smallest checkpoint needs more."""


def is_first_process() -> bool:
    """Whether this process writes the run folder; of the processes of `accelerate launch` only the first one does."""
    return os.environ.get("RANK", "0") == "0"


class RunStopped(Exception):
    """Raised inside `RunFolder.session` to end a run as "stopped": a stop was asked for and all is saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """A run's state (one of `STATES`), the reason in words, and when it was written (seconds since the epoch)."""

    state: str
    reason: str = ""
    time: float = 0.0


class RunFolder:
    """One run folder: `open` reads it, `create` and `resume` write it.

    Readers need `open` and the methods above `create`; only the training process calls the rest, inside `session`.
    """

    def __init__(self, path: Path) -> None:
        """Use `open`, `create` or `resume`; this touches nothing on disk."""
        self.path = Path(path)
        self._step = 0
        self._total = 0
        self._interrupts = 0
        self._is_writer = True
        self._lock = threading.Lock()

    # ---------------------------------------------------------------- reading

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """The run folder at this path, for reading.

        Raises:
            MissingFileError: there is no run here.
            InputError: run.json is damaged or was written by another schema version.
        """
        run = cls(Path(path))
        if not os.path.isfile(run.path / "run.json"):
            raise MissingFileError(
                f"{path} is not a run folder (no run.json): give the folder of a `tracer1 train` run"
            )
        info = run.info
        if not info:
            raise InputError(f"{path}/run.json is damaged: restore it or start a new run")
        found = info.get("schema_version")
        if found != RUN_SCHEMA_VERSION:
            raise InputError(
                f"{path}/run.json field 'schema_version': {found!r} is not {RUN_SCHEMA_VERSION}: "
                "read it with the version that wrote it"
            )
        return run

    @property
    def info(self) -> dict[str, Any]:
        """run.json as it stands; an empty dict when it cannot be read."""
        return read_json(self.path / "run.json")

    @property
    def stage(self) -> str:
        """"sft", "stage1", "stage2" or "evaluate"."""
        return str(self.info.get("stage", ""))

    @property
    def config(self) -> dict[str, Any]:
        """config.yaml as nested plain values.

        Raises:
            InputError: the file is missing, damaged or empty.
        """
        path = self.path / "config.yaml"
        try:
            values = read_config(path)
        except WorkbenchError as error:
            raise InputError(f"{error}, or start a new run") from None
        if not values:
            raise InputError(f"config {path} is empty: restore it or start a new run")
        return values

    @property
    def checkpoints_path(self) -> Path:
        """Where checkpoints are saved."""
        return self.path / "checkpoints"

    @property
    def final_path(self) -> Path:
        """Where the result is saved."""
        return self.path / "final"

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl, oldest first; a torn last line is left out, no file is no line."""
        return list(read_lines(self.path / "metrics.jsonl"))

    def rollouts(self) -> list[dict[str, Any]]:
        """All lines of rollouts.jsonl, oldest first; a torn last line is left out, no file is no line."""
        return list(read_lines(self.path / "rollouts.jsonl"))

    def heartbeat(self) -> dict[str, Any]:
        """time, step and total of the last heartbeat; empty before the first."""
        return read_json(self.path / "heartbeat.json")

    def is_alive(self) -> bool:
        """Whether the process that wrote run.json still runs: same pid and same start time, and no zombie."""
        info = self.info
        pid, started = info.get("pid"), info.get("process_started")
        if not isinstance(pid, int) or not isinstance(started, (int, float)):
            return False
        try:
            process = psutil.Process(pid)
            is_same = abs(process.create_time() - started) < 2.0  # seconds; the boot time it derives from may shift
            return is_same and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, ValueError):  # ValueError: a number that no process has, in a damaged file
            return False

    def status(self) -> RunStatus:
        """The run's state; "crashed" when the file says running, or no state at all, and the process is gone."""
        record = read_json(self.path / "status.json")
        if record.get("state", "running") == "running" and not self.is_alive():
            record = read_json(self.path / "status.json")  # it may have said its last word just before it ended
        state = record["state"] if record.get("state") in STATES else "running"
        status = RunStatus(state=state, reason=str(record.get("reason", "")), time=_seconds(record))
        if state != "running" or self.is_alive():
            return status
        seen = self.heartbeat()
        when, step = _seconds(seen) or status.time, seen.get("step", 0)
        if (self.path / "kill").exists():
            return RunStatus(state="killed", reason=f"killed by a person after step {step}", time=when)
        return RunStatus(state="crashed", reason=f"the process ended without a word after step {step}", time=when)

    def request(self, what: str) -> None:
        """Asks the training process for one of `REQUESTS`, after its present step: "stop" also saves.

        Raises:
            InputError: the request is unknown.
            OutputError: the folder cannot be written.
        """
        if what not in REQUESTS:
            raise InputError(f"request {what!r} is unknown: choose one of {', '.join(REQUESTS)}")
        self._touch(what)

    def request_stop(self) -> None:
        """`request("stop")`."""
        self.request("stop")

    def mark_killed(self) -> None:
        """Says that the process is about to be ended by a person; raises OutputError when that cannot be written."""
        self._touch("kill")

    def _touch(self, name: str) -> None:
        try:
            (self.path / name).touch()
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}/{name} ({error.strerror}): check the folder's rights"
            ) from None

    def events(self) -> list[dict[str, Any]]:
        """All lines of events.jsonl, oldest first."""
        return list(read_lines(self.path / "events.jsonl"))

    def last_checkpoint(self) -> Path | None:
        """The newest whole checkpoint; those without a marker or with a file of another size are passed over."""
        return next((path for _, path in self._checkpoints() if is_whole_checkpoint(path)), None)

    def _checkpoints(self) -> list[tuple[int, Path]]:
        found = []
        for path in self.checkpoints_path.glob("checkpoint-*"):
            number = path.name.removeprefix("checkpoint-")
            if number.isdecimal() and path.is_dir():
                found.append((int(number), path))
        return sorted(found, reverse=True)

    # ---------------------------------------------------------------- writing

    @classmethod
    def create(cls, path: Path | str, *, stage: str, config: Any, command: Sequence[str], seed: int) -> RunFolder:
        """A new run folder with config.yaml, run.json and, where the data are of one, their dataset revision.

        Args:
            path: a folder that does not exist, or holds nothing but launch/.
            stage: "sft", "stage1", "stage2", or "evaluate" for a watched evaluation.
            config: the stage's config dataclass, or plain values.
            command: the command line, for the record.
            seed: the seed of the run, for the record.

        Raises:
            OutputError: the folder is in use or cannot be written.
        """
        run = cls(Path(path))
        used = OutputError(f"run folder {path} is already used: choose another --out, or go on with --resume {path}")
        try:
            run.path.mkdir(parents=True, exist_ok=True)
            if {entry.name for entry in run.path.iterdir()} - {_LAUNCH_FOLDER}:
                raise used
            run.checkpoints_path.mkdir()
            values = dict(config) if isinstance(config, Mapping) else to_dict(config)
            text = yaml.safe_dump(without_secrets(values), sort_keys=False, allow_unicode=True)
            write_atomic(run.path / "config.yaml", text)
            run._write_json("run.json", {**run_record(stage, command, seed), **process_record()})
            _copy_revision(values, run.path)
        except FileExistsError:  # a file of this name, or another process that has begun here at the same moment
            raise used from None
        except OSError as error:
            if isinstance(error, WorkbenchError):
                raise
            raise OutputError(
                f"cannot write run folder {path} ({error.strerror}): choose a folder you may write"
            ) from None
        run._set_status("running", "starting")
        return run

    @classmethod
    def worker(cls, path: Path | str) -> RunFolder:
        """The folder as the other processes of a run see it: what they would write is left to the first process."""
        run = cls(Path(path))
        run._is_writer = False
        return run

    @classmethod
    def resume(cls, path: Path | str, *, command: Sequence[str], step: int | None = None) -> RunFolder:
        """An old run folder, cut back to a checkpoint and made this process's own.

        Lines of metrics.jsonl and rollouts.jsonl after the checkpoint are removed, so that a run that was killed and
        resumed has the same lines as one that was not.

        Args:
            path: the run folder.
            command: the command line, for the record.
            step: the step to cut back to; None for that of `last_checkpoint` (0 when there is none).

        Raises:
            MissingFileError: there is no run here.
            InputError: its process still runs.
            OutputError: the folder cannot be written.
        """
        run = cls.open(path)
        with run._alone():
            if run.status().state == "running" and run.info.get("pid") != os.getpid():
                raise InputError(f"run {path} is still running as process {run.info.get('pid')}: stop it first")
            checkpoint = run.last_checkpoint()
            if step is None:
                step = 0 if checkpoint is None else int(checkpoint.name.removeprefix("checkpoint-"))
            try:
                run._cut_back(step, command)
            except OSError as error:
                raise OutputError(
                    f"cannot write run folder {path} ({error.strerror}): check the folder's rights"
                ) from None
        run._step = step
        return run

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Inside, no other process takes this run over; where the file system has no locks, nothing is locked."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                file = stack.enter_context((self.path / "config.yaml").open("r+b"))  # is never replaced
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _cut_back(self, step: int, command: Sequence[str]) -> None:
        for name in ("metrics.jsonl", "rollouts.jsonl", "events.jsonl"):
            cut_lines(self.path / name, step)
        for number, folder in self._checkpoints():
            if number > step or not is_whole_checkpoint(folder):
                shutil.rmtree(folder)
        for name in (*REQUESTS, "kill"):
            (self.path / name).unlink(missing_ok=True)
        info = self.info
        before = info["resumes"] if isinstance(info.get("resumes"), list) else []
        resumes = [*before, {"time": time.time(), "step": step, "command": scrubbed_command(command)}]
        self._write_json("run.json", {**info, **process_record(), "resumes": resumes})
        self._set_status("running", f"resumed at step {step}")

    @contextlib.contextmanager
    def session(self) -> Iterator[RunFolder]:
        """The life of the training process: heartbeat, log.txt, signals, and the state at the end.

        Leaves "finished" when the block ends, "stopped" when it raises `RunStopped` or KeyboardInterrupt, "failed"
        with the error otherwise. `RunStopped` is swallowed, all else is raised on, as an OutputError when the disk is
        full (libraries tell that in many ways). The first Ctrl-C (or SIGTERM) asks
        for a stop after the present step; the second raises KeyboardInterrupt at once.
        """
        if not self._is_writer:
            with self._signals(), contextlib.suppress(RunStopped):
                yield self
            return
        done = threading.Event()
        thread = threading.Thread(target=self._beat, args=(done,), name="heartbeat", daemon=True)
        self._set_status("running", "")
        with contextlib.suppress(OSError, ValueError):  # no standard error, or one without a file, as in tests
            faulthandler.enable(sys.__stderr__)
        with logged(self.path / "log.txt", self.path / _LAUNCH_FOLDER / "output.txt"), self._signals():
            thread.start()
            try:
                yield self
                self._set_status("finished", "")
            except RunStopped as stop:
                self._set_status("stopped", str(stop))
            except KeyboardInterrupt:
                self._set_status("stopped", "interrupted at once; steps after the last checkpoint are lost")
                raise
            except BaseException as error:
                with contextlib.suppress(OSError):  # on a full disk the state stays "running", so it reads as crashed
                    self._set_status("failed", f"{type(error).__name__}: {error}")
                if not isinstance(error, WorkbenchError) and self._is_disk_full(error):
                    raise OutputError(
                        f"the disk of run folder {self.path} is full: free some space, then go on with "
                        f"--resume {self.path}"
                    ) from error
                raise
            finally:
                done.set()
                thread.join()
                self._write_heartbeat()

    def _is_disk_full(self, error: BaseException) -> bool:
        with contextlib.suppress(OSError):
            if shutil.disk_usage(self.path).free < _LEAST_FREE_BYTES:
                return True
        return os.strerror(errno.ENOSPC) in str(error)

    def stop_reason(self) -> str | None:
        """Why the run should stop after this step; None to go on."""
        if self._interrupts:
            return "interrupted from the keyboard"
        if self.is_asked("stop"):
            return "asked to stop"
        return None

    def is_asked(self, what: str) -> bool:
        """Whether one of `REQUESTS` is open."""
        return (self.path / what).exists()

    def confirm(self, what: str, event: str, step: int, **details: Any) -> None:
        """Closes a request: says in events.jsonl what was done at which step, then removes the request."""
        if self._is_writer:
            self._append("events.jsonl", [{"step": step, "time": time.time(), "event": event, **details}])
            (self.path / what).unlink(missing_ok=True)

    def keep_screen(self, image: Any, elements: Iterable[Any] = ()) -> dict[str, Any]:
        """Keeps a screenshot (PIL) and its element tree once and returns what a rollout says of it.

        {} for None or beyond `MAX_SCREENS`. The elements (executors.trajectory.Element) lie beside the image under its
        name with ".json"; a rollout's actions can then be grounded again.
        """
        if image is None or not self._is_writer:
            return {}
        pixels = f"{image.mode}{image.size}".encode() + image.tobytes()
        path = self.path / "screens" / f"{hashlib.blake2b(pixels, digest_size=8).hexdigest()}.webp"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            if sum(1 for _ in path.parent.glob("*.webp")) >= MAX_SCREENS:
                return {}
            partial = path.with_suffix(".partial")
            image.convert("RGB").save(partial, format="WEBP", quality=85)
            write_atomic(path.with_suffix(".json"), json.dumps([element.to_json() for element in elements]))
            partial.replace(path)  # last, so that a screenshot is never without its elements
        return {"image": path.name, "image_size": list(image.size)}

    def set_progress(self, step: int, total: int) -> None:
        """The step and the number of steps that the heartbeat tells."""
        self._step, self._total = step, total

    def log_metrics(self, step: int, epoch: float, values: Mapping[str, Any]) -> None:
        """Appends one line to metrics.jsonl; values that are no finite number become null."""
        row = {"step": step, "epoch": epoch, "time": time.time(), **values}
        self._append("metrics.jsonl", [row])

    def log_rollouts(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends lines to rollouts.jsonl; each row has its "step"."""
        self._append("rollouts.jsonl", rows)

    def mark_checkpoint(self, folder: Path) -> None:
        """Writes complete.json into a checkpoint: the sizes of its files. Call it when all else is saved."""
        if not self._is_writer:
            return
        sizes = {p.relative_to(folder).as_posix(): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
        write_atomic(folder / "complete.json", json.dumps(sizes, indent=1))

    def prune_checkpoints(self, keep: int) -> None:
        """Removes all but the newest `keep` whole checkpoints."""
        if not self._is_writer:
            return
        whole = [folder for _, folder in self._checkpoints() if is_whole_checkpoint(folder)]
        for folder in whole[keep:]:
            (folder / "complete.json").unlink()  # first, so that a half removed checkpoint is never taken for whole
            shutil.rmtree(folder)

    def _append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(finite(row), ensure_ascii=False, default=str) + "\n" for row in rows)
        if text and self._is_writer:
            with (self.path / name).open("a", **ENCODING) as out:
                out.write(text)

    def _set_status(self, state: str, reason: str) -> None:
        self._write_json("status.json", {"state": state, "reason": reason, "time": time.time()})

    def _write_json(self, name: str, record: Mapping[str, Any]) -> None:
        write_atomic(self.path / name, json.dumps(record, indent=1, ensure_ascii=False))

    def _write_heartbeat(self) -> None:
        with self._lock, contextlib.suppress(OSError):  # a full disk shows when metrics are written, not here
            seen = [name for name in REQUESTS if self.is_asked(name)]
            record = {"time": time.time(), "step": self._step, "total": self._total, "seen": seen}
            self._write_json("heartbeat.json", record)

    def _beat(self, done: threading.Event) -> None:
        while True:
            self._write_heartbeat()
            if done.wait(HEARTBEAT_SECONDS):
                return

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may take signals
            return

        def on_signal(number: int, frame: FrameType | None) -> None:
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt
            print("stopping after this step; once more stops at once", flush=True)

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def is_whole_checkpoint(folder: Path) -> bool:
    """Whether complete.json is there and every file it names has the size it had then."""
    sizes = read_json(folder / "complete.json")
    if not sizes:
        return False
    try:
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return False


def _copy_revision(values: Mapping[str, Any], folder: Path) -> None:
    """Copies the FILE.revision.json that an exported dataset revision has beside it: the run leads back to its data."""
    data = values.get("data")
    path = data.get("path") if isinstance(data, Mapping) else None  # another stage's values may have other data
    beside = Path(f"{path}.revision.json")
    if path and beside.is_file():
        shutil.copyfile(beside, folder / beside.name)


def _seconds(record: Mapping[str, Any]) -> float:
    """The "time" of a status or a heartbeat; 0 where it has none."""
    value = record.get("time")
    return float(value) if isinstance(value, (int, float)) else 0.0
