"""libvirt's event loop functions, and how events reach the loop from the threads that receive them.

A program registers one loop for the process, libvirt's own (``virEventRegisterDefaultImpl``, then a thread repeating
``virEventRunDefaultImpl``) or one of its own (``virEventRegisterImpl``), and from then on all callbacks run there.
Connections receive events on other threads; an ``EventQueue`` carries them over through a pipe that the loop
watches. Behaviour: libvirt 9.0.0.
"""

from __future__ import annotations

import threading
import warnings
from collections import deque
from collections.abc import Callable
from operator import index

from virtbus.errors import libvirtError, virResetLastError
from virtbus.pollloop import Loop, LoopOpaque, PollLoop, WakePipe, guarded
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

HandleCallback = Callable[[int, int, int, object], object]
TimeoutCallback = Callable[[int, object], object]


class _CustomLoop:
    """A program's own six functions; where one raises, that is printed and the call counts as failed."""

    def __init__(self, functions: tuple[Callable[..., object], ...]) -> None:
        (self._add_handle, self._update_handle, self._remove_handle,
         self._add_timeout, self._update_timeout, self._remove_timeout) = functions

    def add_handle(self, fd: int, events: int, cb: Callable[..., object], opaque: LoopOpaque) -> int:
        watch = guarded(self._add_handle, fd, events, cb, opaque)
        return watch if isinstance(watch, int) else -1

    def update_handle(self, watch: int, events: int) -> None:
        guarded(self._update_handle, watch, events)

    def remove_handle(self, watch: int) -> int:
        return -1 if guarded(self._remove_handle, watch) == -1 else 0

    def add_timeout(self, timeout: int, cb: Callable[..., object], opaque: LoopOpaque) -> int:
        timer = guarded(self._add_timeout, timeout, cb, opaque)
        return timer if isinstance(timer, int) else -1

    def update_timeout(self, timer: int, timeout: int) -> None:
        guarded(self._update_timeout, timer, timeout)

    def remove_timeout(self, timer: int) -> int:
        return -1 if guarded(self._remove_timeout, timer) == -1 else 0


_default = PollLoop()
_registered: Loop | None = None


class EventQueue:
    """Runs functions in the registered loop, in the order posted; ``post`` may be called from any thread.

    Without a loop there is nowhere to run them, and making a queue fails as registering for events does in libvirt.
    """

    def __init__(self) -> None:
        if _registered is None:
            raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "could not initialize domain event timer")
        self._loop = _registered
        self._lock = threading.Lock()
        self._items: deque[Callable[[], object]] = deque()
        self._pipe: WakePipe | None = WakePipe()
        self._watch = self._loop.add_handle(self._pipe.reader, c.VIR_EVENT_HANDLE_READABLE,
                                            _eventInvokeHandleCallback, (self._run, None, None))
        if self._watch == -1:
            self._pipe.close()
            raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "could not initialize domain event timer")

    def post(self, function: Callable[[], object]) -> None:
        """Have the loop call ``function()`` soon; after ``close`` nothing is called."""
        with self._lock:
            if self._pipe is not None:
                self._items.append(function)
                self._pipe.wake()

    def close(self) -> None:
        """Forget what waits and stop being watched; a function of this queue may be the caller."""
        with self._lock:
            pipe, self._pipe = self._pipe, None
            self._items.clear()
        if pipe is not None:
            self._loop.remove_handle(self._watch)
            pipe.close()

    def _run(self, watch: int, fd: int, events: int, opaque: object) -> None:
        # Emptying the pipe comes before taking the items, so that a function posted in between wakes the loop again.
        with self._lock:
            if self._pipe is None:
                return
            self._pipe.drain()
            count = len(self._items)
        for _ in range(count):
            with self._lock:
                if not self._items:
                    return
                function = self._items.popleft()
            guarded(function)


def virEventRegisterDefaultImpl() -> int:
    """Make libvirt's own loop the one of this process; do so before opening connections."""
    _register(_default)
    return 0


def virEventRegisterImpl(
    addHandle: Callable[..., object], updateHandle: Callable[..., object], removeHandle: Callable[..., object],
    addTimeout: Callable[..., object], updateTimeout: Callable[..., object], removeTimeout: Callable[..., object],
) -> None:
    """Make a program's own loop the one of this process; the argument shapes are those of ``Loop``."""
    functions = (addHandle, updateHandle, removeHandle, addTimeout, updateTimeout, removeTimeout)
    for number, function in enumerate(functions, 1):
        if not callable(function):
            raise TypeError(f"virEventRegisterImpl() argument {number} must be callable, not {type(function).__name__}")
    if isinstance(_registered, _CustomLoop):
        raise RuntimeError("Event loop is already registered")
    _register(_CustomLoop(functions))


def virEventRunDefaultImpl() -> int:
    """Run one turn of libvirt's own loop: wait for something to happen, and call back."""
    _default.run_once()
    return 0


def virEventAddHandle(fd: int, events: int, cb: HandleCallback, opaque: object) -> int:
    """Watch ``fd`` for ``VIR_EVENT_HANDLE_*`` bits and call ``cb(watch, fd, events, opaque)``; gives the watch."""
    _check_callback("virEventAddHandle", cb)
    if index(fd) < 0:
        raise ValueError("fd in virEventAddHandle must be zero or greater")
    return _checked("virEventAddHandle", -1 if _registered is None else _registered.add_handle(
        index(fd), index(events), _eventInvokeHandleCallback, (cb, opaque, None)))


def virEventUpdateHandle(watch: int, events: int) -> None:
    """Change what a watch looks for, 0 for nothing; an unknown watch is ignored, as in libvirt."""
    if _registered is not None:
        _registered.update_handle(index(watch), index(events))


def virEventRemoveHandle(watch: int) -> int:
    """Stop watching."""
    return _checked("virEventRemoveHandle", -1 if _registered is None else _registered.remove_handle(index(watch)))


def virEventAddTimeout(timeout: int, cb: TimeoutCallback, opaque: object) -> int:
    """Call ``cb(timer, opaque)`` every ``timeout`` ms, at each turn for 0, not yet for -1; gives the timer."""
    _check_callback("virEventAddTimeout", cb)
    return _checked("virEventAddTimeout", -1 if _registered is None else _registered.add_timeout(
        index(timeout), _eventInvokeTimeoutCallback, (cb, opaque, None)))


def virEventUpdateTimeout(timer: int, timeout: int) -> None:
    """Change a timer's interval in ms, -1 to stop it; an unknown timer is ignored, as in libvirt."""
    if _registered is not None:
        _registered.update_timeout(index(timer), index(timeout))


def virEventRemoveTimeout(timer: int) -> int:
    """Forget a timer."""
    return _checked("virEventRemoveTimeout", -1 if _registered is None else _registered.remove_timeout(index(timer)))


def virEventInvokeFreeCallback(opaque: LoopOpaque) -> None:
    """For a program's own loop: free the opaque of a removed handle or timer, later and from its own stack."""
    if opaque[2] is not None:
        opaque[2](opaque[1])


def _eventInvokeHandleCallback(watch: int, fd: int, events: int, opaque: LoopOpaque | Callable[..., object],
                               opaquecompat: object = None) -> None:
    """What a loop calls for a handle; loops written for libvirt before 0.9.3 give the opaque in two parts."""
    callback, own = opaque[:2] if isinstance(opaque, tuple) else (opaque, opaquecompat)
    guarded(callback, watch, fd, events, own)


def _eventInvokeTimeoutCallback(timer: int, opaque: LoopOpaque | Callable[..., object],
                                opaquecompat: object = None) -> None:
    """What a loop calls for a timer; see ``_eventInvokeHandleCallback``."""
    callback, own = opaque[:2] if isinstance(opaque, tuple) else (opaque, opaquecompat)
    guarded(callback, timer, own)


def _register(loop: Loop) -> None:
    global _registered
    if _registered is None:
        _registered = loop
    elif loop is not _registered:
        warnings.warn("Ignoring attempt to replace registered event loop", RuntimeWarning, stacklevel=3)


def _check_callback(function: str, callback: object) -> None:
    if not callable(callback):
        raise TypeError(f"{function}() callback must be callable, not {type(callback).__name__}")


def _checked(function: str, result: int) -> int:
    """Loops answer -1 without saying why, so the error holds no fields, as in libvirt-python."""
    if result == -1:
        virResetLastError()
        raise libvirtError(f"{function}() failed")
    return result
