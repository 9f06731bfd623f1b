"""A vision-language model behind an OpenAI-compatible server, such as vLLM: one question, one reply or one failure."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from executors.errors import WRONG_FORM, ExecutorError, InputError

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
            api_key: None where the server wants none; space around it is no part of it.
            boundary: what the failures are called: "plan" or "ground".
            timeout_seconds: longest wait for one attempt, until its last byte.
            max_retries: attempts after the first, on lost connections, timeouts, 429 and 5xx, each after a longer
                pause (0.5 s, 1 s, 2 s ... 8 s, or what the server's Retry-After says).

        Raises:
            InputError: the address is none, the key holds what no key does, or the environment's proxy cannot be used.
        """
        self.host = host_of(base_url)
        api_key = (api_key or "").strip()
        if not (api_key.isascii() and api_key.isprintable()):
            raise InputError("the API key holds a line break or a letter outside ASCII: copy it anew (OPENAI_API_KEY)")
        import openai

        try:
            http_client = _limited_client(timeout_seconds)
        except Exception as error:  # whatever the HTTP library and those of proxies make of these settings
            raise InputError(
                f"the environment's proxy cannot be used ({one_line(error)}): mend or unset ALL_PROXY, HTTP_PROXY and "
                "HTTPS_PROXY"
            ) from None
        self._model, self._boundary = model, boundary
        self._secrets = [secret for secret in (api_key, urlsplit(base_url).password) if secret]
        self._client = openai.OpenAI(
            base_url=base_url, api_key=api_key or "none", timeout=timeout_seconds, max_retries=max_retries,
            http_client=http_client,
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
            except WRONG_FORM as error:
                raise self._error("lists no models", error) from None
            if len(names) != 1:
                listed = ", ".join(names[:8]) or "none"
                raise ExecutorError(self._boundary, f"server {self.host} has {len(names)} models ({listed}): name one")
            self._model = names[0]
        return self._model

    def ask(
        self, messages: Sequence[Mapping[str, Any]], *, max_tokens: int, temperature: float = 0.0, **options: Any
    ) -> ChatReply:
        """The model's reply to chat messages; half surrogate pairs in it, which no file can hold, become U+FFFD.

        Args:
            messages: in the form of the chat completions interface; pictures as `data_url`.
            max_tokens: longest reply.
            temperature: 0 is greedy.
            options: sent along (seed, ...).

        Raises:
            ExecutorError: the server gave no chat completion, after all attempts.
        """
        import openai

        answer = None
        try:
            answer = self._client.chat.completions.create(
                model=self.model, messages=messages, max_tokens=max_tokens, temperature=temperature, **options
            )
            choice = answer.choices[0]
            message = choice.message
            thought = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
            num_prompt_tokens = getattr(answer.usage, "prompt_tokens", None)
            return ChatReply(
                content=_text_of(message.content),
                thought=without_half_characters(thought) if isinstance(thought, str) else None,
                is_cut=choice.finish_reason == "length",
                num_prompt_tokens=num_prompt_tokens if isinstance(num_prompt_tokens, int) else None,
            )
        except openai.OpenAIError as error:
            raise self._failed(error) from None
        except WRONG_FORM as error:
            said = answer if isinstance(answer, str) else getattr(answer, "error", None)
            raise self._error("sent no chat completion", said or error) from None

    def _failed(self, error: Exception) -> ExecutorError:
        return self._error("failed", f"{error} {error.__cause__ or ''}")  # "Connection error." alone tells little

    def _error(self, what: str, why: object) -> ExecutorError:
        """The failure in one line; servers repeat keys that they refuse, so these are taken out."""
        text = str(why)
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return ExecutorError(self._boundary, f"server {self.host} {what} ({one_line(text)})")


def host_of(base_url: str) -> str:
    """The host of a server's address; raises InputError when it is none."""
    httpx = _http_library()
    try:
        parts = urlsplit(base_url)
        is_address = parts.scheme in ("http", "https") and parts.port != 0 and not re.search(r"\s", base_url)
        host = httpx.URL(base_url).host if is_address else ""
    except (ValueError, httpx.InvalidURL):
        host = ""
    if not host:
        raise InputError(f"server address {without_password(base_url)!r} is not http://HOST:PORT/v1 or https://…")
    return host


def _text_of(content: object) -> str:
    """The text of a message's content: a string, the text parts of a list, or none; TypeError for anything else."""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part["type"] == "text")
    if content is not None and not isinstance(content, str):
        raise TypeError(f"content is of type {type(content).__name__}")
    return without_half_characters(content or "")


def _http_library() -> Any:
    """openai 2 is built on httpx, openai 3 on httpx2: the one whose classes it checks for."""
    import openai

    return import_module(openai.DefaultHttpxClient.__base__.__module__.partition(".")[0])


def _limited_client(timeout_seconds: float) -> Any:
    """An HTTP client whose time limit is for a whole answer; httpx's own starts anew with every byte that comes."""
    import openai

    httpx = _http_library()

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


def without_half_characters(text: str) -> str:
    r"""The text with U+FFFD for each half of a surrogate pair, which neither a request nor a file in UTF-8 can hold.

    >>> without_half_characters("a\ud83d") == "a\ufffd"
    True
    """
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def one_line(error: Exception | str, limit: int = 200) -> str:
    """An error's message in one line of at most `limit` characters; its type's name when it has none."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
