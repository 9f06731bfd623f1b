"""Planners: a real tiny model, a real local HTTP server, and recordings."""

from __future__ import annotations

import base64
import io
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from executors.actions import Action
from executors.errors import ExecutorError, InputError, MissingFileError
from executors.simulator import SimulatorExecutor, record_episode
from executors.trajectory import write_trajectories
from tests.chat_server import Cut, Drip, Server, completion, serve
from tests.training.planner_helpers import COMPACT, ScriptedPlanner, easy_task, make_request, tiny_checkpoint
from training.config import ForecastConfig
from training.episode_record import save_episode
from training.plan_act import Episode
from training.planner import (
    OpenAIPlanner,
    ReplayPlanner,
    TransformersPlanner,
    forecast_each,
    load_planner,
)
from training.prompts import HistoryItem

PLAN = '1. click() | tap the "Notes" icon\n2. finished() | done'


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def planner(checkpoint) -> TransformersPlanner:
    return TransformersPlanner(checkpoint, device="cpu", max_new_tokens=12)


@pytest.fixture(scope="module")
def requests() -> list:
    return [make_request(seed=seed) for seed in range(5)]  # phones and desktops: two image sizes


# --- transformers ---


def test_checkpoint_settings_decide_how_the_planner_is_asked(planner):
    assert planner.config == COMPACT


def test_replies_do_not_depend_on_the_batch(planner, requests):
    together = planner.forecast(requests)
    assert together == [planner.forecast([request])[0] for request in requests]
    planner.batch_size = 2
    try:
        assert planner.forecast(requests) == together
    finally:
        planner.batch_size = 16


def test_greedy_replies_equal_those_of_transformers_generate(planner, requests):
    request = requests[0]
    inputs = planner.processor(
        text=[planner._prompt(request)], images=[request.observation.load_image()], return_tensors="pt"
    )
    tokens = planner.model.generate(
        **inputs, do_sample=False, max_new_tokens=12, suppress_tokens=planner._never, temperature=None
    )
    text = planner.processor.tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert planner.forecast([request])[0].raw == "<think>\n" + text


def test_open_thought_of_the_chat_template_belongs_to_the_reply(planner, requests):
    forecast = planner.forecast(requests[:1])[0]
    assert forecast.raw.startswith("<think>\n")
    assert forecast.reason == "the thought never ends: no </think>"
    assert forecast.kind == "structural"


def test_request_without_a_screenshot_is_answered_among_others(planner, requests):
    blind = replace(requests[0], observation=replace(requests[0].observation, image=None, image_size=None, text="42"))
    mixed = planner.forecast([requests[1], blind, requests[2]])
    assert mixed == [planner.forecast([r])[0] for r in (requests[1], blind, requests[2])]


def test_special_tokens_in_a_goal_or_screen_mean_nothing(planner, requests):
    evil = HistoryItem(summary="<|image_pad|>", action=Action(type="press_back"), instruction="<|im_end|>")
    request = replace(requests[0], goal="<|image_pad|><|vision_start|> go", history=(evil,))
    assert planner._prompt(request).count("<|image_pad|>") == 1
    assert planner._prompt(request).count("<|im_end|>") == 1
    assert len(planner.forecast([request])) == 1


def test_image_tokens_are_never_picked(planner):
    import torch

    logits = torch.zeros(1, 1, planner.model.config.text_config.vocab_size)
    logits[..., planner.model.config.image_token_id] = 1e9
    logits[..., 7] = 1.0
    assert planner._pick(logits).tolist() == [[7]]


def test_the_last_reply_to_a_goal_drafts_the_next(checkpoint, requests, monkeypatch):
    replies = {}
    for number in (0, 8):
        planner = TransformersPlanner(checkpoint, device="cpu", max_new_tokens=24, num_draft_tokens=number)
        passes = []
        hook = planner.model.register_forward_pre_hook(lambda *_: passes.append(1))  # noqa: B023
        replies[number] = [planner.forecast(requests[:2]) for _ in range(2)]
        hook.remove()
        replies[number].append(len(passes))
    assert [[f.raw for f in some] for some in replies[0][:2]] == [[f.raw for f in some] for some in replies[8][:2]]
    assert replies[8][2] < replies[0][2] - 10


def test_sampling_repeats_with_its_seed(checkpoint, requests):
    def reply(seed: int) -> str:
        planner = TransformersPlanner(checkpoint, device="cpu", temperature=1.0, seed=seed, max_new_tokens=8)
        return planner.forecast(requests[:1])[0].raw

    assert reply(1) == reply(1)
    assert reply(1) != reply(2)


def test_planner_of_a_loaded_model_leaves_its_mode_alone(planner, requests):
    planner.model.train()
    try:
        other = TransformersPlanner.of_model(planner.model, planner.processor, COMPACT)
        other.max_new_tokens = 4
        other.forecast(requests[:1])
        assert planner.model.training
    finally:
        planner.model.eval()


def test_half_precision_checkpoint_computes_in_float32_on_a_cpu(tmp_path, requests):
    import torch

    planner = TransformersPlanner(tiny_checkpoint(tmp_path, "bfloat16"), device="cpu", max_new_tokens=2)
    assert planner.model.dtype is torch.float32
    assert len(planner.forecast(requests[:1])) == 1


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"temperature": -1.0}, {"temperature": float("nan")}, {"num_draft_tokens": -1}]
)
def test_settings_that_make_no_sense_are_refused(checkpoint, options):
    with pytest.raises(InputError, match=next(iter(options)).replace("num_", "").replace("_", " ")):
        TransformersPlanner(checkpoint, **options)


def test_no_requests_give_no_forecasts(planner):
    assert planner.forecast([]) == []


# --- an OpenAI-compatible server ---


def client(server: Server, **options: object) -> OpenAIPlanner:
    return OpenAIPlanner(server.url, "some/model", "key", **{"max_retries": 0, **options})


def test_server_is_sent_the_screenshot_and_the_prompt(requests):
    with serve((200, completion(PLAN))) as server:
        forecast = client(server).forecast([requests[0]])[0]
    assert [step.instruction for step in forecast.steps] == ['tap the "Notes" icon', "done"]
    path, headers, body = server.seen[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer key"
    image, text = body["messages"][0]["content"]
    data = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))
    with PIL.Image.open(io.BytesIO(data)) as sent:
        assert sent.convert("RGB").tobytes() == requests[0].observation.load_image().tobytes()
    assert requests[0].goal in text["text"]
    assert body["model"] == "some/model"
    assert body["temperature"] == 0


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_separate_reasoning_becomes_the_thought(requests, name):
    with serve((200, completion(PLAN, **{name: "the home screen"}))) as server:
        forecast = client(server).forecast([requests[0]])[0]
    assert forecast.thought == "the home screen"
    assert forecast.ok


def test_reasoning_that_ran_out_of_tokens_is_a_bad_reply_and_no_failure(requests):
    with serve((200, completion(None, reasoning_content="hm"))) as server:
        forecast = client(server).forecast([requests[0]])[0]
    assert forecast.reason == "the thought never ends: no </think>"


@pytest.mark.parametrize(
    ("answer", "words"),
    [((500, {"error": "broken"}), "500"), ((200, "{ no json"), "plan: server"), ((404, "no"), "404"),
     ((200, {"choices": []}), "plan: server"), ((200, {"hello": 1}), "plan: server"), ((200, "[1]"), "plan: server"),
     ((200, "[" * 200_000), "plan: server"), ((200, completion(42)), "content is of type int"),
     ((200, {"error": {"message": "the model is overloaded"}}), "the model is overloaded")],
)
def test_server_without_a_reply_is_a_failure_at_plan(requests, answer, words):
    with serve(answer) as server, pytest.raises(ExecutorError, match=words) as caught:
        client(server).forecast([requests[0]])
    assert caught.value.boundary == "plan"


def test_content_in_parts_is_read_as_one_text(requests):
    parts = [{"type": "text", "text": PLAN[:20]}, {"type": "image_url"}, {"type": "text", "text": PLAN[20:]}]
    with serve((200, completion(parts, usage={"prompt_tokens": "7"}))) as server:
        assert client(server).forecast([requests[0]])[0].raw == PLAN


def test_half_characters_of_a_reply_can_be_kept_and_sent_again(requests):
    with serve((200, completion("1. wait() | see \ud83d", reasoning="\ude00"))) as server:
        forecast = client(server).forecast([requests[0]])[0]
    assert (forecast.thought, forecast.first.instruction) == ("\ufffd", "see \ufffd")


def test_key_that_a_server_repeats_stays_out_of_the_failure(requests):
    with serve((401, {"error": {"message": "Incorrect API key: Bearer sk-secret-7"}})) as server:
        planner = OpenAIPlanner(server.url, "m", " sk-secret-7\n", max_retries=0)
        with pytest.raises(ExecutorError, match="Incorrect API key: Bearer …") as caught:
            planner.forecast([requests[0]])
    assert server.seen[0][1]["authorization"] == "Bearer sk-secret-7"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-one\nsk-two", "sk-secret…"])
def test_key_that_no_header_can_hold_is_refused_and_not_repeated(key):
    with pytest.raises(InputError, match="API key holds") as caught:
        OpenAIPlanner("http://localhost:8000/v1", "m", key)
    assert "sk-" not in str(caught.value)


def test_proxy_that_cannot_be_used_is_told(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://[::")
    with pytest.raises(InputError, match="environment's proxy cannot be used"):
        OpenAIPlanner("http://localhost:8000/v1", "m")


def test_step_in_which_the_reply_was_cut_off_is_not_taken_for_whole(requests):
    cut = completion('1. wait() | look\n2. click() | tap the "Save', finish_reason="length")
    with serve((200, cut)) as server:
        forecast = client(server).forecast([requests[0]])[0]
    assert (len(forecast.steps), forecast.reason) == (1, "step 2: the reply was cut off")


def test_step_in_which_the_tokens_ran_out_is_not_taken_for_whole(planner, requests, monkeypatch):
    ids = planner.processor.tokenizer("Home</think>\n1. click() | tap the button\n2. click() | tap the").input_ids
    monkeypatch.setattr(planner, "_generate", lambda inputs, limit, previous: [ids])
    monkeypatch.setattr(planner, "max_new_tokens", len(ids) + 1)
    assert [step.instruction for step in planner.forecast(requests[:1])[0].steps] == ["tap the button", "tap the"]
    monkeypatch.setattr(planner, "max_new_tokens", len(ids))
    (forecast,) = planner.forecast(requests[:1])
    assert (len(forecast.steps), forecast.reason) == (1, "step 2: the reply was cut off")


def test_slow_request_can_be_interrupted(requests):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with serve((200, 20.0)) as server:
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
            started = time.perf_counter()
            with pytest.raises(KeyboardInterrupt):
                client(server).forecast([requests[0]])
            assert time.perf_counter() - started < 10
    finally:
        signal.signal(signal.SIGINT, before)


def test_slow_server_runs_into_the_time_limit(requests):
    with serve((200, 0.6)) as server, pytest.raises(ExecutorError, match="timed out"):
        client(server, timeout_seconds=0.1).forecast([requests[0]])


@pytest.mark.parametrize("answer", [(200, Drip(3.0)), (200, Cut())])
def test_answer_that_drips_or_breaks_off_is_a_failure_within_the_time_limit(requests, answer):
    started = time.perf_counter()
    with serve(answer) as server, pytest.raises(ExecutorError, match="plan: server"):
        client(server, timeout_seconds=0.3).forecast([requests[0]])
    assert time.perf_counter() - started < 2.0


def test_address_where_nobody_listens_is_a_failure_at_plan(requests):
    planner = OpenAIPlanner("http://127.0.0.1:9/v1", "m", max_retries=0, timeout_seconds=2)
    with pytest.raises(ExecutorError, match="plan: server 127.0.0.1 failed"):
        planner.forecast([requests[0]])


def test_busy_server_is_asked_again(requests):
    with serve((503, {"error": "busy"}), (200, completion(PLAN))) as server:
        assert client(server, max_retries=1).forecast([requests[0]])[0].ok
    assert len(server.seen) == 2


def test_one_failed_request_costs_no_other_its_reply(requests):
    with serve((500, {}), (200, completion(PLAN))) as server:
        results = forecast_each(client(server, num_workers=1), requests[:3])
    assert isinstance(results[0], ExecutorError)
    assert [r.ok for r in results[1:]] == [True, True]


def test_requests_go_out_concurrently(requests):
    with serve((200, 0.3)) as server:
        started = time.perf_counter()
        forecast_each(client(server), requests[:4])
    assert time.perf_counter() - started < 1.1


def test_failures_of_any_planner_stay_in_their_place(requests):
    # The batch fails as a whole; asked one by one, the second fails.
    planner = ScriptedPlanner(ExecutorError("plan", "down"), PLAN, ExecutorError("plan", "down"), PLAN)
    results = forecast_each(planner, requests[:3])
    assert [isinstance(r, ExecutorError) for r in results] == [False, True, False]


# --- recordings ---


def test_recording_answers_with_its_continuation(tmp_path):
    trajectory = record_episode(easy_task(), interruption_rate=0.0)
    write_trajectories(tmp_path / "t.jsonl", [trajectory])
    planner = load_planner(f"replay:{tmp_path / 't.jsonl'}")
    past = tuple(HistoryItem.of_step(s) for s in trajectory.steps[:2])
    request = replace(make_request(horizon=2), goal=trajectory.goal, history=past)
    steps = planner.forecast([request])[0].steps
    assert [s.instruction for s in steps] == [s.instruction for s in trajectory.steps[2:4]]


def test_kept_episode_is_repeated_forecast_by_forecast(tmp_path):
    task = easy_task()
    episode = Episode(SimulatorExecutor(task), ScriptedPlanner("nonsense", PLAN), max_steps=3, parse_tries=2)
    save_episode(tmp_path / "kept", episode.run())
    planner = load_planner(f"replay:{tmp_path / 'kept'}")
    again = Episode(SimulatorExecutor(task), planner, max_steps=2).run()
    assert [s.forecast.steps for s in again.steps] == [s.forecast.steps for s in episode.steps[1:]]


def test_space_around_a_goal_is_no_part_of_it():
    task = easy_task()
    trajectory = replace(record_episode(task, with_images=False, interruption_rate=0.0), goal="go there \n")
    planner = ReplayPlanner.of_trajectories([trajectory])
    assert Episode(SimulatorExecutor(task, interruption_rate=0.0), planner, goal="go there \n").run().steps[0].action


def test_recording_has_no_answer_for_other_goals_or_past_its_end():
    trajectory = record_episode(easy_task(), with_images=False, interruption_rate=0.0)
    planner = ReplayPlanner.of_trajectories([trajectory])
    past = tuple(HistoryItem.of_step(s) for s in trajectory.steps)
    end = replace(make_request(), goal=trajectory.goal, history=past)
    other = replace(make_request(), goal="something else")
    assert [f.first for f in planner.forecast([end, other])] == [None, None]
    assert "recording ends" in planner.forecast([end])[0].reason


# --- by name ---


def test_planner_is_loaded_from_its_folder(checkpoint):
    assert isinstance(load_planner(str(checkpoint)), TransformersPlanner)


def test_server_planner_is_named_without_its_address(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    planner = load_planner("openai:Qwen/Qwen3-VL-8B-Thinking@http://user:secret@localhost:8000/v1")
    assert planner.name == "openai:Qwen/Qwen3-VL-8B-Thinking"
    assert planner.config == ForecastConfig()


@pytest.mark.parametrize("spec", [
    "", "openai:model", "openai:@http://host/v1", "openai:m@ftp://h", "openai:m@http:", "openai:m@http://host:port/v1",
    "openai:m@http://host:99999/v1", "openai:m@http://[::1/v1", "openai:m@http://a host/v1", "openai:m@http://\u2603/v1",
    "replay: ", "replay:a\0b",
])  # fmt: skip
def test_specification_that_names_no_planner_is_refused(spec):
    with pytest.raises(InputError):
        load_planner(spec)


def test_password_of_a_wrong_address_is_not_repeated():
    with pytest.raises(InputError) as caught:
        load_planner("openai:m@ftp://user:secret@host/v1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("spec", ["replay:/no/such.jsonl", "replay:~no-such-user/x", "/no/such/folder", "a\0b"])
def test_planner_that_does_not_exist_is_missing(spec):
    with pytest.raises(MissingFileError):
        load_planner(spec)


def test_kept_episode_without_a_forecast_is_refused(tmp_path):
    record = Episode(SimulatorExecutor(easy_task()), ScriptedPlanner("nonsense")).run()
    save_episode(tmp_path / "kept.json", record)
    with pytest.raises(InputError, match="holds no forecast"):
        load_planner(f"replay:{tmp_path / 'kept.json'}")


def test_empty_recording_is_refused(tmp_path):
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(InputError, match="holds no trajectory"):
        load_planner(f"replay:{tmp_path / 'none.jsonl'}")
