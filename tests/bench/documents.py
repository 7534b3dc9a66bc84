"""A domain document on its way: read, completed and written; turned into QEMU's arguments; kept by the thousand.

The floor of the first is lxml's own parse and serialise of the same text, alternating with ours in one process. The
documents are of the size that generators write: between 55 and 82 elements.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

from lxml import etree

from tests.bench.figures import Figure, milliseconds
from tests.support.corpus import corpus_documents
from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities, find_emulators
from virtbus_domain.drivers.qemu.capabilities_probe import probe
from virtbus_domain.drivers.qemu.command import Setup, boot_order, build
from virtbus_domain.drivers.qemu.names import assign_names
from virtbus_domain.normalise import Context, normalise
from virtbus_domain.object import DomainObject, Facts
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_domain.xml.domain import Domain
from virtbus_shared.errors import LibvirtError

OWN = Path(__file__).resolve().parents[1] / "data" / "xml" / "domain"
TYPICAL = range(55, 83)  # elements
KEPT = 10_000


def run(broker: str, folder: Path, rounds: int) -> list[Figure]:
    """Measure documents of the corpus where it is at hand, of our own otherwise."""
    del broker, folder
    capabilities = asyncio.run(probe(find_emulators()["x86_64"]))
    context = Context("qemu", machine=lambda _arch, name: capabilities.canonical_machine(name).name)
    documents = [text for text in _documents() if _taken(text, context)]
    print(f"{len(documents)} documents of {TYPICAL.start} to {TYPICAL.stop - 1} elements", flush=True)

    def ours(text: str) -> None:
        model = parse_domain(text)
        normalise(model, context)
        format_domain(model, live=False)

    def floor(text: str) -> None:
        etree.tostring(etree.fromstring(text.encode()))

    pairs = [(_seconds(ours, documents), _seconds(floor, documents)) for _ in range(max(9, rounds))]
    ratio = statistics.median(ours / floor for ours, floor in pairs)
    mine, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    argv = _argument_seconds(documents, capabilities, context, rounds)
    kept = _bytes_kept(documents, context)
    return [
        Figure("documents", "parse, complete and format a document", milliseconds(mine), f"{milliseconds(bare)} lxml",
               ratio, "<= 3", "7.5 x"),
        Figure("documents", "build QEMU's argument list", milliseconds(argv), "", argv * 1e3, "<= 2 ms"),
        Figure("documents", f"memory of one of {KEPT} definitions", f"{kept / 1000:.1f} kB", "", kept / 1000,
               "<= 10 kB")]


def _documents() -> list[str]:
    paths = corpus_documents("domain") or sorted(OWN.glob("*.xml"))
    texts = [path.read_text() for path in paths]
    return [text for text in texts if text.count("</") + text.count("/>") in TYPICAL]


def _taken(text: str, context: Context) -> bool:
    """Whether this node can define the document as it stands."""
    try:
        normalise(parse_domain(text), context)
    except LibvirtError:
        return False
    return True


def _seconds(work: Callable[[str], None], documents: Sequence[str]) -> float:
    """Of one document, the best of a few goes through all."""
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for text in documents:
            work(text)
        best = min(best, time.perf_counter() - began)
    return best / len(documents)


def _argument_seconds(documents: Sequence[str], capabilities: QemuCapabilities, context: Context,
                      rounds: int) -> float:
    setups = []
    for text in documents:
        model = parse_domain(text)
        normalise(model, context)
        setup = _setup(model, capabilities)
        try:
            build(setup, monitor="fd=3")
        except LibvirtError:
            continue  # what this node lacks
        setups.append(setup)
    times = []
    for _ in range(max(9, rounds)):
        for setup in setups:
            began = time.perf_counter()
            build(setup, monitor="fd=3")
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def _setup(model: Domain, capabilities: QemuCapabilities) -> Setup:
    assert model.os
    assert model.devices
    machine = capabilities.canonical_machine(model.os.machine)
    assign_names(model.devices, q35=machine.name.startswith("pc-q35"))
    taps = {str(card.alias): ["9"] for card in model.devices.interfaces}
    return Setup(domain=model, capabilities=capabilities, machine=machine, run_dir=Path("/run/x"), descriptors=taps,
                 boot=boot_order(model.os, model.devices))


def _bytes_kept(documents: Sequence[str], context: Context) -> float:
    """What a defined domain adds to the heap, completed documents of all kinds in turn."""
    dumps = []
    for text in documents:
        model = parse_domain(text)
        normalise(model, context)
        dumps.append(format_domain(model, live=False, secure=True))
    gc.collect()
    tracemalloc.start()
    domains = []
    for number in range(KEPT):
        facts = Facts("hvm", number, number, 1, 2)
        domain = DomainObject(f"d{number}", f"{number:036}", facts)
        domain.inactive = dumps[number % len(dumps)]
        domains.append(domain)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / len(domains)
