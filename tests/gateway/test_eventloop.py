"""libvirt's event loop: handles, timers, a program's own loop, and functions posted from other threads."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator

import pytest

from virtbus import eventloop, pollloop
from virtbus.errors import libvirtError
from virtbus.eventloop import EventQueue
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

Events = list[tuple[object, ...]]


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh default loop, registered."""
    monkeypatch.setattr(eventloop, "_default", pollloop.PollLoop())
    monkeypatch.setattr(eventloop, "_registered", None)
    assert eventloop.virEventRegisterDefaultImpl() == 0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe: (read end, write end)."""
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue  # a test closed it to make a hang-up


def turn_until(done: Callable[[], object]) -> None:
    """Run the loop until something is so."""
    while not done():
        assert eventloop.virEventRunDefaultImpl() == 0


def test_handle_is_called(loop: None, pipe: tuple[int, int]) -> None:
    """A readable descriptor calls back with watch, descriptor, events and the opaque."""
    reader, writer = pipe
    seen: Events = []

    def readable(*arguments: object) -> None:
        seen.append((*arguments, os.read(reader, 10)))

    watch = eventloop.virEventAddHandle(reader, c.VIR_EVENT_HANDLE_READABLE, readable, "mine")
    os.write(writer, b"x")
    turn_until(lambda: seen)
    assert seen == [(watch, reader, c.VIR_EVENT_HANDLE_READABLE, "mine", b"x")]
    assert eventloop.virEventRemoveHandle(watch) == 0


def test_hang_up_is_reported(loop: None, pipe: tuple[int, int]) -> None:
    """The other end closing is reported though only reading was asked for."""
    reader, writer = pipe
    seen: Events = []
    eventloop.virEventAddHandle(reader, c.VIR_EVENT_HANDLE_READABLE, lambda *a: seen.append(a), None)
    os.close(writer)
    turn_until(lambda: seen)
    assert seen[0][2] == c.VIR_EVENT_HANDLE_HANGUP


def test_updated_handle(loop: None, pipe: tuple[int, int]) -> None:
    """A watch updated to nothing is silent, and updated to writing reports that."""
    reader, writer = pipe
    seen: Events = []
    idle = eventloop.virEventAddHandle(reader, c.VIR_EVENT_HANDLE_READABLE, lambda *a: seen.append(a), "reader")
    watch = eventloop.virEventAddHandle(writer, 0, lambda *a: seen.append(a), "writer")
    os.write(writer, b"x")
    eventloop.virEventUpdateHandle(idle, 0)
    eventloop.virEventUpdateHandle(watch, c.VIR_EVENT_HANDLE_WRITABLE)
    turn_until(lambda: seen)
    assert {entry[3] for entry in seen} == {"writer"}


def test_several_watches_on_one_descriptor(loop: None, pipe: tuple[int, int]) -> None:
    """Each watch of a descriptor is called for what it asked."""
    _, writer = pipe
    seen: Events = []
    eventloop.virEventAddHandle(writer, c.VIR_EVENT_HANDLE_WRITABLE, lambda *a: seen.append(a), "a")
    eventloop.virEventAddHandle(writer, c.VIR_EVENT_HANDLE_READABLE, lambda *a: seen.append(a), "b")
    eventloop.virEventAddHandle(writer, c.VIR_EVENT_HANDLE_WRITABLE, lambda *a: seen.append(a), "c")
    turn_until(lambda: seen)
    assert [entry[3] for entry in seen] == ["a", "c"]


def test_timer_repeats(loop: None) -> None:
    """A timer calls again and again with its id and opaque until it is switched off, and can be switched on again."""
    seen: Events = []
    timer = eventloop.virEventAddTimeout(1, lambda *a: seen.append(a), "mine")
    turn_until(lambda: len(seen) == 3)
    assert seen == [(timer, "mine")] * 3
    eventloop.virEventUpdateTimeout(timer, -1)
    others: Events = []
    eventloop.virEventAddTimeout(0, lambda *a: others.append(a), None)
    turn_until(lambda: len(others) == 5)
    assert len(seen) == 3
    eventloop.virEventUpdateTimeout(timer, 0)
    turn_until(lambda: len(seen) == 4)
    assert eventloop.virEventRemoveTimeout(timer) == 0


def test_callbacks_may_change_the_loop(loop: None) -> None:
    """A callback may remove itself and others, which are not called any more, and add new ones."""
    seen: list[str] = []
    timers: dict[str, int] = {}

    def first(timer: int, opaque: object) -> None:
        seen.append("first")
        for one in timers.values():
            eventloop.virEventRemoveTimeout(one)
        eventloop.virEventAddTimeout(0, lambda *a: seen.append("added"), None)

    timers["first"] = eventloop.virEventAddTimeout(0, first, None)
    timers["second"] = eventloop.virEventAddTimeout(0, lambda *a: seen.append("second"), None)
    turn_until(lambda: "added" in seen)
    assert seen == ["first", "added"]


def test_loop_may_run_inside_a_callback(loop: None) -> None:
    """A callback may run the loop itself, as programs do that wait for an event inside an event."""
    seen: list[str] = []

    def outer(timer: int, opaque: object) -> None:
        eventloop.virEventRemoveTimeout(timer)
        eventloop.virEventAddTimeout(0, lambda *a: seen.append("inner"), None)
        turn_until(lambda: seen)
        seen.append("outer")

    eventloop.virEventAddTimeout(0, outer, None)
    turn_until(lambda: "outer" in seen)
    assert seen[-1] == "outer"


def test_another_thread_ends_the_wait(loop: None) -> None:
    """A loop that waits for nothing is woken by what another thread adds."""
    seen: list[object] = []
    running = threading.Thread(target=turn_until, args=(lambda: seen,))
    running.start()
    eventloop.virEventAddTimeout(0, lambda *a: seen.append(threading.current_thread()), None)
    running.join(60)
    assert seen == [running]


def test_failing_callback_is_printed(loop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in a callback is printed, and the loop goes on."""
    printed: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, trace: printed.append(kind))
    eventloop.virEventAddTimeout(0, lambda *a: int("missing"), None)
    turn_until(lambda: len(printed) > 1)
    assert set(printed) == {ValueError}


def test_unknown_ids(loop: None) -> None:
    """Removing what is not there fails without fields; updating it is ignored; so it is in libvirt-python."""
    for function in (eventloop.virEventRemoveHandle, eventloop.virEventRemoveTimeout):
        with pytest.raises(libvirtError, match=f"{function.__name__}\\(\\) failed") as caught:
            function(99)
        assert caught.value.err is None
    eventloop.virEventUpdateHandle(99, 1)
    eventloop.virEventUpdateTimeout(99, 1)


def test_bad_arguments(loop: None) -> None:
    """What cannot be a descriptor, a number or a callback is refused at once."""
    with pytest.raises(TypeError):
        eventloop.virEventAddHandle("x", 1, lambda *a: None, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="zero or greater"):
        eventloop.virEventAddHandle(-1, 1, lambda *a: None, None)
    with pytest.raises(TypeError, match="virEventAddTimeout"):
        eventloop.virEventAddTimeout(1, None, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="argument 1 must be callable"):
        eventloop.virEventRegisterImpl(*[1] * 6)  # type: ignore[arg-type]


def test_without_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a loop nothing can be added, and an event queue fails as registering for events does in libvirt."""
    monkeypatch.setattr(eventloop, "_registered", None)
    with pytest.raises(libvirtError, match="virEventAddTimeout"):
        eventloop.virEventAddTimeout(0, lambda *a: None, None)
    with pytest.raises(LibvirtError) as caught:
        EventQueue()
    assert caught.value.message == "internal error: could not initialize domain event timer"
    assert (caught.value.code, caught.value.domain) == (c.VIR_ERR_INTERNAL_ERROR, c.VIR_FROM_NONE)


def test_queue_keeps_order_across_threads(loop: None) -> None:
    """What threads post runs in the loop's thread, each thread's functions in their order, none lost."""
    queue = EventQueue()
    seen: list[tuple[int, int]] = []
    threads = set()

    def note(item: tuple[int, int]) -> None:
        seen.append(item)
        threads.add(threading.get_ident())

    def poster(number: int) -> None:
        for step in range(500):
            queue.post(lambda item=(number, step): note(item))  # type: ignore[misc]

    posters = [threading.Thread(target=poster, args=(number,)) for number in range(4)]
    for one in posters:
        one.start()
    turn_until(lambda: len(seen) == 2000)
    for one in posters:
        one.join()
    assert [[step for number, step in seen if number == wanted] for wanted in range(4)] == [list(range(500))] * 4
    assert threads == {threading.get_ident()}
    queue.close()


def test_queue_survives_a_failing_function(loop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A posted function that fails is printed, and the next one runs."""
    printed: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, trace: printed.append(kind))
    queue = EventQueue()
    seen: list[int] = []
    queue.post(lambda: int("missing"))
    queue.post(lambda: seen.append(1))
    turn_until(lambda: seen)
    assert (printed, seen) == ([ValueError], [1])
    queue.close()


def test_closed_queue_is_silent(loop: None) -> None:
    """A queue closed by one of its own functions runs nothing more and leaves no descriptor open."""
    before = len(os.listdir("/proc/self/fd"))
    queue = EventQueue()
    seen: list[str] = []

    def last() -> None:
        seen.append("last")
        queue.close()

    queue.post(last)
    queue.post(lambda: seen.append("too late"))
    turn_until(lambda: seen)
    queue.post(lambda: seen.append("later still"))
    queue.close()
    done: list[int] = []
    eventloop.virEventAddTimeout(0, lambda *a: done.append(1), None)
    turn_until(lambda: len(done) > 2)
    assert seen == ["last"]
    assert len(os.listdir("/proc/self/fd")) == before


class OwnLoop:
    """A program's own loop, as small as can be: it writes down what it is asked, and calls when told."""

    def __init__(self) -> None:
        self.calls: Events = []

    def add(self, *arguments: object) -> int:
        """Add a handle or a timer."""
        self.calls.append(arguments)
        return len(self.calls)

    def note(self, *arguments: object) -> int:
        """Update or remove."""
        self.calls.append(arguments)
        return 0


def test_own_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered loop of the program's own gets descriptor, events, a function and an opaque to call it with."""
    monkeypatch.setattr(eventloop, "_registered", None)
    own = OwnLoop()
    eventloop.virEventRegisterImpl(own.add, own.note, own.note, own.add, own.note, own.note)
    seen: list[int] = []
    queue = EventQueue()
    queue.post(lambda: seen.append(1))
    fd, events, callback, opaque = own.calls[0]
    assert (events, isinstance(fd, int)) == (c.VIR_EVENT_HANDLE_READABLE, True)
    assert callable(callback)
    assert isinstance(opaque, tuple)
    callback(1, fd, events, opaque)
    queue.post(lambda: seen.append(2))
    callback(1, fd, events, *opaque[:2])  # how loops older than libvirt 0.9.3 call
    assert seen == [1, 2]
    eventloop.virEventInvokeFreeCallback(opaque)
    queue.close()
    assert own.calls[1:] == [(1,)]
    timers: Events = []
    timer = eventloop.virEventAddTimeout(5, lambda *a: timers.append(a), "mine")
    interval, called, own_opaque = own.calls[-1]
    assert callable(called)
    called(timer, own_opaque)
    assert (interval, timers) == (5, [(timer, "mine")])
    eventloop.virEventUpdateTimeout(timer, 7)
    assert own.calls[-1] == (timer, 7)
    with pytest.raises(RuntimeError, match="already registered"):
        eventloop.virEventRegisterImpl(own.add, own.note, own.note, own.add, own.note, own.note)


def test_loop_is_not_replaced(loop: None) -> None:
    """A loop once registered stays; an attempt to replace it is ignored with a warning, as in libvirt."""
    own = OwnLoop()
    with pytest.warns(RuntimeWarning, match="Ignoring attempt to replace"):
        eventloop.virEventRegisterImpl(own.add, own.note, own.note, own.add, own.note, own.note)
    assert eventloop.virEventRegisterDefaultImpl() == 0
    eventloop.virEventAddTimeout(-1, lambda *a: None, None)
    assert own.calls == []


def test_documented_use() -> None:
    """The use that libvirt's manual shows works in a program: a daemon thread turns the loop, others are called."""
    program = textwrap.dedent("""
        import threading
        from virtbus import eventloop
        eventloop.virEventRegisterDefaultImpl()
        def turn():
            while True:
                eventloop.virEventRunDefaultImpl()
        threading.Thread(target=turn, daemon=True).start()
        called = threading.Event()
        eventloop.virEventAddTimeout(0, lambda timer, opaque: called.set(), None)
        print(called.wait(60))
    """)
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert (child.stdout, child.stderr) == ("True\n", "")
