"""Wakes the callers whose replies came together, one after the other: each wakes the next as it leaves.

Woken all at once, they would stand in line for the interpreter's lock, and each would be put to sleep and woken again
there; the I/O thread would stand in the same line. One after the other, with 64 callers, a call costs its client 30 us
of CPU instead of 43. What they send next is gathered meanwhile, and the last one has it sent.

A caller that is interrupted in the wrong moment may not wake the next. The I/O thread looks for that.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virtbus_shared.bus.calls import Call


class Relay:
    """The callers that are to be woken. Methods say which thread may call them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered: deque[Call] = deque()
        self._woken = 0  # callers so far
        self._seen = -1  # how many they were at the last look
        self.running = False  # whether a caller is awake that has not woken the next yet

    def add(self, call: Call) -> None:
        """The I/O thread: this caller is to be woken."""
        self._answered.append(call)

    def begin(self) -> None:
        """The I/O thread: wake the first caller, unless one is awake that will come to it."""
        with self._lock:
            if self.running or not self._answered:
                return
            self.running = True
            call = self._next()
        call.wake()

    def hand_on(self) -> bool:
        """The caller that is awake: wake the next. True if there is none."""
        with self._lock:
            if not self._answered:
                self.running = False
                return True
            call = self._next()
        call.wake()
        return False

    def _next(self) -> Call:
        self._woken += 1
        return self._answered.popleft()

    def look(self) -> bool:
        """The I/O thread, now and then: wake everybody if none was woken since the last look. True if it was so."""
        with self._lock:
            stuck = self.running and self._woken == self._seen
            self._seen = self._woken
        if stuck:
            self.everybody()
        return stuck

    def everybody(self) -> None:
        """Any thread: wake all at once."""
        with self._lock:
            self.running = False
            calls = list(self._answered)
            self._answered.clear()
        for call in calls:
            call.wake()
