"""A small server that speaks chat completions, for tests of whatever asks a model over HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Cut:
    """A body that breaks off in the middle."""


@dataclass(frozen=True)
class Drip:
    """A body that comes byte by byte for this long, each soon enough for a read timeout."""

    seconds: float


class Server(ThreadingHTTPServer):
    """Answers are (status, body), the last one repeats; a body is JSON, text, seconds to wait, `Cut` or `Drip`."""

    daemon_threads = True

    def __init__(self, *answers: tuple, models: tuple[str, ...] = ("some/model",)) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.models = list(answers), models
        self.seen: list[tuple] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._send(200, json.dumps({"object": "list", "data": [{"id": name} for name in self.server.models]}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        answers = self.server.answers
        status, answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, float):
            time.sleep(answer)
            answer = "late"
        try:
            if isinstance(answer, Cut):
                self._send(status, b'{"choices": [{"mess', length=500)
            elif isinstance(answer, Drip):
                self._drip(answer.seconds)
            else:
                self._send(status, answer.encode() if isinstance(answer, str) else json.dumps(answer).encode())
        except OSError:
            pass  # the client gave up waiting

    def _send(self, status: int, data: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length or len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _drip(self, seconds: float) -> None:
        self._send(200, b" ", length=10_000)
        for _ in range(int(seconds / 0.05)):
            time.sleep(0.05)
            self.wfile.write(b" ")

    def log_message(self, *_args: object) -> None:
        pass


@contextmanager
def serve(*answers: tuple, **options: object) -> Iterator[Server]:
    """A running server on a free port of this machine."""
    server = Server(*answers, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def completion(
    content: str | None, *, finish_reason: str = "stop", usage: dict | None = None, **message: object
) -> dict:
    """A chat completion with one choice."""
    return {
        "id": "1", "object": "chat.completion", "created": 0, "model": "m", "usage": usage,
        "choices": [{"index": 0, "finish_reason": finish_reason,
                     "message": {"role": "assistant", "content": content, **message}}],
    }  # fmt: skip
