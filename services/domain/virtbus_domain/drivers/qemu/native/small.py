"""Small devices read back: random numbers, TPM, balloon, shared memory, directories, the host's devices."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from virtbus_domain.drivers.qemu.command.misc import WATCHDOG_ACTIONS
from virtbus_domain.drivers.qemu.native.characters import host_end
from virtbus_domain.drivers.qemu.native.options import refusal
from virtbus_domain.drivers.qemu.native.processor import features_of
from virtbus_domain.drivers.qemu.native.reader import Reader, transport
from virtbus_domain.drivers.qemu.native.values import Values
from virtbus_domain.xml.address import HostPciAddress, IsaAddress
from virtbus_domain.xml.crypto import Crypto
from virtbus_domain.xml.features import Switch
from virtbus_domain.xml.filesystem import Filesystem
from virtbus_domain.xml.hostdev import Hostdev, HostdevSource, HostUsbAddress, MdevAddress
from virtbus_domain.xml.hub import Hub
from virtbus_domain.xml.iommu import Iommu
from virtbus_domain.xml.memballoon import Memballoon
from virtbus_domain.xml.panic import Panic
from virtbus_domain.xml.rng import BuiltinBackend, EgdBackend, RandomBackend, Rng
from virtbus_domain.xml.shmem import Shmem, ShmemMsi, ShmemServer
from virtbus_domain.xml.tpm import Tpm, TpmBackend
from virtbus_domain.xml.vsock import Vsock
from virtbus_domain.xml.watchdog import Watchdog

Read = Callable[[Reader, Values], None]

_PCI = re.compile("([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})[.]([0-7])", re.ASCII)
_USB = re.compile("/dev/bus/usb/([0-9]{3})/([0-9]{3})", re.ASCII)
_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_MDEV = "/sys/bus/mdev/devices/"
_SHARED = "/dev/shm/"  # noqa: S108  # where QEMU's shared memory lies
_SECURITY = {"passthrough": "passthrough", "mapped": "mapped", "none": "squash"}
_ACTIONS = {theirs: ours for ours, theirs in reversed(WATCHDOG_ACTIONS.items())}


def _flavour(item: Values, driver: str) -> str:
    return "virtio" + item.kind.removeprefix(driver)


def _memballoon(reader: Reader, item: Values) -> None:
    if reader.devices.memballoon is not None:
        raise refusal(f"{item.what}, the second of its kind")
    reader.devices.memballoon = reader.sit(Memballoon(
        model=_flavour(item, "virtio-balloon-pci"), autodeflate=item.flag("deflate-on-oom"),
        free_page_reporting=item.flag("free-page-reporting"), **transport(item, "driver_")), item)


def _rng(reader: Reader, item: Values) -> None:
    source = reader.command.named("-object", item.required_text("rng"))
    backend: RandomBackend | BuiltinBackend | EgdBackend
    match source.kind:
        case "rng-random":
            backend = RandomBackend(path=source.required_text("filename"))
        case "rng-builtin":
            backend = BuiltinBackend()
        case "rng-egd":
            backend = EgdBackend()
            host_end(reader, source.required_text("chardev"), item.id, backend)
        case _:
            raise refusal(source.what)
    reader.devices.rngs.append(reader.sit(Rng(
        model=_flavour(item, "virtio-rng-pci"), backend=backend, rate_bytes=item.number("max-bytes"),
        rate_period=item.number("period"), **transport(item, "driver_")), item))


def _tpm(reader: Reader, item: Values) -> None:
    """Where what the TPM remembers lies, and its version, only the helper that emulates it is told."""
    back_end = reader.command.named("-tpmdev", item.required_text("tpmdev"))
    socket = reader.command.named("-chardev", back_end.required_text("chardev"))
    if back_end.kind != "emulator" or socket.kind != "socket":
        raise refusal(back_end.what)
    socket.expect("path", f"{reader.command.run_directory}/{item.id}.sock")
    reader.devices.tpms.append(reader.sit(Tpm(model=item.kind, backend=TpmBackend(type="emulator")), item))


def _watchdog(reader: Reader, item: Values) -> None:
    actions = [action for values in reader.command.all("-action") if (action := values.word("watchdog", _ACTIONS))]
    reader.devices.watchdogs.append(reader.sit(Watchdog(model=item.kind, action=actions[0] if actions else None), item))


def _panic(reader: Reader, item: Values) -> None:
    panic = reader.name(Panic(model="isa"), item)
    port = item.number("ioport")
    panic.address = None if port is None else IsaAddress(iobase=port)
    reader.devices.panics.append(panic)


def _hub(reader: Reader, item: Values) -> None:
    reader.devices.hubs.append(reader.sit(Hub(type="usb"), item))


def _iommu(reader: Reader, item: Values) -> None:
    if reader.devices.iommu is not None:
        raise refusal(f"{item.what}, the second of its kind")
    iommu = Iommu(model="virtio")
    if item.kind == "intel-iommu":
        iommu = Iommu(
            model="intel", driver_intremap=item.flag("intremap"), driver_caching_mode=item.flag("caching-mode"),
            driver_eim=item.flag("eim"), driver_iotlb=item.flag("device-iotlb"), driver_aw_bits=item.number("aw-bits"))
    reader.devices.iommu = reader.sit(iommu, item)


def _vsock(reader: Reader, item: Values) -> None:
    """The descriptor is opened for each start; without a number the guest gets a free one."""
    item.skip("vhostfd")
    number = item.number("guest-cid")
    reader.devices.vsock = reader.sit(Vsock(
        model=_flavour(item, "vhost-vsock-pci"), cid_auto=number is None, cid_address=number,
        **transport(item, "driver_")), item)


_ROLES = {"on": "master", "off": "peer"}


def _shmem_plain(reader: Reader, item: Values) -> None:
    memory = reader.command.named("-object", item.required_text("memdev"))
    path, size = memory.required_text("mem-path"), memory.kilobytes("size") or 0
    memory.expect("share", True)
    if memory.kind != "memory-backend-file" or not path.startswith(_SHARED):
        raise memory.wrong("mem-path")
    if size % 1024:
        raise memory.wrong("size")
    reader.devices.shmems.append(reader.sit(Shmem(
        name=path.removeprefix(_SHARED), model="ivshmem-plain", size_unit="M", size=size // 1024,
        role=item.word("master", _ROLES)), item))


def _shmem_doorbell(reader: Reader, item: Values) -> None:
    """Its name is the server's business; the document has to have one."""
    server = reader.command.named("-chardev", item.required_text("chardev"))
    if server.kind != "socket":
        raise refusal(server.what)
    msi = ShmemMsi(vectors=item.number("vectors"), ioeventfd=item.flag("ioeventfd"))
    reader.devices.shmems.append(reader.sit(Shmem(
        name=item.id, model="ivshmem-doorbell", role=item.word("master", _ROLES),
        server=ShmemServer(path=server.required_text("path")),
        msi=None if msi == ShmemMsi() else msi), item))


def _crypto(reader: Reader, item: Values) -> None:
    back_end = reader.command.named("-object", item.required_text("cryptodev"))
    if back_end.kind != "cryptodev-backend-builtin":
        raise refusal(back_end.what)
    reader.devices.cryptos.append(reader.sit(Crypto(
        model="virtio", type="qemu", backend_model="builtin", backend_queues=back_end.number("queues"),
        **transport(item, "driver_")), item))


def _shared_directory(reader: Reader, item: Values) -> None:
    back_end = reader.command.named("-fsdev", item.required_text("fsdev"))
    if back_end.kind != "local":
        raise refusal(back_end.what)
    reader.devices.filesystems.append(reader.sit(Filesystem(
        type="mount", accessmode=back_end.word("security_model", _SECURITY), driver_type="path",
        model=_flavour(item, "virtio-9p-pci") if item.kind != "virtio-9p-pci" else None,
        multidevs=back_end.text("multidevs"), driver_wrpolicy=back_end.text("writeout"),
        fmode=back_end.number("fmode", 8), dmode=back_end.number("dmode", 8), source_dir=back_end.required_text("path"),
        target_dir=item.required_text("mount_tag"), readonly=back_end.flag("readonly") is True,
        **transport(item, "driver_")), item))


def _served_directory(reader: Reader, item: Values) -> None:
    socket = reader.command.named("-chardev", item.required_text("chardev"))
    path = socket.required_text("path")
    if path == f"{reader.command.run_directory}/{item.id}-fs.sock":
        raise refusal(f"{item.what}: which directory is served on its socket, the command does not say")
    reader.devices.filesystems.append(reader.sit(Filesystem(
        type="mount", driver_type="virtiofs", driver_queue=item.number("queue-size"), source_socket=path,
        target_dir=item.required_text("tag"), **transport(item, "driver_")), item))


# --- devices of the host --------------------------------------------------------------------------------------------


def _assigned(reader: Reader, item: Values) -> None:
    """A PCI function or a mediated device. Who takes it from its driver, no command tells."""
    if item.has("sysfsdev"):
        path = item.required_text("sysfsdev")
        if not path.startswith(_MDEV):
            raise item.wrong("sysfsdev")
        display = item.flag("display")
        hostdev = Hostdev(
            mode="subsystem", type="mdev", model="vfio-pci" if item.has("display") else None, display=display,
            ramfb=item.flag("ramfb"), source=HostdevSource(address=MdevAddress(uuid=path.removeprefix(_MDEV))))
    else:
        found = _PCI.fullmatch(item.required_text("host"))
        if found is None:
            raise item.wrong("host")
        domain, bus, slot, function = (int(part, 16) for part in found.groups())
        hostdev = Hostdev(mode="subsystem", type="pci", source=HostdevSource(
            address=HostPciAddress(domain=domain, bus=bus, slot=slot, function=function)))
        partner, bar, file = item.text("failover_pair_id"), item.number("rombar"), item.text("romfile")
        if partner is not None:
            hostdev.teaming_type, hostdev.teaming_persistent = "transient", partner
        hostdev.rom_bar = None if bar is None else bool(bar)
        hostdev.rom_file, hostdev.rom_enabled = file or None, False if file == "" else None
    reader.devices.hostdevs.append(reader.sit(hostdev, item))


def _usb_device(reader: Reader, item: Values) -> None:
    source = HostdevSource(guest_reset=_guest_reset(item))
    if item.has("hostdevice"):
        found = _USB.fullmatch(item.required_text("hostdevice"))
        if found is None:
            raise item.wrong("hostdevice")
        source.address = HostUsbAddress(bus=int(found[1]), device=int(found[2]))
    else:
        source.vendor_id, source.product_id = item.required_number("vendorid"), item.required_number("productid")
    reader.devices.hostdevs.append(reader.sit(Hostdev(mode="subsystem", type="usb", source=source), item))


def _guest_reset(item: Values) -> str | None:
    reset, always = item.flag("guest-reset"), item.flag("guest-resets-all")
    if reset is None:
        return None
    return "off" if not reset else "on" if always else "uninitialized"


# --- devices that no document lists ---------------------------------------------------------------------------------


def _crash_information(reader: Reader, item: Values) -> None:
    del item
    features_of(reader.domain).vmcoreinfo = Switch(state=True)


def _generation(reader: Reader, item: Values) -> None:
    if not _UUID.fullmatch(item.required_text("guid")):
        raise item.wrong("guid")
    reader.domain.genid = item.text("guid")


def _flavours(driver: str, read: Read) -> dict[str, Read]:
    return {f"{driver}{flavour}": read for flavour in ("", "-transitional", "-non-transitional")}


SMALL: Mapping[str, Read] = {
    "tpm-tis": _tpm, "tpm-crb": _tpm, "i6300esb": _watchdog, "ib700": _watchdog, "pvpanic": _panic, "usb-hub": _hub,
    "intel-iommu": _iommu, "virtio-iommu": _iommu, "ivshmem-plain": _shmem_plain, "ivshmem-doorbell": _shmem_doorbell,
    "virtio-crypto-pci": _crypto, "vhost-user-fs-pci": _served_directory, "vfio-pci": _assigned,
    "usb-host": _usb_device, "vmcoreinfo": _crash_information, "vmgenid": _generation,
    **_flavours("virtio-9p-pci", _shared_directory), **_flavours("virtio-balloon-pci", _memballoon),
    **_flavours("virtio-rng-pci", _rng), **_flavours("vhost-vsock-pci", _vsock)}
