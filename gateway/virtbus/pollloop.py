"""libvirt's own event loop: descriptors and timers, waited for with ``poll``.

It is what ``virEventRegisterDefaultImpl`` registers; ``eventloop`` holds the functions programs call. The behaviour
is that of libvirt 9.0.0 (ids from 1, timers that repeat, a change from any thread ending the wait). ``select.poll`` is
used bare, because ``selectors`` hides hang-up and error.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from virtbus_shared import constants as c

# What a loop calls, and the opaque it must hand back: (callback, callback's own opaque, function that frees it).
LoopOpaque = tuple[Callable[..., object], object, Callable[[object], object] | None]

TO_POLL = (
    (c.VIR_EVENT_HANDLE_READABLE, select.POLLIN),
    (c.VIR_EVENT_HANDLE_WRITABLE, select.POLLOUT),
    (c.VIR_EVENT_HANDLE_ERROR, select.POLLERR | select.POLLNVAL),
    (c.VIR_EVENT_HANDLE_HANGUP, select.POLLHUP),
)


class Loop(Protocol):
    """The six functions of an event loop, as libvirt names and calls them; times are milliseconds, -1 is off."""

    def add_handle(self, fd: int, events: int, cb: Callable[..., object], opaque: LoopOpaque) -> int:
        """Watch ``fd`` and call ``cb(watch, fd, events, opaque)``; the watch is the answer."""

    def update_handle(self, watch: int, events: int) -> None:
        """Change what is watched for; an unknown watch is ignored."""

    def remove_handle(self, watch: int) -> int:
        """Stop watching; -1 for an unknown watch."""

    def add_timeout(self, timeout: int, cb: Callable[..., object], opaque: LoopOpaque) -> int:
        """Call ``cb(timer, opaque)`` every ``timeout`` ms; the timer is the answer."""

    def update_timeout(self, timer: int, timeout: int) -> None:
        """Change the interval and begin it anew; an unknown timer is ignored."""

    def remove_timeout(self, timer: int) -> int:
        """Stop a timer; -1 for an unknown one."""


@dataclass
class _Handle:
    fd: int
    events: int
    cb: Callable[..., object]
    opaque: LoopOpaque


@dataclass
class _Timer:
    interval: int
    due: float
    cb: Callable[..., object]
    opaque: LoopOpaque


class WakePipe:
    """A pipe whose read end becomes readable when any thread calls ``wake``; waking twice costs one byte."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)

    def wake(self) -> None:
        """Make the read end readable."""
        # A full pipe is as good as one more byte: the reader is awake already.
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"\0")

    def drain(self) -> None:
        """Make the read end wait again."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.reader, 4096):
                pass

    def close(self) -> None:
        """Close both ends."""
        os.close(self.reader)
        os.close(self._writer)


class PollLoop:
    """libvirt's own loop. Any thread and any callback may add, change and remove; a change ends the current wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Two threads that run the loop take turns; a callback may run it again, as with libvirt.
        self._running = threading.RLock()
        self._wake = WakePipe()
        self._handles: dict[int, _Handle] = {}
        self._timers: dict[int, _Timer] = {}
        self._watches = itertools.count(1)
        self._timer_ids = itertools.count(1)

    def add_handle(self, fd: int, events: int, cb: Callable[..., object], opaque: LoopOpaque) -> int:
        """Watch ``fd``; watches count from 1."""
        with self._lock:
            watch = next(self._watches)
            self._handles[watch] = _Handle(fd, events, cb, opaque)
        self._wake.wake()
        return watch

    def update_handle(self, watch: int, events: int) -> None:
        """Change the events of a watch."""
        with self._lock:
            if handle := self._handles.get(watch):
                handle.events = events
        self._wake.wake()

    def remove_handle(self, watch: int) -> int:
        """Forget a watch; its callback is not called again, even when it is due in this turn."""
        with self._lock:
            found = self._handles.pop(watch, None)
        self._wake.wake()
        return -1 if found is None else 0

    def add_timeout(self, timeout: int, cb: Callable[..., object], opaque: LoopOpaque) -> int:
        """Begin a timer; timers count from 1."""
        with self._lock:
            timer = next(self._timer_ids)
            self._timers[timer] = _Timer(timeout, time.monotonic() + timeout / 1000, cb, opaque)
        self._wake.wake()
        return timer

    def update_timeout(self, timer: int, timeout: int) -> None:
        """Change the interval of a timer and begin it anew."""
        with self._lock:
            if found := self._timers.get(timer):
                found.interval, found.due = timeout, time.monotonic() + timeout / 1000
        self._wake.wake()

    def remove_timeout(self, timer: int) -> int:
        """Forget a timer; its callback is not called again, even when it is due in this turn."""
        with self._lock:
            found = self._timers.pop(timer, None)
        self._wake.wake()
        return -1 if found is None else 0

    def run_once(self) -> None:
        """Wait for a handle, a timer or a change, then call what is due; what callbacks remove is called no more."""
        with self._running:
            ready = self._wait()
            self._run_timers()
            for watch, (fd, events) in ready.items():
                with self._lock:
                    handle = self._handles.get(watch)
                # Hang-up and error are reported unasked; the rest only while it is still wanted.
                if handle is None or not handle.events:
                    continue
                wanted = handle.events | c.VIR_EVENT_HANDLE_ERROR | c.VIR_EVENT_HANDLE_HANGUP
                if events & wanted:
                    guarded(handle.cb, watch, fd, events & wanted, handle.opaque)

    def _wait(self) -> dict[int, tuple[int, int]]:
        """Poll everything once: watch -> (fd, libvirt's event bits)."""
        with self._lock:
            watched = {watch: (handle.fd, handle.events) for watch, handle in self._handles.items() if handle.events}
            due = min((timer.due for timer in self._timers.values() if timer.interval >= 0), default=None)
        masks: dict[int, int] = {self._wake.reader: select.POLLIN}
        for fd, events in watched.values():
            masks[fd] = masks.get(fd, 0) | _poll_mask(events)
        poll = select.poll()
        for fd, mask in masks.items():
            poll.register(fd, mask)
        # Rounded up: waking a fraction early would spin until the timer is due.
        wait = None if due is None else math.ceil(max(0.0, due - time.monotonic()) * 1000)
        found = dict(poll.poll(wait))
        if found.pop(self._wake.reader, 0):
            self._wake.drain()
        return {watch: (fd, _events(found[fd])) for watch, (fd, _) in watched.items() if fd in found}

    def _run_timers(self) -> None:
        now = time.monotonic()
        with self._lock:
            due = [timer for timer, entry in self._timers.items() if entry.interval >= 0 and entry.due <= now]
        for timer in due:
            with self._lock:
                entry = self._timers.get(timer)
                if entry is None or entry.interval < 0 or entry.due > now:
                    continue
                entry.due = now + entry.interval / 1000
            guarded(entry.cb, timer, entry.opaque)


def guarded(function: Callable[..., object], *args: object) -> object:
    """Call; an exception is printed, since there is nobody above a callback to catch it, and -1 is the answer."""
    try:
        return function(*args)
    except Exception:
        sys.excepthook(*sys.exc_info())
        return -1


def _poll_mask(events: int) -> int:
    return sum(mask for bit, mask in TO_POLL if events & bit)


def _events(mask: int) -> int:
    return sum(bit for bit, poll_mask in TO_POLL if mask & poll_mask)
