"""AndroidWorld's phone over HTTP, against a local server with its contract; the phone in its own process in small."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from executors.actions import Action, Space, actions_in
from executors.android_world import (
    AndroidWorldExecutor,
    PhoneInProcess,
    read_pixels,
    read_ui_elements,
    to_json_actions,
)
from executors.android_world_server import AndroidWorldServer, PhoneAtServer
from executors.errors import ExecutorError, InputError
from executors.geometry import ImageSize, PointNorm
from tests.executors.android_world_fake import ACTIONS, FIELDS, HEIGHT, WIDTH, Server, serve
from tests.executors.conformance import *  # noqa: F403
from tests.executors.conformance import Subject

CENTER = PointNorm(0.5, 0.5)
SIZE = ImageSize(1080, 2400)


@pytest.fixture
def server() -> Iterator[Server]:
    with serve({"TypeIt": "type hello", "AskIt": "answer 42"}) as running:
        yield running


def device_of(server: Server, name: str = "TypeIt", **options: Any) -> AndroidWorldExecutor:
    client = AndroidWorldServer(server.url, timeout_seconds=5.0)
    return AndroidWorldExecutor(PhoneAtServer(server=client, name=name, index=0), **options)


@pytest.fixture
def device(server) -> Iterator[AndroidWorldExecutor]:
    executor = device_of(server)
    yield executor
    executor.close()


@pytest.fixture
def subject(device) -> Subject:
    return Subject(device, [
        Action(type="click", point=CENTER), Action(type="long_press", point=CENTER, seconds=2.0),
        Action(type="type", content="a <b> é\n", point=CENTER), Action(type="scroll", direction="down"),
        Action(type="drag", start_point=PointNorm(0.5, 0.9), end_point=PointNorm(0.5, 0.1)),
        Action(type="open_app", app_name="clock"), Action(type="press_home"), Action(type="press_back"),
        Action(type="wait", seconds=0.0),
    ])  # fmt: skip


def test_task_is_set_up_from_the_home_screen_and_judged(server, device):
    device.reset()
    assert device.goal == "type hello"
    told = [(method, path) for method, path, _, _ in server.requests]
    assert told[:4] == [("POST", "/reset"), ("POST", "/task/initialize"), ("GET", "/task/goal"), ("GET", "/screenshot")]
    result = device.execute(Action(type="type", content="hello\n", point=CENTER))
    assert result.had_effect and result.message == ""
    assert server.actions == [{"action_type": "input_text", "text": "hello", "x": WIDTH // 2, "y": HEIGHT // 2}]
    device.execute(Action(type="finished"))
    assert device.is_success() is True and device.score == 1.0


def test_task_that_was_never_said_to_be_done_scores_nothing(server, device):
    device.reset()
    device.execute(Action(type="type", content="hello"))
    assert device.is_success() is False and device.score == 0.0
    assert not [path for _, path, _, _ in server.requests if path == "/task/score"]


@pytest.mark.parametrize(("action", "is_right"), [
    (Action(type="finished", content="42"), True), (Action(type="finished", content="41"), False),
    (Action(type="finished"), False), (Action(type="call_user", content="42"), False),
])  # fmt: skip
def test_answer_is_sent_before_the_judgement(server, action, is_right):
    device = device_of(server, "AskIt")
    device.reset()
    device.execute(action)
    assert device.is_success() is is_right
    device.close()


# Source: actuation.py (commit 1903b2f): where a finger goes for each name.
@pytest.mark.parametrize(("action", "sent"), [
    (Action(type="click", point=CENTER), [{"action_type": "click", "x": 540, "y": 1200}]),
    (Action(type="scroll", direction="down", point=CENTER), [{"action_type": "scroll", "direction": "down"}]),
    (Action(type="drag", start_point=PointNorm(0.5, 0.9), end_point=PointNorm(0.5, 0.2)),
     [{"action_type": "swipe", "direction": "up"}]),
    (Action(type="drag", start_point=PointNorm(0.5, 0.0), end_point=PointNorm(0.5, 0.7)),
     [{"action_type": "swipe", "direction": "down"}]),
    (Action(type="drag", start_point=PointNorm(0.9, 0.5), end_point=PointNorm(0.1, 0.5)),
     [{"action_type": "swipe", "direction": "right"}]),
    (Action(type="drag", start_point=PointNorm(0.1, 0.5), end_point=PointNorm(0.9, 0.5)),
     [{"action_type": "swipe", "direction": "left"}]),
    (Action(type="type", content="a\nb\n"), [{"action_type": "input_text", "text": "a\nb"}]),
    (Action(type="type", content="\n"), [{"action_type": "keyboard_enter"}]),
    (Action(type="type", content="", point=CENTER), [{"action_type": "click", "x": 540, "y": 1200}]),
    (Action(type="press_home"), [{"action_type": "navigate_home"}]),
    (Action(type="press_back"), [{"action_type": "navigate_back"}]),
    (Action(type="open_app", app_name="Clock"), [{"action_type": "open_app", "app_name": "Clock"}]),
    (Action(type="finished"), []), (Action(type="call_user"), []), (Action(type="wait"), []),
])  # fmt: skip
def test_actions_become_androidworlds(action, sent):
    assert to_json_actions(action, SIZE) == sent


def test_every_action_of_a_phone_is_one_of_androidworlds_or_refused():
    given = {"point": CENTER, "start_point": PointNorm(0.5, 0.1), "end_point": PointNorm(0.5, 0.9), "content": "a",
             "direction": "up", "app_name": "Clock"}  # fmt: skip
    refused = set()
    for spec in actions_in(Space.MOBILE):
        action = Action(type=spec.name, **{arg.name: given[arg.name] for arg in spec.args if arg.required})
        try:
            for record in to_json_actions(action, SIZE):
                assert record["action_type"] in ACTIONS and set(record) <= FIELDS
        except ExecutorError:
            refused.add(spec.name)
    assert refused == {"press_appselect"}


@pytest.mark.parametrize(("values", "words"), [
    ({"type": "drag", "start_point": CENTER, "end_point": PointNorm(0.6, 0.5)}, "only swipes"),
    ({"type": "drag", "start_point": PointNorm(0, 0), "end_point": PointNorm(1, 1)}, "only swipes"),
    ({"type": "type", "content": "你好"}, "leaves nothing of '你好'"),
    ({"type": "hotkey", "key": "a"}, "no way to hotkey"),
])  # fmt: skip
def test_what_androidworld_would_do_otherwise_is_refused(values, words):
    with pytest.raises(ExecutorError, match=words):
        to_json_actions(Action(**values), SIZE)


@pytest.mark.parametrize(("action", "words"), [
    (Action(type="type", content="café"), "typed 'cafe': it has ASCII only"),
    (Action(type="type", content="cafe"), "pressed Enter after the text"),
    (Action(type="scroll", direction="down", point=CENTER), "scrolled the whole screen"),
])  # fmt: skip
def test_what_androidworld_does_otherwise_is_told(device, action, words):
    device.reset()
    assert words in device.execute(action).message


def test_points_follow_the_screen_when_the_phone_is_turned(server, device):
    device.reset()
    turned = device.execute(Action(type="open_app", app_name="wide")).observation
    assert turned.image_size == ImageSize(HEIGHT, WIDTH)
    device.execute(Action(type="click", point=PointNorm(1.0, 1.0)))
    assert server.actions[-1] == {"action_type": "click", "x": HEIGHT - 1, "y": WIDTH - 1}


@pytest.mark.parametrize(("path", "fault", "boundary", "words"), [
    ("/task/initialize", (500, "Internal Server Error"), "reset", "status 500: Internal Server Error"),
    ("/task/goal", {"goal": 3}, "reset", "gave no goal but 3"),
    ("/reset", (422, '{"detail": []}'), "reset", "status 422"),
    ("/screenshot", (200, "<html>"), "observe", "gave no JSON"), ("/screenshot", [1], "observe", "gave no object"),
    ("/screenshot", {"pixels": None}, "observe", "gave no pixels"),
    ("/screenshot", {"pixels": []}, "observe", "no screen"),
    ("/screenshot", {"pixels": [[1, 2]]}, "observe", "no screen"),
    ("/screenshot", {"pixels": [[[1, 2]]]}, "observe", "no screen"),
    ("/screenshot", {"pixels": [[[1, 2, 3, 4]]]}, "observe", "no screen"),
    ("/screenshot", {"pixels": [[[1, 2, 3]], [[1, 2, 3], [1, 2, 3]]]}, "observe", "no screen"),
    ("/screenshot", {"pixels": [[["a", "b", "c"]]]}, "observe", "no screen"),
    ("/screenshot", {"pixels": [[[0.5, 1.0, 0.0]]]}, "observe", "no screen"),
    ("/screenshot", {"pixels": [[[1, 2, 300]]]}, "observe", "colours 1..300"),
    ("/execute_action", (500, "x" * 5000), "execute", "status 500"),
    ("/task/score", {"score": "high"}, "judge", "no score"), ("/task/score", {"score": True}, "judge", "no score"),
    ("/task/score", {"score": 1.5}, "judge", "no score 0..1"), ("/task/score", (500, ""), "judge", "status 500"),
])  # fmt: skip
def test_failure_of_the_server_is_told_with_its_boundary(server, device, path, fault, boundary, words):
    server.faults[path] = fault
    with pytest.raises(ExecutorError, match=words) as caught:
        device.reset()
        device.execute(Action(type="click", point=CENTER))
        device.execute(Action(type="finished"))
        device.is_success()
    assert caught.value.boundary == boundary and len(str(caught.value)) < 300


def test_server_that_hangs_is_a_failure_within_the_time_limit(server):
    device = device_of(server)
    device.phone.server._client.timeout = 0.3
    server.faults["/screenshot"] = 2.0
    with pytest.raises(ExecutorError, match="observe: AndroidWorld's /screenshot did not answer in time"):
        device.reset()
    device.close()


def test_server_that_is_not_there_is_told():
    client = AndroidWorldServer("http://127.0.0.1:9")
    with pytest.raises(InputError, match="no ready AndroidWorld server.*start its container"):
        client.check()
    with pytest.raises(InputError, match="'localhost:5000' is no address"):
        AndroidWorldServer("localhost:5000")


def test_failed_answer_may_be_given_again(server):
    device = device_of(server, "AskIt")
    device.reset()
    server.faults["/execute_action"] = (500, "")
    with pytest.raises(ExecutorError, match="status 500"):
        device.execute(Action(type="finished", content="42"))
    server.faults.clear()
    device.execute(Action(type="finished", content="42"))
    assert device.is_success() is True
    device.close()


def test_pixels_may_be_an_array():
    assert read_pixels(np.zeros((4, 3, 3), dtype=np.uint8)).image_size == ImageSize(3, 4)


@dataclass
class JSONAction:
    """As in AndroidWorld's json_action.py."""

    action_type: str | None = None
    index: int | None = None
    x: int | None = None
    y: int | None = None
    text: str | None = None
    direction: str | None = None
    goal_status: str | None = None
    app_name: str | None = None
    keycode: str | None = None
    clear_text: bool | None = None


def ui_element(**values: Any) -> SimpleNamespace:
    """As in AndroidWorld's representation_utils.py."""
    names = (
        "text content_description class_name bbox_pixels hint_text is_checked is_checkable is_clickable is_editable "
        "is_focused is_long_clickable is_visible resource_name"
    )
    return SimpleNamespace(**{**dict.fromkeys(names.split()), **values})


def box(left: float, right: float, top: float, bottom: float) -> SimpleNamespace:
    return SimpleNamespace(x_min=left, x_max=right, y_min=top, y_max=bottom)


def test_elements_of_androidworld_become_ours():
    elements = read_ui_elements([
        ui_element(text="Save", class_name="android.widget.Button", is_clickable=True,
                   bbox_pixels=box(-5, 50, 0, 100)),
        ui_element(text="Ann", hint_text="Name", class_name="android.widget.EditText", is_editable=True,
                   is_focused=True, bbox_pixels=box(0, 100, 100, 200)),
        ui_element(content_description="Wi-Fi", class_name="android.widget.Switch", is_checkable=True, is_checked=True,
                   bbox_pixels=box(0, 10, 0, 10)),
        ui_element(text="gone", bbox_pixels=box(0, 10, 0, 10), is_visible=False),
        ui_element(text="below", bbox_pixels=box(0, 10, 200, 300)), ui_element(text="nowhere"),
        ui_element(bbox_pixels=box(0, 10, 0, 10)),
    ], ImageSize(100, 200))  # fmt: skip
    assert [(e.role, e.text, e.value, e.is_focused) for e in elements] == [
        ("button", "Save", None, False), ("field", "Name", "Ann", True), ("switch", "Wi-Fi", "on", False)]  # fmt: skip
    assert (elements[0].box.left, elements[0].box.right, elements[0].box.bottom) == (0.0, 0.5, 0.5)


@pytest.fixture
def json_action(monkeypatch) -> None:
    """AndroidWorld's module json_action in small."""
    module = types.ModuleType("android_world.env.json_action")
    module.JSONAction = JSONAction
    for name in ("android_world", "android_world.env"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "android_world.env.json_action", module)


def test_phone_in_process_acts_and_leaves_the_judgement_to_its_runner(json_action):
    done: list[JSONAction] = []
    state = SimpleNamespace(pixels=np.zeros((200, 100, 3), np.uint8), ui_elements=[])
    phone = PhoneInProcess(env=SimpleNamespace(execute_action=done.append), goal="a goal", get_state=lambda: state)
    device = AndroidWorldExecutor(phone)
    device.reset()
    device.execute(Action(type="click", point=CENTER))
    device.execute(Action(type="finished", content="7"))
    assert done == [JSONAction("click", x=50, y=100), JSONAction("answer", text="7")]
    assert device.goal == "a goal" and device.is_success() is None
    device.close()
