"""Carrying out a change of a running guest, or nothing of it.

Whoever holds a guest's monitor passes its events on to a ``Reports``, which lets a step wait for what it needs. How
long a guest takes to let go of a device is its own affair: a change that waits for that is left where it is, and the
rest of it is carried out when the event arrives.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from virtbus_domain.drivers.qemu.command.live_steps import Change, Event, Step
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.timeout import timeout

PATIENCE = 5.0  # seconds for a guest to do its part: libvirt's

_log = logging.getLogger(__name__)

Execute = Callable[[str, Mapping[str, object]], Awaitable[Any]]
"""Runs a QMP command; see ``Monitor.execute`` for what it raises."""


class Reports:
    """Who waits for which event of one guest."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Sequence[Event], asyncio.Future[Event]]] = []

    def hear(self, name: str, data: Mapping[str, Any], _stamp: float = 0.0) -> None:
        """An event has arrived; an ``EventCallback`` of the monitor."""
        for events, future in self._waiting:
            for event in events:
                if event.is_told_by(name, data) and not future.done():
                    future.set_result(event)

    @contextmanager
    def expecting(self, *events: Event | None) -> Iterator[asyncio.Future[Event]]:
        """The first of these that arrives from now on; begun before the command that brings it about."""
        entry = ([event for event in events if event is not None], asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            yield entry[1]
        finally:
            self._waiting.remove(entry)
            entry[1].cancel()


async def carry_out(change: Change, execute: Execute, reports: Reports, *, patience: float = PATIENCE) -> Change:
    """Run a change. When a step fails, those before it are taken back, and its ``LibvirtError`` is raised.

    What is returned remains to be done: nothing as a rule; when a guest has not let go of a device in ``patience``
    seconds, the steps for after its event.
    """
    done: list[Step] = []
    for number, step in enumerate(change, 1):
        try:
            if not await _take(step, execute, reports, patience):
                return change[number:]
        except BaseException as error:
            if isinstance(error, LibvirtError) and not step.needed:
                _log.warning("%s: %s", step.command.name, error)
                continue
            if not (_is_refusal(error) or step.undo_if_sure):
                done.append(step)  # it may have taken effect, or may yet
            await _take_back(done, execute, reports, patience)
            raise
        done.append(step)
    return ()


async def _take(step: Step, execute: Execute, reports: Reports, patience: float) -> bool:
    """Run one step; False when the guest has not answered in time."""
    with reports.expecting(step.until, step.unless, step.asks) as report:
        try:
            await execute(*step.command)
        except LibvirtError as error:
            # A refusal that is a question to the guest in truth; any other one is final.
            if step.asks is None or not _is_refusal(error) or await _answer(report, patience) is None:
                raise
            return True
        if step.until is None:
            return True
        answer = await _answer(report, patience)
    if answer is not None and answer == step.unless:
        raise LibvirtError(c.VIR_ERR_OPERATION_FAILED, "unplug of device was rejected by the guest",
                           domain=c.VIR_FROM_QEMU)
    return answer is not None


async def _answer(report: asyncio.Future[Event], patience: float) -> Event | None:
    try:
        async with timeout(patience):
            return await report
    except TimeoutError:
        return None


async def _take_back(done: Sequence[Step], execute: Execute, reports: Reports, patience: float) -> None:
    for step in reversed(done):
        if step.undo is not None:
            try:
                if not await _take(step.undo, execute, reports, patience):
                    _log.warning("%s: the guest has not let go", step.undo.command.name)
            except LibvirtError as error:
                _log.warning("%s: %s", step.undo.command.name, error)


def _is_refusal(error: BaseException) -> bool:
    """Whether QEMU has answered, and so has done nothing."""
    return isinstance(error, LibvirtError) and error.code == c.VIR_ERR_INTERNAL_ERROR
