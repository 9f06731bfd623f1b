"""The Android executor through Debian's real adb server, with a fake device daemon that speaks the true protocol."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from executors.actions import Action
from executors.android import AndroidExecutor, find_package, list_phones, scroll_path
from executors.android_tree import read_hierarchy
from executors.errors import ExecutorError
from executors.geometry import ImageSize, PointNorm
from executors.tool_agents import ElementTreeAgent
from tests.executors.conformance import *  # noqa: F403
from tests.executors.conformance import Subject
from tests.executors.fake_adbd import KEYBOARD, LATIN, FakeAdbd, Phone
from tests.support import require_program

pytestmark = pytest.mark.usefixtures("permitted")

MIDDLE = PointNorm(0.5, 0.5)
NOTES = PointNorm(0.4, 0.56)
FIELD = PointNorm(0.5, 0.19)


@pytest.fixture(scope="module")
def adb(tmp_path_factory) -> Iterator[int]:
    """A real adb server on a port of its own; whatever server is left on it is ended."""
    program = require_program("adb")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    patch = pytest.MonkeyPatch()
    patch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    patch.setenv("ANDROID_ADB_SERVER_HOST", "127.0.0.1")
    patch.setenv("ADBUTILS_ADB_PATH", program)
    patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # where it keeps its keys
    subprocess.run([program, "start-server"], check=True, capture_output=True, timeout=60)
    yield port
    subprocess.run([program, "kill-server"], check=False, capture_output=True, timeout=60)
    patch.undo()


@pytest.fixture
def daemon(adb) -> Iterator[FakeAdbd]:
    served = FakeAdbd(Phone())
    yield served
    served.close()


def open_phone(daemon: FakeAdbd, **options: object) -> AndroidExecutor:
    return AndroidExecutor(daemon.serial, **{"settle_seconds": 0.0, "time_limit_seconds": 10.0, **options})


@pytest.fixture
def device(daemon, permitted) -> Iterator[AndroidExecutor]:
    executor = open_phone(daemon)
    executor.reset()
    yield executor
    executor.close()


@pytest.fixture
def phone(device, daemon) -> Phone:
    daemon.phone.touches.clear()
    return daemon.phone


@pytest.fixture
def subject(daemon, permitted) -> Iterator[Subject]:
    executor = open_phone(daemon)
    yield Subject(executor, [
        Action(type="click", point=NOTES), Action(type="type", content="a <b>\n", point=FIELD),
        Action(type="long_press", point=MIDDLE, seconds=0.1), Action(type="scroll", direction="down"),
        Action(type="drag", start_point=MIDDLE, end_point=FIELD), Action(type="press_back"),
        Action(type="press_appselect"), Action(type="open_app", app_name="Settings"), Action(type="wait", seconds=0.0),
    ])  # fmt: skip
    executor.close()


def test_screen_has_its_elements_and_its_app(device):
    seen = device.execute(Action(type="click", point=NOTES)).observation
    assert seen.summary == "org.toy.notes"
    title, save = seen.elements
    assert (title.role, title.text, title.value, title.is_focused) == ("field", "Title", "", True)
    assert (save.role, save.text, save.box.center) == ("button", "Save", PointNorm(0.25, 0.4375))


def test_goal_is_reached_by_words_through_the_element_tree(device, phone):
    agent = ElementTreeAgent()
    for action, words in [
        (Action(type="click"), 'tap the "Notes" text'), (Action(type="click"), 'tap the "Title" field'),
        (Action(type="type", content="Milk & eggs"), 'type "Milk & eggs"'), (Action(type="click"), 'tap "Save"'),
    ]:  # fmt: skip
        grounding = agent.ground(device.observe(), action, words)
        device.execute(grounding.action)
    assert (phone.text, phone.is_saved) == ("Milk & eggs", True)


@pytest.mark.parametrize(("point", "pixel"), [
    (PointNorm(0.0, 0.0), (0, 0)), (PointNorm(1.0, 1.0), (399, 799)), (PointNorm(0.001, 0.001), (0, 0)),
    (PointNorm(0.0025, 0.00125), (1, 1)),  # adbutils would take these for the far corner
])  # fmt: skip
def test_tap_lands_on_its_pixel(device, phone, point, pixel):
    device.execute(Action(type="click", point=point))
    assert phone.touches == [("tap", *pixel)]


def test_long_press_drag_and_scroll_are_paths_of_a_finger(device, phone):
    for action in (Action(type="long_press", point=MIDDLE), Action(type="long_press", point=MIDDLE, seconds=0.2),
                   Action(type="drag", start_point=MIDDLE, end_point=PointNorm(0.9, 0.9)),
                   Action(type="scroll", direction="down"), Action(type="scroll", direction="left")):  # fmt: skip
        device.execute(action)
    assert phone.touches == [
        ("swipe", 200, 400, 200, 400, 1000), ("swipe", 200, 400, 200, 400, 200), ("swipe", 200, 400, 360, 720, 800),
        ("swipe", 200, 400, 200, 79, 300), ("swipe", 200, 400, 360, 400, 300),
    ]  # fmt: skip


@pytest.mark.parametrize("direction", ["up", "down", "left", "right"])
@pytest.mark.parametrize("point", [None, PointNorm(0.0, 0.0), PointNorm(1.0, 1.0), PointNorm(0.3, 0.9)])
def test_finger_of_a_scroll_stays_off_the_edges(point, direction):
    for end in scroll_path(point, direction):
        assert 0.049 <= end.x <= 0.951 and 0.049 <= end.y <= 0.951


@pytest.mark.parametrize("text", [
    "plain", "two words  and  spaces ",
    "a b'c \"d\" $x & (e) | `f` ; < > * ? # ~ ! \\ \\n {g} [h]", "100%s sure, %d %%s",
    "one\ntwo\n", "a\tb", "-5", "x" * 350, "$(reboot)",
])  # fmt: skip
def test_ascii_text_arrives_as_it_is(device, phone, text):
    device.execute(Action(type="type", content=text))
    assert phone.text == text


@pytest.mark.parametrize("text", ["naïve café", "你好\nпривет", "😀👍🏽", "مرحبا"])
def test_other_text_goes_through_the_keyboard_app_and_back(device, phone, text):
    phone.keyboards.append(KEYBOARD)
    device.execute(Action(type="type", content=text, point=FIELD))
    assert (phone.text, phone.keyboard) == (text, LATIN)


def test_other_text_without_the_keyboard_app_is_refused_before_anything_is_touched(device, phone):
    with pytest.raises(ExecutorError, match="character 'é' cannot be typed: install the app ADBKeyBoard"):
        device.execute(Action(type="type", content="abc é", point=FIELD))
    assert (phone.text, phone.touches) == ("", [])


@pytest.mark.parametrize(("name", "app"), [
    ("Settings", "com.android.settings"), ("notes", "org.toy.notes"), ("org.toy.notes", "org.toy.notes"),
])  # fmt: skip
def test_app_is_opened_by_name_or_package(device, phone, name, app):
    device.execute(Action(type="open_app", app_name=name))
    assert phone.app == app


def test_app_that_is_not_there_is_told(device, phone):
    with pytest.raises(ExecutorError, match="app 'Bank; reboot' cannot be opened: no package fits"):
        device.execute(Action(type="open_app", app_name="Bank; reboot"))
    phone.broken["monkey"] = b"** No activities found to run, monkey aborted.\n"
    with pytest.raises(ExecutorError, match="did not start: .* No activities found"):
        device.execute(Action(type="open_app", app_name="Notes"))


def test_name_that_fits_several_packages_opens_none():
    with pytest.raises(ExecutorError, match="2 packages fit"):
        find_package("notes", ["a.notes", "b.notes.c"])


def test_turned_phone_is_tapped_in_its_new_frame(device, phone):
    phone.size = (800, 400)
    seen = device.observe()
    assert (seen.image_size, seen.load_image().size) == (ImageSize(800, 400), (800, 400))
    device.execute(Action(type="click", point=PointNorm(0.99, 0.5)))
    assert phone.touches == [("tap", 792, 200)]


@pytest.mark.parametrize("picture", [b"", b"screencap: not found", b"\x89PNG\r\n\x1a\n broken", None])
def test_screenshot_that_is_none_is_a_failure_and_no_black_picture(device, phone, picture):
    phone.broken["screencap"] = phone.picture()[:-300] if picture is None else picture
    with pytest.raises(ExecutorError, match="observe: the phone sent no screenshot") as caught:
        device.observe()
    assert caught.value.boundary == "observe"


def test_screen_that_never_rests_has_no_elements(device, phone):
    phone.broken["uiautomator"] = b"ERROR: could not get idle state.\n"
    phone.broken["cat"] = b""
    seen = device.observe()
    assert (seen.elements, seen.image_size) == ((), ImageSize(400, 800))


def test_command_that_the_phone_refuses_is_a_failure(device, phone):
    phone._run = lambda words: (b"Permission denied\n", 1)
    with pytest.raises(ExecutorError, match=r"refused `input` \(exit code 1\): Permission denied") as caught:
        device.execute(Action(type="press_back"))
    assert caught.value.boundary == "execute"


def test_phone_that_drops_out_is_found_again_and_no_action_is_repeated(device, daemon, phone):
    phone.slow_seconds["input"] = 0.5
    threading.Timer(0.3, daemon.drop).start()
    with pytest.raises(ExecutorError, match="execute: the phone broke off `input`"):
        device.execute(Action(type="press_back"))
    phone.slow_seconds.clear()
    assert device.observe().image is not None
    time.sleep(0.5)
    assert [t for t in phone.touches if t[0] == "key"] == [("key", "4")]
    device.execute(Action(type="click", point=NOTES))
    assert phone.app == "org.toy.notes"


def test_phone_that_stays_away_is_a_failure_within_the_time_limit(daemon):
    device = open_phone(daemon, time_limit_seconds=2.0)
    device.reset()
    daemon.close()
    started = time.monotonic()
    with pytest.raises(ExecutorError, match="observe: ") as caught:
        device.observe()
    assert time.monotonic() - started < 6
    assert caught.value.boundary == "observe"
    device.close()


def test_phone_that_hangs_is_a_failure_within_the_time_limit(daemon):
    device = open_phone(daemon, time_limit_seconds=1.0)
    device.reset()
    daemon.phone.slow_seconds["input"] = 5.0
    started = time.monotonic()
    with pytest.raises(ExecutorError, match="execute: "):
        device.execute(Action(type="press_back"))
    assert time.monotonic() - started < 4
    device.close()


def test_stop_ends_a_long_press_at_once(device, phone):
    phone.slow_seconds["input"] = 5.0
    threading.Timer(0.2, device.stop.trip, ["a test"]).start()
    started = time.monotonic()
    with pytest.raises(ExecutorError, match="stopped by a test"):
        device.execute(Action(type="long_press", point=MIDDLE, seconds=5.0))
    assert time.monotonic() - started < 0.6


def test_several_phones_ask_for_a_serial(adb, daemon, device):
    other = FakeAdbd(Phone())
    second = open_phone(other)
    second.reset()
    second.execute(Action(type="click", point=NOTES))
    assert (other.phone.app, daemon.phone.app) == ("org.toy.notes", "com.toy.launcher")
    unnamed = AndroidExecutor(time_limit_seconds=5.0)
    with pytest.raises(ExecutorError, match="devices .*: name the serial of one"):
        unnamed.reset()
    second.close()
    other.close()


def test_serial_that_is_not_there_is_told(device):
    wrong = AndroidExecutor("emulator-9999", time_limit_seconds=3.0)
    with pytest.raises(ExecutorError, match="device 'emulator-9999' is not ready"):
        wrong.reset()


def test_adb_server_that_is_killed_is_started_again(adb, device, phone):
    (server,) = (p for p in psutil.process_iter(["cmdline"]) if f"tcp:{adb}" in (p.info["cmdline"] or []))
    server.kill()
    with pytest.raises(ExecutorError):
        for _ in range(2):
            device.execute(Action(type="press_back"))
    assert device.observe().image is not None


# --- the hierarchy ---

SCREEN = ImageSize(100, 100)


def elements_of(*nodes: str) -> list:
    return list(read_hierarchy("<hierarchy>" + "".join(nodes) + "</hierarchy>", SCREEN)[0])


def test_clickable_container_takes_the_texts_in_it():
    row, text = elements_of(
        '<node class="android.widget.LinearLayout" clickable="true" bounds="[0,0][100,20]">'
        '<node class="android.widget.TextView" text="Anna" bounds="[0,0][50,20]"/>'
        '<node class="android.widget.Button" text="Call" clickable="true" bounds="[200,0][250,20]"/></node>'
    )
    assert (row.role, row.text, row.is_clickable) == ("row", "Anna", True)
    assert (text.role, text.text, text.is_clickable) == ("text", "Anna", False)


@pytest.mark.parametrize(("attributes", "role", "text", "value"), [
    ('class="androidx.appcompat.widget.SwitchCompat" checkable="true" checked="true" content-desc="Wi-Fi"', "switch",
     "Wi-Fi", "on"),
    ('class="android.widget.CheckBox" text="Agree" checkable="true"', "checkbox", "Agree", "off"),
    ('class="android.widget.EditText" text="Milk" hint="Title" clickable="true"', "field", "Title", "Milk"),
    ('class="android.widget.EditText" text="Title" hint="Title" clickable="true"', "field", "Title", ""),
    ('class="android.widget.EditText" text="hunter2" password="true" clickable="true"', "field", "", None),
    ('class="android.widget.ImageView" content-desc="Back" clickable="true"', "image", "Back", None),
    ('class="android.view.View" clickable="true"', "row", "", None),
])  # fmt: skip
def test_node_is_read_by_its_class_and_state(attributes, role, text, value):
    (element,) = elements_of(f'<node {attributes} bounds="[0,0][50,20]"/>')
    assert (element.role, element.text) == (role, text)
    assert (element.value or None) == (value or None)


def test_nodes_off_the_screen_and_without_meaning_are_left_out():
    assert elements_of(
        '<node class="a.Button" text="Gone" bounds="[0,200][50,220]"/>',
        '<node class="a.Button" text="x" bounds="[9,9][9,9]"/>',
        '<node class="a.FrameLayout" bounds="[0,0][50,50]"/>', '<node class="a.Button" text="y"/>',
        '<node class="a.Button" text="z" bounds="[a,b][c,d]"/>',
    ) == []  # fmt: skip
    (low,) = elements_of('<node class="a.Button" text="Low" bounds="[-10,90][50,130]"/>')
    assert (low.box.left, low.box.top, low.box.bottom) == (0.0, 0.9, 1.0)


@pytest.mark.parametrize("dump", ["", "ERROR: null root node", "<hierarchy><node", "<hierarchy/>", "\0<hierarchy>\0<"])
def test_text_that_is_no_dump_has_no_elements(dump):
    assert read_hierarchy(dump, SCREEN) == ((), "")


def test_phones_are_listed_with_their_state(device, daemon):
    assert list_phones()[daemon.serial] == "device"
