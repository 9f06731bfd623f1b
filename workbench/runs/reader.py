"""Reading run folders: only what is new since the last look, and never more than is shown.

Every reader takes and returns a `Cursor`, so the caller may be a page that keeps it, and nothing is lost when it does
not. A file that was cut back by a resume, or replaced, is read anew and says so with `is_reset`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from executors.geometry import ImageSize
from executors.trajectory import Element, Observation
from training.checkpoint import read_planner_settings
from training.config import ForecastConfig


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a file was read: which file (inode), how many bytes, and the last bytes' checksum."""

    file: int = 0
    offset: int = 0
    check: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricPoints:
    """Metric points, oldest first, one column per metric; all columns have the length of `columns["step"]`.

    `columns` has "step", "time" (seconds since the epoch), "epoch" and every metric met; a metric that a line lacks, or
    that was no finite number, is None there. A step may have two lines: its own, and one of an evaluation on demand,
    which has val/... metrics only.
    """

    columns: dict[str, list[Any]] = field(default_factory=dict)
    cursor: Cursor = Cursor()
    is_reset: bool = False
    """Whether these are all points anew, because the file was cut back or replaced since the cursor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutGroup:
    """The G completions of one prompt at one step."""

    step: int
    prompt_id: str
    goal: str
    screen: Path | None
    """The prompt's screenshot; None where none was kept."""
    image_size: tuple[int, int] | None
    observation: Observation | None
    """The screenshot with its element tree; None where no screenshot was kept."""
    reference: tuple[dict[str, Any], ...]
    """The recorded steps (ForecastStep.to_json)."""
    completions: tuple[dict[str, Any], ...]
    """text, reward (None: not scored), advantage, parse_ok, reason, and "parts" (Stage 1: per step sim, rep, ...) or
    "grounding" (Stage 2), as training.stages writes them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutSummary:
    """What a list of groups shows and filters by."""

    step: int
    prompt_id: str
    goal: str
    offset: int
    num_completions: int
    num_parse_failures: int
    mean_reward: float | None
    least_reward: float | None
    best_reward: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPart:
    """Text of a log from a cursor on; `num_skipped` bytes before it were left out because they are too many."""

    text: str
    cursor: Cursor
    is_reset: bool = False
    num_skipped: int = 0


LOG_FILES = ("log.txt", "log.1.txt", "log.2.txt", "log.3.txt")
"""The log and what was rotated away, newest first."""
_CHECKED_BYTES = 64
_MANY_BYTES = 1 << 18
"""Above this a file is parsed by pyarrow, whose import only then is worth its time."""
_SCREEN_NAME = re.compile(r"[0-9a-f]{16}\.webp")
_ROLLOUT_STEP = re.compile(rb'\{"step": ?(\d+)')


def read_metrics(run: Path, since: Cursor | None = None, names: Sequence[str] | None = None) -> MetricPoints:
    """The points after the cursor (all of them without one); an empty result when there is nothing new or no file.

    Args:
        run: the run folder.
        since: what was read before.
        names: only these metrics, besides "step" and "time"; None for all. The fewer, the faster a long file is read.
    """
    data, cursor, is_reset = _read_new(run / "metrics.jsonl", since)
    columns = _fast_columns(data, names) if len(data) > _MANY_BYTES else None
    if columns is None:
        columns = _columns(_parse_lines(data))
    if names is not None:
        columns = {name: column for name, column in columns.items() if name in ("step", "time", *names)}
    return MetricPoints(columns=columns, cursor=cursor, is_reset=is_reset)


def _fast_columns(data: bytes, names: Sequence[str] | None) -> dict[str, list[Any]] | None:
    """`_columns` of many lines at once; None when a line is torn or a metric is now a number, now a text."""
    import pyarrow
    from pyarrow import json as arrow_json

    parse = None
    if names is not None:
        fields = [("step", pyarrow.int64()), *((name, pyarrow.float64()) for name in dict.fromkeys(("time", *names)))]
        parse = arrow_json.ParseOptions(explicit_schema=pyarrow.schema(fields), unexpected_field_behavior="ignore")
    options = arrow_json.ReadOptions(use_threads=False, block_size=4 << 20)
    try:
        table = arrow_json.read_json(pyarrow.BufferReader(data), read_options=options, parse_options=parse)
    except pyarrow.ArrowException:
        return None
    return {name: table[name].to_pylist() for name in table.column_names if table[name].null_count < len(table)}


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    if not rows:
        return {}
    names = list(dict.fromkeys(name for names in dict.fromkeys(map(tuple, rows)) for name in names))
    columns: dict[str, list[Any]] = {}
    for name in names:
        try:
            columns[name] = list(map(itemgetter(name), rows))
        except KeyError:
            columns[name] = [row.get(name) for row in rows]
    return columns


def _parse_lines(data: bytes) -> list[dict[str, Any]]:
    """The JSON objects of whole lines; a line that is none is left out."""
    try:
        rows = json.loads(b"[" + data.rstrip(b"\n").replace(b"\n", b",") + b"]")
    except ValueError:  # one line was torn by a kill
        rows = []
        for line in data.split(b"\n"):
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]


def _read_new(path: Path, since: Cursor | None) -> tuple[bytes, Cursor, bool]:
    """(whole lines after the cursor, the cursor behind them, whether the file is another than the cursor's)."""
    since = since or Cursor()
    try:
        with path.open("rb") as file:
            number = os.fstat(file.fileno()).st_ino
            is_same = since.offset > 0 and number == since.file and _check(file, since.offset) == since.check
            start = since.offset if is_same else 0
            file.seek(start)
            data = file.read()
            data = data[: data.rfind(b"\n") + 1]
            end = start + len(data)
            return data, Cursor(number, end, _check(file, end)), not is_same and since.offset > 0
    except OSError:
        return b"", Cursor(), since.offset > 0


def _check(file: BinaryIO, offset: int) -> int:
    """Checksum of the bytes before an offset: a file that was cut and written again rarely has the same there."""
    start = max(0, offset - _CHECKED_BYTES)
    file.seek(start)
    return zlib.crc32(file.read(offset - start))


def thin(
    steps: Sequence[float], values: Sequence[float | None], most: int = 2000
) -> tuple[list[float], list[float | None]]:
    """(steps, values) with at most `most` points (at least 4): of each stretch of points its least and its greatest.

    Points without a value stay out of it, apart from the first of a stretch that has none at all, so a gap stays.

    >>> thin([1, 2, 3, 4, 5, 6, 7, 8], [0, 9, 1, 2, 3, 2, -4, 0], most=4)
    ([1, 2, 5, 7], [0, 9, 3, -4])
    """
    if len(steps) <= most:
        return list(steps), list(values)
    num_stretches = max(2, most // 2)
    chosen: list[int] = []
    for i in range(num_stretches):
        stretch = range(i * len(steps) // num_stretches, (i + 1) * len(steps) // num_stretches)
        known = [j for j in stretch if values[j] is not None]
        if known:
            least, greatest = min(known, key=values.__getitem__), max(known, key=values.__getitem__)
            chosen += sorted({least, greatest})
        else:
            chosen.append(stretch[0])
    return [steps[j] for j in chosen], [values[j] for j in chosen]


class _RolloutIndex:
    """Where each line of a rollouts.jsonl begins and which step it is of; grows as the file does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cursor = Cursor()
        self.offsets: list[int] = []
        self.steps: list[int] = []
        self.summaries: dict[int, RolloutSummary] = {}
        self.lock = Lock()

    def update(self) -> None:
        before = self.cursor
        data, self.cursor, is_reset = _read_new(self.path, before)
        start = before.offset
        if is_reset:
            self.offsets, self.steps, self.summaries, start = [], [], {}, 0
        at = 0
        while at < len(data):
            end = data.index(b"\n", at) + 1
            found = _ROLLOUT_STEP.match(data, at)
            if found and data[end - 2 : end - 1] == b"}":  # else torn by a kill
                self.offsets.append(start + at)
                self.steps.append(int(found[1]))
            at = end

    def lines(self, offsets: Iterable[int]) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                for offset in offsets:
                    file.seek(offset)
                    yield file.readline()
        except OSError:
            return


@lru_cache(maxsize=32)
def _index(path: Path) -> _RolloutIndex:
    return _RolloutIndex(path)


@contextlib.contextmanager
def _updated_index(run: Path) -> Iterator[_RolloutIndex]:
    index = _index(run.absolute() / "rollouts.jsonl")
    with index.lock:
        index.update()
        yield index


def rollout_steps(run: Path) -> list[int]:
    """The steps that have rollouts, ascending."""
    with _updated_index(run) as index:
        return sorted(set(index.steps))


def read_rollouts(run: Path, step: int) -> list[RolloutGroup]:
    """The groups of one step, in the order written; empty when the step has none."""
    with _updated_index(run) as index:
        offsets = [offset for offset, found in zip(index.offsets, index.steps, strict=True) if found == step]
        return [_group(run, row) for line in index.lines(offsets) for row in _parse_lines(line)]


def read_group(run: Path, offset: int) -> RolloutGroup | None:
    """The group of a summary; None when the file has changed since."""
    with _updated_index(run) as index:
        if offset not in index.offsets:
            return None
        return next((_group(run, row) for line in index.lines([offset]) for row in _parse_lines(line)), None)


def find_rollouts(
    run: Path,
    *,
    prompt_id: str = "",
    least_reward: float | None = None,
    greatest_reward: float | None = None,
    only_parse_failures: bool = False,
    text: str = "",
    most: int = 200,
) -> list[RolloutSummary]:
    """The newest `most` groups that fit all filters, oldest first.

    One prompt through training time is `find_rollouts(run, prompt_id=...)`.

    Args:
        run: the run folder.
        prompt_id: of this prompt only.
        least_reward, greatest_reward: bounds of the group's mean reward; a group without a reward fits neither.
        only_parse_failures: only groups with a completion that broke the grammar.
        text: only groups whose goal or prompt id holds this, in any case.
        most: how many at most.
    """
    found: list[RolloutSummary] = []
    with _updated_index(run) as index:
        for offset in reversed(index.offsets):
            if offset not in index.summaries:
                for row in (row for line in index.lines([offset]) for row in _parse_lines(line)):
                    index.summaries[offset] = _summary(row, offset)
            summary = index.summaries.get(offset)
            if summary is None or (prompt_id and summary.prompt_id != prompt_id):
                continue
            mean = summary.mean_reward
            if least_reward is not None and (mean is None or mean < least_reward):
                continue
            if greatest_reward is not None and (mean is None or mean > greatest_reward):
                continue
            if only_parse_failures and not summary.num_parse_failures:
                continue
            if text and text.lower() not in f"{summary.goal}\n{summary.prompt_id}".lower():
                continue
            found.append(summary)
            if len(found) == most:
                break
    return found[::-1]


def _summary(row: dict[str, Any], offset: int) -> RolloutSummary:
    completions = row.get("completions") or []
    rewards = [c["reward"] for c in completions if isinstance(c.get("reward"), (int, float))]
    return RolloutSummary(
        step=int(row.get("step", 0)),
        prompt_id=str(row.get("id", "")),
        goal=str(row.get("goal", "")),
        offset=offset,
        num_completions=len(completions),
        num_parse_failures=sum(not c.get("parse_ok", True) for c in completions),
        mean_reward=sum(rewards) / len(rewards) if rewards else None,
        least_reward=min(rewards, default=None),
        best_reward=max(rewards, default=None),
    )


def _group(run: Path, row: dict[str, Any]) -> RolloutGroup:
    name = str(row.get("image") or "")
    screen = run / "screens" / name
    is_kept = _SCREEN_NAME.fullmatch(name) is not None and screen.is_file()
    size = row.get("image_size")
    image_size = (int(size[0]), int(size[1])) if isinstance(size, list) and len(size) == 2 else None
    return RolloutGroup(
        step=int(row.get("step", 0)),
        prompt_id=str(row.get("id", "")),
        goal=str(row.get("goal", "")),
        screen=screen if is_kept else None,
        image_size=image_size,
        observation=_observation(screen, image_size) if is_kept and image_size else None,
        reference=tuple(row.get("reference") or ()),
        completions=tuple(row.get("completions") or ()),
    )


def _observation(screen: Path, size: tuple[int, int]) -> Observation:
    """What the prompt showed; elements that cannot be read are none."""
    elements: list[Element] = []
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # an InputError is a ValueError
        records = json.loads(screen.with_suffix(".json").read_text(encoding="utf-8"))
        elements = [Element.from_json(record) for record in records]
    return Observation(image_size=ImageSize(*size), image_path=screen, elements=tuple(elements))


def tail_log(run: Path, since: Cursor | None = None, most: int = 64_000) -> LogPart:
    """New text of the run's log, at most the last `most` bytes of it.

    Without a cursor, or after a rotation, the end of the rotated log comes first when there is room for it. A run that
    ended before its log began has what its process printed (launch/output.txt).
    """
    path = run / LOG_FILES[0]
    if not path.exists():
        path = run / "launch" / "output.txt"
    data, cursor, is_reset = _read_new(path, since)
    if since is None or is_reset:
        older, _, _ = _read_new(run / LOG_FILES[1], None)
        data = older + data
    kept = data[-most:] if len(data) > most else data
    if len(kept) < len(data):
        kept = kept[kept.find(b"\n") + 1 :]
    text = kept.decode("utf-8", "replace")
    return LogPart(text=text, cursor=cursor, is_reset=is_reset, num_skipped=len(data) - len(kept))


def search_log(run: Path, text: str, most: int = 200) -> list[tuple[str, int, str]]:
    """(file, line number from 1, line) of the newest `most` lines that hold the text in any case, oldest first.

    Rotated logs are searched too; an empty text finds nothing.
    """
    found: list[tuple[str, int, str]] = []
    wanted = text.lower()
    for name in LOG_FILES if wanted else ():
        data, _, _ = _read_new(run / name, None)
        lines = data.decode("utf-8", "replace").split("\n")
        for number in range(len(lines), 0, -1):
            if wanted in lines[number - 1].lower():
                found.append((name, number, lines[number - 1]))
                if len(found) == most:
                    return found[::-1]
    return found[::-1]


def read_events(run: Path) -> list[dict[str, Any]]:
    """What the trainer confirmed, oldest first: "time", "step", "event" ("saved", "evaluated", ...) and details."""
    data, _, _ = _read_new(run / "events.jsonl", None)
    return _parse_lines(data)


def planner_settings(run: Path) -> ForecastConfig | None:
    """How the run's completions were asked for and parsed; None when it has not come that far."""
    return read_planner_settings(run)
