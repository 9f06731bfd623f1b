"""Trajectories -> samples: which steps are imitated, what their continuation holds, and where the pixels are."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import Action, Space
from executors.errors import InputError, MissingFileError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import Observation, Step, Trajectory
from training.config import DataConfig, ForecastConfig
from training.datasets.simulator import load_trajectories
from training.samples import build_samples, continuation, shrink, shrunk_size, spaces_of

FLAG = {".": "", "r": "redundant", "x": "incorrect", "i": "interruption", "a": "ambiguous"}


def make_steps(flags: str, size: tuple[int, int] = (64, 96)) -> tuple[Step, ...]:
    """One step for each letter of `FLAG`; its instruction is its index, its colour too."""
    steps = []
    for index, letter in enumerate(flags):
        image = PIL.Image.new("RGB", size, (index, 0, 0))
        seen = Observation(image=image, image_size=ImageSize(*size), summary=f"screen {index}")
        click = Action(type="click", point=PointNorm(0.5, 0.25))
        steps.append(Step(
            observation=seen, action=click, instruction=str(index), thought=f"thought {index}",
            target=BoxNorm(0, 0, 1, 1), flags=frozenset({FLAG[letter]} - {""}),
        ))
    return tuple(steps)


def make_trajectory(flags: str, platform: str = "phone", **kwargs: object) -> Trajectory:
    return Trajectory(id="t", goal="g", steps=make_steps(flags, **kwargs), source="test", platform=platform)


# Every row follows from the rules in the docstring of training.samples, horizon 3.
@pytest.mark.parametrize(
    ("flags", "start", "window"),
    [
        ("....", 0, [0, 1, 2]),
        ("....", 2, [2, 3]),
        ("....", 3, [3]),
        ("x...", 0, None),
        ("r...", 0, None),
        (".x..", 0, None),
        ("..r.", 0, None),
        ("...x", 0, [0, 1, 2]),
        ("x...", 1, [1, 2, 3]),
        (".i..", 0, [0, 2, 3]),
        ("i...", 0, [0, 1, 2]),
        ("ii..", 0, [0, 2, 3]),
        (".i.x", 0, None),
        ("..i", 0, [0, 1]),
        ("aa", 0, [0, 1]),
    ],
)
def test_continuation_follows_the_flags(flags: str, start: int, window: list[int] | None) -> None:
    assert continuation(make_steps(flags), start, 3) == window


@given(flags=st.text(alphabet="..rxi", min_size=1, max_size=12), horizon=st.integers(1, 6))
def test_no_sample_ever_imitates_a_mistake_and_every_window_starts_with_its_step(flags: str, horizon: int) -> None:
    steps = make_steps(flags, size=(4, 4))
    for start in range(len(steps)):
        window = continuation(steps, start, horizon)
        if window is not None:
            assert window[0] == start and len(window) <= horizon and window == sorted(window)
            assert not any(steps[i].flags & {"redundant", "incorrect"} for i in window)
            assert not any("interruption" in steps[i].flags for i in window[1:])


def test_sample_holds_history_continuation_thought_and_the_grounded_first_step() -> None:
    samples = list(build_samples([make_trajectory(".x..")], ForecastConfig(horizon=2)))
    assert [s.id for s in samples] == ["t/2", "t/3"]
    sample = samples[0]
    assert [h.summary for h in sample.history] == ["screen 0", "screen 1"]
    assert [s.instruction for s in sample.steps] == ["2", "3"]
    assert sample.thought == "thought 2" and sample.ends_in_window
    assert sample.first_step.action.point == PointNorm(0.5, 0.25) and sample.first_step.target is not None
    assert sample.spaces == {Space.MOBILE}


def test_ends_in_window_is_false_when_steps_follow() -> None:
    samples = list(build_samples([make_trajectory("....")], ForecastConfig(horizon=2)))
    assert [s.ends_in_window for s in samples] == [False, False, True, True]


@pytest.mark.parametrize(("with_points", "point"), [(False, None), (True, PointNorm(0.5, 0.25))])
def test_points_stay_only_when_the_planner_writes_them(with_points: bool, point: PointNorm | None) -> None:
    sample = next(build_samples([make_trajectory(".")], ForecastConfig(with_points=with_points)))
    assert sample.steps[0].action.point == point


def test_pixels_come_back_from_png_bytes_and_are_not_held_by_observations() -> None:
    sample = list(build_samples([make_trajectory("...")], ForecastConfig()))[2]
    assert sample.observation.image is None and sample.first_step.observation.image is None
    assert sample.load_image().getpixel((0, 0)) == (2, 0, 0)
    assert sample.messages(ForecastConfig(prompt_style="compact"))[0]["content"][0] == {"type": "image"}


def test_screenshot_files_are_read_when_asked_for_and_a_lost_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "screen.png"
    PIL.Image.new("RGB", (640, 640)).save(file)
    step = Step(observation=Observation(image_path=file), action=Action(type="wait"), instruction="wait")
    trajectory = Trajectory(id="t", goal="g", steps=(step,), source="test", platform="desktop")
    sample = next(build_samples([trajectory], ForecastConfig(), max_pixels=320 * 320))
    assert sample.png is None and sample.observation.image_size == ImageSize(320, 320)
    assert sample.load_image().size == (320, 320)
    file.unlink()
    with pytest.raises(MissingFileError, match=r"screen\.png"):
        sample.load_image()


def test_observation_without_screenshot_makes_a_prompt_without_image() -> None:
    step = Step(observation=Observation(text="42"), action=Action(type="finished", content="42"), instruction="done")
    trajectory = Trajectory(id="t", goal="g", steps=(step,), source="test", platform="tools")
    sample = next(build_samples([trajectory], ForecastConfig()))
    assert sample.load_image() is None
    assert [part["type"] for part in sample.messages(ForecastConfig())[0]["content"]] == ["text"]


@given(width=st.integers(200, 3000), height=st.integers(200, 3000), max_pixels=st.integers(100_000, 2_000_000))
def test_shrunk_size_keeps_the_limit_and_is_never_shrunk_again(width: int, height: int, max_pixels: int) -> None:
    size = shrunk_size(ImageSize(width, height), max_pixels)
    assert size.width_px * size.height_px <= max_pixels or size == ImageSize(width, height)
    assert shrunk_size(size, max_pixels) == size
    if width * height <= max_pixels:
        assert size == ImageSize(width, height)


def test_shrink_keeps_small_images_as_they_are() -> None:
    image = PIL.Image.new("RGB", (256, 448))
    assert shrink(image, 0) is image and shrink(image, 256 * 448) is image
    assert shrink(image, 128 * 224).size[0] < 256


def test_unknown_platform_is_named_with_its_trajectory() -> None:
    with pytest.raises(InputError, match="platform"):
        spaces_of("toaster")
    with pytest.raises(InputError, match=r"trajectory t.*platform"):
        list(build_samples([make_trajectory(".", platform="toaster")], ForecastConfig()))


def test_embedded_world_is_recorded_the_same_for_equal_settings() -> None:
    data = DataConfig(num_episodes=3, seed=5)
    first, second = (list(load_trajectories(data)) for _ in range(2))
    assert [t.id for t in first] == [t.id for t in second] and len(first) == 3
    assert all(step.thought for t in first for step in t.steps)


def test_missing_trajectory_file_is_named() -> None:
    with pytest.raises(MissingFileError, match=r"nowhere\.jsonl"):
        list(load_trajectories(DataConfig(path="nowhere.jsonl")))
