"""QEMU's own namespace in a domain document: arguments and environment passed through, capabilities changed,
properties of devices overridden. A way around this service that is the user's own responsibility."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from lxml import etree

from virtbus_domain.xml.finished import Required, finished, refuse
from virtbus_domain.xml.platform_values import LONG
from virtbus_domain.xml.values import refusing
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, each, element, subs
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ULONG, Kind, words

QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
_NAMESPACES = {"qemu": QEMU_NAMESPACE}
_TAG = f"{{{QEMU_NAMESPACE}}}"

M = TypeVar("M", bound=Element)


def _internal(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_INTERNAL_ERROR, detail, domain=c.VIR_FROM_QEMU)


def _read_env_name(text: str) -> str:
    if not re.match("[a-zA-Z_]", text):
        raise _internal("Invalid environment name, it must begin with a letter or underscore")
    if not re.fullmatch("[a-zA-Z0-9_]+", text):
        raise _internal("Invalid environment name, it must contain only alphanumerics and underscore")
    return text


ENV_NAME: Kind[str] = Kind(_read_env_name)
PROPERTY_TYPE = refusing(words("string", "signed", "unsigned", "bool", "remove"), c.VIR_ERR_XML_ERROR,
                         "Invalid value for attribute 'type' in element 'property': '{value}'.", c.VIR_FROM_XML)


@element
class QemuEnv(Element):
    """A variable in QEMU's environment."""

    name: str | None = attr("@name", ENV_NAME)
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
    type: str | None = attr("@type", PROPERTY_TYPE)
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


def _is_value(text: str, kind: str | None) -> bool:
    if kind == "bool":
        return text in ("true", "false")
    number = {"signed": LONG, "unsigned": ULONG}.get(kind or "")
    try:
        return number is None or number.read is None or number.read(text) is not None
    except ValueError:
        return False


def _check_values(found: QemuOverride, element: etree._Element) -> None:
    for prop in element.iter(f"{_TAG}property"):
        kind, value = prop.get("type"), prop.get("value")
        if kind == "remove" and value is not None:
            problem = "setting 'value' attribute of 'qemu:property' doesn't make sense with 'remove' type"
        elif kind != "remove" and value is None:
            problem = "missing 'value' attribute for 'qemu:property'"
        elif value is not None and not _is_value(value, kind):
            problem = f"invalid value '{value}' of 'value' attribute of 'qemu:property'"
        else:
            continue
        refuse(prop, c.VIR_ERR_XML_ERROR, problem, c.VIR_FROM_QEMU)


def _required(path: str, code: int, detail: str) -> Required:
    return Required(re.sub(r"(^|/)(?!@)", rf"\1{_TAG}", path), (code, detail), c.VIR_FROM_QEMU)


def _take(found: Element, element: etree._Element) -> None:
    """Nothing is left to do."""


def _qemu_element(tag: str, model: type[M], *required: Required,
                  finish: Callable[[M, etree._Element], None] = _take) -> M | None:
    return finished(f"qemu:{tag}", model, finish, required=required, inherited=f" xmlns:qemu='{QEMU_NAMESPACE}'")


def commandline() -> QemuCommandline | None:
    """The domain's line of QEMU arguments."""
    return _qemu_element(
        "commandline", QemuCommandline,
        _required("arg/@value", c.VIR_ERR_INTERNAL_ERROR, "No qemu command-line argument specified"),
        _required("env/@name", c.VIR_ERR_INTERNAL_ERROR, "No qemu environment name specified"))


def capability_changes() -> QemuCapabilityChanges | None:
    """The domain's line of changed capabilities."""
    return _qemu_element("capabilities", QemuCapabilityChanges,
                         *(_required(f"{verb}/@capability", c.VIR_ERR_INTERNAL_ERROR, "missing capability name")
                           for verb in ("add", "del")))


def override() -> QemuOverride | None:
    """The domain's line of overridden properties."""
    in_property = "device/frontend/property"
    return _qemu_element(
        "override", QemuOverride,
        _required("device/@alias", c.VIR_ERR_XML_ERROR, "missing 'alias' attribute for qemu:device"),
        _required(f"{in_property}/@name", c.VIR_ERR_XML_ERROR, "missing 'name' attribute for qemu:property"),
        Required(_required(f"{in_property}/@type", 0, "").path), finish=_check_values)
