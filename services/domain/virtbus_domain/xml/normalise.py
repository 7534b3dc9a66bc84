"""What libvirt fills in and refuses when it defines a domain: named passes over the model, one rule each.

A client writes little; what comes back from define is complete, and that completed form is what is stored, so that a
later release with other defaults does not change a guest. The passes follow libvirt 9.0.0 (its ``test`` driver is
compared with in the tests); the order is that of ``PASSES``. Parsing adds nothing, so that status files, device
fragments and live updates can share the parser.
"""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from virtbus_domain.xml import device_defaults as devices
from virtbus_domain.xml.domain import Clock, Devices, Domain, Features, Os
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

Kind = Literal["test", "qemu"]
# (architecture, machine as written or None) -> the canonical machine type, None to leave it open.
MachineLookup = Callable[[str, str | None], str | None]


@dataclass(frozen=True, slots=True)
class Context:
    """What the passes need to know beyond the document."""

    kind: Kind
    machine: MachineLookup
    randbytes: Callable[[int], bytes]


def _as_written(arch: str, machine: str | None) -> str | None:
    return machine


def normalise(domain: Domain, kind: Kind, *, machine: MachineLookup = _as_written,
              randbytes: Callable[[int], bytes] = os.urandom) -> None:
    """Complete a parsed definition in place, as define does for this kind of driver.

    ``machine`` makes a machine type canonical ("pc" to "pc-i440fx-7.2") and raises ``LibvirtError`` for one that the
    emulator lacks; ``randbytes`` is the source of generated UUIDs and MAC addresses. Raises ``LibvirtError``.
    """
    context = Context(kind, machine, randbytes)
    for step in PASSES:
        step(domain, context)


def drop_runtime(domain: Domain) -> None:
    """Remove what only a running domain has: its id, generated aliases, names that the host gave."""
    domain.id = None
    if domain.devices:
        devices.drop_runtime(domain.devices)


def _xml_error(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_XML_ERROR, detail, domain=c.VIR_FROM_DOMAIN)


def _unsupported(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_DOMAIN)


def _forget_runtime(domain: Domain, context: Context) -> None:
    drop_runtime(domain)


def _check_identity(domain: Domain, context: Context) -> None:
    if not domain.name:
        raise LibvirtError(c.VIR_ERR_NO_NAME, domain=c.VIR_FROM_DOMAIN)
    if "\n" in domain.name:
        raise LibvirtError(c.VIR_ERR_XML_DETAIL, "invalid char in name: \n", domain=c.VIR_FROM_XML)
    if "/" in domain.name:
        raise _xml_error(f"name {domain.name} cannot contain '/'")
    if domain.title and "\n" in domain.title:
        raise _xml_error("Domain title can't contain newlines")
    if domain.type is None:
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "missing domain type attribute", domain=c.VIR_FROM_DOMAIN)


def _give_uuid(domain: Domain, context: Context) -> None:
    if domain.uuid is None:
        domain.uuid = str(uuid.UUID(bytes=context.randbytes(16), version=4))


def _platform_defaults(domain: Domain, context: Context) -> None:
    if domain.os is None:
        domain.os = Os()
    if domain.os.type is None:
        raise _xml_error("an os <type> must be specified")
    if domain.os.arch is None:
        domain.os.arch = "i686" if context.kind == "test" else platform.machine()
    domain.os.machine = context.machine(domain.os.arch, domain.os.machine)


def _memory_defaults(domain: Domain, context: Context) -> None:
    """Current memory is the maximum unless less was asked for."""
    if not domain.memory:
        raise _xml_error("Memory size must be specified via <memory> or in the <numa> configuration")
    domain.current_memory = min(domain.current_memory or domain.memory, domain.memory)


def _vcpu_defaults(domain: Domain, context: Context) -> None:
    if domain.vcpu is None:
        domain.vcpu = 1
    if domain.vcpu == 0:
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "a domain needs at least one vCPU (at /domain/vcpu)",
                           domain=c.VIR_FROM_DOMAIN)
    if domain.vcpu_current is not None and domain.vcpu_current > domain.vcpu:
        raise _unsupported("maximum vCPU count must not be less than current vCPU count")
    if domain.vcpu_current == domain.vcpu:
        domain.vcpu_current = None
    if domain.vcpu_placement is None:
        domain.vcpu_placement = "static"


def _clock_default(domain: Domain, context: Context) -> None:
    if domain.clock is None:
        domain.clock = Clock()
    if domain.clock.offset is None:
        domain.clock.offset = "utc"


def _lifecycle_defaults(domain: Domain, context: Context) -> None:
    domain.on_poweroff = domain.on_poweroff or "destroy"
    domain.on_reboot = domain.on_reboot or "restart"
    domain.on_crash = domain.on_crash or "destroy"


def _empty_is_absent(domain: Domain, context: Context) -> None:
    """Elements whose whole content is optional vanish with it."""
    if domain.features == Features():
        domain.features = None
    if domain.devices is None:
        domain.devices = Devices()


def _drop_qemu_namespace(domain: Domain, context: Context) -> None:
    """Only a driver that runs QEMU knows the namespace of its arguments; others drop it, as anything unknown."""
    if context.kind != "qemu":
        domain.qemu_commandline, domain.qemu_capabilities, domain.qemu_override = (), (), ()


def _check_features(domain: Domain, context: Context) -> None:
    if domain.features and domain.features.rest:
        unknown = next((raw.tag for rest in domain.features.rest.values() for raw in rest.elements), None)
        if unknown:
            raise _unsupported(f"unexpected feature '{unknown}'")


def _boot_order(domain: Domain, context: Context) -> None:
    """Each device order is used once; without any order a full guest boots from its first disk."""
    assert domain.devices
    assert domain.os
    bootable = [disk.boot_order for disk in domain.devices.disks]
    bootable += [interface.boot_order for interface in domain.devices.interfaces]
    orders = [order for order in bootable if order is not None]
    for order in orders:
        if orders.count(order) > 1:
            raise _unsupported(f"boot order '{order}' used for more than one device")
    if orders and domain.os.boot:
        raise _unsupported("per-device boot elements cannot be used together with os/boot elements")
    if not orders and not domain.os.boot and domain.os.type == "hvm":
        domain.os.boot = ["hd"]


def _complete_devices(domain: Domain, context: Context) -> None:
    assert domain.devices
    assert domain.os
    devices.complete_addresses(domain.devices)
    devices.sort_disks(domain.devices)
    devices.complete_disks(domain.devices, qemu=context.kind == "qemu")
    devices.check_disks(domain.devices)
    devices.complete_interfaces(domain.devices, context.randbytes)
    devices.complete_chardevs(domain.devices, full_guest=domain.os.type == "hvm", qemu=context.kind == "qemu")
    devices.complete_controllers(domain.devices)
    if context.kind == "test":
        devices.name_test_interfaces(domain.devices)
    else:
        devices.qemu_interface_models(domain.devices)


PASSES: tuple[Callable[[Domain, Context], None], ...] = (
    _check_identity, _forget_runtime, _give_uuid, _platform_defaults, _memory_defaults, _vcpu_defaults,
    _clock_default, _lifecycle_defaults, _empty_is_absent, _drop_qemu_namespace,
    _check_features, _boot_order, _complete_devices,
)
