"""Small sets in the published forms of GTA and GAIA, made up for tests, and planners that repeat what a test wants."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL.Image

from executors.actions import Action
from executors.trajectory import Observation, Step, Trajectory, write_trajectories


def call(name: str, **arguments: object) -> Action:
    """A tool call."""
    return Action(type="tool_call", name=name, arguments=arguments)


def say(text: str) -> Action:
    """An answer."""
    return Action(type="finished", content=text)


def dialog(query: str, *turns: tuple[str, Mapping[str, Any], Any] | str) -> list[dict[str, Any]]:
    """A dialog in GTA's form: calls as (tool, arguments, what it gave), then the answer."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": query}]
    for turn in turns:
        if isinstance(turn, str):
            messages.append({"role": "assistant", "content": turn})
            continue
        name, arguments, given = turn
        function = {"name": name, "arguments": dict(arguments)}
        messages.append({"role": "assistant", "thought": f"I call {name}.",
                         "tool_calls": [{"type": "function", "function": function}]})
        messages.append({"role": "tool", "name": name, "content": given})
    return messages


def text(content: str) -> dict[str, str]:
    """What a tool gave, in GTA's form."""
    return {"type": "text", "content": content}


def query(dialogs: list[dict[str, Any]], answer: Any, *files: str, tools: Sequence[str]) -> dict[str, Any]:
    """A query in GTA's form."""
    return {
        "tools": [{"name": name, "description": "", "inputs": [], "outputs": []} for name in tools],
        "files": [{"type": "image", "path": path, "url": None} for path in files],
        "dialogs": dialogs, "gt_answer": answer,
    }  # fmt: skip


GTA_QUERIES = {
    "0": query(
        dialog("What do 12 pens at 3 dollars cost?", ("Calculator", {"expression": "12 * 3"}, text("36")),
               "36 dollars"),
        {"whitelist": [["36"]], "blacklist": None}, "image/pens.png", tools=["Calculator", "OCR"],
    ),
    "1": query(
        dialog("How many apples are there twice?", ("Calculator", {"expression": "7 + 5"}, text("12")),
               ("Calculator", {"expression": "12 * 2"}, text("24")), "24 apples"),
        {"whitelist": [["24"]], "blacklist": [["25"]]}, "image/apples.png", tools=["Calculator"],
    ),
    "2": query(
        dialog("Draw a box.", ("DrawBox", {"image": "image/pens.png", "bbox": "(1, 1, 20, 20)"},
                               {"type": "image", "content": "image/made.png"}), "Here it is."),
        None, "image/pens.png", tools=["DrawBox"],
    ),
    "3": query(
        dialog("Which colours has the flag?", ("GoogleSearch", {"query": "flag"}, text("red, blue")), "red and blue"),
        ["red and blue"], "image/apples.png", tools=["GoogleSearch", "Teleport"],
    ),
}  # fmt: skip
"""5 recorded calls (3 logic, 2 operation), 3 queries with an answer of which 2 are objective, 9 recorded steps."""


def write_gta(folder: Path, queries: Mapping[str, Any] = GTA_QUERIES) -> Path:
    """A copy of GTA with these queries and their images; returns its folder."""
    (folder / "image").mkdir(parents=True, exist_ok=True)
    for name, color in (("pens", "white"), ("apples", "red"), ("made", "blue")):
        PIL.Image.new("RGB", (40, 30), color).save(folder / "image" / f"{name}.png")
    (folder / "dataset.json").write_text(json.dumps(queries))
    return folder


def write_replay(path: Path, plans: Mapping[str, Sequence[Action]]) -> str:
    """A planner that does these actions for these goals, as the command line names it."""
    write_trajectories(path, [
        Trajectory(id=str(n), goal=goal, source="test", platform="tools", steps=tuple(
            Step(observation=Observation(), action=action, instruction="go on") for action in actions))
        for n, (goal, actions) in enumerate(plans.items())
    ])  # fmt: skip
    return f"replay:{path}"


def gaia_row(number: int, level: int, question: str, answer: str, file: str = "") -> dict[str, Any]:
    """A row in GAIA's form."""
    return {"task_id": f"task-{number}", "Question": question, "Level": str(level), "Final answer": answer,
            "file_name": file, "file_path": f"2023/validation/{file}" if file else "",
            "Annotator Metadata": {"Steps": "SECRETSTEPS", "Tools": "None", "Number of tools": "0"}}  # fmt: skip


GAIA_ROWS = [
    gaia_row(1, 1, "What is the SECRETQUESTION of one?", "1717171"),
    gaia_row(2, 2, "Which SECRETQUESTION letters are in the file?", "zq, xw", "table.csv"),
    gaia_row(3, 3, "Who wrote the SECRETQUESTION?", "Zoltan Quux"),
]


def write_gaia(folder: Path, rows: Sequence[Mapping[str, Any]] = GAIA_ROWS, split: str = "validation") -> Path:
    """A copy of GAIA with these rows; returns its folder."""
    import pyarrow
    import pyarrow.parquet

    target = folder / "2023" / split
    target.mkdir(parents=True, exist_ok=True)
    (target / "table.csv").write_text("SECRETFILE\nzq\nxw\n")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), target / "metadata.parquet")
    return folder
