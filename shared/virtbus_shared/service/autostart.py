"""Starts what is marked to start with the node: once after each boot of the host.

The run directory does not survive a boot, so a mark in it says that this boot's start has been done; a service that is
restarted later starts nothing that somebody has stopped meanwhile. Each start is an ordinary request, journalled and
audited like any other, with this service as its caller. One that fails is tried again for a while: what it needs (a
domain its network) may be another service's to start.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterable

from virtbus_shared.envelope import Request, decode_reply
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import AnyProcedure
from virtbus_shared.service.dispatch import Dispatcher
from virtbus_shared.service.driver import Driver

log = logging.getLogger("virtbus.autostart")

TRIES = 5
RETRY = 3.0  # seconds between tries
TIMEOUT = 60.0  # seconds for one start


class _Delivery:
    """A request of the service to itself."""

    user: str | None = "autostart"
    redelivered = False

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def reply(self, body: bytes) -> None:
        """The outcome."""
        if not self.answered.done():
            self.answered.set_result(body)

    def reply_and_ack(self, body: bytes) -> None:
        """The outcome."""
        self.reply(body)

    def ack(self) -> None:
        """Nobody waits for it."""

    def reject(self) -> None:
        """Nobody keeps it."""


async def autostart(dispatcher: Dispatcher, drivers: Iterable[Driver]) -> None:
    """Start what is marked and does not run, on all connections."""
    done = [d.host.run_dir / f"autostarted-{d.host.scheme}" for d in drivers]
    await asyncio.gather(*(_start(dispatcher, driver, row, args)
                           for driver, mark in zip(drivers, done, strict=True) if not mark.exists()
                           for row, args in driver.autostarting()))
    for mark in done:
        mark.touch()


async def _start(dispatcher: Dispatcher, driver: Driver, row: AnyProcedure, args: dict[str, str]) -> None:
    for attempt in range(TRIES):
        request = Request(f"autostart-{secrets.token_hex(8)}", row.name, time.time() + TIMEOUT, dict(args),
                          driver.host.scheme, driver.host.path)
        delivery = _Delivery(request.encode())
        dispatcher.take(delivery)
        try:
            decode_reply(await delivery.answered)
        except LibvirtError as e:
            log.warning("%s %s does not start (try %d of %d): %s", row.name, args.get("name"), attempt + 1, TRIES, e)
            await asyncio.sleep(RETRY)
        else:
            log.info("started", extra={"procedure": row.name, "object": args.get("name")})
            return
