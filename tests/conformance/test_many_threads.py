"""Many threads at once on one connection: each call succeeds, or fails for a reason that the state explains."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

import virtbus as libvirt

THREADS = 16
STEPS = ["create", "suspend", "resume", "shutdown", "reboot", "destroy", "undefine", "XMLDesc", "info"]
SECONDS = 3.0
XML = """<domain type='test'><name>crowd{n}</name><uuid>11111111-2222-3333-4444-0000000000{n:02d}</uuid>
<memory>1024</memory><os><type>hvm</type></os></domain>"""
DOMAINS = 4  # fewer than threads, so that they get into each other's way
# The refusals that a domain in another state, or gone by now, explains; nothing else may come.
EXPECTED = {libvirt.VIR_ERR_INTERNAL_ERROR: ("not running", "not paused", "already running"),
            libvirt.VIR_ERR_OPERATION_INVALID: ("not running", "already active"),
            libvirt.VIR_ERR_NO_DOMAIN: ("no domain with matching", "Domain not found")}


@pytest.fixture
def quiet() -> Iterator[None]:
    """Without a line on stderr for each of thousands of refusals."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    yield
    libvirt.registerErrorHandler(None, None)


def act(conn: libvirt.virConnect, choice: random.Random) -> None:
    """One random step in the life of a random domain."""
    xml = XML.format(n=choice.randrange(DOMAINS))
    if choice.random() < 0.3:
        getattr(conn, choice.choice(["defineXML", "createXML"]))(xml)
        return
    dom = choice.choice(conn.listAllDomains())
    match choice.choice(STEPS):
        case "undefine" if dom.name() == "test":
            dom.state()
        case name:
            getattr(dom, name)()


@pytest.mark.usefixtures("quiet")
def test_threads_see_only_expected_errors() -> None:
    """Random life cycles from sixteen threads for three seconds: no other error, no other exception, no hang."""
    surprises: list[str] = []
    tally: Counter[str] = Counter()
    end = time.monotonic() + SECONDS

    def live(conn: libvirt.virConnect, seed: int) -> None:
        choice = random.Random(seed)
        while time.monotonic() < end:
            try:
                act(conn, choice)
                tally["done"] += 1
            except libvirt.libvirtError as error:
                tally["refused"] += 1
                if not any(text in str(error) for text in EXPECTED.get(error.get_error_code() or 0, ())):
                    surprises.append(f"{error.err}")
            except Exception as error:
                surprises.append(repr(error))

    with libvirt.open("test:///default") as conn:
        threads = [threading.Thread(target=live, args=(conn, seed)) for seed in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert not surprises, surprises[:10]
        assert min(tally["done"], tally["refused"]) > 100, tally
        assert len(conn.listAllDomains()) <= DOMAINS + 1
