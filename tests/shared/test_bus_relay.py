"""Callers whose replies came together are woken one after the other, and nobody is left asleep."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.bus import PATIENCE, Service, echo
from virtbus_shared.bus import link
from virtbus_shared.bus.calls import Call, Calls, closed_error
from virtbus_shared.bus.client import BusClient
from virtbus_shared.bus.relay import Relay


def waiting(count: int) -> list[Call]:
    """Calls that wait."""
    return [Call("node", "domain.x", str(n), b"", time.time() + PATIENCE) for n in range(count)]


def test_each_wakes_the_next() -> None:
    """One caller is awake at a time; the last is told that it was the last."""
    relay, calls = Relay(), waiting(3)
    for call in calls:
        relay.add(call)
    relay.begin()
    for last in range(3):
        assert [call.woken for call in calls] == [n <= last for n in range(3)]
        assert relay.running
        assert relay.hand_on() is (last == 2)
    assert not relay.running


def test_what_comes_meanwhile_waits_for_its_turn() -> None:
    """A second batch does not wake a second caller beside the first; after the last one it wakes one again."""
    relay, (first, second, third) = Relay(), waiting(3)
    relay.add(first)
    relay.begin()
    relay.add(second)
    relay.begin()
    assert not second.woken
    assert relay.hand_on() is False
    assert second.woken
    assert relay.hand_on() is True
    relay.add(third)
    relay.begin()
    assert third.woken


def test_a_caller_that_does_not_hand_on_holds_nobody_for_long() -> None:
    """A look that finds the relay where the last one found it wakes everybody; a relay that moves is left alone."""
    relay, calls = Relay(), waiting(5)
    for call in calls:
        relay.add(call)
    relay.begin()
    assert not relay.look()
    relay.hand_on()
    assert not relay.look(), "it has moved"
    assert not calls[2].woken
    assert relay.look()
    assert all(call.woken for call in calls)
    assert not relay.running
    assert relay.hand_on() is True, "the late one does no harm"


def test_closing_wakes_whoever_was_answered() -> None:
    """After the I/O thread's end nobody would look for a relay that is stuck."""
    calls = Calls()
    answered, unanswered = waiting(4), waiting(5)[4]
    for call in (*answered, unanswered):
        calls.admit(call)
    assert all(calls.replied(call.id, b"reply") for call in answered)
    calls.wake_callers()
    calls.close(closed_error())
    assert [call.reply for call in answered if call.woken] == [b"reply"] * 4
    assert unanswered.woken
    assert unanswered.error is not None


def test_what_is_sent_meanwhile_is_gathered() -> None:
    """While callers are woken the I/O thread is left alone, until many calls wait or the last caller has gone."""
    calls, made = Calls(), waiting(50)
    first, second, *others = made
    assert calls.admit(first), "nobody else sends it"
    assert not calls.admit(second), "the I/O thread has been told"
    assert calls.to_send() == [first, second]
    assert calls.replied(first.id, b"reply")
    assert calls.replied(second.id, b"reply")
    calls.wake_callers()
    assert [calls.admit(call) for call in others] == [n == 31 for n in range(48)]
    assert not calls.leave(first)
    assert second.woken
    assert calls.leave(second), "the last one has the rest sent"
    assert calls.to_send() == others


class InterruptedCallError(Exception):
    """Stands for Ctrl-C in a thread that was about to wake the next caller."""


def test_an_interrupted_caller_takes_nobody_along(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller is interrupted before it can hand on; the other threads get their replies all the same."""
    monkeypatch.setattr(link, "EVERY", 0.05)
    node, client = f"node-{uuid.uuid4().hex[:8]}", BusClient(broker_url)
    leave, unlucky = client._calls.leave, f"3-5-{node}"

    def interrupted(call: Call) -> bool:
        if call.id == unlucky:
            raise InterruptedCallError
        return leave(call)

    def work(thread: int) -> int:
        """How many calls were answered."""
        done = 0
        for n in range(20):
            body = b"%d/%d" % (thread, n)
            try:
                done += client.call(node, "domain.x", f"{thread}-{n}-{node}", body, time.time() + PATIENCE) == body
            except InterruptedCallError:
                continue
        return done

    monkeypatch.setattr(client._calls, "leave", interrupted)
    with Service(broker_url, node, on_request=echo), ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [20, 20, 20, 19, 20, 20, 20, 20]
    assert not client._calls.pending
    client.close()
