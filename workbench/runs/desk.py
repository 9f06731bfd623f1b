"""The desk: everything a person does with training runs, for the page and for tests. No gradio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.runs.alerts import Alert
from workbench.runs.draft import Draft
from workbench.runs.gpus import RunLoad

REQUESTS = ("stop", "kill", "save", "evaluate")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRow:
    """One run as it is now; what is not known is None or empty."""

    id: str
    """Path of the run folder below the desk's root, with "/": "smoke-sft", "first/2_stage1"."""
    stage: str
    state: str
    """"waiting", "held" (in the queue), "starting", "running", "finished", "stopped" (saved on request), "killed" (by a
    person), "failed" (with an error it told), "crashed" (ended without a word), "cancelled" (never ran)."""
    reason: str
    """Why it waits, stopped, failed ...; one sentence, may be empty."""
    place: int | None
    """Place in the queue from 1; None when it does not wait."""
    devices: tuple[str, ...]
    num_processes: int
    preset: str
    created: float
    step: int
    total: int
    elapsed_seconds: float | None
    eta_seconds: float | None
    """Seconds to the last step at the pace of the last steps; None when it does not run or the pace is unknown."""
    heartbeat_age_seconds: float | None
    is_stalled: bool
    """Runs, and its heartbeat is older than `STALLED_SECONDS`."""
    requests: dict[str, str]
    """Open requests: name -> "asked" or "seen" (the trainer knows and will act after the present step)."""
    error_lines: tuple[str, ...]
    """Last lines of output of a failed or crashed run."""
    actions: frozenset[str]
    """What may be asked now: "hold", "release", "cancel", "reorder", "stop", "kill", "save", "evaluate", "resume",
    "clone", "chain". Buttons follow this."""
    has_checkpoint: bool


class RunDesk:
    """The queue, the processes and the run folders of one root folder."""

    def __init__(self, root: Path, store: Path, *, refusal: str = "") -> None:
        """Opens the desk; call `reconcile` once and `watch` to let waiting runs start.

        Args:
            root: folder of run folders; is made when it does not exist.
            store: the SQLite file of the queue; is made when it does not exist.
            refusal: why nothing may be launched or changed here (a demo); empty where all is allowed.

        Raises:
            OutputError: root or store cannot be written.
        """
        raise NotImplementedError

    # ------------------------------------------------------------------ drafts

    def new_name(self, stage: str) -> str:
        """A free name for a run of this stage, such as "stage1-20260317-104501"."""
        raise NotImplementedError

    def draft(
        self,
        stage: str,
        values: dict[str, Any],
        *,
        name: str = "",
        devices: Sequence[str] = ("cpu",),
        num_processes: int = 1,
        preset: str = "",
        after: str = "",
    ) -> Draft:
        """The draft of form values (nested, plain); an empty name gives a new one. Raises InputError."""
        raise NotImplementedError

    def pipeline_drafts(
        self, preset: str, seed: int = 0, *, name: str = "", devices: Sequence[str] = ("cpu",)
    ) -> list[Draft]:
        """SFT, Stage 1 and Stage 2 of a preset, each after the one before; stages the preset lacks are left out."""
        raise NotImplementedError

    def clone(self, run_id: str, **changes: Any) -> Draft:
        """A draft with the settings of a run, under a new name; `changes` are fields of the draft (`name`, `devices`,
        ...) or `config={"optim.seed": 3}` with dotted keys."""
        raise NotImplementedError

    def again(self, run_id: str, seed: int | None = None) -> Draft:
        """The same with another seed: the given one, or one more than the greatest that runs like it have."""
        raise NotImplementedError

    def chain(self, run_id: str) -> Draft:
        """The next stage from this run's result (Stage 1 from SFT, Stage 2 from Stage 1), with its data, sampling and
        optimisation settings; a run that is not finished is waited for."""
        raise NotImplementedError

    # ------------------------------------------------------------------ queue

    def launch(self, draft: Draft) -> str:
        """Puts the draft at the queue's end and returns the run's id; it starts as soon as its devices are free.

        Raises:
            InputError: a check has an error, the name is taken, or this desk refuses.
        """
        raise NotImplementedError

    def hold(self, run_id: str) -> None:
        """A waiting run stays in the queue and is not started."""
        raise NotImplementedError

    def release(self, run_id: str) -> None:
        """A held run waits again."""
        raise NotImplementedError

    def cancel(self, run_id: str) -> None:
        """Takes a waiting or held run out of the queue; a resume that waits leaves its run as it was."""
        raise NotImplementedError

    def reorder(self, run_id: str, place: int) -> None:
        """Moves a waiting or held run to this place of the queue, from 1; beyond the end is the end."""
        raise NotImplementedError

    # ------------------------------------------------------------------ running

    def request(self, run_id: str, what: str) -> None:
        """Asks a running trainer: one of `REQUESTS`. All but "kill" are confirmed by the trainer, see `RunRow.requests`
        and `read_events`; "kill" ends all of the run's processes at once."""
        raise NotImplementedError

    def resume(self, run_id: str) -> None:
        """Puts a stopped, killed, failed or crashed run back at the queue's end, to go on from its last checkpoint."""
        raise NotImplementedError

    def reconcile(self) -> list[RunRow]:
        """Compares what was started with what runs, and returns the runs found dead since the last look."""
        raise NotImplementedError

    def tick(self) -> list[str]:
        """Starts every waiting run whose turn it is; returns their ids."""
        raise NotImplementedError

    def watch(self, seconds: float = 1.0) -> None:
        """Calls `tick` from a thread of its own until `close`."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends the watching; runs go on."""
        raise NotImplementedError

    # ------------------------------------------------------------------ reading

    def list(self) -> list[RunRow]:
        """All runs: the queue in its order, then all others, newest first; run folders made at the command line too."""
        raise NotImplementedError

    def row(self, run_id: str) -> RunRow:
        """One run; raises MissingFileError when there is none."""
        raise NotImplementedError

    def folder(self, run_id: str) -> Path:
        """The run's folder, inside the root; raises InputError for an id that leads out of it."""
        raise NotImplementedError

    def config(self, run_id: str) -> dict[str, Any]:
        """The run's settings as nested plain values; of a waiting run those of its draft."""
        raise NotImplementedError

    def command(self, run_id: str) -> str:
        """The command of the run's last start, as it can be copied; empty when it is unknown."""
        raise NotImplementedError

    def alerts(self, run_id: str) -> list[Alert]:
        """The alerts that hold now."""
        raise NotImplementedError

    def load(self, run_id: str) -> RunLoad:
        """What the run's processes use now."""
        raise NotImplementedError
