"""Alerts reach the address that was given, and a dead address harms nothing."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from executors.errors import InputError
from workbench.runs.alerts import Alert
from workbench.runs.webhook import webhook

ALERT = Alert(kind="nan", level="error", step=7, reason="loss was no finite number at step 7")


def test_an_alert_is_posted_as_json():
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    webhook(f"http://127.0.0.1:{server.server_port}/hook")("my-run", ALERT)
    server.server_close()
    assert got == [{
        "run": "my-run", "kind": "nan", "level": "error", "step": 7, "reason": ALERT.reason,
        "text": "error: run my-run, step 7: loss was no finite number at step 7",
    }]  # fmt: skip


def test_a_dead_address_is_logged_without_its_secrets(caplog):
    webhook("http://127.0.0.1:9/secret-token")("my-run", ALERT)
    assert "my-run" in caplog.text and "secret-token" not in caplog.text


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "example.org/hook", "https://", "ftp://x/y"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(InputError, match="webhook"):
        webhook(url)
