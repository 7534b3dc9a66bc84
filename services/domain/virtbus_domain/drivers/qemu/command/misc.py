"""Small devices: TPM, random numbers, memory balloon, watchdog, panic, vsock, shared memory, hubs and the like."""

from __future__ import annotations

from pathlib import Path

from virtbus_domain.drivers.qemu.command.arguments import Arguments, Json, unsupported
from virtbus_domain.drivers.qemu.command.chardev import host_end
from virtbus_domain.drivers.qemu.command.parts import Kind, Part, part_chardev, part_device, part_object
from virtbus_domain.drivers.qemu.command.place import place, switch, transitional, virtio_options
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.crypto import Crypto
from virtbus_domain.xml.hub import Hub
from virtbus_domain.xml.iommu import Iommu
from virtbus_domain.xml.memballoon import Memballoon
from virtbus_domain.xml.panic import Panic
from virtbus_domain.xml.redirdev import Redirdev, RedirFilterRule
from virtbus_domain.xml.rng import BuiltinBackend, EgdBackend, RandomBackend, Rng
from virtbus_domain.xml.shmem import Shmem
from virtbus_domain.xml.smartcard import Smartcard
from virtbus_domain.xml.tpm import Tpm
from virtbus_domain.xml.vsock import Vsock
from virtbus_domain.xml.watchdog import Watchdog

_TPM_MODELS = {"tpm-tis": "tpm-tis", "tpm-crb": "tpm-crb"}
_WATCHDOGS = {"i6300esb": "i6300esb", "ib700": "ib700"}
# libvirt's action of a watchdog: QEMU's. A dump is made by the service when it hears that the guest was paused.
WATCHDOG_ACTIONS = {"reset": "reset", "shutdown": "shutdown", "poweroff": "poweroff", "pause": "pause",
                    "dump": "pause", "none": "none", "inject-nmi": "inject-nmi"}
_SHMEM_SIZE = 4  # MiB, libvirt's when the document names none


def tpm_parts(tpm: Tpm, setup: Setup) -> list[Part]:
    """A trusted platform module that a helper emulates, or the host's own."""
    name, backend = str(tpm.alias), tpm.backend
    back_end = f"tpm-{name}"
    driver = _TPM_MODELS.get(tpm.model or "tpm-tis")
    if driver is None or backend is None:
        raise unsupported(f"TPM of model '{tpm.model}'")
    device = part_device(driver, name, tpmdev=back_end)
    if backend.type != "emulator":
        raise unsupported(f"TPM back end '{backend.type}'")
    return [part_chardev("socket", f"chrtpm-{name}", addr={
                "type": "unix", "data": {"path": str(tpm_socket(setup.run_dir, tpm))}}),
            Part(Kind.TPMDEV, back_end, {"type": "emulator", "id": back_end, "chardev": f"chrtpm-{name}"}), device]


def tpm_socket(run_dir: Path, tpm: Tpm) -> Path:
    """Where the helper that emulates a TPM is controlled."""
    return run_dir / f"{tpm.alias}.sock"


def rng_parts(rng: Rng, setup: Setup) -> list[Part]:
    """Random numbers, from a file, a server or QEMU itself; ``rate_period`` in milliseconds."""
    name, backend = str(rng.alias), rng.backend
    source: list[Part]
    if isinstance(backend, RandomBackend):
        source = [part_object("rng-random", f"obj{name}", filename=backend.path or "/dev/random")]
    elif isinstance(backend, BuiltinBackend):
        source = [part_object("rng-builtin", f"obj{name}")]
    elif isinstance(backend, EgdBackend):
        source = [*host_end(backend, name, setup), part_object("rng-egd", f"obj{name}", chardev=f"char{name}")]
    else:
        raise unsupported(f"random numbers without a source for '{name}'")
    transport = virtio_options(iommu=rng.driver_iommu, ats=rng.driver_ats, packed=rng.driver_packed,
                               page_per_vq=rng.driver_page_per_vq)
    limit: dict[str, Json] = {}
    if rng.rate_bytes:
        limit = {"max_bytes": rng.rate_bytes, "period": rng.rate_period or 1000}
    return [*source, part_device(transitional("virtio-rng-pci", rng.model), name, rng=f"obj{name}", **limit,
                                 **transport, **place(rng, setup))]


def memballoon_parts(balloon: Memballoon, setup: Setup) -> list[Part]:
    """The balloon by which memory is taken back."""
    if balloon.model == "none":
        return []
    transport = virtio_options(iommu=balloon.driver_iommu, ats=balloon.driver_ats, packed=balloon.driver_packed,
                               page_per_vq=balloon.driver_page_per_vq)
    return [part_device(transitional("virtio-balloon-pci", balloon.model), str(balloon.alias),
                        deflate_on_oom=balloon.autodeflate, free_page_reporting=balloon.free_page_reporting,
                        **transport, **place(balloon, setup))]


def watchdog_parts(watchdog: Watchdog, setup: Setup) -> list[Part]:
    """A watchdog; what happens when it bites is ``append_watchdog_action``'s."""
    driver = _WATCHDOGS.get(watchdog.model or "i6300esb")
    if driver is None:
        raise unsupported(f"watchdog '{watchdog.model}'")
    return [part_device(driver, str(watchdog.alias), **place(watchdog, setup))]


def append_watchdog_action(arguments: Arguments, setup: Setup) -> None:
    """``-action watchdog=``: one for all watchdogs."""
    for watchdog in setup.devices.watchdogs[:1]:
        arguments.keyed("-action", watchdog=WATCHDOG_ACTIONS[watchdog.action or "reset"])


def panic_parts(panic: Panic, setup: Setup) -> list[Part]:
    """How the guest tells that it has crashed; Hyper-V's is a feature of the CPU."""
    if panic.model == "hyperv":
        return []
    if panic.model not in (None, "isa"):
        raise unsupported(f"panic device '{panic.model}'")
    return [part_device("pvpanic", str(panic.alias), ioport=place(panic, setup).get("iobase"))]


def vsock_parts(vsock: Vsock, setup: Setup) -> list[Part]:
    """Sockets between host and guest. The number of the guest is known by now, and the kernel's device is open."""
    name = str(vsock.alias)
    descriptors = setup.descriptors.get(name)
    transport = virtio_options(iommu=vsock.driver_iommu, ats=vsock.driver_ats, packed=vsock.driver_packed,
                               page_per_vq=vsock.driver_page_per_vq)
    return [part_device(transitional("vhost-vsock-pci", vsock.model), name, guest_cid=vsock.cid_address,
                        vhostfd=descriptors[0] if descriptors else None, **transport, **place(vsock, setup))]


def hub_parts(hub: Hub, setup: Setup) -> list[Part]:
    """A USB hub."""
    return [part_device("usb-hub", str(hub.alias), **place(hub, setup))]


def iommu_parts(iommu: Iommu, setup: Setup) -> list[Part]:
    """Address translation for devices."""
    if iommu.model == "virtio":
        return [part_device("virtio-iommu", str(iommu.alias), **place(iommu, setup))]
    if iommu.model != "intel":
        raise unsupported(f"IOMMU '{iommu.model}'")
    return [part_device("intel-iommu", str(iommu.alias), intremap=switch(iommu.driver_intremap),
                        caching_mode=iommu.driver_caching_mode, eim=switch(iommu.driver_eim),
                        device_iotlb=iommu.driver_iotlb, aw_bits=iommu.driver_aw_bits)]


def shmem_parts(shmem: Shmem, setup: Setup) -> list[Part]:
    """Memory that several guests share."""
    name = str(shmem.alias)
    is_master = None if shmem.role is None else shmem.role == "master"
    if shmem.model == "ivshmem-plain":
        memory = f"shmmem-{name}"
        return [part_object("memory-backend-file", memory, mem_path=f"/dev/shm/{shmem.name}",  # noqa: S108
                            size=(shmem.size or _SHMEM_SIZE) * 1024 * 1024, share=True),
                part_device("ivshmem-plain", name, memdev=memory, master=switch(is_master), **place(shmem, setup))]
    if shmem.model == "ivshmem-doorbell" and shmem.server is not None:
        chardev, msi = f"char{name}", shmem.msi
        return [part_chardev("socket", chardev, addr={"type": "unix", "data": {"path": shmem.server.path}}),
                part_device("ivshmem-doorbell", name, chardev=chardev, vectors=msi.vectors if msi else None,
                            ioeventfd=msi.ioeventfd if msi else None, master=switch(is_master),
                            **place(shmem, setup))]
    raise unsupported(f"shared memory of model '{shmem.model}'")


def crypto_parts(crypto: Crypto, setup: Setup) -> list[Part]:
    """A virtio crypto device."""
    name = str(crypto.alias)
    if crypto.backend_model != "builtin":
        raise unsupported(f"crypto back end '{crypto.backend_model}'")
    transport = virtio_options(iommu=crypto.driver_iommu, ats=crypto.driver_ats, packed=crypto.driver_packed,
                               page_per_vq=crypto.driver_page_per_vq)
    return [part_object("cryptodev-backend-builtin", f"obj{name}", queues=crypto.backend_queues),
            part_device("virtio-crypto-pci", name, cryptodev=f"obj{name}", **transport, **place(crypto, setup))]


def redirdev_parts(redirdev: Redirdev, setup: Setup) -> list[Part]:
    """A USB device of the person who looks at the guest's screen."""
    name = str(redirdev.alias)
    if redirdev.type == "spicevmc":
        chardev = [part_chardev("spicevmc", f"char{name}", type="usbredir")]
    else:
        chardev = host_end(redirdev, name, setup)
    rules = setup.devices.redirfilter.usbdevs if setup.devices.redirfilter else []
    return [*chardev, part_device(
        "usb-redir", name, chardev=f"char{name}", bootindex=setup.boot.get(name),
        filter="|".join(_filter_rule(rule) for rule in rules) or None, **place(redirdev, setup))]


def _filter_rule(rule: RedirFilterRule) -> str:
    """One rule in usbredir's own form: class, vendor, product, version, allow; -1 for any."""
    major, _, minor = (rule.version or "-1").partition(".")
    version = "-1" if major == "-1" else f"0x{int(major):02X}{minor or '0':0>2}"
    return ":".join([_rule_number(rule.class_, 2), _rule_number(rule.vendor, 4), _rule_number(rule.product, 4), version,
                     "1" if rule.allow else "0"])


def _rule_number(value: int | None, width: int) -> str:
    return "-1" if value is None or value < 0 else f"0x{value:0{width}X}"


def smartcard_parts(card: Smartcard, setup: Setup) -> list[Part]:
    """A smart card of the host, or of the person who looks at the guest's screen."""
    name = str(card.alias)
    if card.mode == "host":
        return [part_device("ccid-card-emulated", name, backend="nss-emulated", **place(card, setup))]
    if card.mode == "passthrough":
        if card.type == "spicevmc":
            chardev = [part_chardev("spicevmc", f"char{name}", type="smartcard")]
        else:
            chardev = host_end(card, name, setup)
        return [*chardev, part_device("ccid-card-passthru", name, chardev=f"char{name}", **place(card, setup))]
    raise unsupported(f"smart card of mode '{card.mode}'")
