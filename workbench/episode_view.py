"""What is known of an episode at one moment, and how it is put into words."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum

from executors.errors import WorkbenchError
from training.episode_record import StepRecord, StopReason
from training.forecast import Forecast
from workbench.episode_store import EpisodeSetup, ForecastMade, StoredFrame
from workbench.real_devices import PendingStep

UNEXPECTED = "Something inside the workbench failed; the terminal it was started from shows what. Try Reset."
RECORDING_ENDED = "recording_ended"
"""The stop reason of an episode on a recording that has no more screens."""


class Tone(StrEnum):
    """How a message is shown."""

    INFO = "info"
    SUCCESS = "success"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Message:
    """One sentence about the episode's state."""

    text: str
    tone: Tone = Tone.INFO


class Activity(StrEnum):
    """What is under way."""

    IDLE = "idle"
    FORECASTING = "forecasting"
    ACTING = "acting"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeView:
    """All that is known of an episode at one moment, as plain values.

    `is_auto` says that a run is going on; `read_only` why nothing can be done any more, empty when it can.
    `storage_fault` says why the last change could not be stored. `is_real` says that the device can do harm, `pending`
    is the step that waits for a person's decision before it is done there.
    """

    id: str
    setup: EpisodeSetup
    goal: str
    message: Message
    frames: tuple[StoredFrame, ...]
    state: str
    outcome: str = "unknown"
    stop_reason: str = ""
    planner_name: str = ""
    platform: str = ""
    activity: Activity = Activity.IDLE
    activity_started: float = 0.0
    is_auto: bool = False
    is_pausing: bool = False
    read_only: str = ""
    storage_fault: str = ""
    is_real: bool = False
    pending: PendingStep | None = None
    version: int = 0

    @property
    def plan(self) -> ForecastMade | None:
        """The forecast that waits to be acted on; None when there is none, or when a person deleted all its steps."""
        last = self.frames[-1] if self.frames else None
        if last is None or last.step is not None or not last.forecasts:
            return None
        made = last.forecasts[-1]
        return made if made.forecast.steps or made.author == "planner" else None

    @property
    def num_steps(self) -> int:
        """Steps taken, failed ones included."""
        return sum(frame.step is not None for frame in self.frames)

    @property
    def waited_seconds(self) -> int:
        """Whole seconds since the forecast or action under way began; 0 when nothing is."""
        return 0 if self.activity is Activity.IDLE else int(time.monotonic() - self.activity_started)

    @property
    def is_open(self) -> bool:
        """Whether it can still go on."""
        return self.state != "done" and not self.read_only

    @property
    def is_busy(self) -> bool:
        """Whether anything is under way."""
        return self.activity is not Activity.IDLE or self.is_auto

    @property
    def can_forecast(self) -> bool:
        """Whether a forecast can be asked for, which replaces a plan that waits."""
        return self.is_open and not self.is_busy

    @property
    def can_act(self) -> bool:
        """Whether there is a plan whose first step can be approved."""
        return self.can_forecast and self.plan is not None and self.plan.forecast.first is not None

    @property
    def can_edit(self) -> bool:
        """Whether the plan may be changed."""
        return self.can_forecast

    @property
    def can_pause(self) -> bool:
        """Whether a run can be told to wait after what is under way."""
        return self.is_auto and not self.is_pausing

    @property
    def can_stop(self) -> bool:
        """Whether there is something to stop; a real device always can be."""
        return self.is_busy or self.is_real and self.is_open

    @property
    def can_reset(self) -> bool:
        """Whether the same episode can be begun again, as a new one; a real device is armed in the form each time."""
        is_touched = self.num_steps > 0 or bool(self.frames and self.frames[0].forecasts)
        return is_touched and not self.is_busy and not self.is_real


def forecast_message(forecast: Forecast, kept: int) -> Message:
    """What to say of a forecast that has come; `kept` of its steps were kept from the plan before."""
    count = len(forecast.steps)
    steps = f"{count} step{'' if count == 1 else 's'}"
    if forecast.ok:
        after = f", after the {kept} that you kept" if kept else ""
        return Message(f"Forecast of {steps}{after}. Change what is wrong, then approve the first.")
    return Message(
        f"The planner's reply could not be read {'in full' if count else 'at all'}: {forecast.reason}.", Tone.ERROR
    )


def step_message(record: StepRecord, *, has_plan: bool) -> Message:
    """What to say of a step; `has_plan` says that a plan which a person changed goes on."""
    if record.error:
        return Message(f"Step {record.number} was not done: {record.error}. Forecast asks again.", Tone.ERROR)
    note = "" if record.had_effect else f" The device says: {record.message}."
    if has_plan:
        return Message(f"Step {record.number} was carried out.{note} The rest of the plan that you changed goes on.")
    return Message(f"Step {record.number} was carried out.{note} Forecast looks ahead from the new screen.")


_ENDINGS = {
    StopReason.FINISHED: "The planner says it is done.",
    StopReason.IMPOSSIBLE: "The planner says it cannot be done.",
    StopReason.MAX_STEPS: "The most steps allowed were taken.",
    StopReason.PARSE_FAILURE: "Ended: the planner's reply holds no readable step.",
    StopReason.NOT_GROUNDED: "Ended: the planner's steps fit nothing on the screen.",
    StopReason.EXECUTOR_ERROR: "Ended: the planner or the device failed too often.",
    StopReason.STOPPED: "Stopped.",
    StopReason.WORLD_ENDED: "The world ended the episode.",
    RECORDING_ENDED: "The recording ends here.",
}
_JUDGED = {
    "success": "The goal is reached.",
    "impossible": "Rightly so: this goal cannot be reached.",
    "failure": "The goal is not reached.",
    "unknown": "Nobody can judge whether the goal is reached.",
}


def ending(outcome: str, stop_reason: str, stopped_by: str = "") -> Message:
    """How a finished episode ended, in words; `stopped_by` is who or what stopped a real device."""
    tone = {"success": Tone.SUCCESS, "impossible": Tone.SUCCESS, "failure": Tone.ERROR}.get(outcome, Tone.INFO)
    by = f" By {stopped_by}." if stopped_by else ""
    return Message(f"{_ENDINGS.get(stop_reason, 'Ended.')}{by} {_JUDGED[outcome]}", tone)


def sentence(error: WorkbenchError) -> str:
    """An error's message as a sentence that starts with a capital and ends with a full stop."""
    text = str(error).strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
