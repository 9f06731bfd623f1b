"""MM-Traj (T3-Agent) -> trajectories of tool use: Thought and Code turns, answered by Observation turns.

    step            one assistant turn with code. Its observation is the text that the turn answers: nothing for the
                    first, then the output of the code before. Images of the task are on the first step
    tool call       code that only calls one tool with literal arguments (which may be stored before, as what it returns
                    may be stored and printed after) is `tool_call` with the tool's name; any other code is a call of
                    "python" with the code. The code of every step is kept as it is in `meta.codes`
    final_answer    `finished` with the record's `answer`; code before it in the same turn is in `meta.codes`
    no code         a turn without code did nothing but get an error for an answer: both are left out
    image           {}, a path, or {"<image_00>": path, ...}; read from `--images`. Without that folder, or where the
                    file is missing, the step has none, and that is counted
    roles           from/value or role/content

Code in the data is parsed, never run.

Source: 47 trajectories in the repository of mat-agent/MAT-Agent (MIT).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from executors.actions import Action
from executors.errors import MissingFileError
from executors.geometry import ImageSize
from executors.parsing.code_form import action_of_body, final_answers, literal_answer, read_body, split_reply
from executors.trajectory import Observation, Step, Trajectory
from training.datasets.base import Importer, ImportOptions, Notes, RawRecord, show, text_of
from training.datasets.json_records import parse_object, read_array_or_lines
from training.datasets.normalise import summary_of
from training.datasets.screens import ImageFolders, ScreenStore
from training.datasets.skip import Skip

_OUTPUT = re.compile(r"\A\s*(?:\[OUTPUT OF STEP \d+\]\s*)?(?:Observation:\s*)?")
_PICTURE = re.compile(r"^Picture \d+: <img>.*</img>\s*$", re.MULTILINE)


class MmTraj(Importer):
    """Reads an MM-Traj file; a record is one trajectory."""

    name = "mm_traj"
    licence = "MIT"

    def __init__(self, options: ImportOptions, screens: ScreenStore) -> None:
        super().__init__(options, screens)
        self.images = ImageFolders(self.files[0].parent, options.images, ())

    def find_files(self, path: Path) -> list[Path]:
        """The file, or all .json and .jsonl files of a folder."""
        files = [path] if path.is_file() else sorted(p for p in path.glob("*") if p.suffix in (".json", ".jsonl"))
        if not files:
            raise MissingFileError(f"{path} is no file and holds no .json file: give MM-Traj's .json file")
        return files

    def read(self, file: Path) -> Iterator[RawRecord]:
        """The file's trajectories."""
        return read_array_or_lines(file)

    def convert(self, raw: RawRecord, notes: Notes) -> Trajectory:
        """The trajectory of one record."""
        record = parse_object(raw.data)
        turns = _read_turns(record.get("conversations"))
        notes.num_source_steps = sum(role == "assistant" for role, _ in turns)
        number = record.get("id")
        if not isinstance(number, (str, int)) or isinstance(number, bool) or not str(number).strip():
            raise Skip("wrong id", "id", f"{show(number)} is not an id")
        notes.record = str(number)
        if not turns or turns[0][0] != "user" or turns[-1][0] != "assistant":
            raise Skip("wrong conversations", "conversations", "they do not begin with a task and end with a reply")
        goal = text_of(_PICTURE.sub("", turns[0][1])).removeprefix("Task:").strip()
        if not goal:
            raise Skip("no goal", "conversations", "the task is empty")
        answer = text_of(record.get("answer"))
        steps, codes = self._read_steps(turns, answer, record.get("image"), notes)
        correct = record.get("correct")
        return Trajectory(
            id=notes.record, goal=goal, steps=tuple(steps), source=self.name, platform="tools", licence=self.licence,
            outcome={"yes": "success", "no": "failure"}.get(correct, "") if isinstance(correct, str) else "",
            meta={"codes": codes},
        )

    def _read_steps(
        self, turns: list[tuple[str, str]], answer: str, image: Any, notes: Notes
    ) -> tuple[list[Step], list[str]]:
        steps: list[Step] = []
        codes: list[str] = []
        seen: str | None = None
        last = len(turns) - 1
        for index, (role, text) in enumerate(turns):
            if role == "user":
                if index and turns[index - 1][0] == "assistant" and split_reply(turns[index - 1][1])[1]:
                    seen = _OUTPUT.sub("", text).strip()
                continue
            thought, code = split_reply(text)
            if not code:
                notes.skipped_steps["turn without code"] += 1
                notes.repair("turn without code left out", f"conversations (turn {index})", show(text), "turn left out")
                continue
            action = action_of(code, answer, notes, f"conversations (turn {index})")
            if action.is_terminal and index != last:
                notes.skipped_steps["terminate before the end"] += 1
                notes.repair("terminate before the end", f"conversations (turn {index})", "turns follow it",
                             "turn left out")
                continue
            thought = text_of(thought)
            path, size = self._read_image(image, notes) if not steps else (None, None)
            notes.num_instructions_generated += not thought
            steps.append(Step(
                observation=Observation(text=seen, summary=summary_of(seen), image_path=path, image_size=size),
                action=action, instruction=summary_of(thought) or describe_code(action), thought=thought,
            ))
            codes.append(code)
        if not steps:
            raise Skip("no step does anything", "conversations", "no turn has code")
        return steps, codes

    def _read_image(self, image: Any, notes: Notes) -> tuple[Path | None, ImageSize | None]:
        """The task's first image; several are counted, because a step has one."""
        named = image if isinstance(image, dict) else {} if image is None else {"": image}
        names = [named[key] for key in sorted(named)]
        if not names:
            return None, None
        if len(names) > 1:
            notes.repair("more than one image", "image", f"{len(names)} images", "the first is taken")
        try:
            return self.screens.add(self.images.read(names[0], "image"), "image")
        except Skip as skip:
            notes.repair("image left out", skip.field, skip.message, "the step has no image")
            return None, None


def _read_turns(raw: Any) -> list[tuple[str, str]]:
    """(role, text) of the turns behind the system's; empty when there are none.

    Raises:
        Skip: a turn has no role or no text.
    """
    if not isinstance(raw, list):
        raise Skip("wrong conversations", "conversations", f"{show(raw)} is not a list")
    turns = []
    for index, turn in enumerate(raw):
        role = turn.get("from", turn.get("role")) if isinstance(turn, dict) else None
        text = turn.get("value", turn.get("content")) if isinstance(turn, dict) else None
        role = {"human": "user", "gpt": "assistant"}.get(role, role) if isinstance(role, str) else role
        if role not in ("system", "user", "assistant") or not isinstance(text, str):
            raise Skip("wrong conversations", f"conversations[{index}]", f"{show(turn)} has no role, or no text")
        if role != "system":
            turns.append((role, text))
    return turns


def action_of(code: str, answer: str, notes: Notes, name: str) -> Action:
    r"""The action of one turn's code, by the rules at the top of this module.

    >>> code = 'a = visualizer(question="What is it?", image_path="a.jpg")\nprint(a)'
    >>> action_of(code, "", Notes(), "").to_json()
    {'type': 'tool_call', 'name': 'visualizer', 'arguments': {'question': 'What is it?', 'image_path': 'a.jpg'}}
    """
    body = read_body(code)
    if body is None:
        notes.repair("code is not Python", name, show(code), "kept as text")
        body = []
    given = final_answers(body) if "final_answer" in code else []
    if given:
        if not answer:
            answer = literal_answer(given[-1]) or ""
            notes.repair("answer from the code", "answer", "empty or missing", f"{show(answer)} taken")
        return Action(type="finished", content=answer or None)
    return action_of_body(code, body)


def describe_code(action: Action) -> str:
    """A tool step in words, for a turn without a thought.

    >>> describe_code(Action(type="tool_call", name="python", arguments={"code": "print(1)"}))
    'run python code'
    """
    if action.type == "finished":
        return "give the answer"
    return "run python code" if action.name == "python" else f"call {action.name}"
