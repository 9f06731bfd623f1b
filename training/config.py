"""Every setting of training and planning, as frozen dataclasses without torch.

A string literal under each field is its help: unit, range, and where the default comes from; `field_docs` gives it to
the command line and to the launch form. training.config_reading reads them from files and command lines. Settings the
paper does not publish are marked "ours".
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, field
from functools import cache

from executors.errors import InputError
from executors.geometry import FAMILIES


def _check(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise InputError(f"config field '{name}': {value!r} is not allowed: give {allowed}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastConfig:
    """What the planner is asked for and how."""

    horizon: int = 6
    """T, steps forecast at once, 1..32. The paper's best is about 10; the embedded world's tasks are short (ours)."""
    history_length: int = 6
    """K, past steps told as text, 0..64 (ours; the paper does not publish K)."""
    prompt_style: str = "full"
    """"full" explains the task to a pretrained model; "compact" is for planners trained here from nothing."""
    family: str = "canonical"
    """Coordinate frame and syntax that the model writes, see executors.geometry.FAMILIES."""
    with_points: bool = False
    """Whether the planner writes coordinates; otherwise the tool agent finds them from the instruction."""

    def __post_init__(self) -> None:
        _check(1 <= self.horizon <= 32, "horizon", self.horizon, "1..32 steps")
        _check(0 <= self.history_length <= 64, "history_length", self.history_length, "0..64 steps")
        _check(self.prompt_style in ("full", "compact"), "prompt_style", self.prompt_style, "full or compact")
        _check(self.family in FAMILIES, "family", self.family, f"one of {', '.join(FAMILIES)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardConfig:
    """The Stage 1 reward R = sum over t of gamma^(t-1) (lambda_align sim_t - lambda_rep rep_t), and its variants."""

    gamma: float = 0.8
    """Temporal discount of step t, 0..1 (ours; UI-S1 uses 0.5; 1 overfits far steps, says the paper)."""
    lambda_align: float = 1.0
    """Weight of the alignment with the reference, at least 0 (ours)."""
    lambda_rep: float = 0.3
    """Weight of the repetition penalty, at least 0 (ours; 0 lets the agent repeat clicks, says the paper)."""
    sim: str = "operation_instruction"
    """"operation": 1 when action type (or tool name) is equal, as the paper words it; "operation_arguments": half for
    the type, half for text, key, direction and other arguments; "operation_instruction": as before, and the words of
    the step instruction count too, for planners that leave coordinates to the tool agent (ours)."""
    rep: str = "cycle"
    """"exact": the step equals an earlier step of the forecast; "cycle": also when the last two or three steps repeat
    the ones before them, however worded; "none": never (ours)."""
    overlong: str = "penalise"
    """Steps past the reference's end or past the forecast's own end: "penalise" counts each as a repetition, so that
    babbling costs lambda_rep; "ignore" only when it is one (ours)."""
    parse_failure: float = -0.5
    """Reward of a reply in which no step could be read, -10..0 (ours)."""

    def __post_init__(self) -> None:
        _check(0 <= self.gamma <= 1, "gamma", self.gamma, "0..1")
        _check(self.lambda_align >= 0, "lambda_align", self.lambda_align, "a number of at least 0")
        _check(self.lambda_rep >= 0, "lambda_rep", self.lambda_rep, "a number of at least 0")
        sims = ("operation", "operation_arguments", "operation_instruction")
        _check(self.sim in sims, "sim", self.sim, f"one of {', '.join(sims)}")
        _check(self.rep in ("exact", "cycle", "none"), "rep", self.rep, "exact, cycle or none")
        _check(self.overlong in ("penalise", "ignore"), "overlong", self.overlong, "penalise or ignore")
        _check(-10 <= self.parse_failure <= 0, "parse_failure", self.parse_failure, "-10..0")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Where the reference trajectories come from."""

    path: str = ""
    """A trajectory file (JSON Lines, see `tracer1 import`); empty for the embedded world's oracle."""
    split: str = "train"
    """Split whose trajectories are used."""
    num_episodes: int = 400
    """Episodes recorded from the embedded world, 1..1000000; a file is used whole."""
    seed: int = 0
    """Seed of the recorded episodes."""
    mistake_rate: float = 0.1
    """Share of steps at which a harmless mistake is recorded, from which the oracle recovers, 0..0.5 (ours)."""
    interruption_rate: float = 0.05
    """Chance of a pop-up at each step of the embedded world, 0..0.5 (ours)."""
    max_pixels: int = 0
    """Screenshots larger than this are resized before the planner sees them; 0 keeps them as they are."""

    def __post_init__(self) -> None:
        _check(1 <= self.num_episodes <= 1_000_000, "num_episodes", self.num_episodes, "1..1000000")
        _check(0 <= self.mistake_rate <= 0.5, "mistake_rate", self.mistake_rate, "0..0.5")
        _check(0 <= self.interruption_rate <= 0.5, "interruption_rate", self.interruption_rate, "0..0.5")
        _check(self.max_pixels >= 0, "max_pixels", self.max_pixels, "0 or a number of pixels")
        _check(self.seed >= 0, "seed", self.seed, "a whole number of at least 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class TinyModelConfig:
    """A Qwen3-VL of random start for machines without a GPU; at most 10 million parameters."""

    hidden_size: int = 256
    """Width of the language layers, a multiple of the head size 64."""
    num_layers: int = 4
    """Language layers."""
    num_heads: int = 4
    """Attention heads of the language layers."""
    vision_hidden_size: int = 192
    """Width of the vision layers, a multiple of the head size 64."""
    vision_layers: int = 4
    """Vision layers."""
    vocab_size: int = 2048
    """Most tokens of the tokenizer that is built from the corpus, special tokens included."""

    def __post_init__(self) -> None:
        _check(self.hidden_size % 64 == 0 and self.hidden_size > 0, "hidden_size", self.hidden_size, "a multiple of 64")
        for name in ("num_layers", "num_heads", "vision_layers"):
            _check(1 <= getattr(self, name) <= 32, name, getattr(self, name), "1..32")
        _check(300 <= self.vocab_size <= 32000, "vocab_size", self.vocab_size, "300..32000 tokens")
        width = self.vision_hidden_size
        _check(width % 64 == 0 and width > 0, "vision_hidden_size", width, "a multiple of 64")


TRACKERS = ("tensorboard", "trackio")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """Steps, batches and rates that the three stages share."""

    num_steps: int = 200
    """Optimiser steps, at least 1."""
    batch_size: int = 8
    """Sequences in one forward pass on one device; for Stage 1 and 2 completions, a multiple of the group size."""
    accumulation: int = 1
    """Forward passes gathered into one optimiser step."""
    learning_rate: float = 1e-6
    """Peak learning rate (EasyR1's default for GRPO)."""
    warmup_ratio: float = 0.0
    """Share of the steps over which the learning rate rises from 0."""
    schedule: str = "constant"
    """Learning rate schedule of transformers: constant, linear or cosine."""
    optimizer: str = "adamw"
    """SFT's optimizer. adamw; muon: Muon for matrices and AdamW for the rest, better from random weights."""
    weight_decay: float = 0.01
    """Weight decay."""
    max_grad_norm: float = 1.0
    """Gradient norm above which gradients are scaled down."""
    precision: str = "float32"
    """float32 or bfloat16 (autocast)."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    save_every: int = 50
    """Optimiser steps between checkpoints."""
    keep_checkpoints: int = 2
    """Newest checkpoints kept."""
    seed: int = 0
    """Seed of initial weights, shuffling and sampling."""
    num_threads: int = 0
    """CPU threads of torch; 0 leaves torch's default."""
    report_to: str = ""
    """Trackers that are also written to, with commas: tensorboard, trackio; both stay on this machine."""

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch_size", "accumulation", "save_every", "keep_checkpoints"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "a whole number of at least 1")
        _check(self.learning_rate > 0, "learning_rate", self.learning_rate, "a number above 0")
        _check(0 <= self.warmup_ratio <= 1, "warmup_ratio", self.warmup_ratio, "0..1")
        schedules = ("constant", "linear", "cosine")
        _check(self.schedule in schedules, "schedule", self.schedule, "constant, linear or cosine")
        _check(self.precision in ("float32", "bfloat16"), "precision", self.precision, "float32 or bfloat16")
        _check(self.optimizer in ("adamw", "muon"), "optimizer", self.optimizer, "adamw or muon")
        _check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "a number of at least 0")
        _check(self.max_grad_norm > 0, "max_grad_norm", self.max_grad_norm, "a number above 0")
        _check(0 <= self.seed < 2**32, "seed", self.seed, "0..4294967295")
        _check(0 <= self.num_threads <= 1024, "num_threads", self.num_threads, "0..1024 threads")
        allowed = f"none or some of {', '.join(TRACKERS)}, with commas between them"
        _check(set(self.trackers) <= set(TRACKERS), "report_to", self.report_to, allowed)

    @property
    def trackers(self) -> list[str]:
        """The names in `report_to`."""
        return [name.strip() for name in self.report_to.split(",") if name.strip()]


@dataclass(frozen=True, kw_only=True, slots=True)
class SftConfig:
    """The SFT warm start: recorded thoughts and forecasts are imitated."""

    model: str = ""
    """Checkpoint folder or hub id to start from; empty builds the tiny planner from nothing."""
    tiny: TinyModelConfig = field(default_factory=TinyModelConfig)
    """Shape of the tiny planner, when `model` is empty."""
    data: DataConfig = field(default_factory=DataConfig)
    """Reference trajectories."""
    forecast: ForecastConfig = field(default_factory=ForecastConfig)
    """What is forecast."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimisation of the image phase."""
    text_warmup_steps: int = 0
    """Steps on text alone before the images: the screen's description is given in words, the plan is learnt."""
    text_warmup_batch_size: int = 64
    """Sequences per step of the text warm-up."""
    text_warmup_learning_rate: float = 1e-3
    """Peak learning rate of the text warm-up."""
    reading_steps: int = 0
    """Steps of reading lessons after the text warm-up: the embedded world's screenshots, letter by letter."""
    reading_batch_size: int = 12
    """Screenshots per step."""
    reading_learning_rate: float = 1e-3
    """Peak learning rate of the reading lessons."""
    reactive_share: float = 0.15
    """Share of samples that ask for one step only, so that the same planner can also be run reactively, 0..1."""
    eval_samples: int = 48
    """Samples of the split "val" whose greedy replies are scored; 0 for none."""
    eval_every: int = 50
    """Steps between two such scores."""

    def __post_init__(self) -> None:
        _check(self.eval_samples >= 0, "eval_samples", self.eval_samples, "0 or more samples")
        _check(self.eval_every >= 1, "eval_every", self.eval_every, "at least 1 step")
        for name in ("text_warmup_steps", "reading_steps"):
            _check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more steps")
        for name in ("text_warmup_batch_size", "reading_batch_size"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "a whole number of at least 1")
        for name in ("text_warmup_learning_rate", "reading_learning_rate"):
            _check(getattr(self, name) > 0, name, getattr(self, name), "a number above 0")
        _check(0 <= self.reactive_share <= 1, "reactive_share", self.reactive_share, "0..1")

    @property
    def num_steps(self) -> int:
        """Optimiser steps of text warm-up, reading lessons and image phase together."""
        return self.text_warmup_steps + self.reading_steps + self.optim.num_steps


@dataclass(frozen=True, kw_only=True, slots=True)
class GrpoConfig:
    """What Stage 1 and Stage 2 share: group sampling, trust region, loss."""

    group_size: int = 8
    """G, completions sampled for each prompt, at least 2 (EasyR1: 5, UI-S1: 8)."""
    kl_coef: float = 0.01
    """Weight of the KL distance to the start checkpoint; 0 turns it off (EasyR1's default is 0.01)."""
    clip_low: float = 0.2
    """Lower clip of the importance ratio, at least 0 and below 1 (EasyR1)."""
    clip_high: float = 0.3
    """Upper clip of the importance ratio (EasyR1)."""
    loss_type: str = "dapo"
    """Loss of TRL: grpo, dapo, dr_grpo, bnpo, cispo, sapo, luspo or vespo. For cispo, clip_high is the largest ratio
    itself, of which 5 is usual; sapo and vespo do not clip."""
    temperature: float = 1.0
    """Sampling temperature; truncated sampling is not offered, it biases the gradient."""
    max_completion_tokens: int = 512
    """Longest reply in tokens; a thinking 8B model wants 1500 or more."""
    updates_per_batch: int = 1
    """Optimiser passes over one batch of completions (GRPO's mu)."""
    drop_zero_variance: bool = True
    """Leave groups out of the loss whose rewards are all equal; they are counted either way."""
    refill_rounds: int = 0
    """How often a batch samples other prompts to replace groups that have left the loss, 0..16; each round costs a
    generation of the whole batch (DAPO's dynamic sampling)."""
    freeze_vision: bool = False
    """Keep the vision tower as it is; its features of a screenshot are then computed once and kept."""
    share_prefix: bool = True
    """Completions of a prompt share one encoding of its text and screenshot, forward and backward; results are equal
    up to rounding. Off, or where a model does not allow it (the run says so), each has its own, as in TRL."""
    screenshot_cache_mb: int = 1024
    """Memory for preprocessed screenshots (or their features) kept between batches, in MiB; 0 keeps one at most."""
    max_prompt_tokens: int = 0
    """Prompts longer than this, image tokens included, are left out and counted; 0 takes all."""
    use_vllm: bool = False
    """Sample with vLLM (needs a GPU and the vllm extra)."""
    vllm_server: str = ""
    """URL of a vLLM server on GPUs of its own (`trl vllm-serve --model ...`); empty for vLLM in the same process."""
    logged_prompts: int = 8
    """Prompts per step whose completions are written to rollouts.jsonl, 0..10000."""

    def __post_init__(self) -> None:
        _check(self.group_size >= 2, "group_size", self.group_size, "at least 2 completions")
        _check(self.kl_coef >= 0, "kl_coef", self.kl_coef, "a number of at least 0")
        _check(self.temperature > 0, "temperature", self.temperature, "a number above 0")
        _check(0 <= self.clip_low < 1, "clip_low", self.clip_low, "at least 0 and below 1")
        _check(self.clip_high >= 0, "clip_high", self.clip_high, "a number of at least 0")
        longest = self.max_completion_tokens
        _check(longest >= 8, "max_completion_tokens", longest, "at least 8 tokens")
        losses = ("grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo")
        _check(self.loss_type in losses, "loss_type", self.loss_type, f"one of {', '.join(losses)}")
        _check(self.updates_per_batch >= 1, "updates_per_batch", self.updates_per_batch, "at least 1")
        _check(0 <= self.refill_rounds <= 16, "refill_rounds", self.refill_rounds, "0..16 rounds")
        _check(self.screenshot_cache_mb >= 0, "screenshot_cache_mb", self.screenshot_cache_mb, "0 or a number of MiB")
        _check(self.max_prompt_tokens >= 0, "max_prompt_tokens", self.max_prompt_tokens, "0 or a number of tokens")
        is_url = self.use_vllm and self.vllm_server.startswith(("http://", "https://"))
        allowed = "a URL such as http://gpu-host:8000, together with use_vllm=true"
        _check(not self.vllm_server or is_url, "vllm_server", self.vllm_server, allowed)
        _check(0 <= self.logged_prompts <= 10000, "logged_prompts", self.logged_prompts, "0..10000 prompts")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraConfig:
    """Adapters on the language layers in place of training all weights; the result is merged into whole weights."""

    rank: int = 0
    """Rank of the adapters, 0..1024; 0 trains all weights."""
    alpha: float = 32.0
    """The adapters' output counts alpha / rank, above 0."""
    dropout: float = 0.0
    """Dropout before the adapters, at least 0 and below 1."""
    frozen_weights: str = "bfloat16"
    """bfloat16 or float32: how the weights below the adapters, which stay as they are, are held."""

    def __post_init__(self) -> None:
        _check(0 <= self.rank <= 1024, "rank", self.rank, "0..1024")
        _check(self.alpha > 0, "alpha", self.alpha, "a number above 0")
        _check(0 <= self.dropout < 1, "dropout", self.dropout, "at least 0 and below 1")
        dtypes = ("bfloat16", "float32")
        _check(self.frozen_weights in dtypes, "frozen_weights", self.frozen_weights, "bfloat16 or float32")


def _check_stage(model: str, grpo: GrpoConfig, optim: OptimConfig) -> None:
    _check(bool(model.strip()), "model", model, "a checkpoint folder or a hub id")
    allowed = f"a multiple of grpo.group_size, {grpo.group_size}: a group must fit into one forward pass"
    _check(optim.batch_size % grpo.group_size == 0, "optim.batch_size", optim.batch_size, allowed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage1Config:
    """Stage 1, anticipatory trajectory optimisation: the whole forecast is rewarded, nothing is executed."""

    model: str
    """Checkpoint folder or hub id to start from."""
    data: DataConfig = field(default_factory=DataConfig)
    """Reference trajectories."""
    forecast: ForecastConfig | None = None
    """What is forecast; left out, the start checkpoint's own settings (tracer1.json) or the defaults."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """The trajectory reward."""
    grpo: GrpoConfig = field(default_factory=GrpoConfig)
    """Group sampling and loss."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimisation."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Adapters in place of all weights."""
    eval_samples: int = 32
    """Samples of the split "val" whose greedy replies are scored when an evaluation is asked for, 0..100000."""

    def __post_init__(self) -> None:
        _check_stage(self.model, self.grpo, self.optim)
        _check(0 <= self.eval_samples <= 100_000, "eval_samples", self.eval_samples, "0..100000 samples")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage2Config:
    """Stage 2, grounded reinforcement fine-tuning: the first step goes to the frozen tool agent and is judged."""

    model: str
    """Checkpoint folder or hub id to start from."""
    data: DataConfig = field(default_factory=DataConfig)
    """Reference trajectories."""
    forecast: ForecastConfig | None = None
    """What is forecast; left out, the start checkpoint's own settings (tracer1.json) or the defaults."""
    tool_agent: str = "elements"
    """The frozen tool agent; "elements" matches the instruction against the recorded element tree."""
    point_tolerance: float = 0.14
    """Greatest normalised distance to the reference point that counts as a match where no target box is known
    (OS-Atlas's 14 % rule); with a box the point must lie in it."""
    answer_match: str = "exact"
    """How a tool's result and a final answer are compared with the recorded ones: exact (letters, without case and
    outer spaces), gaia or gta (those benchmarks' own rules)."""
    grpo: GrpoConfig = field(default_factory=GrpoConfig)
    """Group sampling and loss."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimisation."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Adapters in place of all weights."""
    eval_samples: int = 32
    """Samples of the split "val" whose greedy replies are scored when an evaluation is asked for, 0..100000."""

    def __post_init__(self) -> None:
        _check(0 < self.point_tolerance <= 1, "point_tolerance", self.point_tolerance, "above 0 and at most 1")
        rules = ("exact", "gaia", "gta")
        _check(self.answer_match in rules, "answer_match", self.answer_match, f"one of {', '.join(rules)}")
        _check_stage(self.model, self.grpo, self.optim)
        _check(0 <= self.eval_samples <= 100_000, "eval_samples", self.eval_samples, "0..100000 samples")


STAGES: dict[str, type] = {"sft": SftConfig, "stage1": Stage1Config, "stage2": Stage2Config}


@cache
def field_docs(cls: type) -> dict[str, str]:
    """Field name -> the string literal under it, as one line."""
    tree = ast.parse(inspect.getsource(cls))
    body = tree.body[0].body  # type: ignore[attr-defined]
    docs = {}
    for node, after in zip(body, body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            docs[node.target.id] = " ".join(str(after.value.value).split())
    return docs
