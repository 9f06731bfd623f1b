"""The reward functions of Stage 1 and 2 as the trainer calls them, and a Stage 2 run."""

from dataclasses import replace

import pytest

from executors.errors import CheckpointError, ExecutorError, InputError, MissingFileError
from executors.simulator import record_episode, sample_tasks
from executors.tool_agents import ElementTreeAgent, Grounding
from executors.trajectory import write_trajectories
from tests.training.grpo_helpers import DATA, FORECAST, stage1_config, tiny_checkpoint, tiny_samples
from training.config import DataConfig, GrpoConfig, OptimConfig, RewardConfig, Stage2Config
from training.forecast import ForecastStep, format_reply
from training.run_folder import RunFolder
from training.stages import GroundedRewardFunction, TrajectoryRewardFunction, run_stage1, run_stage2


class Metrics(dict):
    """Collects what a reward function logs."""

    def __call__(self, name, value):
        self[name] = value


def call(reward, texts, indices):
    metrics = Metrics()
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    return reward(completions=completions, sample=indices, log_metric=metrics, prompts=None), metrics


def reference_reply(index):
    return format_reply("I see it", tiny_samples()[index].steps)


def test_reference_as_reply_gets_the_greatest_trajectory_reward():
    config = RewardConfig()
    reward = TrajectoryRewardFunction(tiny_samples(), FORECAST, config)
    rewards, metrics = call(reward, [reference_reply(0), "nonsense"], [0, 0])
    num = len(tiny_samples()[0].steps)
    assert rewards == [pytest.approx(sum(config.gamma**t for t in range(num))), config.parse_failure]
    assert metrics["sim_1"] == 0.5 and metrics["parse_failures"] == 0.5 and metrics["parse_structural"] == 0.5
    assert reward.scores[0]["parts"][0]["sim"] == 1.0 and reward.scores[1]["parts"] == []
    assert reward.scores[1]["reason"].startswith("no step line")
    assert set(metrics) <= reward.metric_names


def test_lookahead_beyond_every_reference_is_not_measured():
    last = len(tiny_samples()) - 1
    reward = TrajectoryRewardFunction(tiny_samples(), FORECAST, RewardConfig())
    assert len(tiny_samples()[last].steps) == 1
    _, metrics = call(reward, [reference_reply(last)], [last])
    assert metrics["sim_1"] == 1.0 and "sim_2" not in metrics


def test_reference_as_reply_is_grounded_in_every_sample():
    reward = GroundedRewardFunction(tiny_samples(), FORECAST, ElementTreeAgent(), 0.14)
    indices = list(range(len(tiny_samples())))
    rewards, metrics = call(reward, [reference_reply(i) for i in indices], indices)
    assert rewards == [1.0] * len(indices)
    assert metrics["num_errors"] == 0.0 and metrics["type_match"] == 1.0 and metrics["parse_failures"] == 0.0


def test_unreadable_and_ungroundable_replies_are_wrong():
    index = next(i for i, s in enumerate(tiny_samples()) if s.first_step.action.type == "click")
    wrong = ForecastStep(action=tiny_samples()[index].steps[0].action, instruction='tap the "Nowhere at all" button')
    reward = GroundedRewardFunction(tiny_samples(), FORECAST, ElementTreeAgent(), 0.14)
    rewards, metrics = call(reward, ["nonsense", format_reply("", [wrong])], [index, index])
    assert rewards == [0.0, 0.0]
    assert reward.scores[0]["grounding"] is None and reward.scores[1]["grounding"]["action"] is None
    assert metrics["parse_failures"] == 0.5


class FailingAgent:
    """Fails when asked, and counts."""

    name = "failing"

    def __init__(self):
        self.num_calls = 0

    def ground(self, observation, action, instruction):
        assert observation.load_image().size == (256, 448)
        self.num_calls += 1
        raise ExecutorError("ground", "server gone")


def test_failed_agent_gives_no_reward_is_counted_and_asked_once_per_distinct_step():
    agent = FailingAgent()
    reward = GroundedRewardFunction(tiny_samples(), FORECAST, agent, 0.14)
    rewards, metrics = call(reward, [reference_reply(0), reference_reply(0), "nonsense"], [0, 0, 0])
    assert rewards == [None, None, 0.0]
    assert metrics["num_errors"] == 2.0 and agent.num_calls == 1
    assert reward.scores[0]["grounding"] == {"error": "ground: server gone"}


class ConcurrentAgent:
    """An agent that takes all questions of a batch at once."""

    def __init__(self):
        self.batches = []

    def ground_each(self, requests):
        self.batches.append([(action.type, instruction) for _, action, instruction in requests])
        return [ExecutorError("ground", "server gone") if action.type == "wait" else Grounding(action=action)
                for _, action, _ in requests]  # fmt: skip


def test_the_agent_gets_the_distinct_first_steps_of_a_batch_at_once():
    index = next(i for i, s in enumerate(tiny_samples()) if s.first_step.action.type == "click")
    agent = ConcurrentAgent()
    reward = GroundedRewardFunction(tiny_samples(), FORECAST, agent, 0.14)
    replies = ["1. wait() | wait", "no plan", "1. press_back() | go back", "1. wait() | wait"]
    rewards, metrics = call(reward, replies, [index] * 4)
    assert agent.batches == [[("wait", "wait"), ("press_back", "go back")]]
    assert rewards == [None, 0.0, 0.0, None] and metrics["num_errors"] == 2.0


def test_stage2_runs_and_saves_its_result(tmp_path):
    config = Stage2Config(
        model=str(tiny_checkpoint()),
        data=DATA,
        grpo=GrpoConfig(group_size=2, max_completion_tokens=8),
        optim=OptimConfig(num_steps=1, batch_size=2, num_threads=1),
    )
    run = RunFolder.create(tmp_path / "run", stage="stage2", config=config, command=[], seed=0)
    with run.session():
        assert run_stage2(config, run) == run.final_path
    (row,) = run.metrics()
    wanted = {"reward", "reward_std", "kl", "entropy", "completion_tokens", "truncated_share", "grad_norm",
              "step_seconds", "num_errors", "zero_variance_share", "parse_failures", "parse_structural",
              "parse_content", "type_match", "grounded_share", "loss", "learning_rate"}  # fmt: skip
    assert wanted <= set(row)
    (rollout,) = run.rollouts()
    assert rollout["step"] == 1 and len(rollout["completions"]) == 2
    assert {"text", "reward", "advantage", "grounding"} <= set(rollout["completions"][0])


def test_missing_model_and_empty_data_are_bad_input(tmp_path):
    config = stage1_config(tmp_path / "nowhere")
    run = RunFolder.create(tmp_path / "run", stage="stage1", config=config, command=[], seed=0)
    with pytest.raises((MissingFileError, CheckpointError), match="nowhere"):
        run_stage1(config, run)
    (tmp_path / "empty.jsonl").write_text("")
    empty = Stage2Config(model=str(tiny_checkpoint()), data=DataConfig(path=str(tmp_path / "empty.jsonl")))
    with pytest.raises(InputError, match="no samples"):
        run_stage2(empty, run)


def test_stage2_leaves_out_steps_without_a_recorded_point_and_counts_them(tmp_path, capsys):
    trajectories = [record_episode(task) for task in sample_tasks("train", 2, 0)]
    is_click = [s.action.type == "click" for t in trajectories for s in t.steps]
    bare = [
        replace(t, steps=tuple(
            replace(s, action=replace(s.action, point=None), target=None) if s.action.type == "click" else s
            for s in t.steps
        ))
        for t in trajectories
    ]  # fmt: skip
    write_trajectories(tmp_path / "bare.jsonl", bare)
    config = Stage2Config(
        model=str(tiny_checkpoint()),
        data=DataConfig(path=str(tmp_path / "bare.jsonl")),
        grpo=GrpoConfig(group_size=2, max_completion_tokens=8),
        optim=OptimConfig(num_steps=1, batch_size=2, num_threads=1),
    )
    run = RunFolder.create(tmp_path / "run", stage="stage2", config=config, command=[], seed=0)
    with run.session():
        run_stage2(config, run)
    assert f"{sum(is_click)} of {len(is_click)} samples are left out" in capsys.readouterr().out
    only = [replace(t, steps=tuple(s for s in t.steps if s.action.type == "click")) for t in bare]
    write_trajectories(tmp_path / "bare.jsonl", [t for t in only if t.steps])
    again = RunFolder.create(tmp_path / "again", stage="stage2", config=config, command=[], seed=0)
    with pytest.raises(InputError, match="recorded point"), again.session():
        run_stage2(config, again)
