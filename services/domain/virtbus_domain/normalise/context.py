"""What the passes need to know beyond the document, and the refusals they share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

Kind = Literal["test", "qemu"]
# (architecture, machine as written or None) -> the canonical machine type, None to leave it open.
MachineLookup = Callable[[str, str | None], str | None]


def as_written(arch: str, machine: str | None) -> str | None:
    """The machine look-up of a driver that has no opinion."""
    del arch
    return machine


def accept(domain: Domain) -> None:
    """The check of a driver that takes everything."""


@dataclass(frozen=True, slots=True)
class Context:
    """For which kind of driver a definition is completed.

    ``machine`` makes a machine type canonical ("pc" to "pc-i440fx-7.2"); ``check`` refuses what the emulator lacks,
    when the document is complete; ``default_cpu`` is the model that the machine has when none is named; ``nvram_dir``
    is where a guest's firmware variables are to live; ``randbytes`` is the source of generated UUIDs and MAC addresses.
    ``qemu`` tells whether the defaults are those of libvirt's QEMU
    driver, or only those that all drivers share.
    """

    kind: Kind
    machine: MachineLookup = as_written
    check: Callable[[Domain], None] = accept
    randbytes: Callable[[int], bytes] = os.urandom
    default_cpu: str = "qemu64"
    nvram_dir: str = "/var/lib/virtbus/domain/nvram"
    qemu: bool = field(init=False)  # asked by most passes: no property

    def __post_init__(self) -> None:
        object.__setattr__(self, "qemu", self.kind == "qemu")


def xml_error(detail: str) -> LibvirtError:
    """``VIR_ERR_XML_ERROR`` of a domain document."""
    return LibvirtError(c.VIR_ERR_XML_ERROR, detail, domain=c.VIR_FROM_DOMAIN)


def xml_detail(detail: str) -> LibvirtError:
    """``VIR_ERR_XML_DETAIL`` of a domain document: libvirt's other way to say it."""
    return LibvirtError(c.VIR_ERR_XML_DETAIL, detail, domain=c.VIR_FROM_DOMAIN)


def internal_error(detail: str) -> LibvirtError:
    """``VIR_ERR_INTERNAL_ERROR`` of a domain document: what libvirt calls so is often a client's mistake."""
    return LibvirtError(c.VIR_ERR_INTERNAL_ERROR, detail, domain=c.VIR_FROM_DOMAIN)


def unsupported(detail: str) -> LibvirtError:
    """``VIR_ERR_CONFIG_UNSUPPORTED`` of a domain document."""
    return LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_DOMAIN)


def qemu_unsupported(detail: str) -> LibvirtError:
    """``VIR_ERR_CONFIG_UNSUPPORTED`` of the QEMU driver's own rules."""
    return LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)
