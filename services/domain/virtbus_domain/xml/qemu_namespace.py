"""QEMU's own namespace in a domain document: arguments and environment passed through, capabilities changed,
properties of devices overridden. A way around this service that is the user's own responsibility."""

from __future__ import annotations

import re

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, element, subs
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import Kind, words

QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
_NAMESPACES = {"qemu": QEMU_NAMESPACE}


def _internal(detail: str) -> tuple[int, str, int]:
    return (c.VIR_ERR_INTERNAL_ERROR, detail, c.VIR_FROM_QEMU)


def _xml_error(detail: str, domain: int = c.VIR_FROM_QEMU) -> tuple[int, str, int]:
    return (c.VIR_ERR_XML_ERROR, detail, domain)


def _read_env_name(text: str) -> str:
    if not re.match("[a-zA-Z_]", text):
        wrong = "Invalid environment name, it must begin with a letter or underscore"
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, wrong, domain=c.VIR_FROM_QEMU)
    if not re.fullmatch("[a-zA-Z0-9_]+", text):
        wrong = "Invalid environment name, it must contain only alphanumerics and underscore"
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, wrong, domain=c.VIR_FROM_QEMU)
    return text


ENV_NAME: Kind[str] = Kind(_read_env_name)


@element
class QemuArg(Element):
    """One argument."""

    value: str | None = attr("@value", required=_internal("No qemu command-line argument specified"))


@element
class QemuEnv(Element):
    """A variable in QEMU's environment."""

    name: str | None = attr("@name", ENV_NAME, required=_internal("No qemu environment name specified"))
    value: str | None = attr("@value")


@element(namespaces=_NAMESPACES, declare=False)
class QemuCommandline(Element):
    """Arguments after our own, and environment variables."""

    arguments: list[QemuArg] = subs("qemu:arg", QemuArg)
    envs: list[QemuEnv] = subs("qemu:env", QemuEnv)

    @property
    def args(self) -> list[str]:
        """The arguments themselves."""
        return [argument.value or "" for argument in self.arguments]


@element
class QemuCapability(Element):
    """A capability by libvirt's name."""

    capability: str | None = attr("@capability", required=_internal("missing capability name"))


@element(namespaces=_NAMESPACES, declare=False)
class QemuCapabilityChanges(Element):
    """What QEMU is believed to be able to do, or not, whatever it says itself."""

    add: list[QemuCapability] = subs("qemu:add", QemuCapability)
    delete: list[QemuCapability] = subs("qemu:del", QemuCapability)


@element
class QemuProperty(Element):
    """A property of a device: another value of ``type``, or (type remove) left out."""

    name: str | None = attr("@name", required=_xml_error("missing 'name' attribute for qemu:property"))
    type: str | None = attr(
        "@type", words("string", "signed", "unsigned", "bool", "remove"),
        error=_xml_error("Invalid value for attribute 'type' in element 'property': '{value}'.", c.VIR_FROM_XML),
        required=_xml_error("Missing required attribute 'type' in element 'property'", c.VIR_FROM_XML))
    value: str | None = attr("@value")


@element(namespaces=_NAMESPACES, declare=False)
class QemuDeviceOverride(Element):
    """Properties of one device, named by its alias."""

    alias: str | None = attr("@alias", required=_xml_error("missing 'alias' attribute for qemu:device"))
    frontend: list[QemuProperty] = subs("qemu:frontend/qemu:property", QemuProperty)


@element(namespaces=_NAMESPACES, declare=False)
class QemuOverride(Element):
    """Devices with properties of the user's choice."""

    devices: list[QemuDeviceOverride] = subs("qemu:device", QemuDeviceOverride)
