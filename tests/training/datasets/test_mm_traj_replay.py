"""MM-Traj's real trajectories as T3-Agent's replies: read, written back, and their code run again in the sandbox."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from executors.actions import Action
from executors.parsing.code_form import code_of_action, parse_code_reply, split_reply
from executors.sandbox import Sandbox
from executors.tool_world import ToolExecutor
from executors.toolbox.box import Toolbox
from tests.support import require_sandbox
from tests.training.datasets.importing import import_all

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



@pytest.mark.slow
def test_imported_steps_are_carried_out_as_far_as_their_tools_are_here(samples: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    require_sandbox()
    data = (samples / "mm_traj" / "mm_traj_sample.json").read_text(encoding="utf-8")
    (tmp_path / "mm_traj.json").write_text(data, encoding="utf-8")
    trajectories, _ = import_all("mm_traj", tmp_path / "mm_traj.json")
    came: Counter[str] = Counter()
    for trajectory in trajectories:
        world = ToolExecutor(trajectory.goal)
        world.reset()
        world.execute(Action(type="tool_call", name="python", arguments={"code": "import os; os.mkdir('.cache')"}))
        after = [step.observation.text for step in trajectory.steps[1:]]
        for step, recorded in zip(trajectory.steps, [*after, None]):
            result = world.execute(step.action)
            if step.action.is_terminal:
                assert world.answer == step.action.content
                came["answered"] += 1
            elif "unavailable: " in result.message:
                came["unavailable"] += 1
            elif result.had_effect:
                assert result.observation.text.strip() == recorded
                came["as recorded"] += 1
            else:
                came["needs what an unavailable tool gives"] += 1
        world.close()
    # of 69 calls; the last ones name variables that the code of a failed step would have set
    assert came == {"answered": 47, "unavailable": 44, "as recorded": 21, "needs what an unavailable tool gives": 4}
