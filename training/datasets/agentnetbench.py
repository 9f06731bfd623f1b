"""AgentNetBench -> trajectories: desktop tasks with the boxes that count as right, one JSON file a task.

    action           `ground_truth_actions`, because they are what the benchmark scores; `action` (code) where they are
                     missing. Where the two differ, that is counted, and the ground truth is taken
    pairs            moveTo + scroll, moveTo + dragTo, write + enter are one step, as in AgentNet
    boxes            `rel_bbox` is [x, y, width, height] in 0..1; all boxes of the last call are kept in
                     `meta.target_boxes`, one list a step; the smallest that holds the point is the step's target
    step_num         the original numbering, in which steps may be missing: every step has its own screenshot
    alternatives     not kept: the benchmark's protocol reads them from the task's own file

Source: the three sample tasks of xlang-ai/OpenCUA (MIT), evaluation/agentnetbench.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from executors.actions import Action
from executors.errors import MissingFileError
from executors.geometry import BoxNorm
from executors.trajectory import Observation, Step, Trajectory, box_to_json
from training.datasets.agentnet import action_of
from training.datasets.base import Importer, ImportOptions, Notes, RawRecord, read_steps, show, text_of
from training.datasets.json_records import parse_object, read_whole
from training.datasets.normalise import clip, describe, summary_of
from training.datasets.pyautogui_code import read_calls, read_code
from training.datasets.screens import ImageFolders, ScreenStore
from training.datasets.skip import Skip


class AgentNetBench(Importer):
    """Reads AgentNetBench's folder; a record is one file, a task."""

    name = "agentnetbench"
    licence = "MIT"
    id_field = "task_id"

    def __init__(self, options: ImportOptions, screens: ScreenStore) -> None:
        super().__init__(options, screens)
        self.images = ImageFolders(self.files[0].parent, options.images, ("images", "."))

    def find_files(self, path: Path) -> list[Path]:
        """One task's file, or all of a folder."""
        files = [path] if path.is_file() else sorted(path.glob("*.json"))
        if not files:
            raise MissingFileError(f"{path} is no file and holds no .json file: give the folder of the task files")
        return files

    def read(self, file: Path) -> Iterator[RawRecord]:
        """The task's file."""
        return read_whole(file)

    def convert(self, raw: RawRecord, notes: Notes) -> Trajectory:
        """The trajectory of one task."""
        record = parse_object(raw.data)
        steps = record.get("steps")
        notes.num_source_steps = len(steps) if isinstance(steps, list) else 0
        task_id = record.get("task_id")
        if not isinstance(task_id, str) or not task_id.strip():
            raise Skip("wrong task_id", "task_id", f"{show(task_id)} is not text")
        notes.record = task_id
        goal = text_of(record.get("user_task_description")) or text_of(record.get("high_level_task_description"))
        if not goal:
            raise Skip("no goal", "user_task_description", "neither it nor high_level_task_description is text")
        if not isinstance(steps, list) or not steps:
            raise Skip("wrong steps", "steps", f"{show(steps)} is not a list of steps")
        target_boxes: list[list[list[float]] | None] = []
        kept, is_cut = read_steps(
            steps, lambda step, index: self._read_step(step, index, index == len(steps) - 1, target_boxes, notes), notes
        )
        meta: dict[str, Any] = {"target_boxes": target_boxes}
        told = record.get("meta_info")
        for name in ("system", "domain", "sub_domain"):
            if isinstance(told, dict) and text_of(told.get(name)):
                meta[name] = text_of(told[name])
        if is_cut:
            meta["num_source_steps"] = len(steps)
        return Trajectory(
            id=task_id, goal=goal, steps=tuple(kept), source=self.name, platform="desktop", split="test",
            licence=self.licence, outcome="success" if kept[-1].action.type == "finished" else "", meta=meta,
        )

    def _read_step(
        self, raw: Any, index: int, is_last: bool, target_boxes: list[list[list[float]] | None], notes: Notes
    ) -> Step | None:
        place = f"steps[{index}]"
        if not isinstance(raw, dict):
            raise Skip("wrong step", place, f"{show(raw)} is not an object")
        action = self._read_action(raw, place, notes)
        if action is None:
            return None
        if action.is_terminal and not is_last:
            notes.repair("terminate before the end", place, "steps follow it", "step left out")
            notes.skipped_steps["terminate before the end"] += 1
            return None
        path, size = self.screens.add(self.images.read(raw.get("image"), f"{place}.image"), f"{place}.image")
        told = raw.get("inner_monologue")
        told = told if isinstance(told, dict) else {}
        words = text_of(told.get("low_level_instruction"))
        notes.num_instructions_generated += not words
        boxes = _boxes(raw.get("ground_truth_actions"), place, notes)
        point = action.point or action.end_point
        around = [box for box in boxes if point is not None and box.contains(point)]
        target_boxes.append([box_to_json(box) for box in boxes] or None)
        summary = summary_of(text_of(told.get("observation")))
        return Step(
            observation=Observation(image_path=path, image_size=size, summary=summary),
            action=action, instruction=words or describe(action), thought=text_of(told.get("thought")),
            target=None if action.point is None or action.type == "scroll" else min(around, key=_area, default=None),
        )

    def _read_action(self, raw: dict[str, Any], place: str, notes: Notes) -> Action | None:
        truth, code = raw.get("ground_truth_actions"), raw.get("action")
        if not isinstance(truth, list) or not truth:
            if not isinstance(code, str):
                raise Skip("wrong action", f"{place}.action", f"{show(code)} is not text, and there is no ground truth")
            notes.repair("action from the code", f"{place}.ground_truth_actions", f"{show(truth)} is not a list",
                         "code taken")
            return action_of(lambda: read_code(code), notes, f"{place}.action", show(code))
        name = f"{place}.ground_truth_actions"
        calls = [_call(call, f"{name}[{number}]") for number, call in enumerate(truth)]
        action = action_of(lambda: read_calls(calls), notes, name, show(truth))
        try:
            coded = read_code(code).action if isinstance(code, str) else action
        except ValueError:
            coded = None
        if coded != action:
            notes.repair("code and ground truth differ", f"{place}.action", show(code), "ground truth taken")
        return action


def _call(raw: Any, name: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments of a ground-truth action as `read_calls` takes them."""
    params = raw.get("params") if isinstance(raw, dict) else None
    if not isinstance(params, dict) or not isinstance(raw.get("type"), str):
        raise Skip("wrong action", name, f"{show(raw)} has no type, or no params")
    position = params.get("position")
    arguments = {key: value for key, value in params.items() if key != "position"}
    if isinstance(position, dict):
        arguments |= {axis: position.get(axis) for axis in ("x", "y")}
    return raw["type"], arguments


def _boxes(truth: Any, place: str, notes: Notes) -> list[BoxNorm]:
    """The boxes of the step's last call, which is where the pair of calls acts."""
    last = truth[-1] if isinstance(truth, list) and truth else None
    metadata = last.get("metadata") if isinstance(last, dict) else None
    boxes = []
    told = metadata.get("bboxes") if isinstance(metadata, dict) else None
    for raw in told if isinstance(told, list) else ():
        rect = raw.get("rel_bbox") if isinstance(raw, dict) else None
        is_box = isinstance(rect, list) and len(rect) == 4 and all(
            isinstance(edge, (int, float)) and not isinstance(edge, bool) for edge in rect)
        box = clip(BoxNorm(rect[0], rect[1], rect[0] + rect[2], rect[1] + rect[3])) if is_box else None
        if box is None:
            notes.repair("target box left out", f"{place}.ground_truth_actions",
                         f"{show(rect)} is not [x, y, width, height]", "box left out")
        else:
            boxes.append(box)
    return boxes


def _area(box: BoxNorm) -> float:
    return (box.right - box.left) * (box.bottom - box.top)
