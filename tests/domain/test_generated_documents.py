"""Whatever a document says: it is taken or refused, never a crash; what is taken is stable, and no string an option."""

from __future__ import annotations

import asyncio
import functools
import json
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings

from tests.support.components import require_program
from tests.support.generated import documents, guests
from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities
from virtbus_domain.drivers.qemu.capabilities_probe import probe
from virtbus_domain.drivers.qemu.command import Setup, boot_order, build
from virtbus_domain.drivers.qemu.names import assign_names
from virtbus_domain.drivers.qemu.native.options import members
from virtbus_domain.drivers.qemu.reading import complete
from virtbus_domain.normalise import Context, normalise
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_domain.xml.address import PciAddress
from virtbus_domain.xml.domain import Domain
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_lines import content

many = settings(max_examples=300, deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much])


@functools.cache
def _capabilities() -> QemuCapabilities:
    return asyncio.run(probe(require_program("qemu-system-x86_64")))


def _completed(document: str) -> Domain:
    model = parse_domain(document)
    complete(model, _capabilities(), Path("/srv/nvram"))
    return model


@many
@given(documents())
def test_any_document_is_read_again_the_same(document: str) -> None:
    """A document is refused with libvirt's error, or its model is written and read again without a difference."""
    try:
        model = parse_domain(document)
    except LibvirtError:
        return
    text = format_domain(model, live=True, secure=True)
    assert parse_domain(text) == model
    assert format_domain(parse_domain(text), live=True, secure=True) == text


@many
@given(documents())
def test_any_document_is_completed_or_refused(document: str) -> None:
    """Both drivers' passes end in a definition or in libvirt's error, whatever a document says."""
    for context in (Context("test"), Context("qemu", machine=lambda arch, name: f"pc-{name}-7.2")):
        try:
            model = parse_domain(document)
            normalise(model, context)
        except LibvirtError:
            continue
        assert parse_domain(format_domain(model, live=False)).uuid == model.uuid


@many
@given(guests())
def test_completing_twice_changes_nothing(document: str) -> None:
    """What define stores is what define makes of it again; as in libvirt, controllers may come in another order."""
    once = _completed(document)
    twice = _completed(format_domain(once, live=False, secure=True))
    for model in (once, twice):
        assert model.devices
        model.devices.controllers.sort(key=lambda controller: (
            str(controller.type), controller.index or 0, str(controller.model)))
    assert format_domain(twice, live=False, secure=True) == format_domain(once, live=False, secure=True)


@many
@given(guests())
def test_no_two_devices_at_one_address(document: str) -> None:
    """Each place on each bus belongs to one device."""
    model = _completed(document)
    assert model.devices
    places: Counter[tuple[Any, ...]] = Counter()
    for device in model.devices.all():
        address = getattr(device, "address", None)
        if address is None:
            continue
        values = {name: value for name, value in content(address).items() if name != "multifunction"}
        kind = getattr(device, "target_bus", None) if not isinstance(address, PciAddress) else None
        places[(type(address).__name__, kind, *sorted(values.items()))] += 1
    assert [place for place, count in places.items() if count > 1] == []


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    return [text for item in value for text in _strings(item)] if isinstance(value, list) else []


@many
@given(guests())
def test_no_string_becomes_an_option(document: str) -> None:
    """Every string that a user chose stands in the command as one value, and the options are those of any guest."""
    model = _completed(document)
    assert model.os
    assert model.devices
    machine = _capabilities().canonical_machine(model.os.machine)
    assign_names(model.devices, q35=machine.name.startswith("pc-q35"))
    setup = Setup(domain=model, capabilities=_capabilities(), machine=machine, run_dir=Path("/run/x"),
                  boot=boot_order(model.os, model.devices))
    argv = build(setup, monitor="fd=3").argv
    options = [word for place, word in enumerate(argv) if word.startswith("-") and argv[place - 1] != "-append"]
    assert set(options) <= _KNOWN
    parsed = [text for place, word in enumerate(argv) if word.startswith("{") and argv[place - 1] != "-append"
              for text in _strings(json.loads(word))]
    for disk in model.devices.disks:
        assert disk.source
        assert disk.source.file in parsed
    for channel in model.devices.channels:
        assert channel.target
        assert channel.target.name in parsed
    assert dict(members(argv[argv.index("-name") + 1]))["guest"] == model.name
    if model.os.cmdline:
        assert argv[argv.index("-append") + 1] == model.os.cmdline
    for serial in model.devices.serials:
        [line] = [dict(members(argv[place + 1], "backend")) for place, word in enumerate(argv)
                  if word == "-chardev" and f"id=char{serial.alias}" in argv[place + 1]]
        assert line["path"] == serial.source[0].path


_KNOWN = {"-pidfile", "-name", "-S", "-machine", "-accel", "-cpu", "-m", "-object", "-overcommit", "-smp", "-uuid",
          "-no-user-config", "-nodefaults", "-sandbox", "-chardev", "-mon", "-rtc", "-boot", "-kernel", "-append",
          "-audiodev", "-display", "-vnc", "-blockdev", "-device", "-netdev", "-action", "-msg", "-global"}
