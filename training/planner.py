"""Who makes the forecast: a checkpoint in this process, an OpenAI-compatible server, or a recording.

Every planner answers a batch of requests at once. What a model wrote is data, however broken (training.forecast); a
model or server that gives no reply at all is an ExecutorError at "plan".
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from executors.actions import Space
from executors.chat_server import ChatServer, data_url, without_password
from executors.errors import ExecutorError, InputError
from executors.files import expanded_path
from executors.trajectory import Observation, Trajectory, read_trajectories
from training.checkpoint import load_model_and_processor, read_planner_settings
from training.config import ForecastConfig
from training.episode_record import load_episode
from training.forecast import Forecast, ForecastStep, format_reply, parse_forecast
from training.prompts import HistoryItem, build_messages

DEFAULT_DRAFT_TOKENS = 8
_MAX_DRAFTS = 256
"""Goals whose last reply is kept as a draft of the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """One question to a planner: the goal, all past steps, and what is seen now.

    `horizon` is T for this request when not the planner's own (1 asks for one step, a reactive planner).
    `tools` names what may be called, in a world of tools.
    """

    goal: str
    history: tuple[HistoryItem, ...]
    observation: Observation
    spaces: frozenset[Space]
    horizon: int | None = None
    tools: tuple[str, ...] = ()

    def messages(self, config: ForecastConfig) -> list[dict[str, Any]]:
        """The chat messages that ask this question, see `training.prompts.build_messages`."""
        return build_messages(
            self.goal, self.history, self.observation, config, spaces=self.spaces, horizon=self.horizon,
            tools=self.tools,
        )


class Planner(Protocol):
    """Forecasts T steps from each state it is shown."""

    name: str
    config: ForecastConfig

    def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
        """One forecast per request, in order; raises ExecutorError("plan") when there is no reply to read."""
        ...


def forecast_each(planner: Planner, requests: Sequence[PlanRequest]) -> list[Forecast | ExecutorError]:
    """Forecasts where each failure stands in its own place, so that one failed request costs no other its reply."""
    own = getattr(planner, "forecast_each", None)
    if own is not None:
        return own(requests)
    try:
        return list(planner.forecast(requests))
    except ExecutorError as error:
        if len(requests) == 1:
            return [error]
    return [forecast_each(planner, [request])[0] for request in requests]


def load_planner(spec: str) -> Planner:
    """The planner of a specification: a checkpoint folder or hub id, "openai:MODEL@URL", or "replay:FILE".

    Raises:
        InputError: the specification or what it names is not allowed.
        MissingFileError: the folder or file does not exist.
        CheckpointError: the checkpoint is damaged.
    """
    spec = spec.strip()
    if spec.startswith("openai:"):
        model, at, rest = spec.removeprefix("openai:").partition("@http")
        if not model or not at:
            raise InputError(
                f"planner {without_password(spec)!r} is not openai:MODEL@URL: write for example "
                "openai:Qwen/Qwen3-VL-8B-Thinking@http://localhost:8000/v1"
            )
        return OpenAIPlanner("http" + rest, model, os.environ.get("OPENAI_API_KEY"))
    if spec.startswith("replay:"):
        file = spec.removeprefix("replay:").strip()
        if not file or "\0" in file:
            raise InputError(f"planner {spec!r} names no file: write replay:FILE, an episode or a trajectory file")
        return ReplayPlanner.of_file(expanded_path(file))
    if not spec:
        raise InputError("the planner is empty: give a checkpoint folder, a hub id, openai:MODEL@URL or replay:FILE")
    return TransformersPlanner(spec)


class TransformersPlanner:
    """A Qwen3-VL checkpoint in this process; greedy unless a temperature is given.

    The checkpoint's `tracer1.json` says how it is asked; without one it is asked in the full style. Requests are
    sorted by image size, padded on the left and answered in micro-batches. Rows leave the batch when they end.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        config: ForecastConfig | None = None,
        batch_size: int = 16,
        temperature: float = 0.0,
        seed: int = 0,
        max_new_tokens: int | None = None,
        num_draft_tokens: int = DEFAULT_DRAFT_TOKENS,
        dtype: Any = "auto",
        device: Any = None,
    ) -> None:
        """Loads the checkpoint.

        Args:
            path: checkpoint folder or hub id.
            config: how the planner is asked; None reads tracer1.json, else takes the defaults.
            batch_size: requests in one forward pass, at least 1.
            temperature: 0 is greedy; above 0 samples from the whole distribution.
            seed: seed of sampling; a planner built anew with it repeats its replies.
            max_new_tokens: longest reply; None sizes it from the horizon and whether the model thinks.
            num_draft_tokens: most tokens that a greedy reply takes from the last one to the same goal in one pass
                (training.decoding); the reply is the same for any number. 0 drafts nothing.
            dtype: see `load_model_and_processor`.
            device: see `load_model_and_processor`.
        """
        if batch_size < 1:
            raise InputError(f"batch size {batch_size} is not allowed: give at least 1")
        if not temperature >= 0:
            raise InputError(f"temperature {temperature} is not allowed: give 0 (greedy) or more")
        if num_draft_tokens < 0:
            raise InputError(f"number of draft tokens {num_draft_tokens} is not allowed: give 0 (none) or more")
        model, processor = load_model_and_processor(path, dtype=dtype, device=device)
        own = read_planner_settings(path) if config is None else None
        self._set_up(model, processor, config or own or ForecastConfig(), str(path))
        self.model = _fast_on_cpu(model, self._torch)
        self.batch_size = batch_size
        self.temperature = temperature
        self.max_new_tokens = max_new_tokens
        self.num_draft_tokens = num_draft_tokens
        self._generator = self._torch.Generator(self.model.device).manual_seed(seed)

    @classmethod
    def of_model(
        cls, model: Any, processor: Any, config: ForecastConfig, *, name: str = "model", batch_size: int = 16
    ) -> TransformersPlanner:
        """A greedy planner around a model that is already loaded; its weights and its mode stay as they are."""
        planner = cls.__new__(cls)
        planner._set_up(model, processor, config, name)
        planner.batch_size, planner.temperature, planner.max_new_tokens = batch_size, 0.0, None
        planner._generator = planner._torch.Generator(model.device).manual_seed(0)
        return planner

    def _set_up(self, model: Any, processor: Any, config: ForecastConfig, name: str) -> None:
        import torch

        from training.decoding import decode

        self._decode = decode
        self._torch = torch
        self.name, self.config = name, config
        self.model, self.processor = model, processor
        tokenizer = processor.tokenizer
        self._eos = _eos_ids(model, tokenizer)
        never = {getattr(model.config, f"{kind}_token_id", None) for kind in ("image", "video", "vision_start")}
        self._never = sorted(i for i in never if i is not None)
        self.num_draft_tokens = DEFAULT_DRAFT_TOKENS
        self._replies: OrderedDict[tuple[str, int | None], list[int]] = OrderedDict()

    def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
        """One forecast per request, in order."""
        sizes = [request.observation.image_size for request in requests]
        area = [0 if size is None else size.width_px * size.height_px for size in sizes]
        order = sorted(range(len(requests)), key=lambda i: (area[i], i))
        with_image = [i for i in order if sizes[i] is not None]
        without = [i for i in order if sizes[i] is None]
        forecasts: list[Forecast | None] = [None] * len(requests)
        for kind in (with_image, without):
            for start in range(0, len(kind), self.batch_size):
                batch = kind[start : start + self.batch_size]
                for i, forecast in zip(batch, self._forecast_batch([requests[i] for i in batch]), strict=True):
                    forecasts[i] = forecast
        return forecasts

    def _forecast_batch(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
        prompts = [self._prompt(request) for request in requests]
        images = [r.observation.load_image() for r in requests if r.observation.image_size is not None]
        inputs = self.processor(text=prompts, images=images or None, padding=True, return_tensors="pt")
        horizons = [request.horizon or self.config.horizon for request in requests]
        is_thinking = prompts[0].rstrip().endswith("<think>")
        limit = self.max_new_tokens or default_max_new_tokens(max(horizons), self.config.prompt_style, is_thinking)
        was_training = self.model.training
        self.model.eval()
        try:
            replies = self._generate(inputs, limit, self._drafts_of(requests))
        except self._torch.OutOfMemoryError as error:
            message = f"out of memory with {len(requests)} requests ({str(error)[:120]}): lower the batch size"
            raise ExecutorError("plan", message) from None
        finally:
            self.model.train(was_training)
        for request, reply in zip(requests, replies, strict=True):
            self._replies[request.goal, request.horizon] = reply
            self._replies.move_to_end((request.goal, request.horizon))
        while len(self._replies) > _MAX_DRAFTS:
            self._replies.popitem(last=False)
        texts = self.processor.tokenizer.batch_decode(replies, skip_special_tokens=True)
        if is_thinking:  # the chat template wrote the mark into the prompt, so the reply starts inside the thought
            texts = [text if text.lstrip().startswith("<think>") else f"<think>\n{text}" for text in texts]
        return [
            parse_forecast(
                text, horizon=horizon, family=self.config.family, image=request.observation.image_size,
                is_cut=len(reply) == limit,
            )
            for text, reply, horizon, request in zip(texts, replies, horizons, requests, strict=True)
        ]  # fmt: skip

    def _drafts_of(self, requests: Sequence[PlanRequest]) -> list[list[int]] | None:
        """For each request the last reply to its goal; None when replies are sampled, which nothing can draft."""
        if self.temperature > 0 or self.num_draft_tokens == 0:
            return None
        return [self._replies.get((request.goal, request.horizon), []) for request in requests]

    def _prompt(self, request: PlanRequest) -> str:
        messages = request.messages(self.config)
        marks = self.processor.tokenizer.all_special_tokens
        for message in messages:
            for part in message["content"]:
                if part["type"] == "text":
                    part["text"] = _defuse(part["text"], marks)
        return self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def _generate(
        self, inputs: Mapping[str, Any], limit: int, previous: Sequence[Sequence[int]] | None
    ) -> list[list[int]]:
        """Token ids of each reply, without the end token; at most `limit` each."""
        with self._torch.inference_mode():
            inputs = {name: tensor.to(self.model.device) for name, tensor in inputs.items()}
            return self._decode(
                self.model, inputs, self._pick,
                eos=self._eos, limit=limit, previous=previous, num_draft_tokens=self.num_draft_tokens,
            )  # fmt: skip

    def _pick(self, logits_BTV: Any) -> Any:
        """The next token after each, [B, T]; when sampling only after the last, [B, 1]. Image tokens never."""
        torch = self._torch
        logits_BTV = logits_BTV.float()
        logits_BTV[..., self._never] = -torch.inf
        if self.temperature == 0:
            return logits_BTV.argmax(-1)
        probs_BV = torch.softmax(logits_BTV[:, -1] / self.temperature, dim=-1)
        return torch.multinomial(probs_BV, 1, generator=self._generator)


def default_max_new_tokens(horizon: int, prompt_style: str, is_thinking: bool) -> int:
    """Longest reply in tokens: room for T steps and the thought before them.

    >>> default_max_new_tokens(6, "compact", is_thinking=True)
    608
    """
    if prompt_style == "compact":  # a trained thought lists what is on the screen
        return 320 + 48 * horizon
    return (4096 if is_thinking else 512) + 96 * horizon


def _fast_on_cpu(model: Any, torch: Any) -> Any:
    """Half-precision weights of a small model in float32 on a CPU, which computes several times faster there."""
    if model.device.type == "cpu" and model.dtype in (torch.bfloat16, torch.float16):
        if sum(p.numel() for p in model.parameters()) < 1_000_000_000:
            return model.float()
    return model


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    given = getattr(model.generation_config, "eos_token_id", None)
    ids = given if isinstance(given, (list, tuple)) else [given]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)


def _defuse(text: str, marks: Iterable[str]) -> str:
    """The text with a tokenizer's special tokens broken up: a goal or a screen may hold them, never mean them."""
    for mark in marks:
        if mark in text:
            text = text.replace(mark, mark[0] + " " + mark[1:])
    return text


class OpenAIPlanner:
    """A model behind any OpenAI-compatible server, such as vLLM; requests go out concurrently.

    vLLM can draft replies too: `vllm serve ... --speculative-config '{"method": "ngram", "num_speculative_tokens": 8,
    "prompt_lookup_max": 6}'`. It looks in the prompt and the reply so far, so the history's instructions are found, the
    last forecast is not; its prefix cache holds what prompts of one goal share before the screenshot.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        *,
        config: ForecastConfig | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        max_tokens: int | None = None,
        timeout_seconds: float = 300.0,
        max_retries: int = 2,
        num_workers: int = 16,
    ) -> None:
        """Prepares the client; nothing is sent yet.

        Args:
            base_url: the server's root, usually ending in /v1.
            model: the model's name at the server.
            api_key: None where the server wants none.
            config: how the planner is asked; None takes the defaults.
            temperature: 0 is greedy.
            seed: sent with each request when sampling.
            max_tokens: longest reply; None sizes it for a thinking model.
            timeout_seconds: longest wait for one attempt, until its last byte.
            max_retries: attempts after the first, on lost connections, timeouts, 429 and 5xx.
            num_workers: requests under way at once.
        """
        self.name = f"openai:{model}"
        self.config = config or ForecastConfig()
        self._temperature, self._seed, self._max_tokens = temperature, seed, max_tokens
        self._num_workers = num_workers
        self._server = ChatServer(
            base_url, model, api_key, boundary="plan", timeout_seconds=timeout_seconds, max_retries=max_retries
        )

    def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
        """One forecast per request, in order; the first failure is raised."""
        results = self.forecast_each(requests)
        for result in results:
            if isinstance(result, ExecutorError):
                raise result
        return results

    def forecast_each(self, requests: Sequence[PlanRequest]) -> list[Forecast | ExecutorError]:
        """One forecast or failure per request, in order."""
        if len(requests) <= 1:  # a single one is waited for in this thread, which Ctrl-C can interrupt
            return [self._forecast_one(request) for request in requests]
        with ThreadPoolExecutor(min(self._num_workers, len(requests))) as pool:
            return list(pool.map(self._forecast_one, requests))

    def _forecast_one(self, request: PlanRequest) -> Forecast | ExecutorError:
        horizon = request.horizon or self.config.horizon
        limit = self._max_tokens or default_max_new_tokens(horizon, self.config.prompt_style, is_thinking=True)
        options = {"seed": self._seed} if self._temperature > 0 else {}
        try:
            reply = self._server.ask(
                self._messages(request), max_tokens=limit, temperature=self._temperature, **options
            )
        except ExecutorError as error:
            return error
        image = request.observation.image_size
        return parse_forecast(
            reply.text, horizon=horizon, family=self.config.family, image=image, is_cut=reply.is_cut
        )

    def _messages(self, request: PlanRequest) -> list[dict[str, Any]]:
        messages = request.messages(self.config)
        for message in messages:
            message["content"] = [
                {"type": "image_url", "image_url": {"url": data_url(request.observation.load_image())}}
                if part["type"] == "image"
                else part
                for part in message["content"]
            ]
        return messages


def _is_indented(path: Path) -> bool:
    """Whether the file's first line is a lone bracket: an episode file, not JSON Lines; False when it is not there."""
    try:
        with path.open("rb") as lines:
            return lines.readline(16).strip() == b"{"
    except OSError:
        return False


class ReplayPlanner:
    """Repeats recorded forecasts: the n-th of a goal is the answer after n past steps.

    A goal that was not recorded, or a state past the recording's end, gets a forecast without steps.
    """

    def __init__(
        self, forecasts: Mapping[str, Sequence[Forecast]], *, config: ForecastConfig | None = None, name: str = "replay"
    ) -> None:
        """`forecasts` maps each goal to its forecasts in order; space around a goal is no part of it."""
        self.name = name
        self.config = config or ForecastConfig()
        self._forecasts = {goal.strip(): tuple(some) for goal, some in forecasts.items()}

    @classmethod
    def of_trajectories(
        cls, trajectories: Iterable[Trajectory], *, config: ForecastConfig | None = None, name: str = "replay"
    ) -> ReplayPlanner:
        """A planner that forecasts, at every state, what the trajectory did next, with its points.

        Of several trajectories of one goal the first is taken.
        """
        forecasts: dict[str, list[Forecast]] = {}
        for trajectory in trajectories:
            steps = [ForecastStep(action=s.action, instruction=s.instruction) for s in trajectory.steps]
            own = [
                Forecast(steps=tuple(steps[n:]), thought=s.thought, raw=format_reply(s.thought, steps[n:]))
                for n, s in enumerate(trajectory.steps)
            ]
            forecasts.setdefault(trajectory.goal.strip(), own)
        return cls(forecasts, config=config, name=name)

    @classmethod
    def of_file(cls, path: Path) -> ReplayPlanner:
        """A planner of a trajectory file (JSON Lines), or of an episode file (`tracer1 episode --out`).

        An episode's forecasts are repeated as they were; those without a readable step are left out, since the history
        does not count them. Raises InputError or MissingFileError with file and line.
        """
        if _is_indented(path):
            episode = load_episode(path)
            forecasts = [step.forecast for step in episode.steps if step.forecast and step.forecast.first]
            if not forecasts:
                raise InputError(f"episode {path} holds no forecast with a step: give another file")
            return cls({episode.goal: forecasts}, name=f"replay:{path.name}")
        planner = cls.of_trajectories(read_trajectories(path), name=f"replay:{path.name}")
        if not planner._forecasts:
            raise InputError(f"trajectory file {path} holds no trajectory: give another file")
        return planner

    def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
        """One recorded forecast per request, cut to its horizon."""
        return [self._forecast_one(request) for request in requests]

    def _forecast_one(self, request: PlanRequest) -> Forecast:
        recorded = self._forecasts.get(request.goal.strip(), ())
        state = len(request.history)
        if state >= len(recorded):
            reason = "this goal was not recorded" if not recorded else f"the recording ends after {len(recorded)} steps"
            return Forecast(steps=(), reason=reason, kind="structural")
        forecast = recorded[state]
        steps = forecast.steps[: request.horizon or self.config.horizon]
        return Forecast(
            steps=steps, thought=forecast.thought, reason=forecast.reason, kind=forecast.kind, raw=forecast.raw
        )
