"""MM-Traj's real trajectories as T3-Agent's replies: read, written back, and their code run again in the sandbox."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from executors.parsing.code_form import code_of_action, parse_code_reply, split_reply
from executors.sandbox import Sandbox
from executors.toolbox.box import Toolbox
from tests.support import require_sandbox

# Tools that need what is not here: a model server, the network, weights.
MISSING = ("visualizer(", "ask_search_agent(", "objectlocation(", "facedetection(", "image_generator(", "image_edit(",
           "segmentation(")


def conversations(samples: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    """(recorded answer, (role, text) of the turns behind the task) of every trajectory."""
    records = json.loads((samples / "mm_traj" / "mm_traj_sample.json").read_text(encoding="utf-8"))
    read = [(r["answer"], [(turn["from"], turn["value"]) for turn in r["conversations"] if turn["from"] != "system"])
            for r in records]
    return [(answer, turns[1:]) for answer, turns in read]


def test_every_real_reply_with_code_is_read_and_written_back(samples: Path) -> None:
    replies = [text for _, turns in conversations(samples) for role, text in turns if role == "assistant"]
    results = [parse_code_reply(text) for text in replies]
    assert (len(results), sum(r.ok for r in results)) == (125, 116)  # nine turns have no code
    actions = [r.actions[0] for r in results if r.ok]
    assert all(r.thought for r in results if r.ok)
    for action in actions:
        assert parse_code_reply(f"```py\n{code_of_action(action)}\n```").actions == (action,)
    assert {action.name or action.type for action in actions} == {
        "finished", "python", "visualizer", "ask_search_agent", "image_generator", "facedetection", "objectlocation"}


@pytest.mark.slow
def test_code_that_needs_no_missing_tool_prints_what_was_recorded(samples: Path) -> None:
    pytest.importorskip("matplotlib")
    require_sandbox()
    num_same = num_unavailable = 0
    for answer, turns in conversations(samples):
        with Sandbox() as sandbox:
            box = Toolbox(sandbox)
            box.call("python", {"code": "import os; os.mkdir('.cache')"})  # T3-Agent's own folder for what it makes
            is_known = True
            for (_, text), (_, recorded) in zip(turns[::2], [*turns[1::2], ("", "")]):
                code = split_reply(text)[1]
                if not code:
                    continue
                result = box.call("python", {"code": code})
                is_known = is_known and not any(name in code for name in MISSING)
                num_unavailable += "unavailable: " in result.text
                if is_known:
                    assert result.ok, (code, result.text)
                    if result.answer is None:
                        assert result.value.strip() == recorded.partition("Observation:")[2].strip()
                    else:
                        assert (recorded, result.answer) == ("", answer)
                    num_same += 1
    assert num_same == 21 and num_unavailable > 0

