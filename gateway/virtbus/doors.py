"""Doors that the connections of a process share, closed when the last connection that uses one is gone.

Connections end by ``close()`` or by being forgotten, and Python may notice the latter in any thread, in the middle of
anything, even while this module's lock is held. So leaving only writes down that somebody left; whoever can take the
lock without waiting does the counting.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Door(Protocol):
    """What leads to a node, or to the broker in front of it."""

    def close(self) -> None:
        """Let go of everything."""


D = TypeVar("D", bound=Door)


class Shared(Generic[D]):
    """A door and the number of its users."""

    def __init__(self, key: object, door: D) -> None:
        self.key = key
        self.door = door
        self.users = 0


class Doors(Generic[D]):
    """The doors of one kind, by key."""

    def __init__(self) -> None:
        self._reset()
        # A child's doors are its own: what it inherits belongs to threads that the fork left behind.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._doors: dict[object, Shared[D]] = {}
        self._left: deque[Shared[D]] = deque()

    def enter(self, key: object, make: Callable[[], D]) -> Shared[D]:
        """The door of this key, made if nobody has it open; ``leave`` it once."""
        with self._lock:
            shared = self._doors.get(key)
            if shared is None:
                shared = self._doors[key] = Shared(key, make())
            shared.users += 1
        self._sweep()
        return shared

    def leave(self, shared: Shared[D]) -> None:
        """One user less. From any thread, and from a finalizer."""
        self._left.append(shared)
        self._sweep()

    def _sweep(self) -> None:
        # Who holds the lock sweeps after releasing it, so nobody needs to wait for it here.
        while self._left and self._lock.acquire(blocking=False):
            unused = []
            try:
                while self._left:
                    shared = self._left.popleft()
                    shared.users -= 1
                    if not shared.users:
                        unused.append(shared)
                        if self._doors.get(shared.key) is shared:
                            del self._doors[shared.key]
            finally:
                self._lock.release()
            for shared in unused:
                shared.door.close()
