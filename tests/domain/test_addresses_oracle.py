"""Where libvirt puts devices and where we put them, for real documents without addresses and for made-up ones.

A document that libvirt has completed lacks nothing; with its addresses taken away, and the controllers that came for
them, it lacks just that. libvirt is asked for each such document, and has to agree on every place or on the refusal.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring, tostring

import pytest

from tests.conformance.preparation import prepared
from tests.domain.test_addresses_refused import CASES
from tests.support.corpus import corpus_documents
from tests.support.embed import Refusal, Request, ask
from tests.support.made_up_devices import MadeUp
from tests.support.placing import DOCUMENT, document, place
from virtbus_shared.errors import LibvirtError

OWN = Path(__file__).parents[1] / "data" / "xml" / "domain"
DOCUMENTS = [*sorted(OWN.glob("*.xml")), *corpus_documents("domain")]
VARIANTS: dict[str, Callable[[Element, random.Random], bool]] = {
    "all": lambda element, chance: True,
    "but PCI controllers'": lambda element, chance: element.get("type") != "pci" or element.tag != "controller",
    "some": lambda element, chance: chance.random() < 0.5,
    "few": lambda element, chance: chance.random() < 0.2,
}
MADE_UP = 12  # tests of each kind, of 25 documents each
_NO_PLACE = ("emulator", "graphics", "audio")


def without_addresses(completed: str, takes: Callable[[Element], bool]) -> str:
    """A document without the addresses of those devices that it ``takes`` them from.

    PCI controllers and hubs, which may have come for the addresses, go altogether.
    """
    root = fromstring(completed)
    devices = root.find("devices")
    assert devices is not None
    for device in list(devices):
        if not takes(device):
            continue
        came_along = device.tag == "hub" or (
            device.tag == "controller" and device.get("type") == "pci" and device.get("index") != "0")
        address = device.find("address")
        if came_along:
            devices.remove(device)
        elif address is not None:
            device.remove(address)
    return tostring(root, encoding="unicode")


def on_the_other_machine(completed: str) -> str:
    """A document with its devices on a q35 machine instead of an i440fx one, or the reverse; without controllers."""
    root = fromstring(without_addresses(completed, lambda device: True))
    machine, devices = root.find("os/type"), root.find("devices")
    assert machine is not None
    assert devices is not None
    machine.set("machine", "pc" if "q35" in machine.get("machine", "") else "q35")
    for controller in list(devices.findall("controller")):
        if controller.get("type") in ("pci", "usb", "sata", "ide"):
            devices.remove(controller)
    return tostring(root, encoding="unicode")


def ours(text: str) -> str | Refusal:
    """What our passes make of a document that lacks only places."""
    try:
        return DOCUMENT.format(place(DOCUMENT.parse(text)))
    except LibvirtError as refused:
        return Refusal(refused.code, refused.domain, refused.message)


def seats(answer: str | Refusal) -> list[tuple[object, ...]] | Refusal:
    """Each device with its address, controllers with all that follows from their place; or the refusal."""
    if isinstance(answer, Refusal):
        return answer
    found: list[tuple[object, ...]] = []
    devices = fromstring(answer).find("devices")
    assert devices is not None
    for device in devices:
        if device.tag in _NO_PLACE or device.get("bus") == "ps2":
            continue
        address = device.find("address")
        names = ("type", "index", "model") if device.tag == "controller" else ("type", "bus")
        more = {child.tag: child.attrib for child in device if child.tag in ("target", "model", "master")}
        found.append((device.tag, *(device.get(name) for name in names),
                      more if device.tag == "controller" else more.get("target", {}).get("dev"),
                      None if address is None else address.attrib))
    return found


def agree(texts: list[str]) -> None:
    """Compare all answers; the first difference fails, with the document."""
    for text, theirs in zip(texts, ask([Request("define", text, 2) for text in texts]), strict=True):
        assert seats(ours(text)) == seats(theirs), text


def completed(texts: list[str]) -> list[str]:
    """What libvirt makes of documents, where it takes them."""
    return [answer for answer in ask([Request("define", text, 2) for text in texts]) if isinstance(answer, str)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_a_real_documents_devices_go_where_libvirt_puts_them(path: Path) -> None:
    """All addresses taken away, or those of some devices; on the document's own machine, and on the other one."""
    taken = completed([prepared(path.read_text(encoding="utf-8"))])
    if not taken:
        pytest.skip("libvirt does not take this document here")
    others = completed([on_the_other_machine(text) for text in taken])
    chance = random.Random(path.stem)
    agree([text for text in (*taken, *others) if "<type arch='x86_64'" in text or "<type arch='i686'" in text])
    agree([without_addresses(text, lambda device, takes=takes: takes(device, chance))  # type: ignore[misc]
           for text in (*taken, *others) for takes in VARIANTS.values()])


@pytest.mark.parametrize("number", range(MADE_UP))
def test_made_up_devices_go_where_libvirt_puts_them(number: int) -> None:
    """Devices of all kinds, in any number, with right and wrong addresses: the same places, or the same refusal."""
    agree([MadeUp(25 * number + seed).pci() for seed in range(25)])


@pytest.mark.parametrize("number", range(MADE_UP))
def test_made_up_disks_channels_and_modules_go_where_libvirt_puts_them(number: int) -> None:
    """The same for what sits on drives, virtio-serial ports and memory slots."""
    agree([MadeUp(25 * number + seed).drives() for seed in range(25)])


def test_refusals_are_libvirts() -> None:
    """The refusals that ``test_addresses_refused.py`` expects are those of the libvirt that is here."""
    answers = ask([Request("define", document(machine, devices, head)) for machine, head, devices, *_ in CASES])
    for (_, _, devices, code, domain, detail), answer in zip(CASES, answers, strict=True):
        assert isinstance(answer, Refusal), devices
        assert (answer.code, answer.domain) == (code, domain), devices
        assert answer.message.endswith(detail), devices
