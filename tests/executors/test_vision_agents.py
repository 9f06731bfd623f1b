"""Vision tool agents: prompts, frames and replies of each model, against a local HTTP server that answers for them."""

from __future__ import annotations

import base64
import io
import time

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import Action
from executors.errors import ExecutorError, InputError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.tool_agents import ElementTreeAgent, get_tool_agent, ground_each
from executors.trajectory import Element, Observation
from executors.vision_agents import GROUNDERS, VisionAgent, load_vision_agent, read_point
from tests.chat_server import Cut, Drip, Server, completion, serve

FULL_HD = ImageSize(1920, 1080)
CLICK = Action(type="click")


def screen(width: int = 320, height: int = 200, colour: str = "navy", **parts: object) -> Observation:
    image = PIL.Image.new("RGB", (width, height), colour)
    return Observation(image=image, image_size=ImageSize(width, height), **parts)


def agent(server: Server, name: str = "gta1", **options: object) -> VisionAgent:
    return VisionAgent(GROUNDERS[name], server.url, **{"max_retries": 0, **options})


def sent_text(body: dict) -> list[tuple[str, str]]:
    return [(m["role"], p["text"]) for m in body["messages"] for p in m["content"] if p["type"] == "text"]


def sent_image(body: dict) -> PIL.Image.Image:
    (url,) = (p["image_url"]["url"] for m in body["messages"] for p in m["content"] if p["type"] == "image_url")
    return PIL.Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))


# Replies as the models' own pages and parsers show them, for the middle of a 1920x1080 screen. UI-TARS 1.0 and Qwen3-VL
# count to 1000; the others count pixels of the image as resized, 1932x1092.
WELL_FORMED = [
    ("ui-tars-1.0", "(500,500)"),
    ("ui-tars-1.0", "<|box_start|>(500,500)<|box_end|>"),
    ("ui-tars-1.0", "Thought: it is there.\nAction: click(start_box='<|box_start|>(500,500)<|box_end|>')"),
    ("ui-tars-1.0", "Action: click(start_box='[480, 490, 520, 510]')"),
    ("ui-tars-1.5", "Action: click(start_box='(966,546)')"),
    ("ui-tars-1.5", "Action: click(point='<point>966 546</point>')"),
    ("ui-tars-1.5", "Action: click(point='<point>966 546</point>"),  # the end is missing, the point is whole
    ("ui-tars-1.5", "Action：click(point='<point>966 546</point>')"),
    ("ui-tars-1.5", "<point>966 546</point>"),
    ("ui-tars-1.5", "966, 546"),
    ("ui-tars-1.5", "<think>the one at (3, 4)?</think>Action: click(start_box='(966,546)')"),
    ("qwen3-vl", 'Action: click it.\n<tool_call>\n{"name": "computer_use", "arguments": '
                 '{"action": "left_click", "coordinate": [500, 500]}}\n</tool_call>'),
    ("qwen3-vl", '<think>\n(1, 2)\n</think>\n<tool_call>\n{"name": "mobile_use", "arguments": '
                 '{"action": "click", "coordinate": [500, 500]}}\n</tool_call>'),
    ("gta1", "(966,546)"),
    ("gta1", " (966.0, 546.0)\n"),
    ("gta1", "The point is (966, 546), that is (966,546)."),
    ("jedi", '<tool_call>\n{"name": "computer_use", "arguments": {"action": "left_click", "coordinate": [966, 546]}}\n'
             "</tool_call>"),
    ("jedi", '⚗{"name": "computer_use", "arguments": {"action": "left_click", "coordinate": [966, 546]}}⚗'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "reply"), WELL_FORMED)
def test_reply_of_each_model_means_the_same_place(name, reply):
    point = read_point(reply, GROUNDERS[name].family, FULL_HD)
    assert isinstance(point, PointNorm), point
    assert (point.x, point.y) == pytest.approx((0.5, 0.5))


BROKEN = [
    ("", "names no place"),
    ("I cannot find it.", "names no place"),
    ("There are 2 buttons, 3 fields", "names no place"),
    ("(none, none)", "names no place"),
    ("nan, inf", "names no place"),
    ("(1e999, 5)", "names no place"),
    ("Action: click(start_box='(19", "names no place"),
    ("Action: finished(content='(5,5)')", "names no place"),
    ("Action: wait()", "names no place"),
    ("(1,2) or (3,4)", "names 2 places"),
    ("Action: click(start_box='(1,2)')\n\nclick(start_box='(3,4)')", "names 2 places"),
    ("Action: drag(start_box='(1,2)', end_box='(3,4)')", "names 2 places"),
    ("(-1,-1)", "off the image"),
    ("(5000,5)", "off the image"),
    ("Action: click(start_box='(5000,5)')", "off the image"),
    ("⚗{\"arguments\": {\"coordinate\": [-1, -1]}}⚗", "off the image"),
    ("<think>(5, 5)", "thought that never ends"),
    ("Action: click(start_box='__import__(\"os\").abort()')", "names no place"),
]  # fmt: skip


@pytest.mark.parametrize("name", GROUNDERS)
@pytest.mark.parametrize(("reply", "words"), BROKEN)
def test_reply_without_one_place_is_a_reason_and_never_a_corner(name, reply, words):
    found = read_point(reply, GROUNDERS[name].family, FULL_HD)
    assert isinstance(found, str)
    assert words in found


@given(st.text(max_size=200), st.sampled_from(sorted(GROUNDERS)))
def test_any_reply_gives_a_point_on_the_image_or_a_reason(reply, name):
    found = read_point(reply, GROUNDERS[name].family, FULL_HD)
    assert isinstance(found, str) or found.is_on_image


@given(st.integers(0, 999), st.integers(0, 999), st.sampled_from(sorted(GROUNDERS)))
def test_numbers_of_the_resized_image_come_back_to_their_place(x, y, name):
    family = GROUNDERS[name].family
    width, height = family.frame_size(FULL_HD)
    found = read_point(f"({x}, {y})", family, FULL_HD)
    assert (found.x * width, found.y * height) == pytest.approx((x, y))


def test_huge_reply_is_read_in_time():
    started = time.perf_counter()
    read_point("(1," * 300_000, GROUNDERS["gta1"].family, FULL_HD)
    assert time.perf_counter() - started < 5


# Sizes that the models' own processors give a 1920x1080 and a 1080x2400 screenshot; reference values of smart_resize.
@pytest.mark.parametrize(("name", "wide", "tall"), [
    ("ui-tars-1.0", (1932, 1092), (1092, 2408)), ("ui-tars-1.5", (1932, 1092), (1092, 2408)),
    ("qwen3-vl", (1920, 1088), (1088, 2400)), ("gta1", (1932, 1092), (1092, 2408)),
    ("jedi", (1932, 1092), (952, 2156)),
])  # fmt: skip
def test_image_is_sent_at_the_size_that_the_model_works_on(name, wide, tall):
    for size, wanted in (((1920, 1080), wide), ((1080, 2400), tall)):
        assert GROUNDERS[name].resize(PIL.Image.new("RGB", size)).size == wanted


@pytest.mark.parametrize("name", GROUNDERS)
def test_question_holds_the_instruction_and_the_picture(name):
    with serve((200, completion("(10,10)"))) as server:
        grounding = agent(server, name, model="m", api_key="key").ground(screen(), CLICK, 'tap {width} "Save"')
    assert grounding.action.point is not None
    path, headers, body = server.seen[0]
    assert (path, headers["authorization"], body["model"]) == ("/v1/chat/completions", "Bearer key", "m")
    assert (body["temperature"], body["max_tokens"]) == (0, GROUNDERS[name].max_tokens)
    picture = sent_image(body)
    assert (picture.height, picture.width) == GROUNDERS[name].family.resized(ImageSize(320, 200))
    texts = sent_text(body)
    assert texts[-1][0] == "user"
    assert 'tap {width} "Save"' in texts[-1][1]
    assert "{instruction}" not in str(texts)
    assert all("{width}" not in text for role, text in texts if role == "system")


def test_prompts_tell_the_size_of_the_resized_image():
    with serve((200, completion("(10,10)"))) as server:
        agent(server, "gta1").ground(screen(), CLICK, "tap it")
        agent(server, "jedi").ground(screen(), CLICK, "tap it")
    gta1, jedi = (sent_text(body)[0][1] for _, _, body in server.seen)
    assert "height 196 and width 308" in gta1
    assert "resolution is 308x196." in jedi


def test_order_of_picture_and_words_is_the_models_own():
    with serve((200, completion("(10,10)"))) as server:
        agent(server, "ui-tars-1.0").ground(screen(), CLICK, "tap it")
        agent(server, "ui-tars-1.5").ground(screen(), CLICK, "tap it")
    orders = [[part["type"] for part in body["messages"][-1]["content"]] for _, _, body in server.seen]
    assert orders == [["text", "image_url"], ["image_url", "text"]]


def test_model_is_the_only_one_that_the_server_has():
    with serve((200, completion("(154,98)")), models=("org/GTA1-7B",)) as server:
        grounding = agent(server).ground(screen(), CLICK, "tap it")
    assert server.seen[0][2]["model"] == "org/GTA1-7B"
    assert grounding.action.point == PointNorm(0.5, 0.5)


@pytest.mark.parametrize("models", [(), ("a", "b")])
def test_server_with_several_models_asks_for_a_name(models):
    with serve((200, completion("(1,1)")), models=models) as server, pytest.raises(ExecutorError, match="name one"):
        agent(server).ground(screen(), CLICK, "tap it")


def test_target_is_the_element_under_the_point():
    save = Element(role="button", text="Save", box=BoxNorm(0.4, 0.4, 0.6, 0.6))
    with serve((200, completion("(154,98)"))) as server:
        grounding = agent(server).ground(screen(elements=(save,)), CLICK, "tap it")
    assert (grounding.target, grounding.num_candidates) == (save.box, 1)


def test_drag_is_asked_for_its_start_and_its_end():
    with serve((200, completion("(154,98)")), (200, completion("(308,196)"))) as server:
        grounding = agent(server).ground(screen(), Action(type="drag"), "drag milk to tea")
    assert (grounding.action.start_point, grounding.action.end_point) == (PointNorm(0.5, 0.5), PointNorm(1.0, 1.0))
    first, second = (sent_text(body)[-1][1] for _, _, body in server.seen)
    assert ("begins" in first, "ends" in second) == (True, True)


@pytest.mark.parametrize("action", [
    Action(type="type", content="milk"), Action(type="press_back"), Action(type="scroll", direction="down"),
    Action(type="click", point=PointNorm(0.2, 0.3)), Action(type="finished"),
])  # fmt: skip
def test_actions_that_lack_no_point_pass_unchanged_and_nobody_is_asked(action):
    with serve((200, completion("(1,1)"))) as server:
        assert agent(server).ground(screen(), action, "do it").action == action
    assert server.seen == []


def test_reply_without_a_place_is_a_grounding_without_an_action():
    with serve((200, completion("I see no such button"))) as server:
        grounding = agent(server).ground(screen(), CLICK, "tap it")
    assert (grounding.action, grounding.reason) == (None, "the reply names no place: I see no such button")


def test_reply_that_ran_out_of_tokens_is_no_place_even_if_numbers_are_there():
    with serve((200, completion("(15,9)", finish_reason="length"))) as server:
        grounding = agent(server).ground(screen(), CLICK, "tap it")
    assert (grounding.action, grounding.reason) == (None, "the reply was cut off after 32 tokens")


def test_separate_reasoning_is_no_place():
    with serve((200, completion(None, reasoning_content="maybe (5,5)"))) as server:
        assert "never ends" in agent(server, "qwen3-vl").ground(screen(), CLICK, "tap it").reason


def test_server_that_shrinks_images_is_found_out():
    tokens = (308 // 28) * (196 // 28)
    with serve((200, completion("(5,5)", usage={"prompt_tokens": tokens - 1, "completion_tokens": 1,
                                                "total_tokens": tokens}))) as server:
        with pytest.raises(ExecutorError, match="shrinks images"):
            agent(server, "gta1").ground(screen(), CLICK, "tap it")
        # a frame relative to the image stays right
        assert agent(server, "ui-tars-1.0").ground(screen(), CLICK, "tap it").action is not None


@pytest.mark.parametrize("answer", [(500, {"error": "broken"}), (404, "no"), (200, "<html>"), (200, {"choices": []}),
                                    (200, Cut()), (200, Drip(3.0)), (200, 1.0)])  # fmt: skip
def test_server_without_a_reply_is_a_failure_at_ground_within_the_time_limit(answer):
    with serve(answer) as server:
        started = time.perf_counter()
        with pytest.raises(ExecutorError, match="ground: server 127.0.0.1") as caught:
            agent(server, timeout_seconds=0.4).ground(screen(), CLICK, "tap it")
        assert time.perf_counter() - started < 3.0
    assert caught.value.boundary == "ground"


@pytest.mark.parametrize("answer", [(503, "busy"), (429, "slow down"), (200, Cut())])
def test_lost_attempt_is_made_again_after_a_pause(answer):
    with serve(answer, (200, completion("(154,98)"))) as server:
        assert agent(server, max_retries=1).ground(screen(), CLICK, "tap it").action is not None
    assert len(server.seen) == 2


def test_same_question_is_asked_once_and_another_anew():
    with serve((200, completion("(154,98)"))) as server:
        eyes = agent(server)
        for observation, words in [(screen(), "tap a"), (screen(), "tap a"), (screen(), "tap b"),
                                   (screen(colour="red"), "tap a")]:
            eyes.ground(observation, CLICK, words)
    assert len(server.seen) == 3


def test_failure_is_not_kept():
    with serve((500, "no"), (200, completion("(154,98)"))) as server:
        eyes = agent(server)
        with pytest.raises(ExecutorError):
            eyes.ground(screen(), CLICK, "tap it")
        assert eyes.ground(screen(), CLICK, "tap it").action is not None


def test_many_steps_are_grounded_together_and_equal_ones_asked_once():
    requests = [(screen(), CLICK, f"tap {n % 4}") for n in range(16)]
    with serve((200, 0.3)) as server:
        started = time.perf_counter()
        results = ground_each(agent(server), requests)
        assert time.perf_counter() - started < 2.5  # one after another: 16 x 0.3
    assert len(server.seen) == 4
    assert all(isinstance(result, ExecutorError) for result in results)  # "late" is no chat completion


def test_agents_without_a_server_ground_each_in_turn():
    observations = (Observation(), screen(elements=(Element(role="button", text="A", box=BoxNorm(0, 0, 1, 1)),)))
    failed, done = ground_each(ElementTreeAgent(), [(seen, CLICK, 'tap "A"') for seen in observations])
    assert isinstance(failed, ExecutorError)
    assert done.action.point == PointNorm(0.5, 0.5)


def test_observation_without_a_screenshot_is_a_failure_of_the_agent():
    with serve((200, completion("(1,1)"))) as server, pytest.raises(ExecutorError, match="no screenshot"):
        agent(server).ground(Observation(), CLICK, "tap it")


def test_image_that_no_model_takes_is_a_failure_of_the_agent():
    with serve((200, completion("(1,1)"))) as server, pytest.raises(ExecutorError, match="aspect ratio"):
        agent(server).ground(screen(2100, 10), CLICK, "tap it")


def test_empty_instruction_asks_nobody():
    with serve((200, completion("(1,1)"))) as server:
        assert agent(server).ground(screen(), CLICK, " ").reason == "the instruction is empty"
    assert server.seen == []


def test_specification_names_model_and_server():
    with serve((200, completion("(154,98)"))) as server:
        eyes = get_tool_agent(f"gta1:org/model@{server.url}")
        assert eyes.ground(screen(), CLICK, "tap it").action is not None
        assert get_tool_agent(f"gta1:org/model@{server.url}") is eyes
    assert server.seen[0][2]["model"] == "org/model"


@pytest.mark.parametrize(("spec", "words"), [
    ("gta2@http://localhost/v1", "not GROUNDER@URL"), ("gta1@localhost", "not GROUNDER@URL"),
    ("gta1@http://", "server address"), ("@http://localhost", "not GROUNDER@URL"),
    ("gta1@http://[::1/v1", "server address"), ("gta1@http://localhost:port/v1", "server address"),
    ("gta1@https://example.com/v1", "TRACER1_TOOL_SERVERS=example.com"),
    ("gta1@http://localhost@example.com/v1", "TRACER1_TOOL_SERVERS=example.com"),
])  # fmt: skip
def test_specification_that_is_none_or_not_allowed_is_refused(spec, words, monkeypatch):
    monkeypatch.delenv("TRACER1_TOOL_SERVERS", raising=False)
    with pytest.raises(InputError, match=words):
        get_tool_agent(spec)


def test_other_servers_are_allowed_by_name(monkeypatch):
    monkeypatch.setenv("TRACER1_TOOL_SERVERS", "other.example, gpu.example")
    load_vision_agent.cache_clear()
    assert get_tool_agent("jedi@https://gpu.example/v1").name == "jedi"


def test_password_in_an_address_is_not_told():
    with pytest.raises(InputError) as caught:
        get_tool_agent("nobody@http://me:secret@localhost/v1")
    assert "secret" not in str(caught.value)
