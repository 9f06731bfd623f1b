"""Whether a port can be listened at."""

from __future__ import annotations

import socket


def port_problem(host: str, port: int) -> OSError | None:
    """Why no server can listen there; None when one can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that only lingers is free
            probe.bind((host, port))
    except OSError as error:
        return error
    return None
