"""Frozen vision-language models as tool agents: they see the screenshot and say where the instruction's target is.

Each model has its own prompt (assets/prompts/ground_*.txt), its own way to write a point and its own frame of
coordinates. The screenshot is resized here to what the model's processor would make of it, so that the numbers it
writes have a known frame whatever limits the server has.

What a model wrote is data: a reply without exactly one place on the screen is a `Grounding` without an action, with
the reason. Nothing is ever guessed, and no reply becomes the corner (0, 0). A server that gives no reply is an
ExecutorError at "ground".
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from executors.actions import Action, ArgKind
from executors.chat_server import ChatReply, ChatServer, data_url, host_of, without_password
from executors.errors import ExecutorError, InputError, WorkbenchError
from executors.geometry import FAMILIES, ImageSize, ModelFamily, PointNorm
from executors.parsing import parse_reply
from executors.tool_agents import Grounding, GroundRequest, keep_points
from executors.trajectory import Observation

_PROMPTS = Path(__file__).resolve().parent.parent / "assets" / "prompts"
_MAX_REPLIES = 4096
"""Replies that one agent keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounder:
    """How one model is asked for a point.

    `prompt` is its file below assets/prompts; it is the system message when `user` is given, else the user's. In a
    system message {width} and {height} are those of the resized image; {instruction} stands in the user's. The image
    comes before the text unless `is_text_first`.
    """

    name: str
    family: ModelFamily
    prompt: str
    user: str = ""
    is_text_first: bool = False
    max_tokens: int = 128

    def messages(self, picture: Any, instruction: str) -> list[dict[str, Any]]:
        """The chat messages that ask where the instruction's target is on a picture of the size that is sent."""
        text = _prompt(self.prompt)
        messages = []
        if self.user:
            width, height = picture.size
            system = text.replace("{width}", str(width)).replace("{height}", str(height))
            messages.append({"role": "system", "content": [{"type": "text", "text": system}]})
            text = self.user
        parts = [
            {"type": "image_url", "image_url": {"url": data_url(picture)}},
            {"type": "text", "text": text.replace("{instruction}", instruction)},
        ]
        return [*messages, {"role": "user", "content": parts[::-1] if self.is_text_first else parts}]

    def resize(self, image: Any) -> Any:
        """The PIL image at the size that the model's own processor would give it."""
        height, width = self.family.resized(ImageSize(*image.size))
        return image if image.size == (width, height) else image.resize((width, height), _bicubic())


# Prompts and orders: UI-TARS README of 1.0 and GROUNDING_DOUBAO of ui_tars/prompt.py (582f3a7); GTA1's inference code;
# OSWorld's agents for Jedi-7B and Qwen3-VL (desktop-env 1.0.2), of which Jedi's is sent with single braces, as its JSON
# means. Limits of the image: UI-TARS issue 215, GTA1 and OSWorld's Jedi agent.
GROUNDERS: dict[str, Grounder] = {
    grounder.name: grounder
    for grounder in (
        Grounder(name="ui-tars-1.0", family=FAMILIES["ui-tars-1.0"], prompt="ground_ui-tars-1.0.txt",
                 is_text_first=True),
        Grounder(name="ui-tars-1.5", family=FAMILIES["ui-tars-1.5"], prompt="ground_ui-tars-1.5.txt"),
        Grounder(name="qwen3-vl", family=FAMILIES["qwen3-vl"], prompt="ground_qwen3-vl.txt", max_tokens=8192,
                 user="\nPlease generate the next move according to the UI screenshot, instruction and previous "
                      "actions.\n\nInstruction: {instruction}\n\nPrevious actions:\nNone"),
        Grounder(name="gta1", family=ModelFamily(name="gta1", scale=None, max_pixels=4096 * 2160),
                 prompt="ground_gta1.txt", user="{instruction}", max_tokens=32),
        Grounder(name="jedi", family=ModelFamily(name="jedi", scale=None, max_pixels=2700 * 28 * 28),
                 prompt="ground_jedi.txt", user="\n{instruction}", max_tokens=512),
    )
}  # fmt: skip


@cache
def _prompt(name: str) -> str:
    return (_PROMPTS / name).read_text(encoding="utf-8")


def _bicubic() -> Any:
    import PIL.Image

    return PIL.Image.Resampling.BICUBIC  # what the Qwen image processors use


class VisionAgent:
    """One model at one server as a tool agent; see the module.

    A point that an action needs is asked for with the instruction; a drag asks twice, for its start and its end (our
    own words, since these models point at one place). Points that are given are kept; actions that need none pass
    unchanged. Replies are kept by model, prompt and image, and equal questions under way at once are asked once.
    """

    def __init__(
        self,
        grounder: Grounder,
        base_url: str,
        model: str | None = None,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 120.0,
        max_retries: int = 2,
        num_workers: int = 16,
    ) -> None:
        """Prepares the client; nothing is sent yet.

        Args:
            grounder: how the model is asked.
            base_url: the server's root, usually ending in /v1.
            model: the model's name at the server; None takes the only one it lists.
            api_key: None where the server wants none.
            timeout_seconds: longest wait for one attempt.
            max_retries: attempts after the first.
            num_workers: questions of `ground_each` under way at once.

        Raises:
            InputError: the address is none.
        """
        self.name = grounder.name
        self.grounder = grounder
        self._num_workers = num_workers
        self._server = ChatServer(
            base_url, model, api_key, boundary="ground", timeout_seconds=timeout_seconds, max_retries=max_retries
        )
        self._replies: OrderedDict[str, Future[ChatReply]] = OrderedDict()
        self._lock = Lock()

    def ground(self, observation: Observation, action: Action, instruction: str) -> Grounding:
        """The action with its points set, or why there is none.

        Args:
            observation: what is seen now; its screenshot is sent.
            action: the forecast action; its points may be None.
            instruction: the step in words.

        Raises:
            ExecutorError: at "ground", when the server gives no reply or the observation has no screenshot.
        """
        points = [arg for arg in action.spec.args if arg.kind is ArgKind.POINT]
        missing = [arg.name for arg in points if arg.required and getattr(action, arg.name) is None]
        given = [value for arg in points if (value := getattr(action, arg.name)) is not None]
        if not missing:
            return keep_points(action, given[0], observation.elements) if given else Grounding(action=action)
        if observation.image_size is None:
            raise ExecutorError("ground", "the observation has no screenshot, so no target can be found on it")
        if not instruction.strip():
            return Grounding(action=None, reason="the instruction is empty")
        for name in missing:
            point = self._locate(observation, _QUESTIONS.get(name, "{}").format(instruction))
            if isinstance(point, str):
                return Grounding(action=None, reason=f"{name}: {point}" if len(missing) > 1 else point)
            action = replace(action, **{name: point})
        return keep_points(action, getattr(action, points[0].name), observation.elements)

    def ground_each(self, requests: Sequence[GroundRequest]) -> list[Grounding | ExecutorError]:
        """One grounding or failure per request, in order; the questions go out concurrently."""
        if not requests:
            return []

        def ground_one(request: GroundRequest) -> Grounding | ExecutorError:
            try:
                return self.ground(*request)
            except ExecutorError as error:
                return error

        with ThreadPoolExecutor(min(self._num_workers, len(requests))) as pool:
            return list(pool.map(ground_one, requests))

    def _locate(self, observation: Observation, words: str) -> PointNorm | str:
        try:
            image = observation.load_image()
            picture = self.grounder.resize(image)
        except WorkbenchError as error:
            raise ExecutorError("ground", str(error)) from None
        reply = self._reply(self.grounder.messages(picture, words), picture)
        if reply.is_cut:
            return f"the reply was cut off after {self.grounder.max_tokens} tokens"
        self._check_not_shrunk(reply, picture)
        return read_point(reply.text, self.grounder.family, ImageSize(*image.size))

    def _reply(self, messages: list[dict[str, Any]], picture: Any) -> ChatReply:
        """The reply to these messages, asked once."""
        words = [part.get("text", "") for message in messages for part in message["content"]]
        image = hashlib.sha256(picture.tobytes()).hexdigest()
        key = hashlib.sha256("\0".join([self._server.model, image, *words]).encode()).hexdigest()
        with self._lock:
            future = self._replies.get(key)
            is_mine = future is None
            if is_mine:
                future = self._replies[key] = Future()
            self._replies.move_to_end(key)
            while len(self._replies) > _MAX_REPLIES:
                self._replies.popitem(last=False)
        if is_mine:
            try:
                future.set_result(self._server.ask(messages, max_tokens=self.grounder.max_tokens))
            except BaseException as error:
                with self._lock:
                    self._replies.pop(key, None)  # a failure is not kept: the next question tries again
                future.set_exception(error)
        return future.result()

    def _check_not_shrunk(self, reply: ChatReply, picture: Any) -> None:
        """Pixels of an image that the server made smaller would be read in the wrong frame."""
        family, used = self.grounder.family, reply.num_prompt_tokens
        num_image_tokens = picture.width * picture.height // family.factor**2
        if family.scale is None and used is not None and used < num_image_tokens:
            raise ExecutorError(
                "ground",
                f"server {self._server.host} counted {used} prompt tokens, the image alone has {num_image_tokens}: it "
                "shrinks images, which moves the points; raise max_pixels in its --mm-processor-kwargs",
            )


_QUESTIONS = {
    "start_point": "the place where this drag begins: {}",
    "end_point": "the place where this drag ends: {}",
}

_NUMBER = r"[-+]?[0-9]{1,9}(?:\.[0-9]{0,9})?"
_PAIR = rf"{_NUMBER}\s*[,\s]\s*{_NUMBER}"
_PLACE = re.compile(
    rf"[(\[]\s*({_PAIR}(?:\s*[,\s]\s*{_PAIR})?)\s*[)\]]|<(?:point|bbox|box)>\s*({_PAIR}(?:\s*[,\s]\s*{_PAIR})?)\s*</"
)
_BARE = re.compile(rf"\s*({_PAIR})\s*\.?\s*")
_MAX_CHARS = 20_000
"""A reply is looked through for bare points no further than this."""


def read_point(text: str, family: ModelFamily, image: ImageSize) -> PointNorm | str:
    """The one place that a grounding model's reply names, canonical, or one sentence why there is none.

    Calls and tool calls are read by `parsing.parse_reply`; a reply without one is looked through for `(x,y)`, `[x, y]`,
    `<point>x y</point>`, boxes of four numbers (their middle), or nothing but two numbers. The same place said twice
    counts once.

    Args:
        text: the reply; holding anything.
        family: whose frame the numbers are in.
        image: size of the screenshot before it was resized.

    >>> read_point("(960, 540)", FAMILIES["ui-tars-1.0"], ImageSize(1920, 1080))
    PointNorm(x=0.96, y=0.54)
    >>> read_point("I cannot see it.", FAMILIES["ui-tars-1.0"], ImageSize(1920, 1080))
    'the reply names no place: I cannot see it.'
    """
    result = parse_reply(text, family=family, image=image, need_targets=False)
    if result.ok:
        found = [point for action in result.actions for point in _points_of(action)]
    elif result.kind == "content":
        return result.reason or "the reply is no action"
    else:
        answer = _answer_of(text)
        if answer is None:
            return "the reply is a thought that never ends"
        found = [_to_norm(numbers, family, image) for numbers in _places(answer)]
    places = list(dict.fromkeys(found))
    if not places:
        return f"the reply names no place: {_shown(text)}"
    if len(places) > 1:
        return f"the reply names {len(places)} places: {_shown(text)}"
    if not places[0].is_on_image:
        return f"the reply's place is off the image: {_shown(text)}"
    return places[0]


def _points_of(action: Action) -> list[PointNorm]:
    values = (action.point, action.start_point, action.end_point)
    return [value for value in values if value is not None]


def _answer_of(text: str) -> str | None:
    """What follows the thought; None when the thought never ends."""
    thought, closing, answer = text.rpartition("</think>")
    if closing:
        return answer
    return None if "<think>" in text else text


def _places(answer: str) -> list[list[float]]:
    bare = _BARE.fullmatch(answer[:_MAX_CHARS])
    groups = [bare[1]] if bare else [m[1] or m[2] for m in _PLACE.finditer(answer[:_MAX_CHARS])]
    return [[float(number) for number in re.findall(_NUMBER, group)] for group in groups]


def _to_norm(numbers: list[float], family: ModelFamily, image: ImageSize) -> PointNorm:
    half = len(numbers) // 2  # a box is left, top, right, bottom
    x = (numbers[0] + numbers[-2]) / 2 if half == 2 else numbers[0]
    y = (numbers[1] + numbers[-1]) / 2 if half == 2 else numbers[1]
    return family.to_norm(x, y, image)


def _shown(text: str, limit: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


ALLOWED_SERVERS_VARIABLE = "TRACER1_TOOL_SERVERS"
"""Hosts besides this machine, joined by commas, that tool agents may send screenshots to."""

_OWN_HOSTS = ("localhost", "127.0.0.1", "::1")


@lru_cache(maxsize=16)
def load_vision_agent(spec: str) -> VisionAgent:
    """The agent of GROUNDER@URL or GROUNDER:MODEL@URL, such as "ui-tars-1.5@http://localhost:8000/v1".

    A specification may come from a stored run or an imported episode, and an agent sends screenshots (with the key in
    OPENAI_API_KEY) to its server; so servers other than this machine are named in TRACER1_TOOL_SERVERS first. The same
    specification gives the same agent, with what it has learnt from its server so far.

    Raises:
        InputError: the model or the address is unknown, or the server is not allowed.
    """
    head, at, rest = spec.partition("@http")
    name, _, model = head.partition(":")
    if name not in GROUNDERS or not at:
        raise InputError(
            f"tool agent {without_password(spec)!r} is not GROUNDER@URL: choose one of {', '.join(GROUNDERS)}, for "
            "example ui-tars-1.5@http://localhost:8000/v1"
        )
    url = "http" + rest
    host = host_of(url)
    allowed = {part.strip().lower() for part in os.environ.get(ALLOWED_SERVERS_VARIABLE, "").split(",")}
    if host not in _OWN_HOSTS and host not in allowed:
        raise InputError(
            f"tool agent server {host!r} is not on this machine, and screenshots would be sent to it: allow it with "
            f"{ALLOWED_SERVERS_VARIABLE}={host}"
        )
    return VisionAgent(GROUNDERS[name], url, model or None, os.environ.get("OPENAI_API_KEY"))
