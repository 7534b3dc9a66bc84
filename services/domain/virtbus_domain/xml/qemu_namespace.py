"""QEMU's own namespace in a domain document: arguments and environment passed through, capabilities changed,
properties of devices overridden. A way around this service that is the user's own responsibility."""

from __future__ import annotations

from typing import TypeVar

from virtbus_domain.xml.finished import finished
from virtbus_shared.service.xml import attr, each, element, subs
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import words

QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
_NAMESPACES = {"qemu": QEMU_NAMESPACE}

M = TypeVar("M", bound=Element)


def qemu_element(tag: str, model: type[M]) -> M | None:
    """A child of the domain in this namespace, which is declared on the domain."""
    return finished(f"qemu:{tag}", model, lambda found, element: None, inherited=f" xmlns:qemu='{QEMU_NAMESPACE}'")


@element
class QemuEnv(Element):
    """A variable in QEMU's environment."""

    name: str | None = attr("@name")
    value: str | None = attr("@value")


@element(namespaces=_NAMESPACES)
class QemuCommandline(Element):
    """Arguments after our own, and environment variables."""

    args: list[str] = each("qemu:arg/@value")
    envs: list[QemuEnv] = subs("qemu:env", QemuEnv)


@element(namespaces=_NAMESPACES)
class QemuCapabilityChanges(Element):
    """What QEMU is believed to be able to do, or not, whatever it says itself."""

    add: list[str] = each("qemu:add/@capability")
    delete: list[str] = each("qemu:del/@capability")


@element
class QemuProperty(Element):
    """A property of a device: another value of ``type``, or (type remove) left out."""

    name: str | None = attr("@name")
    type: str | None = attr("@type", words("string", "signed", "unsigned", "bool", "remove"))
    value: str | None = attr("@value")


@element(namespaces=_NAMESPACES)
class QemuDeviceOverride(Element):
    """Properties of one device, named by its alias."""

    alias: str | None = attr("@alias")
    frontend: list[QemuProperty] = subs("qemu:frontend/qemu:property", QemuProperty)


@element(namespaces=_NAMESPACES)
class QemuOverride(Element):
    """Devices with properties of the user's choice."""

    devices: list[QemuDeviceOverride] = subs("qemu:device", QemuDeviceOverride)
