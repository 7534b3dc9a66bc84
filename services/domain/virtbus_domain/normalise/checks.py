"""What libvirt refuses at define although each value alone is well: devices that contradict each other."""

from __future__ import annotations

from virtbus_domain.normalise.context import Context, unsupported, xml_error
from virtbus_domain.xml.domain import Domain


def check_emulator(domain: Domain, context: Context) -> None:
    """What the emulator cannot run at all."""
    context.check(domain)


def check_devices(domain: Domain, context: Context) -> None:
    """Two devices of which there can be one, or that claim the same name."""
    del context
    assert domain.devices
    devices = domain.devices
    aliases: set[str] = set()
    for device in devices.all():
        alias: str | None = getattr(device, "alias", None)
        if alias is not None:
            if alias in aliases:
                raise xml_error(f"non unique alias detected: {alias}")
            aliases.add(alias)
    seen: set[tuple[str | None, int | None]] = set()
    for controller in devices.controllers:
        key = controller.type, controller.index
        companion = controller.type == "usb" and (controller.model or "").startswith("ich9")
        if key in seen and not companion:
            raise unsupported(f"Multiple '{controller.type}' controllers with index '{controller.index}'")
        seen.add(key)
