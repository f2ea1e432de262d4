"""How two processes of ``fairseq-train`` on this machine find each other."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def distributed(rank: int, port: int) -> list[str]:
    """Options of the process of this ``rank``, 0 or 1; both name the same ``port``."""
    return [
        *("--distributed-world-size", "2", "--distributed-rank", str(rank), "--distributed-no-spawn"),
        *("--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp"),
        *("--distributed-init-method", f"tcp://127.0.0.1:{port}"),
    ]
