"""Stored episodes: every screen, forecast and step of an episode, written while it runs and read back later.

Text lies in the workbench's SQLite file (workbench.store), screenshots beside it as screens/<hash>.png, named by the
hash of their pixels, so equal screens are stored once. A screenshot is written before the frame that names it. Each
save is one transaction: a process that is killed loses at most the step that it was at.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from executors.errors import InputError, MissingFileError
from executors.trajectory import Observation, Step, step_from_json, step_to_json
from training.episode_record import StepRecord, observation_from_json, observation_to_json
from training.forecast import Forecast
from workbench.screens import SCREENS, Screens
from workbench.store import MAX_OFFSET, MAX_ROWS, Store, check_choice, match_words, storable, utc_now

EXECUTORS = ("simulator", "replay", "miniwob", "tools", "desktop", "android")
STATES = ("waiting", "running", "done")
OUTCOMES = ("success", "failure", "impossible", "unknown")
AUTHORS = ("planner", "person")

_UNSEEN = Observation()


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSetup:
    """All that is needed to start an episode again."""

    executor: str = "simulator"
    """One of `EXECUTORS`."""
    task: str
    """A task template of the simulator or of tools, a trajectory file, a MiniWoB++ task, or a phone's serial."""
    split: str = ""
    """The split of the simulator's or the tools' task; empty for others."""
    seed: int = 0
    position: int = 0
    """Which trajectory of the file, counted from 0."""
    goal: str = ""
    """What a person asked for; empty takes the task's own goal."""
    planner: str = ""
    """What names the planner: a checkpoint folder, "openai:MODEL@URL" ..."""
    tool_agent: str = "elements"
    horizon: int | None = None
    """T; None takes the planner's own."""
    history_length: int | None = None
    """K; None takes the planner's own."""
    max_steps: int = 30
    mode: str = "anticipatory"

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise InputError(f"field 'executor': {self.executor!r} is not one of {', '.join(EXECUTORS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastMade:
    """One forecast as it was made on a screen: by the planner, or by a person who changed one.

    `changes` says in words what the person changed, `edited` names the steps that were changed, inserted or moved up,
    `pinned` those whose points a person set, so that they are executed there and not found by their words; steps count
    from 1. `messages` are the chat messages as the model saw them, an image part named by its hash. `created` is ISO
    text in UTC.
    """

    forecast: Forecast
    author: str = "planner"
    changes: tuple[str, ...] = ()
    edited: tuple[int, ...] = ()
    pinned: tuple[int, ...] = ()
    messages: tuple[Mapping[str, Any], ...] = ()
    plan_seconds: float = 0.0
    created: str = field(default_factory=utc_now)

    def __post_init__(self) -> None:
        if self.author not in AUTHORS:
            raise InputError(f"field 'author': {self.author!r} is not one of {', '.join(AUTHORS)}")

    def to_json(self) -> dict[str, Any]:
        """A JSON object with all fields; the inverse of `from_json`."""
        return {
            "forecast": self.forecast.to_json(),
            "author": self.author,
            "changes": list(self.changes),
            "edited": list(self.edited),
            "pinned": list(self.pinned),
            "messages": list(self.messages),
            "plan_seconds": self.plan_seconds,
            "created": self.created,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ForecastMade:
        """The forecast of a `to_json` record; raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            forecast=Forecast.from_json(record["forecast"]),
            author=record["author"],
            changes=tuple(record["changes"]),
            edited=tuple(record["edited"]),
            pinned=tuple(record["pinned"]),
            messages=tuple(record["messages"]),
            plan_seconds=float(record["plan_seconds"]),
            created=record["created"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFrame:
    """One screen with all forecasts made on it, oldest first, and the step taken on it, if one was.

    `number` counts from 1. A step's own observation is the frame's. `reference` is the right continuation from this
    screen where one is known (recorded, or the simulator's); its observations are not kept. `screen` is the hash of the
    screenshot (`screen_hash`), known once the frame was stored; empty where there is no screenshot.
    """

    number: int
    observation: Observation
    forecasts: tuple[ForecastMade, ...] = ()
    step: StepRecord | None = None
    reference: tuple[Step, ...] = ()
    ground_seconds: float = 0.0
    execute_seconds: float = 0.0
    screen: str = ""

    def to_json(self, image_path: str | None) -> dict[str, Any]:
        """A JSON object, the screenshot named by `image_path` from the store's folder; the inverse of `from_json`."""
        step = None
        if self.step is not None:
            step = {**self.step.to_json(None), "observation": None}
        return {
            "number": self.number,
            "screen": self.screen,
            "observation": observation_to_json(self.observation, image_path),
            "forecasts": [made.to_json() for made in self.forecasts],
            "step": step,
            "reference": [step_to_json(replace(step, observation=_UNSEEN), None) for step in self.reference],
            "ground_seconds": self.ground_seconds,
            "execute_seconds": self.execute_seconds,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], folder: Path) -> StoredFrame:
        """The frame of a `to_json` record; raises KeyError, TypeError or ValueError for anything else."""
        step = record["step"]
        if step is not None:
            step = StepRecord.from_json({**step, "observation": record["observation"]}, folder)
        return cls(
            number=int(record["number"]),
            observation=observation_from_json(record["observation"], folder),
            forecasts=tuple(ForecastMade.from_json(made) for made in record["forecasts"]),
            step=step,
            reference=tuple(step_from_json(step, folder) for step in record["reference"]),
            ground_seconds=float(record["ground_seconds"]),
            execute_seconds=float(record["execute_seconds"]),
            screen=str(record["screen"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRow:
    """One episode as a list shows it; `task` is the setup's, times are ISO text in UTC.

    `owner` is the login name of who began it; empty where nobody has to log in.
    """

    id: str
    goal: str
    task: str
    planner_name: str
    platform: str
    state: str
    outcome: str
    stop_reason: str
    created: str
    updated: str
    num_steps: int
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEpisode(EpisodeRow):
    """A whole episode."""

    setup: EpisodeSetup
    frames: tuple[StoredFrame, ...]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page of rows, newest episode first, and how many episodes fit in all."""

    rows: tuple[EpisodeRow, ...]
    total: int


class EpisodeStore:
    """The episodes below one folder; safe to use from several threads and processes."""

    def __init__(self, root: Path) -> None:
        """Opens the store, made when it does not exist; raises as `workbench.store.Store` does."""
        self.root = root.resolve()
        self._store, self.screens = Store(self.root), Screens(self.root)

    def close(self) -> None:
        """Closes the file."""
        self._store.close()

    # ---- writing

    def create(
        self, setup: EpisodeSetup, *, goal: str, planner_name: str = "", platform: str = "", owner: str = "",
        created: str = "",
    ) -> str:
        """Begins an episode in state "waiting" and returns its id, which cannot be guessed.

        Args:
            setup: how to start it again.
            goal: what is to be done, in words.
            planner_name: the planner's own name; empty while it loads, see `save_state`.
            platform: "phone", "desktop", "browser", "tools" or "".
            owner: the login name of who begins it.
            created: ISO text in UTC; empty takes the present moment.

        Raises:
            OutputError: the store cannot be written.
        """
        id, now = secrets.token_hex(8), created or utc_now()
        row = {
            "id": id, "setup": json.dumps(asdict(setup)), "goal": storable(goal), "task": storable(setup.task),
            "planner": storable(planner_name), "platform": platform, "state": "waiting", "outcome": "unknown",
            "stop_reason": "", "created": now, "updated": now, "num_steps": 0, "owner": storable(owner),
        }
        with self._store.writing() as db:
            db["episodes"].insert(row)
        return id

    def save_frame(self, id: str, frame: StoredFrame) -> StoredFrame:
        """Stores the frame, in place of an earlier one of its number, and returns it as `load` would give it.

        The frame returned names its stored screenshot, so it is not encoded again to be shown, nor hashed again when it
        is saved again. A recording's screenshot that is gone or damaged is left out: the rest of the frame is stored.

        Raises:
            MissingFileError: there is no such episode.
            OutputError: the store cannot be written.
        """
        if not (frame.screen and self.screenshot_path(frame.screen).exists()):
            frame = replace(frame, screen=self._save_screen(frame.observation))
        seen = frame.observation
        if frame.screen:
            seen = replace(seen, image_path=self.screenshot_path(frame.screen))
        frame = replace(frame, observation=seen, step=frame.step and replace(frame.step, observation=seen))
        record = frame.to_json(f"{SCREENS}/{frame.screen}.png" if frame.screen else None)
        row = {
            "episode_id": storable(id), "number": frame.number, "has_step": int(frame.step is not None),
            "record": json.dumps(record),
        }
        with self._store.writing() as db:
            db["frames"].upsert(row, pk=("episode_id", "number"))
            steps = db["frames"].count_where("episode_id = ? and has_step", [row["episode_id"]])
            _update(db, id, num_steps=steps)
        return frame

    def save_state(
        self, id: str, *, state: str | None = None, outcome: str | None = None, stop_reason: str | None = None,
        planner_name: str | None = None,
    ) -> None:
        """Stores how the episode stands; None leaves what is stored.

        Raises:
            InputError: `state` or `outcome` is none of `STATES` or `OUTCOMES`.
            MissingFileError: there is no such episode.
            OutputError: the store cannot be written.
        """
        check_choice("state", state, (None, *STATES))
        check_choice("outcome", outcome, (None, *OUTCOMES))
        planner = None if planner_name is None else storable(planner_name)
        values = {"state": state, "outcome": outcome, "stop_reason": stop_reason, "planner": planner}
        with self._store.writing() as db:
            _update(db, id, **{name: value for name, value in values.items() if value is not None})

    def _save_screen(self, observation: Observation) -> str:
        try:
            image = observation.load_image()
        except (MissingFileError, InputError):
            return ""
        return self.screens.save(image)

    # ---- reading

    def screenshot_path(self, sha256: str) -> Path:
        """Where the screenshot of this hash lies, or would.

        Raises:
            InputError: it is no hash, so it cannot name a file elsewhere either.
        """
        return self.screens.path(sha256)

    def load(self, id: str) -> StoredEpisode:
        """The episode with all frames in order; screenshots are read when asked for.

        A screenshot that is gone or damaged is found by `Observation.load_image`, not here.

        Raises:
            MissingFileError: there is no such episode.
            InputError: its record is damaged, or the store is.
        """
        with self._store.reading() as db:
            rows = list(db["episodes"].rows_where("id = ?", [storable(id)]))
            records = list(db["frames"].rows_where("episode_id = ?", [storable(id)], order_by="number"))
        if not rows:
            raise _no_episode(id)
        try:
            setup = EpisodeSetup(**json.loads(rows[0]["setup"]))
        except (ValueError, TypeError) as error:
            raise _damaged(id, "its setup", error) from None
        frames = tuple(self._frame(id, record) for record in records)
        return StoredEpisode(**asdict(_row(rows[0])), setup=setup, frames=frames)

    def _frame(self, id: str, row: Mapping[str, Any]) -> StoredFrame:
        try:
            return StoredFrame.from_json(json.loads(row["record"]), self.root)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise _damaged(id, f"frame {row['number']}", error) from None

    def search(
        self, text: str = "", *, outcome: str = "", planner: str = "", task: str = "", state: str = "",
        since: str = "", until: str = "", limit: int = 50, offset: int = 0,
    ) -> SearchResult:
        """The episodes that fit all that is given, newest first; an empty value fits all.

        Args:
            text: words that goal, task, planner's name or id hold; the beginning of a word is enough; case, accents and
                signs do not count.
            outcome: one of `OUTCOMES`.
            planner: the planner's whole name.
            task: the whole name of the task or file.
            state: one of `STATES`.
            since: ISO date or time, in UTC where it names no zone; episodes begun then or later.
            until: episodes begun then or earlier; a date includes its whole day.
            limit: rows at most, 1..`MAX_ROWS`.
            offset: rows to leave out, 0..`MAX_OFFSET`.

        Raises:
            InputError: a value that is not allowed; the message names the field.
        """
        check_choice("outcome", outcome, ("", *OUTCOMES))
        check_choice("state", state, ("", *STATES))
        if not 1 <= limit <= MAX_ROWS:
            raise InputError(f"field 'limit': {limit} is not 1..{MAX_ROWS}")
        if not 0 <= offset <= MAX_OFFSET:
            raise InputError(f"field 'offset': {offset} is not 0..{MAX_OFFSET}")
        conditions, values = [], {}
        for name, value in (("outcome", outcome), ("planner", planner), ("task", task), ("state", state)):
            if value:
                conditions.append(f"{name} = :{name}")
                values[name] = storable(value)
        if since.strip():
            conditions.append("created >= :since")
            values["since"] = _moment("since", since)
        if until.strip():
            conditions.append("created <= :until")
            values["until"] = _moment("until", until, is_end=True)
        if words := match_words(text):
            conditions.append("number in (select rowid from episodes_fts where episodes_fts match :words)")
            values["words"] = words
        where = " and ".join(conditions) or "1"
        with self._store.reading() as db:
            total = db["episodes"].count_where(where, values)
            rows = list(db["episodes"].rows_where(where, values, order_by="number desc", limit=limit, offset=offset))
        return SearchResult(tuple(_row(row) for row in rows), total)

    def tasks(self) -> list[str]:
        """The names of all tasks and files that there are episodes of, sorted."""
        return self._distinct("task")

    def planners(self) -> list[str]:
        """The names of all planners that there are episodes of, sorted."""
        return self._distinct("planner")

    def _distinct(self, column: str) -> list[str]:
        with self._store.reading() as db:
            found = db.execute(f"select distinct {column} from episodes where {column} != '' order by {column}")
            return [value for (value,) in found]


def _row(row: Mapping[str, Any]) -> EpisodeRow:
    names = ("id", "goal", "task", "platform", "state", "outcome", "stop_reason", "created", "updated", "num_steps",
             "owner")
    return EpisodeRow(planner_name=row["planner"], **{name: row[name] for name in names})


def _update(db: Database, id: str, **values: Any) -> None:
    columns = ", ".join(f"{name} = :{name}" for name in (*values, "updated"))
    values |= {"updated": utc_now(), "id": storable(id)}
    cursor = db.execute(f"update episodes set {columns} where id = :id", values)
    if cursor.rowcount == 0:
        raise _no_episode(id)


def _no_episode(id: str) -> MissingFileError:
    return MissingFileError(f"episode {id[:80]!r} is not in this store: choose one of the list")


def _damaged(id: str, part: str, error: Exception) -> InputError:
    return InputError(f"episode {id}: {part} is damaged ({type(error).__name__}: {error}): choose another episode")


def _moment(name: str, text: str, *, is_end: bool = False) -> str:
    """The moment in the form of `utc_now`; a date's end is its last millisecond."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"field {name!r}: {text[:40]!r} is not a date: write it as 2026-01-31") from None
    if is_end and len(text.strip()) == len("2026-01-31"):
        moment += timedelta(days=1, milliseconds=-1)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
