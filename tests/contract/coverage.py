"""Which rows of the table the running tests have called: in this process, and in daemons that were asked by /metrics.

Lines can be covered by accident; rows cannot. The dispatcher is listened to for as long as the session lasts, and each
daemon is asked for its counts before it is ended in good order.
"""

from __future__ import annotations

import re

import pytest

from tests.support.processes import Daemon, DaemonError
from virtbus_shared.api import TABLE
from virtbus_shared.service.metrics import RouteMetrics

_COUNT = re.compile(r'^virtbus_rpc_requests_total\{(?=.*outcome="(ok|error)").*method="([^"]+)".*\} (\S+)$',
                    re.MULTILINE)

called: set[str] = set()
whole = False  # whether this session runs the whole suite
LAST = "test_every_row_is_called"


def listen() -> None:
    """Write down from now on what is called."""
    create, terminate = RouteMetrics.ended, Daemon.terminate

    def ended(self: RouteMetrics, outcome: str, code: int) -> None:
        if outcome in ("ok", "error"):
            called.add(self._method)
        create(self, outcome, code)

    def ended_in_good_order(self: Daemon, seconds: float = 20) -> int:
        ask(self)
        return terminate(self, seconds)

    RouteMetrics.ended = ended  # type: ignore[method-assign]
    Daemon.terminate = ended_in_good_order  # type: ignore[method-assign]


def ask(daemon: Daemon) -> None:
    """Add what a daemon has been called for."""
    try:
        page = daemon.metrics()
    except DaemonError:
        return
    called.update(method for _, method, count in _COUNT.findall(page) if float(count) > 0)


def never_called() -> list[str]:
    """Rows that no test has called so far."""
    return sorted(set(TABLE.procedures) - called)


def arrange(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the test that judges come last, and note whether all the others come before it."""
    global whole
    items.sort(key=lambda item: item.name == LAST)
    chosen = config.getoption("keyword") or config.getoption("markexpr") or config.getoption("lf")
    folders = {item.path.parent.name for item in items}
    whole = not chosen and config.args in ([], config.getini("testpaths")) and "shared" in folders
