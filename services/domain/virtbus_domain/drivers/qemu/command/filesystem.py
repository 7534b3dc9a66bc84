"""Directories of the host in the guest: by 9p, which QEMU serves itself, or by virtiofs, which a helper serves."""

from __future__ import annotations

from pathlib import Path

from virtbus_domain.drivers.qemu.command.arguments import unsupported
from virtbus_domain.drivers.qemu.command.parts import Kind, Part, part_chardev, part_device
from virtbus_domain.drivers.qemu.command.place import place, transitional, virtio_options
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.filesystem import Filesystem

_SECURITY = {"passthrough": "passthrough", "mapped": "mapped", "squash": "none"}


def filesystem_parts(filesystem: Filesystem, setup: Setup) -> list[Part]:
    """One directory."""
    name = str(filesystem.alias)
    if filesystem.type != "mount":
        raise unsupported(f"filesystem '{name}' of type '{filesystem.type}'")
    transport = virtio_options(iommu=filesystem.driver_iommu, ats=filesystem.driver_ats,
                               packed=filesystem.driver_packed, page_per_vq=filesystem.driver_page_per_vq)
    if filesystem.driver_type == "virtiofs":
        chardev = f"chr-vu-{name}"
        socket = filesystem.source_socket or str(virtiofs_socket(setup.run_dir, filesystem))
        return [part_chardev("socket", chardev, addr={"type": "unix", "data": {"path": socket}}),
                part_device("vhost-user-fs-pci", name, chardev=chardev, tag=filesystem.target_dir,
                            queue_size=filesystem.driver_queue, bootindex=setup.boot.get(name), **transport,
                            **place(filesystem, setup))]
    if filesystem.driver_type not in (None, "path"):
        raise unsupported(f"filesystem driver '{filesystem.driver_type}' of '{name}'")
    back_end = f"fsdev-{name}"
    options = Part(Kind.FSDEV, back_end, {
        "driver": "local", "security_model": _SECURITY[filesystem.accessmode or "passthrough"],
        "multidevs": filesystem.multidevs, "fmode": _octal(filesystem.fmode), "dmode": _octal(filesystem.dmode),
        "writeout": filesystem.driver_wrpolicy, "id": back_end, "path": filesystem.source_dir,
        "readonly": True if filesystem.readonly else None})
    return [options, part_device(transitional("virtio-9p-pci", filesystem.model), name, fsdev=back_end,
                                 mount_tag=filesystem.target_dir, **transport, **place(filesystem, setup))]


def virtiofs_socket(run_dir: Path, filesystem: Filesystem) -> Path:
    """Where the helper that serves a directory listens."""
    return run_dir / f"{filesystem.alias}-fs.sock"


def _octal(mode: int | None) -> str | None:
    return None if mode is None else f"{mode:04o}"
