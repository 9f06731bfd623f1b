"""Who may talk to the app: a check of Host, Origin and fetch metadata in front of every route.

A page on the web can reach a server on this machine in two ways: by sending it a request (cross-site request
forgery) and by making its own name point here (DNS rebinding). The first is stopped by the Origin and Sec-Fetch-Site
headers, which browsers set and scripts cannot, the second by the Host header.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRules:
    """Which names this server answers to, and whether other sites may show it in a frame.

    `any_address` also admits every plain IP address as Host: a server that listens on all interfaces cannot know
    them all, and an address, unlike a name, cannot be pointed elsewhere.
    """

    names: frozenset[str] = LOOPBACK_NAMES
    any_address: bool = False
    may_be_framed: bool = False

    def admits(self, host: str) -> bool:
        """Whether a Host header (name or address, with or without port) names this server.

        >>> AccessRules().admits("localhost:7860"), AccessRules().admits("evil.example")
        (True, False)
        """
        name = _host_name(f"//{host}")
        return name in self.names or (self.any_address and _is_address(name))


def rules_for(host: str, *, extra_names: Iterable[str] = (), is_space: bool = False) -> AccessRules:
    """The rules of a server bound to this host; loopback is always admitted.

    Args:
        host: the address the server listens on; "0.0.0.0" and "::" mean all.
        extra_names: further names it is known by (a Space's public host, the machine's own name).
        is_space: whether a hosting page shows the app in a frame.
    """
    names = LOOPBACK_NAMES | {host.lower()} | {name.lower() for name in extra_names if name}
    return AccessRules(names=names, any_address=host in ("0.0.0.0", "::"), may_be_framed=is_space)


def _host_name(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def refusal(rules: AccessRules, method: str, headers: dict[str, str]) -> tuple[int, str] | None:
    """None when a request may pass, else (status, one sentence).

    Args:
        rules: what is admitted.
        method: the HTTP method, upper case.
        headers: header names in lower case to values.

    >>> refusal(AccessRules(), "POST", {"host": "localhost", "origin": "https://evil.example"})[0]
    403
    """
    if not rules.admits(headers.get("host", "")):
        return 400, "This server does not answer to that host name. Open it by the address printed at its start."
    origin = headers.get("origin")
    if origin is not None and not _is_own_origin(origin, headers["host"], rules):
        return 403, "Requests from other sites are not accepted. Open the app in its own tab."
    is_navigation = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site") == "cross-site" and not is_navigation:
        return 403, "Requests from other sites are not accepted. Open the app in its own tab."
    return None


def _is_own_origin(origin: str, host: str, rules: AccessRules) -> bool:
    """Another port of this machine is another site; behind a hosting proxy only the names are compared."""
    parts = urlsplit(origin) if "://" in origin else None
    if parts is None or parts.scheme not in ("http", "https"):
        return False
    if parts.netloc.lower() == host.lower():
        return True
    name = _host_name(origin)
    return rules.admits(name) and name not in LOOPBACK_NAMES and not _is_address(name)


class GuardMiddleware:
    """ASGI middleware that applies `refusal` to HTTP and WebSocket requests and adds protective headers."""

    def __init__(self, app: Any, rules: AccessRules) -> None:
        self.app = app
        self.rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers it with the refusal."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = refusal(self.rules, scope.get("method", "GET"), headers)
        if refused is None:
            await self.app(scope, receive, self._with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            status, sentence = refused
            await send({"type": "http.response.start", "status": status,
                        "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
            await send({"type": "http.response.body", "body": sentence.encode()})

    def _with_headers(self, send: Send) -> Send:
        # Gradio builds its page with inline scripts and compiled templates, hence 'unsafe-inline' and 'unsafe-eval';
        # what the policy does buy is that no script, image, style or connection can leave this server.
        ancestors = "'self' https://huggingface.co" if self.rules.may_be_framed else "'self'"
        policy = (
            "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
            f"style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; frame-ancestors {ancestors}"
        )
        extra = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
        ]

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        return send_with_headers
