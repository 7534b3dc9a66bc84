"""What of the node a command line depends on, beside the document: gathered before the first part is built.

Building is a pure function of the document and this: it opens nothing, starts nothing and asks nobody, so the same
call serves a start, ``domxml-to-native`` and every test. What has to be made first (tap devices, sockets, helper
processes, secrets) is named by the device's alias, which is also QEMU's ``id``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from virtbus_domain.drivers.qemu.capabilities import Machine, QemuCapabilities
from virtbus_domain.drivers.qemu.certificates import NO_CERTIFICATES, Certificates
from virtbus_domain.drivers.qemu.command.parts import Part, part_object
from virtbus_domain.drivers.qemu.layers import Volume, Volumes
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.storage_source import DiskSource
from virtbus_domain.xml.sysinfo import Sysinfo
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


@dataclass(frozen=True, slots=True)
class Setup:
    """What is there for one guest.

    ``run_dir`` is the guest's own directory, in which sockets of helpers and of channels lie. ``descriptors`` are the
    open files for a device by alias, in QEMU's spelling: numbers of inherited ones, or names given by ``getfd``.
    ``secrets`` are files that hold a secret, by the id of its QEMU object; ``volumes`` tell what the storage volumes
    of the disks are; ``certificates`` are for what is to be encrypted; ``host_sysinfo`` is what the host's own
    firmware says of it; ``optical_drives`` are the block devices that are drives with a tray. ``boot`` is the place in
    the boot order by alias; ``kvm_problem`` tells why KVM cannot be used, if so; ``now`` is the time in seconds since
    1970 that a clock with an offset starts from, the present when None. A domain whose firmware is chosen
    automatically has its loader and nvram filled in by then.
    """

    domain: Domain
    capabilities: QemuCapabilities
    machine: Machine
    run_dir: Path
    descriptors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    volumes: Volumes = field(default_factory=dict)
    certificates: Certificates = NO_CERTIFICATES
    host_sysinfo: Sysinfo | None = None
    optical_drives: Collection[str] = ()
    boot: Mapping[str, int] = field(default_factory=dict)
    kvm_problem: str | None = None
    now: float | None = None
    _controllers: dict[tuple[str | None, int], str] = field(default_factory=dict)

    def controller(self, kind: str, index: int) -> str:
        """The name of a controller that others refer to by number."""
        if not self._controllers:
            for controller in self.devices.controllers:
                # Companions of a USB 2 controller share its number; the bus is that of the first.
                self._controllers.setdefault((controller.type, controller.index or 0), controller.alias or "")
        return self._controllers.get((kind, index)) or f"{kind}{index}"

    def secret(self, name: str) -> Part:
        """The object that holds a secret: its value is in a file, never in an argument that others can read."""
        path = self.secrets.get(name)
        if path is None:
            raise LibvirtError(c.VIR_ERR_NO_SECRET, f"the value for '{name}' is not known", domain=c.VIR_FROM_QEMU)
        return part_object("secret", name, format="raw", file=str(path))

    def credentials(self, user: str, *, server: bool) -> Part:
        """The object that one end of an encrypted connection shows and asks for, by the name of what uses it."""
        return part_object("tls-creds-x509", f"obj{user}_tls0", dir=str(self.certificates.for_connection(f"'{user}'")),
                           endpoint="server" if server else "client", verify_peer=True)

    @property
    def devices(self) -> Devices:
        """The domain's devices."""
        assert self.domain.devices is not None
        return self.domain.devices

    @property
    def is_q35(self) -> bool:
        """The chipset with a PCI Express root complex."""
        return self.machine.name.startswith(("pc-q35", "q35"))

    @property
    def is_i440fx(self) -> bool:
        """The chipset with a conventional PCI bus."""
        return self.machine.name.startswith(("pc-i440fx", "pc")) and not self.is_q35

    @property
    def has_flash(self) -> bool:
        """Whether the firmware lies in flash memory."""
        loader = self.domain.os.loader if self.domain.os else None
        return loader is not None and loader.type == "pflash"

    @property
    def has_nvram(self) -> bool:
        """Whether the firmware has flash memory of its own to write to."""
        return self.variables is not None

    @property
    def variables(self) -> Volume | None:
        """Where the firmware keeps what it remembers."""
        os = self.domain.os
        if os is None or os.nvram is None or (os.loader and os.loader.stateless):
            return None
        if os.nvram.path:
            return Volume("file", DiskSource(file=os.nvram.path))
        return Volume(os.nvram.type or "file", os.nvram.source) if os.nvram.source is not None else None

    @property
    def needs_smm(self) -> bool:
        """Whether only system management mode may write to the firmware's variables."""
        loader = self.domain.os.loader if self.domain.os else None
        return loader is not None and loader.secure is True
