"""Trajectories -> training samples: every step, with its continuation, is one sample.

What a sample's continuation may hold (`build_samples`):

1. It starts with the present step t and holds up to T steps.
2. A step flagged redundant or incorrect is never imitated: it is no sample's first step, and a sample in whose window
   such a step lies is dropped. It stays in the history of later samples, which is how recovery is learnt.
3. A step flagged interruption cannot be foreseen: it is skipped when it comes later in the window, and imitated when
   it comes first.
4. A trajectory may end without `finished` or `call_user` (AndroidControl's do); its last window is shorter.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from executors.actions import Space
from executors.errors import InputError
from executors.geometry import ImageSize, smart_resize
from executors.toolbox.registry import all_tools
from executors.trajectory import Observation, Step, Trajectory
from training.config import ForecastConfig
from training.forecast import ForecastStep, without_points
from training.prompts import HistoryItem, build_messages

if TYPE_CHECKING:
    from PIL.Image import Image

NOT_IMITATED = frozenset({"redundant", "incorrect"})
RESIZE_FACTOR_PX = 32
"""Patch size times merge size of Qwen3-VL."""

_SPACES = {
    "phone": frozenset({Space.MOBILE}),
    "desktop": frozenset({Space.COMPUTER}),
    "browser": frozenset({Space.BROWSER}),
    "tools": frozenset({Space.TOOLS}),
}


def spaces_of(platform: str) -> frozenset[Space]:
    """The action spaces of a trajectory's platform.

    Raises:
        InputError: an unknown platform.

    >>> sorted(spaces_of("phone"))
    [<Space.MOBILE: 'mobile'>]
    """
    if platform not in _SPACES:
        raise InputError(f"field 'platform': {platform!r} is not one of {', '.join(_SPACES)}")
    return _SPACES[platform]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One decision: what is seen and remembered, and what the reference does from here on.

    `id` is "<trajectory>/<step>", steps counted from 0. `steps` is the reference continuation (1..T steps, the present
    one first), `first_step` the recorded present step with its grounded action and target box. `ends_in_window` says
    that the trajectory's last step is among `steps`. `history` holds all past steps, oldest first. `meta` is the
    trajectory's.

    Pixels are not held: a screenshot with a file is read from it when asked for, one without is kept as PNG bytes.
    `observation.image_size` is the size that the planner sees, after `max_pixels`.
    """

    id: str
    goal: str
    history: tuple[HistoryItem, ...]
    observation: Observation
    thought: str
    steps: tuple[ForecastStep, ...]
    first_step: Step
    ends_in_window: bool
    spaces: frozenset[Space]
    meta: Mapping[str, Any] = field(default_factory=dict)
    png: bytes | None = None
    max_pixels: int = 0

    @property
    def tools(self) -> tuple[str, ...]:
        """Names of the tools that may be called, where the trajectory tells them; unknown ones are left out."""
        names, known = self.meta.get("tools"), all_tools()
        return tuple(name for name in names if str(name) in known) if isinstance(names, list) else ()

    def load_image(self) -> Image | None:
        """The screenshot that the planner sees, as PIL RGB, decoded anew at each call; None when there is none.

        Raises:
            MissingFileError: its file is gone.
            InputError: its file is not an image.
        """
        if self.png is not None:
            return decode_png(self.png)
        if self.observation.image_path is None:
            return None
        return shrink(self.observation.load_image(), self.max_pixels)

    def messages(self, forecast: ForecastConfig, *, horizon: int | None = None) -> list[dict[str, Any]]:
        """The planner's prompt for this sample, see `build_messages`."""
        return build_messages(
            self.goal, self.history, self.observation, forecast, spaces=self.spaces, horizon=horizon,
            tools=self.tools,
        )


def build_samples(
    trajectories: Iterable[Trajectory], forecast: ForecastConfig, *, max_pixels: int = 0
) -> Iterator[Sample]:
    """The samples of the trajectories, in order, by the rules at the top of this module.

    Args:
        trajectories: taken one by one; their images are not kept.
        forecast: T, and whether actions keep their points.
        max_pixels: larger screenshots are resized (`shrink`); 0 keeps them as they are.

    Raises:
        InputError: a trajectory of an unknown platform.
        MissingFileError: a screenshot file is gone.
    """
    for trajectory in trajectories:
        try:
            spaces = spaces_of(trajectory.platform)
        except InputError as error:
            raise InputError(f"trajectory {trajectory.id}: {error}") from None
        history = [HistoryItem.of_step(step) for step in trajectory.steps]
        for t, step in enumerate(trajectory.steps):
            window = continuation(trajectory.steps, t, forecast.horizon)
            if window is None:
                continue
            observation, png = _pack(step.observation, max_pixels)
            yield Sample(
                id=f"{trajectory.id}/{t}",
                goal=trajectory.goal,
                history=tuple(history[:t]),
                observation=observation,
                thought=step.thought,
                steps=tuple(_forecast_step(trajectory.steps[i], forecast.with_points) for i in window),
                first_step=replace(step, observation=observation),
                ends_in_window=window[-1] == len(trajectory.steps) - 1,
                spaces=spaces,
                meta=trajectory.meta,
                png=png,
                max_pixels=max_pixels,
            )


def continuation(steps: Sequence[Step], start: int, horizon: int) -> list[int] | None:
    """Indices of the up to `horizon` steps to imitate from `start` on; None when this makes no sample.

    Args:
        steps: all steps of a trajectory.
        start: index t of the present step.
        horizon: T, at least 1.
    """
    window: list[int] = []
    for index in range(start, len(steps)):
        flags = steps[index].flags
        if flags & NOT_IMITATED:
            return None
        if "interruption" in flags and index > start:
            continue
        window.append(index)
        if len(window) == horizon:
            break
    return window


def _forecast_step(step: Step, with_points: bool) -> ForecastStep:
    action = step.action if with_points else without_points(step.action)
    return ForecastStep(action=action, instruction=step.instruction)


def _pack(observation: Observation, max_pixels: int) -> tuple[Observation, bytes | None]:
    """(the observation without pixels and with the size that the planner sees, its screenshot as PNG or None)."""
    if observation.image is None and observation.image_path is None and observation.image_size is None:
        return observation, None
    if observation.image_path is not None:
        size = observation.image_size or ImageSize(*observation.load_image().size)
        return replace(observation, image=None, image_size=shrunk_size(size, max_pixels)), None
    image = shrink(observation.load_image(), max_pixels)
    return replace(observation, image=None, image_size=ImageSize(*image.size)), encode_png(image)


def encode_png(image: Image) -> bytes:
    """The image as PNG bytes, compressed little."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def decode_png(png: bytes) -> Image:
    """The PIL RGB image of PNG bytes that `build_samples` made."""
    import PIL.Image

    with PIL.Image.open(io.BytesIO(png)) as image:
        return image.convert("RGB")


def shrunk_size(size: ImageSize, max_pixels: int) -> ImageSize:
    """The size of a screenshot under a pixel limit: what Qwen3-VL's processor would choose, so it resizes no more.

    Args:
        size: the screenshot's own size, kept when it is small enough.
        max_pixels: the limit; 0 is none.

    >>> shrunk_size(ImageSize(1080, 2400), 1_000_000)
    ImageSize(width_px=640, height_px=1472)
    """
    if max_pixels == 0 or size.width_px * size.height_px <= max_pixels:
        return size
    least = min(max_pixels, RESIZE_FACTOR_PX**2)
    height, width = smart_resize(
        size.height_px, size.width_px, factor=RESIZE_FACTOR_PX, min_pixels=least, max_pixels=max_pixels
    )
    return ImageSize(width, height)


def shrink(image: Image, max_pixels: int) -> Image:
    """The image at its `shrunk_size`; trainer and sampler both see the result, so they agree."""
    size = shrunk_size(ImageSize(*image.size), max_pixels)
    if (size.width_px, size.height_px) == image.size:
        return image
    return image.resize((size.width_px, size.height_px))
