"""SFT, Stage 1 and Stage 2 on tool tasks: rewards by hand, and a few steps of the real tiny trainer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from executors.actions import Action
from executors.errors import ExecutorError, InputError
from executors.tool_agents import ElementTreeAgent, Grounding
from executors.tool_tasks import make_task
from executors.toolbox.box import Toolbox, ToolResult
from executors.trajectory import Observation, Step, Trajectory, write_trajectories
from tests.training.grpo_helpers import TINY
from tests.training.test_stages import call
from training import tool_steps
from training.benchmarks.tools import run_oracle, to_trajectory
from training.config import (
    DataConfig,
    ForecastConfig,
    GrpoConfig,
    OptimConfig,
    RewardConfig,
    SftConfig,
    Stage1Config,
    Stage2Config,
)
from training.forecast import ForecastStep, format_reply
from training.rewards import ANSWER_MATCHES, ToolOutcome, grounded_reward, similarity, tool_reward
from training.run_folder import RunFolder
from training.samples import build_samples
from training.sft import run_sft
from training.stages import GroundedRewardFunction, TrajectoryRewardFunction, run_stage1, run_stage2

FORECAST = ForecastConfig(prompt_style="compact", horizon=3)
NAMES = ("basket", "crop_and_count")  # with and without an image


@pytest.fixture(scope="module")
def trajectories() -> list[Trajectory]:
    """An episode of each, by the oracle."""
    tasks = [make_task("basket", "train", 1), make_task("crop_and_count", "task_unseen", 1)]
    return [replace(to_trajectory(task, run_oracle(task)), split="train") for task in tasks]


@pytest.fixture(scope="module")
def samples(trajectories: list[Trajectory]):
    return list(build_samples(trajectories, FORECAST))


def of(samples, task: str, number: int) -> int:
    return next(i for i, s in enumerate(samples) if f"-{task}-" in s.id and s.id.endswith(f"/{number}"))


def tool(name: str, **arguments: object) -> Action:
    return Action(type="tool_call", name=name, arguments=arguments)


def reply(action: Action) -> str:
    return format_reply("", [ForecastStep(action=action, instruction="try it")])


def test_similarity_of_tool_calls_counts_the_name_and_by_choice_the_arguments():
    reference = ForecastStep(action=tool("DrawBox", image="a.png", bbox="(1, 2, 3, 4)"), instruction="draw")
    half = replace(reference, action=tool("DrawBox", image="a.png", bbox="(9, 9, 9, 9)"))
    other = replace(reference, action=tool("ImageCrop", image="a.png", bbox="(1, 2, 3, 4)"))
    assert [similarity(step, reference, "operation") for step in (reference, half, other)] == [1.0, 1.0, 0.0]
    assert [similarity(s, reference, "operation_arguments") for s in (reference, half, other)] == [1.0, 0.75, 0.0]


def test_stage1_rewards_the_recorded_calls(samples):
    reward = TrajectoryRewardFunction(samples, FORECAST, RewardConfig(sim="operation"))
    first = of(samples, "basket", 0)
    right = format_reply("", samples[first].steps)
    renamed = right.replace("Calculator", "Solver")
    (full, less), metrics = call(reward, [right, renamed], [first, first])
    assert full == pytest.approx(1 + 0.8 + 0.64) and less == pytest.approx(1 + 0.64)
    assert metrics["sim_1"] == 1.0 and metrics["sim_2"] == 0.5


def test_stage2_carries_the_first_call_out_and_compares_what_it_gives(samples):
    reward = GroundedRewardFunction(samples, FORECAST, ElementTreeAgent(), 0.14)
    index = of(samples, "basket", 1)
    expression = samples[index].first_step.action.arguments["expression"]
    tries = {
        reply(samples[index].first_step.action): 1.0,
        reply(tool("Calculator", expression=f"({expression})")): 1.0,  # other arguments, the same answer
        reply(tool("Calculator", expression=f"{expression} + 1")): 0.0,
        reply(tool("Calculator", expression="1 / 0")): 0.0,
        reply(tool("Fly")): 0.0,
        reply(Action(type="finished", content="1")): 0.0,
        "nonsense": 0.0,
    }
    rewards, metrics = call(reward, list(tries), [index] * len(tries))
    assert rewards == list(tries.values())
    assert metrics["num_errors"] == 0.0
    assert reward.scores[2]["tool"]["ok"] and "ZeroDivisionError" in reward.scores[3]["tool"]["text"]
    assert "tool" not in reward.scores[5]


def test_stage2_compares_images_by_their_pixels_in_the_recorded_state(samples):
    reward = GroundedRewardFunction(samples, FORECAST, ElementTreeAgent(), 0.14)
    crop, measure = of(samples, "crop_and_count", 0), of(samples, "crop_and_count", 1)
    action = samples[crop].first_step.action
    numbers = action.arguments["bbox"].strip("()").split(", ")
    same = tool("ImageCrop", image="plan.png", bbox=[int(n) for n in numbers])
    less = tool("ImageCrop", image="plan.png", bbox=[*map(int, numbers[:3]), int(numbers[3]) - 1])
    assert call(reward, [reply(same), reply(less)], [crop, crop])[0] == [1.0, 0.0]
    made = samples[measure].first_step.action
    assert made.arguments["image"] == "image-1.png"
    assert call(reward, [reply(made), reply(tool("ImageMeasure", image="plan.png"))], [measure] * 2)[0] == [1.0, 0.0]


def test_a_state_that_cannot_be_reached_gives_no_reward_and_is_counted(samples):
    index = of(samples, "basket", 1)
    changed = replace(samples[index], observation=replace(samples[index].observation, text="something else"))
    reward = GroundedRewardFunction([changed], FORECAST, ElementTreeAgent(), 0.14)
    rewards, metrics = call(reward, [reply(changed.first_step.action)], [0])
    assert rewards == [None] and metrics["num_errors"] == 1.0
    assert "another state than was recorded" in reward.scores[0]["tool"]["error"]


def test_a_tool_that_is_not_here_gives_no_reward_but_code_that_imports_too_much_gives_0(samples, monkeypatch):
    original = Toolbox._checked_call

    def without_ocr(self, name, arguments):
        if name in ("OCR", "Solver"):
            return ToolResult(kind="unavailable", text="unavailable: a program or a library is missing")
        return original(self, name, arguments)

    monkeypatch.setattr(Toolbox, "_checked_call", without_ocr)
    monkeypatch.setattr(tool_steps, "bubblewrap_problem", lambda: None)
    index = of(samples, "basket", 1)
    reward = GroundedRewardFunction(samples, FORECAST, ElementTreeAgent(), 0.14)
    tries = [tool("OCR", image="a.png"), tool("Solver", command="import nothing_of_this_name")]
    rewards, metrics = call(reward, list(map(reply, tries)), [index, index])
    assert rewards == [None, 0.0] and metrics["num_errors"] == 1.0
    assert "is missing" in reward.scores[0]["tool"]["error"]


def test_a_recorded_call_that_fails_here_gives_no_reward_and_is_counted(samples):
    index = of(samples, "basket", 1)
    broken = replace(samples[index].first_step, action=tool("Calculator", expression="1 / 0"))
    reward = GroundedRewardFunction(
        [replace(samples[index], first_step=broken)], FORECAST, ElementTreeAgent(), 0.14
    )
    rewards, metrics = call(reward, [reply(tool("Calculator", expression="1 + 1")), "nonsense"], [0, 0])
    assert rewards == [None, 0.0] and metrics["num_errors"] == 1.0


def test_tools_that_a_file_names_wrongly_are_left_out(samples):
    for names in (None, "OCR", 3, [["OCR"], None, "Fly", 5]):
        assert replace(samples[0], meta={"tools": names}).tools == ()
    assert replace(samples[0], meta={"tools": ["Fly", "OCR"]}).tools == ("OCR",)


def test_tools_of_other_data_are_compared_by_their_arguments(samples):
    index = of(samples, "basket", 1)
    for meta in ({}, {"env": "tools", "task": "gone", "split": "train", "seed": 0}):
        imported = replace(samples[index], meta=meta)
        reward = GroundedRewardFunction([imported], FORECAST, ElementTreeAgent(), 0.14)
        action = imported.first_step.action
        other = tool("Calculator", expression=f"({action.arguments['expression']})")
        assert call(reward, [reply(action), reply(other)], [0, 0])[0] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("answer", "truth", "verdicts"),  # by the rules of `_equal_argument`, GAIA's scorer and GTA's regular expression
    [
        ("48", "48", (1, 1, 1)), ("48.0", "48", (0, 1, 1)), ("$48", "48", (0, 1, 1)),
        ("the sum is 48", "48", (0, 0, 1)),
        ("Anna", "anna", (1, 1, 1)), ("An na.", "Anna", (0, 1, 0)), ("a, b", "a,b", (0, 1, 0)), ("", "48", (0, 0, 0)),
        ("Annabel", "Anna", (0, 0, 0)),
    ],
)  # fmt: skip
def test_answers_match_by_the_chosen_rule(answer, truth, verdicts):
    step = Step(observation=Observation(), action=Action(type="finished", content=truth), instruction="answer")
    given = Grounding(action=Action(type="finished", content=answer or None))
    for rule, verdict in zip(("exact", "gaia", "gta"), verdicts, strict=True):
        assert grounded_reward(given, step, 0.14, rule) == verdict
        assert tool_reward(ToolOutcome(answer, True), ToolOutcome(truth, True), rule) == verdict


def test_tool_reward_of_failures():
    right, broken, error = ToolOutcome("1", True), ToolOutcome("Error", False), ExecutorError("restore", "gone")
    assert tool_reward(broken, right, "exact") == 0.0
    assert tool_reward(right, broken, "exact") is None and tool_reward(broken, broken, "exact") is None
    assert tool_reward(error, right, "exact") is None and tool_reward(right, error, "exact") is None


def test_rules_of_the_config_are_those_that_exist():
    for rule in ANSWER_MATCHES:
        assert Stage2Config(model="x", answer_match=rule).answer_match == rule
    with pytest.raises(InputError, match="answer_match"):
        Stage2Config(model="x", answer_match="kind of")


@pytest.mark.slow
def test_three_stages_train_on_tool_tasks(trajectories, tmp_path: Path):
    path = tmp_path / "tools.jsonl"
    write_trajectories(path, [*trajectories, *(replace(t, split="val") for t in trajectories)])
    data = DataConfig(path=str(path))
    optim = OptimConfig(num_steps=2, batch_size=4, num_threads=1)
    sft = SftConfig(tiny=TINY, data=data, forecast=FORECAST, optim=optim, text_warmup_steps=1,
                    text_warmup_batch_size=4, eval_samples=2, eval_every=2)  # fmt: skip
    run = RunFolder.create(tmp_path / "sft", stage="sft", config=sft, command=[], seed=0)
    with run.session():
        model = str(run_sft(sft, run))
    grpo = GrpoConfig(group_size=2, max_completion_tokens=8)
    stages = {
        "stage1": (run_stage1, Stage1Config(model=model, data=data, grpo=grpo, optim=optim, eval_samples=2)),
        "stage2": (run_stage2, Stage2Config(model=model, data=data, grpo=grpo, optim=optim, eval_samples=2)),
    }
    for name, (train, config) in stages.items():
        run = RunFolder.create(tmp_path / name, stage=name, config=config, command=[], seed=0)
        with run.session():
            assert train(config, run) == run.final_path
        assert [row["step"] for row in run.metrics()] == [1, 2]
