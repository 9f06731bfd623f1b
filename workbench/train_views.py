"""What the Train tab reads: answers to the page's questions as plain values. Nothing here changes a run.

The page asks over and over and says what it has already, so an answer holds only what is new, a reload loses nothing,
and a restarted server answers on. Questions come from a browser and are checked as any other input.
"""

from __future__ import annotations

import functools
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from executors.errors import InputError, MissingFileError, WorkbenchError
from workbench.runs.desk import RunDesk
from workbench.runs.gpus import read_machine
from workbench.runs.reader import (
    Cursor,
    RolloutGroup,
    find_rollouts,
    read_events,
    read_group,
    read_metrics,
    search_log,
    tail_log,
)
from workbench.train_curves import RunColumns, chart_plan
from workbench.train_form import flatten_values
from workbench.train_html import render_head, render_machine, render_runs, render_settings
from workbench.train_lens import LensSettings
from workbench.train_lens_html import render_group, render_group_list

MAX_RUNS = 8
"""Runs whose curves are laid over each other at most; more cannot be told apart."""
_KEPT_RUNS = 24
"""Runs whose columns stay in memory."""
_MAX_LOG_HITS = 200

Answer = dict[str, Any]


def answering(method: Callable[[Any, Any], Answer]) -> Callable[[Any, Any], Answer]:
    """The boundary to the browser: an error in words instead of a broken request."""

    @functools.wraps(method)
    def answer(self: Any, ask: Any) -> Answer:
        try:
            if not isinstance(ask, Mapping):
                raise InputError(f"a question to the server must be an object, not {type(ask).__name__}")
            return method(self, ask)
        except WorkbenchError as error:
            return {"error": str(error)}

    return answer


class _Curves:
    """One run's columns and how far its file was read; `generation` changes when all rows are new."""

    def __init__(self) -> None:
        self.columns = RunColumns()
        self.cursor: Cursor | None = None
        self.generation = secrets.token_hex(4)
        self.lock = Lock()

    def update(self, folder: Any) -> None:
        points = read_metrics(folder, self.cursor)
        if points.is_reset:
            self.columns, self.generation = RunColumns(), secrets.token_hex(4)
        self.columns.extend(points.columns)
        self.cursor = points.cursor


class TrainViews:
    """Answers for one desk; shared by all pages."""

    def __init__(self, desk: RunDesk) -> None:
        self.desk = desk
        self._curves: OrderedDict[str, _Curves] = OrderedDict()
        self._lock = Lock()

    @answering
    def look(self, ask: Mapping[str, Any]) -> Answer:
        """The list of runs, the shown run and the machine, each as {"hash", "html"} if it is other than in `seen`.

        Args:
            ask: "shown" (run id or ""), "compared" (run ids), "seen" (part -> hash).
        """
        shown, compared = _text(ask, "shown"), _texts(ask, "compared")
        rows = self.desk.list()
        row = next((row for row in rows if row.id == shown), None)
        parts = {
            "runs": render_runs(rows, shown=shown, compared=compared),
            "head": self._head(row) if row is not None else "",
            "machine": render_machine(read_machine(self.desk.root)),
        }
        return {
            "parts": unseen_parts(parts, ask),
            "known": [row.id for row in rows],
            "is_live": row is not None and row.state in ("running", "starting", "waiting"),
        }

    def _head(self, row: Any) -> str:
        try:
            events = read_events(self.desk.folder(row.id))
            alerts, load = self.desk.alerts(row.id), self.desk.load(row.id)
            command, met = self.desk.command(row.id), self.desk.alert_log(row.id)
        except MissingFileError:  # it waits and has no folder yet, or was removed a moment ago
            return render_head(row)
        return render_head(
            row, alerts=alerts, met=met, events=events, load=load, command=command,
            is_recorded=bool(self.desk.refusal),
        )  # fmt: skip

    @answering
    def curves(self, ask: Mapping[str, Any]) -> Answer:
        """New points of runs, and the charts they fill.

        Args:
            ask: "runs": a list of {"id", "generation", "rows"} with what the page has (rows 0 for nothing); "axis":
                "step" or "minutes"; for a zoomed chart also "between": [least, greatest] and "metrics".
        """
        axis = _choice(ask, "axis", ("step", "minutes"))
        between = _range(ask.get("between"))
        wanted = _texts(ask, "metrics")
        asked = ask.get("runs")
        if not isinstance(asked, list) or len(asked) > MAX_RUNS:
            raise InputError(f"runs: give a list of at most {MAX_RUNS} runs")
        answers, metrics = [], []
        for item in asked:
            if not isinstance(item, Mapping):
                raise InputError("runs: each must be an object with an id")
            run_id = _text(item, "id")
            has = (item.get("generation"), item.get("rows"))
            try:
                answer, found = self._run_curves(run_id, has, axis, between, wanted)
            except MissingFileError as error:
                answer, found = {"id": run_id, "error": str(error)}, []
            answers.append(answer)
            metrics += found
        return {"runs": answers, "charts": chart_plan(metrics)}

    def _run_curves(
        self, run_id: str, has: tuple[Any, Any], axis: str, between: tuple[float, float] | None, wanted: list[str]
    ) -> tuple[Answer, list[str]]:
        folder = self.desk.folder(run_id)
        curves = self._kept(run_id)
        with curves.lock:
            curves.update(folder)
            columns, found = curves.columns, curves.columns.metrics()
            has_rows = has[1] if isinstance(has[1], int) and has[0] == curves.generation else 0
            after = 0 if between is not None else min(max(0, has_rows), len(columns))
            shown = [metric for metric in found if not wanted or metric in wanted]
            series = {}
            if after < len(columns):
                series = {m: columns.series(m, axis=axis, after=after, between=between) for m in shown}
            return {
                "id": run_id, "generation": curves.generation, "rows": len(columns), "is_new": after == 0,
                "series": series,
            }, found

    def _kept(self, run_id: str) -> _Curves:
        with self._lock:
            curves = self._curves.setdefault(run_id, _Curves())
            self._curves.move_to_end(run_id)
            while len(self._curves) > _KEPT_RUNS:
                self._curves.popitem(last=False)
            return curves

    @answering
    def lens(self, ask: Mapping[str, Any]) -> Answer:
        """The list of rollout groups that fit the filters, and one group.

        Args:
            ask: "id"; "text", "prompt", "least", "greatest", "only_broken" filter; "group" is the offset of the group
                to show (None: the newest), "completion" the number of the one that is drawn whole (None: all);
                "seen" as in `look`.
        """
        run_id = _text(ask, "id")
        folder = self.desk.folder(run_id)
        prompt = _text(ask, "prompt")
        groups = find_rollouts(
            folder, prompt_id=prompt, least_reward=_number(ask, "least"), greatest_reward=_number(ask, "greatest"),
            only_parse_failures=ask.get("only_broken") is True, text=_text(ask, "text"),
        )
        chosen = ask.get("group") if isinstance(ask.get("group"), int) else None
        if chosen is None and groups:
            chosen = groups[-1].offset
        completion = ask.get("completion") if isinstance(ask.get("completion"), int) else None
        group = None if chosen is None else read_group(folder, chosen)
        seen = ask.get("seen") if isinstance(ask.get("seen"), Mapping) else {}
        page = render_group_list(groups, chosen=chosen, follows=prompt)
        parts = {"list": {"hash": page_hash(page), "html": page}}
        group_hash = page_hash(repr((completion, group)))  # the picture is drawn only when it is another one
        if seen.get("group") != group_hash:
            page = "" if group is None else self._render_group(run_id, group, completion)
            parts["group"] = {"hash": group_hash, "html": page}
        changed = {name: part for name, part in parts.items() if seen.get(name) != part["hash"]}
        return {"parts": changed, "group": chosen if group is not None else None}

    def _render_group(self, run_id: str, group: RolloutGroup, completion: int | None) -> str:
        stage, config = self.desk.row(run_id).stage, self.desk.config(run_id)
        return render_group(group, LensSettings.of_run(stage, config, self.desk.folder(run_id)), chosen=completion)

    @answering
    def log(self, ask: Mapping[str, Any]) -> Answer:
        """New text of a run's log after "cursor", or the lines that hold "search"."""
        folder = self.desk.folder(_text(ask, "id"))
        wanted = _text(ask, "search")
        if wanted:
            hits = search_log(folder, wanted, _MAX_LOG_HITS)
            return {"hits": [{"file": name, "line": line, "text": text} for name, line, text in hits]}
        part = tail_log(folder, _cursor(ask.get("cursor")))
        cursor = [str(part.cursor.file), part.cursor.offset, part.cursor.check]
        return {"text": part.text, "cursor": cursor, "is_reset": part.is_reset, "num_skipped": part.num_skipped}

    @answering
    def settings(self, ask: Mapping[str, Any]) -> Answer:
        """The settings of the runs "ids", the first of which is the shown one."""
        configs = {}
        for run_id in _texts(ask, "ids")[:MAX_RUNS]:
            try:
                configs[run_id] = flatten_values(self.desk.config(run_id))
            except MissingFileError:
                continue  # a compared run whose folder was removed
        return {"html": render_settings(configs)}


def unseen_parts(pages: Mapping[str, str], ask: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """{name: {"hash", "html"}} of a page's parts that are other than those whose hashes stand in the ask's "seen"."""
    seen = ask.get("seen") if isinstance(ask.get("seen"), Mapping) else {}
    parts = {name: {"hash": page_hash(page), "html": page} for name, page in pages.items()}
    return {name: part for name, part in parts.items() if seen.get(name) != part["hash"]}


def page_hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _text(ask: Mapping[str, Any], name: str) -> str:
    value = ask.get(name) or ""
    if not isinstance(value, str) or len(value) > 400:
        raise InputError(f"{name}: {str(value)[:60]!r} is not a text of at most 400 characters")
    return value


def _texts(ask: Mapping[str, Any], name: str) -> list[str]:
    values = ask.get(name) or []
    if not isinstance(values, list) or len(values) > 400 or not all(isinstance(v, str) for v in values):
        raise InputError(f"{name}: give a list of texts")
    return values


def _number(ask: Mapping[str, Any], name: str) -> float | None:
    value = ask.get(name)
    if value in (None, ""):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name}: {str(value)[:60]!r} is not a number") from None
    return number


def _choice(ask: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    value = ask.get(name, allowed[0])
    if value not in allowed:
        raise InputError(f"{name}: {str(value)[:60]!r} is not one of {', '.join(allowed)}")
    return value


def _range(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(v, (int, float)) for v in value)):
        raise InputError("between: give two numbers")
    return float(min(value)), float(max(value))


def _cursor(value: Any) -> Cursor | None:
    if value is None:
        return None
    try:
        file, offset, check = value
        return Cursor(int(file), int(offset), int(check))
    except (TypeError, ValueError):
        raise InputError("cursor: give back the one that came with the last answer") from None
