"""What a start needs beside the document: files, sockets, ports, devices of the host, helper processes.

Each step makes one thing, writes into the live model what really is (a path, a port, a name), and leaves on the stack
how to undo it: when a start fails, nothing of it stays. What outlives us belongs to QEMU or lies in the guest's run
directory. The result is the ``Setup`` from which the command line is built.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import socket
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities
from virtbus_domain.drivers.qemu.certificates import Certificates, find_certificates
from virtbus_domain.drivers.qemu.chains import find_layers
from virtbus_domain.drivers.qemu.command.boot import boot_order
from virtbus_domain.drivers.qemu.command.chardev import channel_path
from virtbus_domain.drivers.qemu.command.cpu import expand_cpu, verify_cpu
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.drivers.qemu.companions import start_companions
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.firmware import complete_firmware, read_descriptors, variables_template
from virtbus_domain.drivers.qemu.host_devices import find_host_devices
from virtbus_domain.drivers.qemu.host_network import open_interfaces
from virtbus_domain.drivers.qemu.host_sysinfo import read_host_sysinfo
from virtbus_domain.drivers.qemu.layers import Volume, layers
from virtbus_domain.drivers.qemu.lookups import NO_LOOKUPS, Lookups
from virtbus_domain.drivers.qemu.names import assign_names
from virtbus_domain.drivers.qemu.overlays import make_overlays, overlay_directory
from virtbus_domain.drivers.qemu.secrets import write_secrets
from virtbus_domain.drivers.qemu.vsock import open_vsock
from virtbus_domain.xml.chardev import ChardevSource
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.graphics import Graphics, Listen
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_FIRST_PORT, _LAST_PORT = 5900, 65535  # of graphics servers: libvirt's range
_CDROM_DRIVE_STATUS, _CURRENT_SLOT = 0x5326, 0x7FFFFFFF  # linux/cdrom.h


async def prepare(model: Domain, capabilities: QemuCapabilities, paths: GuestPaths, state_dir: Path,
                  stack: AsyncExitStack, *, kvm_problem: str | None, lookups: Lookups = NO_LOOKUPS) -> Setup:
    """Make what the guest needs. ``model`` is completed; ``stack`` undoes. Raises ``LibvirtError``.

    ``state_dir`` is where what a guest keeps between its runs lies: its TPM's memory, its firmware's variables.
    ``lookups`` answers for the node's other services; without it they cannot be asked.
    """
    assert model.devices is not None
    assert model.os is not None
    devices = model.devices
    machine = capabilities.canonical_machine(model.os.machine)
    verify_cpu(model, capabilities)
    model.cpu = expand_cpu(model, capabilities)
    volumes = await _look_up_volumes(devices, lookups)
    await asyncio.to_thread(find_layers, devices, volumes)
    assign_names(devices, q35=machine.name.startswith("pc-q35"))
    await make_overlays(devices, overlay_directory(state_dir, paths))
    secrets = await write_secrets(devices, volumes, lookups, paths.directory / "secrets")
    await asyncio.to_thread(_choose_firmware, model, state_dir / "nvram")
    await asyncio.to_thread(_make_nvram, model)
    _name_sockets(devices, paths)
    await _look_up_addresses(devices, lookups)
    certificates = await asyncio.to_thread(find_certificates)
    host_sysinfo = await asyncio.to_thread(read_host_sysinfo) if model.os.smbios_mode == "host" else None
    _choose_ports(devices, certificates)
    await asyncio.to_thread(find_host_devices, devices)
    descriptors = await open_interfaces(model, paths.directory, lookups, stack)
    descriptors |= open_vsock(devices, stack)
    await start_companions(model, paths, state_dir, lookups, stack)
    if model.memory_backing is not None or (model.cpu and model.cpu.numa):
        (paths.directory / "ram").mkdir(mode=0o700, exist_ok=True)
    return Setup(domain=model, capabilities=capabilities, machine=machine, run_dir=paths.directory,
                 descriptors=descriptors, secrets=secrets, volumes=volumes, certificates=certificates,
                 host_sysinfo=host_sysinfo,
                 optical_drives=await asyncio.to_thread(_optical_drives, devices),
                 boot=boot_order(model.os, devices), kvm_problem=kvm_problem)


async def _look_up_volumes(devices: Devices, lookups: Lookups) -> dict[tuple[str, str], Volume]:
    """What the storage volumes of the disks are."""
    names = {(layer.source.pool or "", layer.source.volume or "") for disk in devices.disks for layer in layers(disk)
             if layer.type == "volume" and layer.source is not None}
    return {(pool, volume): await lookups.volume(pool, volume) for pool, volume in sorted(names)}


async def _look_up_addresses(devices: Devices, lookups: Lookups) -> None:
    """Where a screen is shown that is to be seen on a network: at the host's own address there."""
    for graphics in devices.graphics:
        for listen in graphics.listens:
            if listen.type == "network":
                listen.address = (await lookups.network(listen.network or "")).address
                if listen.address is None:
                    raise LibvirtError(c.VIR_ERR_XML_ERROR, f"network '{listen.network}' doesn't have an IP address",
                                       domain=c.VIR_FROM_QEMU)


def _choose_firmware(model: Domain, nvram_dir: Path) -> None:
    """The firmware that the document leaves to us, by what is installed now."""
    os = model.os
    if os is not None and (os.firmware_auto is not None or os.loader is not None):
        complete_firmware(model, read_descriptors(), nvram_dir)


def _make_nvram(model: Domain) -> None:
    """A new guest's firmware starts from a template of what it remembers; made aside and renamed."""
    nvram = model.os.nvram if model.os else None
    path = nvram and (nvram.path or (nvram.source.file if nvram.source else None))
    if nvram is None or not path or Path(path).exists():
        return
    if nvram.template and (nvram.template_format or "raw") != (nvram.format or "raw"):
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED,
                           "conversion of the nvram template to another target format is not supported",
                           domain=c.VIR_FROM_QEMU)
    template = nvram.template or variables_template(model)
    target = Path(path)
    aside = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(template, aside)
        aside.chmod(0o600)
        aside.replace(target)
    except OSError as error:
        raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"Failed to create file '{target}': {error.strerror}",
                           domain=c.VIR_FROM_QEMU, int1=error.errno or -1) from error


def _name_sockets(devices: Devices, paths: GuestPaths) -> None:
    """A unix socket without a path gets one in the guest's run directory."""
    for chardev in (*devices.serials, *devices.parallels, *devices.channels, *devices.consoles):
        if chardev.type == "unix":
            if not chardev.source:
                chardev.source = [ChardevSource(mode="bind")]
            chardev.source[0].path = chardev.source[0].path or str(
                channel_path(str(chardev.alias), paths.directory))
    for graphics in devices.graphics:
        for listen in graphics.listens:
            if listen.type == "socket" and not listen.socket:
                listen.socket = str(paths.directory / f"{graphics.type}.sock")


# --- ports ----------------------------------------------------------------------------------------------------------


def _choose_ports(devices: Devices, certificates: Certificates) -> None:
    """Free ports for each server that asked for some; QEMU refuses to start should somebody take one meanwhile."""
    taken: set[int] = set()
    for graphics in devices.graphics:
        listen = graphics.listens[0] if graphics.listens else Listen(type="address")
        if graphics.type not in ("vnc", "spice") or listen.type not in ("address", "network"):
            continue
        address, spice = _address(graphics, listen), graphics.type == "spice"
        if graphics.port == -1 or (graphics.autoport and not (spice and graphics.default_mode == "secure")):
            graphics.port = _free_port(address, taken)
        taken.add(graphics.port or 0)
        encrypts = certificates.spice is not None and graphics.default_mode != "insecure"
        if spice and (graphics.tls_port == -1 or (graphics.autoport and encrypts)):
            graphics.tls_port = _free_port(address, taken)
        taken.add(graphics.tls_port or 0)


def _address(graphics: Graphics, listen: Listen) -> str:
    return listen.address or graphics.listen or "127.0.0.1"


def _free_port(address: str, taken: set[int]) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in range(_FIRST_PORT, _LAST_PORT + 1):
        if port in taken:
            continue
        with socket.socket(family, socket.SOCK_STREAM) as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            return port
    raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"no port from {_FIRST_PORT} to {_LAST_PORT} is free on {address}",
                       domain=c.VIR_FROM_QEMU)


def _optical_drives(devices: Devices) -> frozenset[str]:
    """Those of the host's block devices in CD-ROM drives that are such drives: their tray is the guest's."""
    given = {disk.source.dev for disk in devices.disks
             if disk.device == "cdrom" and disk.type == "block" and disk.source is not None and disk.source.dev}
    return frozenset(path for path in given if _has_tray(path))


def _has_tray(path: str) -> bool:
    try:
        drive = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.ioctl(drive, _CDROM_DRIVE_STATUS, _CURRENT_SLOT)
    except OSError:
        return False
    finally:
        os.close(drive)
    return True


# --- devices of the host --------------------------------------------------------------------------------------------
