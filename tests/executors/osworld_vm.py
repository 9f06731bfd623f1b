"""A local HTTP server in place of OSWorld's virtual machine: its screen is an X display, its programs run here.

It answers the part of desktop_env/server/main.py that DesktopEnv 1.0.2 asks for while it sets up, acts and judges.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Machine(ThreadingHTTPServer):
    """Runs what it is told on a display; `python` is this Python. `failures` are commands that did not end with 0."""

    daemon_threads = True

    def __init__(self, display: str, home: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        (home / "Xauthority").touch()
        (home / "bin").mkdir(exist_ok=True)
        if not (home / "bin" / "python").exists():
            (home / "bin" / "python").symlink_to(sys.executable)
        path = os.pathsep.join([str(home / "bin"), os.environ["PATH"]])
        self.environment = {**os.environ, "DISPLAY": display, "XAUTHORITY": str(home / "Xauthority"), "PATH": path}
        self.home, self.display = home, display
        self.launched: list[subprocess.Popen] = []
        self.failures: list[str] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server_address[1]

    def run(self, command: list[str] | str, is_shell: bool) -> dict[str, Any]:
        if isinstance(command, list) and command[0] == "python":  # a link would lose the packages of this environment
            command = [sys.executable, *command[1:]]
        done = subprocess.run(
            command, shell=is_shell, capture_output=True, text=True, timeout=60, env=self.environment, cwd=self.home
        )
        if done.returncode:
            self.failures.append(done.stderr)
        return {"status": "success", "output": done.stdout, "error": done.stderr, "returncode": done.returncode}

    def launch(self, command: list[str] | str, is_shell: bool) -> None:
        self.launched.append(subprocess.Popen(
            command, shell=is_shell, env=self.environment, cwd=self.home, start_new_session=True
        ))  # fmt: skip

    def set_back(self) -> None:
        """Ends the programs of the last task and removes its files."""
        for process in self.launched:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.launched.clear()
        for file in self.home.glob("*.jsonl"):
            file.unlink()

    def screenshot(self) -> bytes:
        import mss
        import PIL.Image

        with mss.MSS(display=self.display) as screens:
            shot = screens.grab(screens.monitors[1])
        data = io.BytesIO()
        PIL.Image.frombytes("RGB", shot.size, shot.bgra, "raw", "BGRX").save(data, format="PNG")
        return data.getvalue()


class _Handler(BaseHTTPRequestHandler):
    server: Machine

    def do_GET(self) -> None:
        if self.path == "/screenshot":
            self._send(self.server.screenshot(), "image/png")
        else:
            self._send(json.dumps({"output": "", "status": "success"}).encode())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/setup/launch":
            self.server.launch(asked["command"], asked.get("shell", False))
            self._send(b"launched")
        else:
            self._send(json.dumps(self.server.run(asked["command"], asked.get("shell", False))).encode())

    def _send(self, data: bytes, kind: str = "application/json") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        pass
