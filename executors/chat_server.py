"""A vision-language model behind an OpenAI-compatible server, such as vLLM: one question, one reply or one failure."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from executors.errors import ExecutorError, InputError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """What a model answered.

    `thought` is what a reasoning parser of the server took out of the reply, else None. `is_cut` is true when the reply
    ran into `max_tokens`. `num_prompt_tokens` is the server's own count, None where it gives none.
    """

    content: str
    thought: str | None = None
    is_cut: bool = False
    num_prompt_tokens: int | None = None

    @property
    def text(self) -> str:
        """The reply as a thinking model writes it; a thought without content never ended."""
        if not self.thought:
            return self.content
        return f"<think>\n{self.thought}\n</think>\n{self.content}" if self.content else f"<think>\n{self.thought}"


class ChatServer:
    """Asks one model at one server; may be used from many threads at once."""

    def __init__(
        self,
        base_url: str,
        model: str | None,
        api_key: str | None = None,
        *,
        boundary: str,
        timeout_seconds: float = 300.0,
        max_retries: int = 2,
    ) -> None:
        """Prepares the client; nothing is sent yet.

        Args:
            base_url: the server's root, usually ending in /v1.
            model: the model's name at the server; None takes the only one that the server lists.
            api_key: None where the server wants none.
            boundary: what the failures are called: "plan" or "ground".
            timeout_seconds: longest wait for one attempt, until its last byte.
            max_retries: attempts after the first, on lost connections, timeouts, 429 and 5xx, each after a longer
                pause (0.5 s, 1 s, 2 s ... 8 s, or what the server's Retry-After says).

        Raises:
            InputError: the address is none.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"server address {without_password(base_url)!r} is not http://HOST:PORT/v1 or https://…")
        import openai

        self.host = parts.hostname
        self._model, self._boundary = model, boundary
        self._client = openai.OpenAI(
            base_url=base_url, api_key=api_key or "none", timeout=timeout_seconds, max_retries=max_retries,
            http_client=_limited_client(timeout_seconds),
        )  # fmt: skip

    @property
    def model(self) -> str:
        """The model's name; asks the server for its list once, where none was given.

        Raises:
            ExecutorError: the server cannot be reached, or does not list exactly one model.
        """
        if self._model is None:
            import openai

            try:
                names = [str(model.id) for model in self._client.models.list().data]
            except openai.OpenAIError as error:
                raise self._failed(error) from None
            except (ValueError, TypeError, AttributeError) as error:
                raise ExecutorError(self._boundary, f"server {self.host} lists no models ({one_line(error)})") from None
            if len(names) != 1:
                listed = ", ".join(names[:8]) or "none"
                raise ExecutorError(self._boundary, f"server {self.host} has {len(names)} models ({listed}): name one")
            self._model = names[0]
        return self._model

    def ask(
        self, messages: Sequence[Mapping[str, Any]], *, max_tokens: int, temperature: float = 0.0, **options: Any
    ) -> ChatReply:
        """The model's reply to chat messages.

        Args:
            messages: in the form of the chat completions interface; pictures as `data_url`.
            max_tokens: longest reply.
            temperature: 0 is greedy.
            options: sent along (seed, ...).

        Raises:
            ExecutorError: the server gave no chat completion, after all attempts.
        """
        import openai

        try:
            answer = self._client.chat.completions.create(
                model=self.model, messages=messages, max_tokens=max_tokens, temperature=temperature, **options
            )
            choice = answer.choices[0]
            message, usage = choice.message, answer.usage
            return ChatReply(
                content=message.content or "",
                thought=getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None),
                is_cut=choice.finish_reason == "length",
                num_prompt_tokens=None if usage is None else usage.prompt_tokens,
            )
        except openai.OpenAIError as error:
            raise self._failed(error) from None
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            message = f"server {self.host} sent no chat completion ({one_line(error)})"
            raise ExecutorError(self._boundary, message) from None

    def _failed(self, error: Exception) -> ExecutorError:
        return ExecutorError(self._boundary, f"server {self.host} failed ({one_line(error)})")


def _limited_client(timeout_seconds: float) -> Any:
    """An HTTP client whose time limit is for a whole answer; httpx's own starts anew with every byte that comes."""
    import openai

    # openai 2 is built on httpx, openai 3 on httpx2: take the one whose classes it checks for
    httpx = import_module(openai.DefaultHttpxClient.__base__.__module__.partition(".")[0])

    class LimitedStream(httpx.SyncByteStream):
        def __init__(self, stream: httpx.SyncByteStream, end: float) -> None:
            self._stream, self._end = stream, end

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self._stream:
                if time.monotonic() > self._end:
                    raise httpx.ReadTimeout("the answer came too slowly")
                yield chunk

        def close(self) -> None:
            self._stream.close()

    class LimitedClient(openai.DefaultHttpxClient):
        def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
            end = time.monotonic() + timeout_seconds
            response = super().send(request, stream=True, **options)
            response.stream = LimitedStream(response.stream, end)
            if not stream:
                try:
                    response.read()
                finally:
                    response.close()
            return response

    return LimitedClient()


def data_url(image: Image) -> str:
    """The picture as a PNG in a data URL, lossless."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def without_password(text: str) -> str:
    """An address or specification for a message: user name and password left out.

    >>> without_password("http://me:secret@host/v1")
    'http://…@host/v1'
    """
    head, at, tail = text.rpartition("@")
    return f"{head.split('//')[0]}//…@{tail}" if at and "//" in head else text


def one_line(error: Exception, limit: int = 200) -> str:
    """An error's message in one line of at most `limit` characters; its type's name when it has none."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
