"""Where reference steps come from: trajectories, and three public sample files as they are.

Beside `Step.action` and `Step.target`, a trajectory's `meta` may hold what protocols need, as importers write it:

- "target_boxes": one list of canonical boxes per step (null without any): every box in which a point is right;
- "app", "apps", "website", "category", "domain", "difficulty", "level", "template", "subsplits": the groups that
  results are sliced by.

`read_references` also reads UI-S1's AndroidControl file, UGround's Mind2Web blocks and an AgentNetBench folder, without
an importer and without screenshots: enough to score predictions that exist already.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from executors.actions import Action
from executors.errors import WRONG_FORM, InputError, MissingFileError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import Observation, Trajectory, box_from_json, read_trajectories
from training.benchmarks.protocols.agentnetbench import raw_actions
from training.benchmarks.protocols.base import ReferenceStep

SLICES = ("app", "platform", "action_type", "length", "difficulty", "split", "category")
"""Names of the groups, in the order in which reports show them; a step may lack some."""

_DATASETS = {"ui_s1": "android_control"}
"""Releases of a data set under another name -> the data set that protocols know."""
_LENGTHS = ((5, "1-5"), (10, "6-10"), (20, "11-20"))
_PHONES = (ImageSize(1080, 2400), ImageSize(1440, 3120))
_OVERHANG_PX = 20
"""Accessibility boxes reach a few pixels over the edge of the screen."""


def length_group(num_steps: int) -> str:
    """The group of an episode by its number of steps.

    >>> length_group(5), length_group(6), length_group(60)
    ('1-5', '6-10', '21+')
    """
    return next((name for most, name in _LENGTHS if num_steps <= most), "21+")


def group_order(name: str) -> tuple[float, str]:
    """The key that sorts groups by the number they begin with, then by name.

    >>> sorted(["11-20", "6-10", "Maps", "Mail", "21+"], key=group_order)
    ['6-10', '11-20', '21+', 'Mail', 'Maps']
    """
    number = re.match(r"\d+", name)
    return (float(number[0]) if number else math.inf, name)


def trajectory_references(trajectory: Trajectory) -> list[ReferenceStep]:
    """One reference per step of a trajectory.

    Raises:
        InputError: `meta["target_boxes"]` does not fit the steps.
    """
    boxes = trajectory.meta.get("target_boxes") or [None] * len(trajectory.steps)
    if not isinstance(boxes, list) or len(boxes) != len(trajectory.steps):
        raise InputError(
            f"trajectory {trajectory.id}: meta 'target_boxes' is not a list of {len(trajectory.steps)}: import it again"
        )
    groups = _trajectory_slices(trajectory)
    return [
        ReferenceStep(
            id=f"{trajectory.id}/{number}",
            episode=trajectory.id,
            index=number,
            dataset=_DATASETS.get(trajectory.source, trajectory.source),
            action=step.action,
            target=step.target,
            boxes=None if some is None else tuple(box_from_json(box, "target_boxes") for box in some),
            elements=step.observation.elements,
            image_size=step.observation.image_size,
            slices={**groups, "action_type": step.action.type, **_screenshot_slice(step.observation)},
        )
        for number, (step, some) in enumerate(zip(trajectory.steps, boxes, strict=True))
    ]


def has_screenshot(observation: Observation) -> bool:
    """Whether the observation's pixels can be loaded."""
    return observation.image is not None or observation.image_path is not None


def is_blind(slices: Mapping[str, str]) -> bool:
    """Whether the state of these slices had no screenshot to show to a planner."""
    return slices.get("screenshot") == "none"


def _screenshot_slice(observation: Observation) -> dict[str, str]:
    return {} if has_screenshot(observation) else {"screenshot": "none"}


def with_details(references: Iterable[ReferenceStep], recorded: Mapping[str, ReferenceStep]) -> list[ReferenceStep]:
    """The references with the boxes and upstream's own values that a reference file has for them.

    Imported trajectories leave out what is no step (AgentNetBench's alternative answers); its own files have it.

    Raises:
        InputError: a step is missing in the file, or another action there.
    """
    found = []
    for reference in references:
        other = recorded.get(reference.id)
        if other is None or other.action.type != reference.action.type:
            what = "is missing" if other is None else f"is {other.action.type}, not {reference.action.type}"
            raise InputError(f"step {reference.id!r} {what} in the reference file: give the file it was imported from")
        boxes = reference.boxes if other.boxes is None else other.boxes
        found.append(replace(reference, boxes=boxes, details=other.details))
    return found


def _trajectory_slices(trajectory: Trajectory) -> dict[str, str]:
    meta = trajectory.meta
    apps, subsplits = meta.get("apps"), meta.get("subsplits")
    found = {
        "app": meta.get("app") or meta.get("website") or _joined(apps),
        "platform": trajectory.platform,
        "length": length_group(len(trajectory.steps)),
        "difficulty": meta.get("difficulty", meta.get("level")),
        "split": _joined(subsplits) or trajectory.split,
        "category": meta.get("category") or meta.get("domain") or meta.get("template"),
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def _joined(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def read_references(path: Path) -> list[ReferenceStep]:
    """The reference steps of a file or folder, whose form is told from its content.

    Takes a trajectory file, UI-S1's AndroidControl JSON Lines, UGround's Mind2Web blocks (JSON Lines), or a folder of
    AgentNetBench tasks.

    Raises:
        MissingFileError: there is nothing at the path.
        InputError: a record cannot be read; the message names file and line.
    """
    if path.is_dir():
        return _agentnetbench(path)
    first = next(_json_lines(path), (0, {}))[1]
    if "schema_version" in first:
        references = [step for trajectory in read_trajectories(path) for step in trajectory_references(trajectory)]
        _check_ids(path, references)
        return references
    if "target_blocks" in first:
        return _of_lines(path, _uground_block)
    if "episode_id" in first and "steps" in first:
        return _of_lines(path, _ui_s1_episode)
    raise InputError(
        f"{path} holds no references: give a trajectory file (`tracer1 import`), UI-S1's AndroidControl JSON Lines, "
        "UGround's Mind2Web blocks or a folder of AgentNetBench tasks"
    )


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every line that is not blank."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    raise InputError(f"{path} line {number}: not JSON: mend or remove the line") from None
                if not isinstance(record, dict):
                    raise InputError(f"{path} line {number}: not a JSON object: mend or remove the line")
                yield number, record
    except OSError as error:
        raise MissingFileError(f"cannot read {path} ({error.strerror}): check the path") from None


def _of_lines(path: Path, read: Any) -> list[ReferenceStep]:
    references: list[ReferenceStep] = []
    for number, record in _json_lines(path):
        try:
            references.extend(map(_checked, read(record)))
        except WRONG_FORM as error:
            raise InputError(f"{path} line {number}: {_problem(error)}: mend or remove the line") from None
    _check_ids(path, references)
    return references


def _problem(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"field {error.args[0]!r} is missing"
    return str(error) if isinstance(error, InputError) else f"not in the form of this data set ({error})"


def _numbers(values: Any, count: int, field: str) -> list[float]:
    """`count` finite numbers of a field.

    Raises:
        InputError: it holds anything else.
    """
    is_list = isinstance(values, list) and len(values) == count
    if not is_list or not all(isinstance(v, (int, float)) and abs(v) < _FARTHEST_PX for v in values):
        raise InputError(f"field {field!r}: {str(values)[:60]} is not a list of {count} numbers")
    return list(map(float, values))


_FARTHEST_PX = 1e9
"""No screen reaches so far; NaN and infinity do not pass this either."""


def _checked(reference: ReferenceStep) -> ReferenceStep:
    """The reference itself; raises InputError where a name is no text or the action has a wrong argument."""
    for name, value in {"episode": reference.episode, **reference.slices}.items():
        if not isinstance(value, str):
            raise InputError(f"{name} {str(value)[:40]!r} is not text")
    Action.from_json(reference.action.to_json())
    return reference


def _check_ids(path: Path, references: Sequence[ReferenceStep]) -> None:
    seen: set[str] = set()
    for reference in references:
        if reference.id in seen:
            raise InputError(f"{path}: step {reference.id!r} occurs twice: remove one of them")
        seen.add(reference.id)


def _ui_s1_episode(record: Mapping[str, Any]) -> Iterator[ReferenceStep]:
    """The steps of one UI-S1 episode; the file records no screen size, so the least usual one that holds its boxes.

    A swipe's direction is `check_options.direction`, what is revealed; its coordinates contradict it sideways.
    """
    steps = record["steps"]
    checks = [step["check_options"] for step in steps]
    boxes_px = [
        [_numbers(box, 4, "candidate_bbox") for box in check.get("candidate_bbox", ())] for check in checks
    ]
    corners = [(box[2], box[3]) for boxes in boxes_px for box in boxes] or [(0, 0)]
    fits = [
        size
        for size in _PHONES
        if all(x <= size.width_px + _OVERHANG_PX and y <= size.height_px + _OVERHANG_PX for x, y in corners)
    ]
    size = fits[0] if fits else ImageSize(int(max(x for x, _ in corners)), int(max(y for _, y in corners)))
    episode = str(record["episode_id"])
    for number, (check, boxes) in enumerate(zip(checks, boxes_px, strict=True)):
        action = _ui_s1_action(check, size)
        yield ReferenceStep(
            id=f"{episode}/{number}",
            episode=episode,
            index=number,
            dataset="android_control",
            action=action,
            boxes=tuple(BoxNorm.from_px(*box, size) for box in boxes) or None,
            image_size=size,
            slices={
                "platform": "phone",
                "split": "test",
                "length": length_group(len(steps)),
                "action_type": action.type,
            },
        )


_BUTTONS = {"back": "press_back", "home": "press_home", "menu": "press_appselect"}


def _ui_s1_action(check: Mapping[str, Any], size: ImageSize) -> Action:
    kind = check["action"]
    match kind:
        case "click" | "long_press":
            x, y = _numbers(check["coordinate"], 2, "coordinate")
            return Action(type=kind, point=PointNorm(x / size.width_px, y / size.height_px))
        case "type":
            return Action(type="type", content=check["text"])
        case "open":
            return Action(type="open_app", app_name=check["text"])
        case "swipe":
            return Action(type="scroll", direction=check["direction"])
        case "wait":
            return Action(type="wait")
        case "system_button" if check["button"].lower() == "enter":
            return Action(type="hotkey", key="enter")
        case "system_button" if check["button"].lower() in _BUTTONS:
            return Action(type=_BUTTONS[check["button"].lower()])
        case "terminate":
            return Action(type="finished" if check.get("status") == "success" else "call_user")
    raise InputError(f"field 'action': {dict(check)!r} is not an action of AndroidControl")


_BLOCK_PX = (1280, 1000)
_M2W_TYPES = {"CLICK": "click", "HOVER": "click", "ENTER": "click", "TYPE": "type", "SELECT": "select"}


def _uground_block(record: Mapping[str, Any]) -> Iterator[ReferenceStep]:
    """The step of one UGround record.

    The page's size is not recorded: the frame is 1280 pixels wide and as high as its lowest box, at least 1000.
    """
    boxes_px = [(x, y, x + w, y + h) for x, y, w, h in (_numbers(box, 4, "bbox") for box in record["bbox"])]
    bottom = max([_BLOCK_PX[1], *(int(box[3]) + 1 for box in boxes_px)])
    size = ImageSize(max([_BLOCK_PX[0], *(int(box[2]) + 1 for box in boxes_px)]), bottom)
    boxes = tuple(BoxNorm.from_px(*box, size) for box in boxes_px)
    kind = _M2W_TYPES[record["operation"]]
    value = record["value"] or None
    action = Action(
        type=kind,
        point=boxes[0].center if boxes else None,
        content=(value or "") if kind == "type" else None,
        value=value if kind == "select" else None,
    )
    total = int(record["total_steps"])
    yield ReferenceStep(
        id=f"{record['annotation_id']}/{int(record['step'])}",
        episode=record["annotation_id"],
        index=int(record["step"]),
        dataset="mind2web",
        action=action,
        boxes=boxes,
        image_size=size,
        details={"action_uid": record["action_uid"]},
        slices={
            "app": record["website"],
            "platform": "browser",
            "category": record["domain"],
            "split": record["split"],
            "length": length_group(total),
            "action_type": kind,
        },
    )


def _agentnetbench(folder: Path) -> list[ReferenceStep]:
    files = sorted(folder.glob("*.json"))
    if not files:
        raise InputError(f"{folder} holds no AgentNetBench task (*.json): give the folder of the task files")
    references: list[ReferenceStep] = []
    for path in files:
        try:
            references.extend(map(_checked, _agentnetbench_task(json.loads(path.read_bytes()))))
        except OSError as error:
            raise MissingFileError(f"cannot read {path} ({error.strerror}): check the folder") from None
        except WRONG_FORM as error:
            raise InputError(f"{path}: {_problem(error)}: mend or remove the file") from None
    _check_ids(folder, references)
    return references


_AGENTNET_TYPES = {
    "click": "click", "doubleclick": "left_double", "rightclick": "right_single", "middleclick": "middle_click",
    "tripleclick": "triple_click", "moveto": "hover", "dragto": "drag", "scroll": "scroll", "hscroll": "scroll",
    "write": "type", "press": "hotkey", "hotkey": "hotkey", "terminate": "finished", "wait": "wait",
}  # fmt: skip


def _agentnetbench_task(record: Mapping[str, Any]) -> Iterator[ReferenceStep]:
    """The steps of one task; `action` is the canonical form of the ground truth, which `details` holds as it is."""
    meta, steps = record.get("meta_info") or {}, record["steps"]
    apps = [*(meta.get("applications") or ()), *(meta.get("websites") or ())]
    complexity = (meta.get("complexity") or {}).get("complexity_score")
    for number, step in enumerate(steps):
        truth, others = step["ground_truth_actions"], step.get("alternative_options") or []
        action = agentnetbench_action(truth)
        for answer in others:
            raw_actions(answer)  # a damaged one is told now and not when it is scored
        groups = {
            "app": ", ".join(map(str, apps)),
            "platform": "desktop",
            "category": str(meta.get("domain") or ""),
            "difficulty": "" if complexity is None else str(complexity),
            "length": length_group(len(steps)),
            "action_type": action.type,
        }
        yield ReferenceStep(
            id=f"{record['task_id']}/{number}",
            episode=record["task_id"],
            index=number,
            dataset="agentnetbench",
            action=action,
            details={"ground_truth_actions": truth, "alternative_options": others},
            slices={name: value for name, value in groups.items() if value},
        )


def agentnetbench_action(actions: Sequence[Mapping[str, Any]]) -> Action:
    """The canonical action of AgentNetBench's list of raw actions.

    Raises:
        InputError: the list is empty or its last action is unknown.

    >>> agentnetbench_action([{"type": "terminate", "params": {"status": "failure"}}]).type
    'call_user'
    """
    raw = raw_actions(actions)
    if not raw or raw[-1].verb not in _AGENTNET_TYPES:
        raise InputError(f"field 'ground_truth_actions': {str(list(actions))[:80]} ends in no known action")
    first, last = raw[0], raw[-1]
    kind = _AGENTNET_TYPES[last.verb]
    match kind:
        case "drag":
            return Action(type="drag", start_point=first.point, end_point=last.point)
        case "scroll":
            ways = ("right", "left") if last.verb == "hscroll" else ("up", "down")
            point = last.point or (first.point if first.verb == "moveto" else None)
            return Action(type="scroll", point=point, direction=ways[0] if last.amount > 0 else ways[1])
        case "type":
            return Action(type="type", content=last.text)
        case "hotkey":
            return Action(type="hotkey", key=" ".join(last.keys))
        case "finished":
            return Action(type="finished" if last.status == "success" else "call_user")
        case "wait":
            return Action(type="wait")
    return Action(type=kind, point=last.point)


def by_id(references: Iterable[ReferenceStep]) -> dict[str, ReferenceStep]:
    """The references by their id, in order."""
    return {reference.id: reference for reference in references}
