"""Loopback ports for the servers a test starts, chosen so that nobody else is given them by chance."""

from __future__ import annotations

import random
import socket

_HOST = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Different loopback ports nobody listens on, from below the range the kernel gives to outgoing connections.

    From inside that range, a client that retries while its server is down would sooner or later be given the
    server's own port as its source, and connect to itself. OSError when there are not that many.
    """
    ports: list[int] = []
    for port in random.sample(range(15000, 32000), 400):
        with socket.socket() as probe:
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise OSError(f"no {count} free ports on {_HOST}")
