"""The order of events: each once, what is missing fetched, and a gap told when it cannot be.

The history behind the stream is this file's: a channel whose service keeps what the test says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from virtbus import stream, uri
from virtbus.channel import Channel, EventCallback
from virtbus.stream import EventStream
from virtbus_shared import constants as c
from virtbus_shared.api import common
from virtbus_shared.envelope import EventMessage, Request, encode_error, encode_result
from virtbus_shared.errors import LibvirtError

WAIT = 20.0  # seconds until a test gives up


def event(sequence: int, epoch: str = "e1", name: str = "domain.lifecycle") -> bytes:
    """An event envelope."""
    return EventMessage(name, "node", "test", "/default", epoch, sequence, 0.0, {"n": sequence}).encode()


class History(Channel):
    """A channel to a service that has numbered some events; ``arrive`` brings one, ``miss`` says that some may be
    missing, ``away`` counts the fetches that will fail.
    """

    def __init__(self, last: int = 0, first: int = 1, epoch: str = "e1") -> None:
        super().__init__(uri.parse("test:///default"), False, lambda: None)
        self.first, self.last, self.epoch = first, last, epoch
        self.away = 0
        self.fetches = 0
        self.before_reply: Callable[[], object] = lambda: None
        self.arrive: EventCallback
        self.miss: Callable[[], None]
        self.subscribed = False

    def exchange(self, request: Request, body: bytes) -> bytes:
        """Answer domain.list_events as the service would."""
        self.fetches += 1
        if self.away:
            self.away -= 1
            return encode_error(request.id, LibvirtError(c.VIR_ERR_SYSTEM_ERROR, "away"))
        asked = common.EventsSince.model_validate(request.args)
        same = asked.epoch == self.epoch
        after = asked.sequence if same else 0
        numbers = range(max(after + 1, self.first), self.last + 1)[:asked.limit]
        reply = encode_result(request.id, common.Events(
            epoch=self.epoch, first=self.first, last=self.last, events=[event(n, self.epoch) for n in numbers],
            gap=bool(asked.epoch and not same) or after > self.last or (after < self.last and self.first > after + 1),
        ).model_dump())
        self.before_reply()
        return reply

    def subscribe(self, service: str, callback: EventCallback, on_gap: Callable[[], None]) -> Callable[[], None]:
        """Remember who listens."""
        self.arrive, self.miss, self.subscribed = callback, on_gap, True

        def cancel() -> None:
            self.subscribed = False
        return cancel

    def happen(self, count: int = 1) -> list[bytes]:
        """Number some more events, and give them without delivering them."""
        numbers = range(self.last + 1, self.last + 1 + count)
        self.last += count
        return [event(n, self.epoch) for n in numbers]


class Seen:
    """What a stream delivers, in order: numbers of events, and ("gap", epoch, last seen, first known)."""

    def __init__(self, history: History) -> None:
        self._queue: SimpleQueue[object] = SimpleQueue()
        self.stream = EventStream(history, "domain", lambda m: self._queue.put(m.sequence),
                                  lambda *gap: self._queue.put(("gap", *gap)))

    def next(self, count: int = 1) -> list[object]:
        """The next deliveries."""
        return [self._queue.get(timeout=WAIT) for _ in range(count)]

    def nothing(self) -> bool:
        """Nothing more came."""
        return self._queue.empty()


@pytest.fixture
def history() -> Iterator[History]:
    """A service that has numbered five events before anybody listened."""
    found = History(last=5)
    yield found
    found.close()


def test_what_came_before_is_not_delivered(history: History) -> None:
    """A stream begins with the first event after its start, even if older ones arrive late."""
    seen = Seen(history)
    history.arrive(event(5))
    for body in history.happen(2):
        history.arrive(body)
    assert seen.next(2) == [6, 7]
    assert seen.nothing()


def test_what_happens_during_the_start_is_delivered(history: History) -> None:
    """An event that arrives between the subscription and the answer to "which was the last" is not lost."""
    history.before_reply = lambda: [history.arrive(body) for body in history.happen(2)]
    assert Seen(history).next(2) == [6, 7]


def test_duplicates_are_dropped(history: History) -> None:
    """The same event twice is delivered once."""
    seen = Seen(history)
    (body,) = history.happen()
    history.arrive(body)
    history.arrive(body)
    history.arrive(*history.happen())
    assert seen.next(2) == [6, 7]
    assert seen.nothing()


def test_a_jump_fetches_what_is_missing(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing events are fetched, page by page, and delivered before the newer one that showed them missing."""
    monkeypatch.setattr(stream, "PAGE", 2)
    seen = Seen(history)
    *_, newest = history.happen(5)
    history.arrive(newest)
    assert seen.next(5) == [6, 7, 8, 9, 10]
    history.arrive(*history.happen())
    assert seen.next() == [11]
    assert seen.nothing()


def test_a_hint_fetches_what_is_missing(history: History) -> None:
    """When the door says that something may be missing, it is fetched without waiting for the next event."""
    seen = Seen(history)
    history.happen(3)
    history.miss()
    assert seen.next(3) == [6, 7, 8]


def test_events_that_arrive_while_fetching_wait(history: History) -> None:
    """What arrives during a fetch comes after what is fetched, once."""
    seen = Seen(history)
    history.happen(2)
    late: list[bytes] = []

    def more() -> None:
        if not late:
            late.extend(history.happen())
            history.arrive(late[0])
    history.before_reply = more
    history.miss()
    assert seen.next(3) == [6, 7, 8]
    assert seen.nothing()


def test_a_service_that_is_away_is_asked_again(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetching goes on until the service answers."""
    monkeypatch.setattr(stream, "RETRY", 0.01)
    seen = Seen(history)
    history.away = 3
    history.happen()
    history.miss()
    assert seen.next() == [6]
    assert history.fetches == 5


def test_a_lost_stretch_is_told(history: History) -> None:
    """Events that the service no longer keeps are a gap, told in its place."""
    seen = Seen(history)
    history.happen(5)
    history.first = 9
    history.miss()
    assert seen.next(3) == [("gap", "e1", 5, 9), 9, 10]


def test_a_new_store_is_told(history: History) -> None:
    """A service that starts with an empty store counts from 1 in a new epoch: a gap, then its events."""
    seen = Seen(history)
    history.arrive(*history.happen())
    assert seen.next() == [6]
    history.epoch, history.last = "e2", 0
    history.arrive(*history.happen())
    assert seen.next(2) == [("gap", "e1", 6, 1), 1]
    history.arrive(*history.happen())
    assert seen.next() == [2]


def test_a_store_that_went_back_is_told(history: History) -> None:
    """A store put back from an old copy has forgotten numbers that were given out: a gap too."""
    seen = Seen(history)
    history.last = 3
    history.miss()
    assert seen.next() == [("gap", "e1", 5, 4)]
    history.arrive(*history.happen())
    assert seen.next() == [4]


def test_rubbish_is_ignored(history: History, caplog: pytest.LogCaptureFixture) -> None:
    """A message that is no event disturbs nothing, and one of another service is not ours."""
    seen = Seen(history)
    wrong = EventMessage("domain.lifecycle", "n", "test", "/default", "e1", "six", 0.0, {})  # type: ignore[arg-type]
    for body in (b"\xff", b"", wrong.encode(), event(6, name="network.lifecycle")):
        history.arrive(body)
    history.arrive(*history.happen())
    assert seen.next() == [6]
    assert seen.nothing()
    assert "cannot be read" in caplog.text


def test_a_stream_that_cannot_start_leaves_nothing(history: History) -> None:
    """If the last number cannot be learnt, the subscription is gone and the error is the caller's."""
    history.away = 1
    with pytest.raises(LibvirtError, match="away"):
        Seen(history)
    assert not history.subscribed


def test_closed_streams_are_silent(history: History) -> None:
    """After close nothing is delivered, and a fetch that is under way ends."""
    seen = Seen(history)
    fetching, ended = threading.Event(), threading.Event()

    def hold() -> None:
        fetching.set()
        ended.wait(WAIT)
    history.happen()
    history.before_reply = hold
    history.miss()
    assert fetching.wait(WAIT)
    seen.stream.close()
    ended.set()
    for thread in threading.enumerate():
        if thread.name == "virtbus catches up":
            thread.join(WAIT)
    history.arrive(*history.happen())
    assert not history.subscribed
    assert seen.nothing()
