"""Tools as a world: calls that really run, tools that fail in every way, and the judged answer."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from executors.actions import Action
from executors.errors import ExecutorError, InputError
from executors.sandbox import SandboxLimits
from executors.tool_world import ToolExecutor
from tests.executors.conformance import *  # noqa: F403
from tests.executors.conformance import Subject
from tests.support import require_sandbox


def png(size: tuple[int, int] = (64, 32), colour: str = "white") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="PNG")
    return buffer.getvalue()


def call(name: str, **arguments: object) -> Action:
    return Action(type="tool_call", name=name, arguments=arguments)


def finish(answer: str | None = None) -> Action:
    return Action(type="finished", content=answer)


SUM = call("Calculator", expression="2 + 3")
FILES = {"a.png": png(), "b.csv": b"name,price\nmilk,12\n"}


@pytest.fixture
def subject() -> Iterator[Subject]:
    executor = ToolExecutor("Add.", FILES, judge=lambda answer: answer == "5")
    boxed = call("DrawBox", image="a.png", bbox="(1, 1, 9, 9)")
    yield Subject(executor, [SUM, boxed, call("ImageMeasure", image="a.png")])
    executor.close()


@pytest.fixture
def world() -> Iterator[ToolExecutor]:
    executor = ToolExecutor("Add.", FILES, judge=lambda answer: answer == "5")
    executor.reset()
    yield executor
    executor.close()


def test_the_start_tells_the_files_and_shows_the_first_image(world: ToolExecutor) -> None:
    first = world.observe()
    assert (first.text, first.load_image().size) == ("files: a.png, b.csv", (64, 32))
    bare = ToolExecutor("Add.")
    assert (bare.reset().text, bare.observe().image_size) == ("no files", None)
    bare.close()


def test_the_last_image_that_was_made_is_shown_until_the_next(world: ToolExecutor) -> None:
    made = world.execute(call("ImageCrop", image="a.png", bbox="(0, 0, 10, 8)"))
    assert (made.had_effect, made.message, made.observation.text) == (True, "", "made the image image-1.png")
    assert made.observation.load_image().size == (10, 8)
    assert world.execute(SUM).observation.load_image().size == (10, 8)
    assert world.execute(call("DrawBox", image="a.png", bbox="(1, 1, 9, 9)")).observation.text.endswith("image-2.png")


def test_a_right_answer_is_success_and_another_or_none_is_not(world: ToolExecutor) -> None:
    assert world.is_success() is False
    world.execute(finish("5"))
    assert (world.answer, world.is_success()) == ("5", True)
    for ending in (finish("6"), finish(), Action(type="call_user")):
        world.reset()
        world.execute(ending)
        assert world.is_success() is False
    unjudged = ToolExecutor("Add.")
    unjudged.reset()
    unjudged.execute(finish("5"))
    assert unjudged.is_success() is None


def test_a_judge_that_raises_is_a_failed_judge() -> None:
    executor = ToolExecutor("Add.", judge=lambda answer: 1 / 0)
    executor.reset()
    executor.execute(finish("5"))
    with pytest.raises(ExecutorError, match="ZeroDivisionError") as caught:
        executor.is_success()
    assert caught.value.boundary == "judge"


def test_every_episode_has_a_folder_of_its_own_which_is_gone_at_its_end(world: ToolExecutor) -> None:
    first = world._sandbox.scratch
    world.execute(call("ImageCrop", image="a.png", bbox="(0, 0, 10, 8)"))
    world.reset()
    second = world._sandbox.scratch
    assert not first.exists() and sorted(p.name for p in second.iterdir()) == ["a.png", "b.csv"]
    world.execute(finish("5"))
    assert not second.exists() and world.observe().text == "files: a.png, b.csv"


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (call("Fly"), "there is no such tool"), (call("Calculator"), "argument 'expression' is missing"),
        (call("Calculator", expression="1 / 0"), "ZeroDivisionError"),
        (call("FileInspector", file_path="/etc/passwd"), "not in the scratch folder"),
        (call("FileInspector", file_path="gone.csv"), "cannot be read"),
        (call("GoogleSearch", query="x"), "unavailable: it needs the network"),
    ],
)  # fmt: skip
def test_a_call_that_fails_is_told_and_the_episode_goes_on(world: ToolExecutor, action: Action, text: str) -> None:
    result = world.execute(action)
    assert not result.had_effect and text in result.message
    assert result.observation.text == result.message
    assert result.observation.load_image().size == (64, 32)
    assert world.execute(SUM).observation.text == "5"


def raises(**_: object) -> str:
    raise RuntimeError("broken inside")


def hangs(**_: object) -> str:
    time.sleep(30)
    return "late"


@pytest.mark.parametrize(
    ("plugin", "kind", "text"),
    [
        (raises, "failed", "RuntimeError: broken inside"), (hangs, "limit", "time limit"),
        (lambda **_: "x" * 100_000_000, None, "more characters left out"),
        (lambda **_: 5, "wrong result", "int instead of text"), (lambda **_: None, "wrong result", "NoneType"),
    ],
    ids=["raises", "hangs", "100 MB", "number", "nothing"],
)
def test_a_tool_that_goes_wrong_is_recorded(plugin: object, kind: str | None, text: str) -> None:
    executor = ToolExecutor("Search.", plugins={"GoogleSearch": plugin}, limits=SandboxLimits(wall_seconds=0.3),
                            max_text_chars=500)  # fmt: skip
    executor.reset()
    result = executor.execute(call("GoogleSearch", query="x"))
    assert text in result.observation.text and len(result.observation.text) < 600
    assert executor.calls[0][1].kind == kind and result.had_effect == (kind is None)
    executor.execute(finish("x"))
    assert executor.is_success() is None


def test_code_may_give_the_answer_which_ends_the_episode() -> None:
    require_sandbox()
    executor = ToolExecutor("Add.", judge=lambda answer: answer == "5")
    executor.reset()
    executor.execute(call("python", code="x = 2"))
    executor.execute(call("python", code="final_answer(x + 3)"))
    assert executor.world_has_ended and executor.is_done and executor.is_success()
    with pytest.raises(ExecutorError, match="ended"):
        executor.execute(SUM)
    executor.reset()
    assert not executor.world_has_ended
    executor.close()


def test_what_code_saves_under_an_images_name_need_not_be_one(world: ToolExecutor) -> None:
    require_sandbox()
    result = world.execute(call("python", code="open('x.png', 'w').write('no image')"))
    assert result.had_effect and result.observation.load_image().size == (64, 32)


def test_endless_code_is_stopped_and_the_next_step_works() -> None:
    require_sandbox()
    executor = ToolExecutor("Loop.", limits=SandboxLimits(wall_seconds=1.0))
    executor.reset()
    assert "limit" in executor.execute(call("python", code="while True: pass")).message
    assert executor.execute(call("python", code="print(1)")).observation.text == "1"
    executor.close()


def test_files_that_cannot_be_attached_fail_the_reset_alone(tmp_path: Path) -> None:
    for files in ({"a.csv": tmp_path / "gone.csv"}, {"../a.csv": b""}, {"": b""}):
        executor = ToolExecutor("Read.", files)
        with pytest.raises(ExecutorError) as caught:
            executor.reset()
        assert caught.value.boundary == "reset"
    (tmp_path / "a.csv").write_text("1")
    executor = ToolExecutor("Read.", {"b.csv": tmp_path / "a.csv"})
    assert executor.reset().text == "files: b.csv"
    assert executor.execute(call("FileInspector", file_path="b.csv")).observation.text == "1"
    executor.close()


def test_nothing_is_seen_or_done_before_the_first_reset() -> None:
    executor = ToolExecutor("Add.")
    with pytest.raises(ExecutorError, match="reset first"):
        executor.observe()
    with pytest.raises(ExecutorError, match="reset first"):
        executor.execute(SUM)


def test_an_unknown_tool_is_told_before_anything_starts() -> None:
    with pytest.raises(InputError, match="'Fly' is unknown"):
        ToolExecutor("Add.", tools=["Calculator", "Fly"])


def test_only_named_tools_may_be_called() -> None:
    executor = ToolExecutor("Add.", tools=["OCR"])
    executor.reset()
    assert "there is no such tool: OCR" in executor.execute(SUM).message
    executor.close()
