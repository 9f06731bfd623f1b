"""Stage 1 and Stage 2 on top of training.grpo.

How Stage 1 (anticipatory trajectory optimisation) differs from the paper:

1. TRL's GRPOTrainer in place of EasyR1; the additions of training.grpo, of which the first changes the loss.
2. sim, rep, gamma and the lambdas are not published; ours are in `RewardConfig`, see training.rewards.
3. Token-level loss (dapo), clip 0.2 / 0.3 and a KL distance to the start checkpoint (0.01) by default: EasyR1's
   defaults but for its dual clip, as the paper names none.
4. The group's deviation is that of a sample (n - 1) plus 1e-4, as in TRL; a completion without a reward counts neither
   in it nor in the mean.
5. Adam has one learning rate for all weights; the vision tower is trained unless `GrpoConfig.freeze_vision`.
6. The paper makes a sample of every recorded step. Here windows with a flagged mistake make none, later interruptions
   are skipped (training.samples), and prompts above `GrpoConfig.max_prompt_tokens` are left out and counted.

How Stage 2 (grounded reinforcement fine-tuning) differs from the paper:

1. All of the above but 2.
2. The default tool agent matches the instruction against the recorded element tree; the paper's are UI-TARS and
   Qwen3-VL-32B. Both are frozen and see the recorded observation only.
3. A match asks for the action's type and its other arguments besides the coordinates: `rewards.grounded_reward`.
4. An agent that fails takes its completion out of the group; one that finds no target or several gives 0. Samples
   whose recorded action lacks the point it needs are left out and counted: no reply could match them.
5. The agent is asked once for completions with equal first steps.
6. Calls are really carried out only in samples of this project's tool tasks, in a sandbox brought to the recorded
   state; what one gives is compared with what the recorded call gives there (training.tool_steps,
   training.rewards.tool_reward). In other data, such as MM-Traj, name and arguments are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.errors import ExecutorError, InputError
from executors.tool_agents import Grounding, GroundRequest, ToolAgent, get_tool_agent, ground_each
from executors.trajectory import Observation
from training.checkpoint import load_model_and_processor, read_planner_settings, save_planner_settings
from training.config import ForecastConfig, LoraConfig, RewardConfig, Stage1Config, Stage2Config
from training.datasets.simulator import load_trajectories
from training.forecast import Forecast, ForecastStep, parse_forecast
from training.rewards import (
    ToolOutcome,
    TrajectoryReward,
    grounded_reward,
    has_target,
    tool_reward,
    trajectory_reward,
)
from training.samples import Sample, build_samples
from training.tool_steps import ToolStepRunner

if TYPE_CHECKING:
    from training.run_folder import RunFolder

_PARSE_METRICS = frozenset({"parse_failures", "parse_structural", "parse_content"})


class _StageReward:
    """What both rewards share: the samples, parsing, and the records of the last call."""

    metric_names: frozenset[str] = _PARSE_METRICS

    def __init__(self, samples: Sequence[Sample], forecast: ForecastConfig) -> None:
        self.samples = samples
        self.forecast = forecast
        self.scores: list[dict[str, Any]] = []

    def _parse(self, completions: Sequence[Any], indices: Sequence[int]) -> list[Forecast]:
        return [
            parse_forecast(
                completion[0]["content"],
                horizon=self.forecast.horizon,
                family=self.forecast.family,
                image=self.samples[index].observation.image_size,
            )
            for completion, index in zip(completions, indices, strict=True)
        ]


def _log_parsing(forecasts: Sequence[Forecast], log_metric: Callable[[str, float], None]) -> None:
    """Shares of replies without a readable step, and of replies broken by each kind of error."""
    num = len(forecasts)
    log_metric("parse_failures", sum(not f.steps for f in forecasts) / num)
    for kind in ("structural", "content"):
        log_metric(f"parse_{kind}", sum(f.kind == kind for f in forecasts) / num)


def _record(forecast: Forecast, reward: float | None) -> dict[str, Any]:
    """The part of a rollout record that both stages share."""
    return {"text": forecast.raw, "reward": reward, "parse_ok": forecast.ok, "reason": forecast.reason}


class TrajectoryRewardFunction(_StageReward):
    """Stage 1's reward in TRL's calling convention."""

    def __init__(self, samples: Sequence[Sample], forecast: ForecastConfig, config: RewardConfig) -> None:
        """`samples` in the order of the dataset's "sample" column."""
        super().__init__(samples, forecast)
        self.config = config
        self.metric_names = _PARSE_METRICS | {"rep", "overlong", "forecast_steps"}
        self.metric_names |= {f"sim_{t}" for t in range(1, forecast.horizon + 1)}

    def __call__(self, *, completions: list[Any], sample: list[int], log_metric: Any, **_: Any) -> list[float]:
        """R of each completion; the parts go to `scores`."""
        forecasts = self._parse(completions, sample)
        references = [self.samples[index].steps for index in sample]
        results = [
            trajectory_reward(forecast, reference, self.config, self.forecast.horizon)
            for forecast, reference in zip(forecasts, references, strict=True)
        ]
        self.scores = [
            {**_record(forecast, round(result.total, 6)), "parts": [part.to_json() for part in result.steps]}
            for forecast, result in zip(forecasts, results, strict=True)
        ]
        _log_parsing(forecasts, log_metric)
        self._log_parts(results, references, log_metric)
        return [result.total for result in results]

    def _log_parts(
        self, results: Sequence[TrajectoryReward], references: Sequence[Sequence[ForecastStep]], log_metric: Any
    ) -> None:
        """sim_t over the completions whose reference has a step t; the others as means over completions."""
        for t in range(self.forecast.horizon):
            sims = [
                result.steps[t].sim if t < len(result.steps) else 0.0
                for result, reference in zip(results, references, strict=True)
                if t < len(reference)
            ]
            if sims:
                log_metric(f"sim_{t + 1}", sum(sims) / len(sims))
        num = len(results)
        log_metric("rep", sum(part.rep for result in results for part in result.steps) / num)
        log_metric("overlong", sum(part.is_overlong for result in results for part in result.steps) / num)
        log_metric("forecast_steps", sum(len(result.steps) for result in results) / num)


class GroundedRewardFunction(_StageReward):
    """Stage 2's reward in TRL's calling convention: the first forecast step goes to the frozen tool agent."""

    metric_names = _PARSE_METRICS | {"grounded_share", "type_match", "num_errors"}

    def __init__(
        self, samples: Sequence[Sample], forecast: ForecastConfig, agent: ToolAgent, tolerance: float,
        answer_match: str = "exact",
    ) -> None:
        """`samples` in the order of the dataset's "sample" column."""
        super().__init__(samples, forecast)
        self.agent = agent
        self.tolerance, self.answer_match = tolerance, answer_match
        self._tools = ToolStepRunner()

    def __call__(self, *, completions: list[Any], sample: list[int], log_metric: Any, **_: Any) -> list[float | None]:
        """1 or 0 for each completion, None where the agent failed; what the agent said goes to `scores`."""
        forecasts = self._parse(completions, sample)
        results = self._ground(forecasts, sample)
        carried = [self._carry_out(result, self.samples[index]) for result, index in zip(results, sample, strict=True)]
        rewards = [
            grounded_reward(result, self.samples[index].first_step, self.tolerance, self.answer_match)
            if outcomes is None
            else tool_reward(*outcomes, self.answer_match)
            for result, outcomes, index in zip(results, carried, sample, strict=True)
        ]
        self.scores = [
            {**_record(forecast, reward), "grounding": _grounding_to_json(result), **_outcome_to_json(outcomes)}
            for forecast, reward, result, outcomes in zip(forecasts, rewards, results, carried, strict=True)
        ]
        _log_parsing(forecasts, log_metric)
        num = len(results)
        log_metric("grounded_share", sum(isinstance(r, Grounding) and r.action is not None for r in results) / num)
        types = [
            forecast.first is not None and forecast.first.action.type == self.samples[index].first_step.action.type
            for forecast, index in zip(forecasts, sample, strict=True)
        ]
        log_metric("type_match", sum(types) / num)
        log_metric("num_errors", float(rewards.count(None)))
        return rewards

    def _carry_out(
        self, result: Grounding | ExecutorError | None, sample: Sample
    ) -> tuple[ToolOutcome | ExecutorError, ToolOutcome | ExecutorError] | None:
        """What the forecast's call and the recorded one give; None where not both are calls in a known task."""
        if not isinstance(result, Grounding) or self._tools.task(sample) is None:
            return None
        actions = result.action, sample.first_step.action
        if any(action is None or action.type != "tool_call" for action in actions):
            return None
        made, recorded = (self._tools.outcome(sample, action) for action in actions)
        return made, recorded

    def _ground(
        self, forecasts: Sequence[Forecast], indices: Sequence[int]
    ) -> list[Grounding | ExecutorError | None]:
        """What the agent makes of each first step, equal ones asked once; None for a reply without a step."""
        keys = [(index, repr(forecast.first)) for index, forecast in zip(indices, forecasts, strict=True)]
        requests: dict[tuple[int, str], GroundRequest] = {}
        seen: dict[int, Observation] = {}
        for key, index, forecast in zip(keys, indices, forecasts, strict=True):
            if forecast.first is None or key in requests:
                continue
            if index not in seen:
                sample = self.samples[index]
                seen[index] = replace(sample.first_step.observation, image=sample.load_image())
            requests[key] = (seen[index], forecast.first.action, forecast.first.instruction)
        results = dict(zip(requests, ground_each(self.agent, list(requests.values())), strict=True))
        return [results.get(key) for key in keys]


def _grounding_to_json(result: Grounding | ExecutorError | None) -> dict[str, Any] | None:
    if result is None:
        return None
    if isinstance(result, ExecutorError):
        return {"error": str(result)}
    return {"action": None if result.action is None else result.action.to_json(), "reason": result.reason}


def _outcome_to_json(outcomes: tuple[ToolOutcome | ExecutorError, ...] | None) -> dict[str, Any]:
    """What the forecast's call gave, for the records; nothing where none was made."""
    if outcomes is None:
        return {}
    made = outcomes[0]
    return {"tool": {"error": str(made)} if isinstance(made, ExecutorError) else {"text": made.text, "ok": made.is_ok}}


def run_stage1(config: Stage1Config, run: RunFolder, resume: bool = False) -> Path:
    """Trains Stage 1 and returns the folder of the result, `final/` of the run; call it inside `run.session()`.

    Args:
        config: the whole setting.
        run: where metrics, rollouts, checkpoints and the result go.
        resume: go on from the run's last whole checkpoint, if it has one.

    Raises:
        InputError: no samples, or settings that do not fit together.
        MissingFileError, CheckpointError: the start checkpoint cannot be loaded.
        RunStopped: a stop was asked for; the last step is saved.
    """
    return _train(config, run, resume, partial(TrajectoryRewardFunction, config=config.reward))


def run_stage2(config: Stage2Config, run: RunFolder, resume: bool = False) -> Path:
    """Trains Stage 2; arguments, result and errors are those of `run_stage1`, and InputError for an unknown agent."""
    agent = get_tool_agent(config.tool_agent)
    make_reward = partial(
        GroundedRewardFunction, agent=agent, tolerance=config.point_tolerance, answer_match=config.answer_match
    )
    return _train(config, run, resume, make_reward)


def _train(
    config: Stage1Config | Stage2Config,
    run: RunFolder,
    resume: bool,
    make_reward: Callable[[Sequence[Sample], ForecastConfig], Any],
) -> Path:
    import torch

    from training.cpu import speed_up_on_cpu
    from training.prompt_encoder import prompts_within
    from training.run_callback import RunCallback, quiet_libraries
    from training.run_folder import RunStopped, is_first_process
    from training.tiny import save_checkpoint

    quiet_libraries()
    if config.optim.num_threads:
        torch.set_num_threads(config.optim.num_threads)
    forecast = config.forecast or read_planner_settings(config.model) or ForecastConfig()
    samples = list(build_samples(load_trajectories(config.data), forecast, max_pixels=config.data.max_pixels))
    if not samples:
        raise InputError(f"config field 'data': split {config.data.split!r} has no samples: give another file or split")
    if isinstance(config, Stage2Config):
        samples = _with_target(samples)
    if is_first_process():
        save_planner_settings(run.path, forecast)
    dtype = config.lora.frozen_weights if config.lora.rank else "float32"
    model, processor = load_model_and_processor(config.model, dtype=dtype)
    num_samples, limit = len(samples), config.grpo.max_prompt_tokens
    samples = prompts_within(samples, processor, forecast, limit)
    if num_long := num_samples - len(samples):
        print(f"{num_long} of {num_samples} prompts are left out, longer than {limit} tokens", flush=True)
    if not samples:
        raise InputError(f"config field 'grpo.max_prompt_tokens': all {num_samples} prompts are longer than {limit}")
    speed_up_on_cpu(model)
    print(f"{len(samples)} prompts, {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters", flush=True)

    from training.grpo import PlannerGRPOTrainer, grpo_arguments

    callback = RunCallback(
        run,
        keep_checkpoints=config.optim.keep_checkpoints,
        window=config.grpo.updates_per_batch,
        on_checkpoint=partial(save_planner_settings, config=forecast),
        evaluate=(lambda: _evaluate(config, forecast, trainer, make_reward)) if config.eval_samples else None,
    )
    trainer = PlannerGRPOTrainer(
        model=model,
        args=grpo_arguments(config.grpo, config.optim, run, model),
        processing_class=processor,
        samples=samples,
        forecast=forecast,
        grpo=config.grpo,
        reward=make_reward(samples, forecast),
        run=run,
        callbacks=[callback],
        peft_config=_adapters(config.lora),
    )
    checkpoint = run.last_checkpoint() if resume else None
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if callback.stop_reason is not None:
        raise RunStopped(callback.stop_reason)
    # Where FSDP2 or ZeRO-3 split the weights, all processes take part in putting them together.
    is_split = trainer.may_be_sharded and not config.lora.rank
    weights = trainer.accelerator.get_state_dict(trainer.model) if is_split else None
    if trainer.accelerator.is_main_process:
        trained = trainer.accelerator.unwrap_model(trainer.model)
        trained = trained.merge_and_unload() if config.lora.rank else trained
        save_checkpoint(run.final_path, trained, processor, weights=weights)
        save_planner_settings(run.final_path, forecast)
    return run.final_path


def _with_target(samples: list[Sample]) -> list[Sample]:
    kept = [sample for sample in samples if has_target(sample.first_step)]
    if num_lost := len(samples) - len(kept):
        print(f"{num_lost} of {len(samples)} samples are left out: their action has no recorded point", flush=True)
    if not kept:
        raise InputError(
            f"config field 'data': none of {len(samples)} samples has the recorded point that Stage 2 compares with: "
            "give demonstrations with coordinates, or train Stage 1 on these"
        )
    return kept


def _adapters(lora: LoraConfig) -> Any:
    """The settings of peft for adapters on all linear layers of the language model; None for none."""
    if not lora.rank:
        return None
    try:
        import peft
    except ImportError:
        raise InputError(
            "config field 'lora.rank': adapters need the package peft: install it with `pip install peft`, or set 0"
        ) from None
    layers = r".*\.language_model\.layers\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    return peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=layers, task_type="CAUSAL_LM"
    )


def _evaluate(
    config: Stage1Config | Stage2Config,
    forecast: ForecastConfig,
    trainer: Any,
    make_reward: Callable[[Sequence[Sample], ForecastConfig], Any],
) -> dict[str, float]:
    """The stage's reward and its parts on greedy replies to samples of the split "val", named "val/..."."""
    from training.planner import PlanRequest, TransformersPlanner

    data = replace(
        config.data, split="val", num_episodes=min(config.data.num_episodes, config.eval_samples), mistake_rate=0.0,
        interruption_rate=0.0,
    )  # fmt: skip
    samples = list(build_samples(load_trajectories(data), forecast, max_pixels=data.max_pixels))
    if isinstance(config, Stage2Config):
        samples = [sample for sample in samples if has_target(sample.first_step)]
    samples = samples[:: max(1, len(samples) // config.eval_samples)][: config.eval_samples]
    if not samples:
        return {}
    requests = [
        PlanRequest(
            goal=sample.goal, history=sample.history, spaces=sample.spaces, tools=sample.tools,
            observation=replace(sample.observation, image=sample.load_image()),
        )
        for sample in samples
    ]  # fmt: skip
    planner = TransformersPlanner.of_model(
        trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class, forecast
    )
    replies = [[{"content": reply.raw}] for reply in planner.forecast(requests)]
    scores: dict[str, float] = {}
    rewards = make_reward(samples, forecast)(
        completions=replies, sample=list(range(len(samples))), log_metric=scores.__setitem__
    )
    scored = [reward for reward in rewards if reward is not None]
    if scored:
        scores["reward"] = sum(scored) / len(scored)
    return {f"val/{name}": value for name, value in scores.items()}
