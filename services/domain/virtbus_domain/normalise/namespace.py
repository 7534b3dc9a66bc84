"""QEMU's own namespace in a document: who knows it, and what may stand there."""

from __future__ import annotations

import re

from virtbus_domain.normalise.context import Context
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.qemu_namespace import QemuProperty
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_VALUES = {"bool": re.compile("true|false"), "signed": re.compile(r"\s*[+-]?[0-9]{1,19}", re.ASCII),
           "unsigned": re.compile(r"\s*\+?[0-9]{1,20}", re.ASCII)}


def drop_qemu_namespace(domain: Domain, context: Context) -> None:
    """Only a driver that runs QEMU knows the namespace of its arguments; others drop it, as anything unknown."""
    if not context.qemu:
        domain.qemu_commandline = domain.qemu_capabilities = domain.qemu_override = domain.qemu_deprecation = None


def read_overrides(domain: Domain, context: Context) -> None:
    """A property that is changed has a value of its type, one that is removed has none."""
    del context
    for device in domain.qemu_override.devices if domain.qemu_override else ():
        for change in device.frontend:
            _check(change)


def _check(change: QemuProperty) -> None:
    if change.type == "remove":
        if change.value is not None:
            raise _refusal("setting 'value' attribute of 'qemu:property' doesn't make sense with 'remove' type")
    elif change.value is None:
        raise _refusal("missing 'value' attribute for 'qemu:property'")
    elif change.type in _VALUES and not _VALUES[change.type].fullmatch(change.value):
        raise _refusal(f"invalid value '{change.value}' of 'value' attribute of 'qemu:property'")


def _refusal(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_XML_ERROR, detail, domain=c.VIR_FROM_QEMU)
