"""Who may talk to the app: the rules alone, and the running server."""

from __future__ import annotations

import httpx
import pytest

from workbench.guard import AccessRules, refusal, rules_for

SPACE = rules_for("0.0.0.0", extra_names=["me-demo.hf.space"], is_space=True)


@pytest.mark.parametrize(
    ("rules", "method", "headers", "status"),
    [
        (AccessRules(), "GET", {"host": "localhost:7860"}, None),
        (AccessRules(), "GET", {"host": "127.0.0.1"}, None),
        (AccessRules(), "GET", {"host": "[::1]:7860"}, None),
        (AccessRules(), "GET", {"host": "LOCALHOST:7860"}, None),
        (AccessRules(), "GET", {}, 400),
        (AccessRules(), "GET", {"host": ""}, 400),
        (AccessRules(), "GET", {"host": "evil.example"}, 400),
        (AccessRules(), "GET", {"host": "localhost.evil.example"}, 400),
        (AccessRules(), "GET", {"host": "10.0.0.5:7860"}, 400),
        (AccessRules(), "GET", {"host": "[broken"}, 400),
        (AccessRules(), "POST", {"host": "localhost:7860", "origin": "http://localhost:7860"}, None),
        (AccessRules(), "POST", {"host": "localhost:7860", "origin": "https://evil.example"}, 403),
        (AccessRules(), "POST", {"host": "localhost:7860", "origin": "null"}, 403),
        (AccessRules(), "POST", {"host": "localhost:7860", "origin": ""}, 403),
        (AccessRules(), "POST", {"host": "localhost:7860", "origin": "http://localhost:9999"}, 403),
        (AccessRules(), "POST", {"host": "localhost:7860", "sec-fetch-site": "cross-site"}, 403),
        (AccessRules(), "GET",
         {"host": "localhost:7860", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, None),
        (AccessRules(), "GET",
         {"host": "localhost:7860", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        (rules_for("0.0.0.0"), "GET", {"host": "10.0.0.5:7860"}, None),
        (rules_for("0.0.0.0"), "GET", {"host": "evil.example"}, 400),
        (rules_for("10.0.0.5"), "GET", {"host": "10.0.0.5:7860"}, None),
        (SPACE, "POST", {"host": "me-demo.hf.space", "origin": "https://me-demo.hf.space"}, None),
        (SPACE, "POST", {"host": "me-demo.hf.space", "origin": "https://other.hf.space"}, 403),
    ],
)  # fmt: skip
def test_refusal(rules: AccessRules, method: str, headers: dict[str, str], status: int | None) -> None:
    refused = refusal(rules, method, headers)
    assert (refused and refused[0]) == status


def test_server_refuses_a_foreign_host_name(server: str) -> None:
    answer = httpx.get(server, headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert "host name" in answer.text


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info"])
def test_server_refuses_a_foreign_origin(server: str, path: str) -> None:
    assert httpx.get(server + path, headers={"Origin": "https://evil.example"}).status_code == 403


def test_server_refuses_an_upload_from_another_site(server: str) -> None:
    files = {"files": ("a.jsonl", b"{}")}
    upload = f"{server}/gradio_api/upload"
    assert httpx.post(upload, files=files, headers={"Origin": "https://evil.example"}).status_code == 403
    assert httpx.post(upload, files=files, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_server_sends_protective_headers_and_offers_no_docs(server: str) -> None:
    headers = httpx.get(server).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert httpx.get(f"{server}/docs").status_code == 404
    assert httpx.get(f"{server}/gradio_api/info").json()["named_endpoints"] == {}


@pytest.mark.parametrize("path", ["/etc/passwd", "app.py", "pyproject.toml"])
def test_server_hands_out_no_files(server: str, path: str) -> None:
    assert httpx.get(f"{server}/gradio_api/file={path}").status_code in (403, 404)
