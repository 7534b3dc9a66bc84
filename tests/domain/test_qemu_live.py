"""Live changes as data: the parts of a start, what cannot be changed, and a change that fails half way.

What libvirt says was asked of libvirt 9.0.0 with the QEMU of the same distribution.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.domain.test_qemu_process import guest, run_dir
from tests.support.live_guest import FAMILIES, NUMA, PORTS, device_of, domain_of, setup_of, x86_capabilities
from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities
from virtbus_domain.drivers.qemu.command import build
from virtbus_domain.drivers.qemu.command.devices import FAMILIES as BUILDERS
from virtbus_domain.drivers.qemu.command.devices import of_family
from virtbus_domain.drivers.qemu.command.live import attach, detach, update
from virtbus_domain.drivers.qemu.command.live_refusals import PLUGGABLE
from virtbus_domain.drivers.qemu.command.live_run import Reports, carry_out
from virtbus_domain.drivers.qemu.command.live_settings import changed_settings
from virtbus_domain.drivers.qemu.command.live_steps import Event, Step
from virtbus_domain.drivers.qemu.command.parts import Command, Kind
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.drivers.qemu.names import assign_names
from virtbus_domain.drivers.qemu.start import before_run
from virtbus_domain.xml.disk import BackingStore
from virtbus_domain.xml.domain import Domain
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_lines import lines_of

__all__ = ["run_dir"]  # a fixture of another module

# One of each family that can be plugged in, and of each way in which its parts are made.
DEVICES = """
<controller type='usb' model='qemu-xhci' ports='8'/>
<controller type='scsi' index='0' model='virtio-scsi'/>
<controller type='scsi' index='1' model='virtio-scsi'><driver queues='2' iothread='1'/></controller>
<controller type='virtio-serial' index='0'/>
<controller type='pci' model='pcie-to-pci-bridge'/>
<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none' io='threads' discard='unmap'/>
 <source file='/img/a,b.qcow2'/><backingStore type='file'><format type='raw'/><source file='/img/base'/><backingStore/>
 </backingStore><target dev='vda' bus='virtio'/><serial>A B</serial><boot order='1'/></disk>
<disk type='network' device='disk'><driver name='qemu' type='raw' copy_on_read='on'/>
 <source protocol='nbd' name='x'><host name='::1' port='10809'/></source><target dev='sda' bus='scsi'/>
 <iotune><total_bytes_sec>1000000</total_bytes_sec><read_iops_sec>10</read_iops_sec></iotune></disk>
<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/img/cd.iso'/>
 <target dev='sdb' bus='scsi'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/img/stick'/>
 <target dev='sdc' bus='usb' removable='on'/></disk>
<filesystem type='mount'><driver type='virtiofs'/><source socket='/run/fs.sock'/><target dir='share'/></filesystem>
<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/><driver queues='4'/></interface>
<interface type='ethernet'><mac address='52:54:00:00:00:02'/><model type='e1000e'/><rom bar='on'/></interface>
<interface type='vhostuser'><mac address='52:54:00:00:00:03'/><source type='unix' path='/run/v.sock' mode='client'/>
 <model type='virtio'/></interface>
<serial type='tcp'><source mode='bind' host='127.0.0.1' service='4555'/><protocol type='telnet'/>
 <target type='usb-serial' port='0'/></serial>
<serial type='file'><source path='/log/a,b' append='on'/><target type='pci-serial' port='1'/></serial>
<channel type='unix'><source mode='bind' path='/run/a,b'/><target type='virtio' name='org.qemu.guest_agent.0'/>
</channel>
<channel type='pty'><target type='guestfwd' address='10.0.2.1' port='4600'/></channel>
<console type='pty'><target type='serial' port='0'/></console>
<console type='udp'><source mode='connect' host='127.0.0.1' service='1000'/>
 <source mode='bind' host='127.0.0.2' service='1001'/><target type='virtio' port='1'/></console>
<input type='tablet' bus='usb'/><input type='keyboard' bus='virtio'/>
<hostdev mode='subsystem' type='usb'><source><address bus='3' device='4'/></source></hostdev>
<redirdev bus='usb' type='tcp'><source mode='connect' host='127.0.0.1' service='4000'/></redirdev>
<watchdog model='i6300esb' action='pause'/>
<rng model='virtio'><rate bytes='100' period='10'/><backend model='random'>/dev/urandom</backend></rng>
<rng model='virtio'><backend model='egd' type='unix'><source mode='connect' path='/run/egd'/></backend></rng>
<shmem name='plain'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>
<shmem name='bell'><model type='ivshmem-doorbell'/><server path='/run/bell'/><msi vectors='2' ioeventfd='on'/></shmem>
<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>
<memory model='virtio-mem'><target><size unit='MiB'>128</size><node>0</node><block unit='MiB'>2</block>
 <requested unit='MiB'>64</requested></target></memory>
<vsock model='virtio'><cid auto='no' address='4'/></vsock>
"""


# What a domain has beside them: parts of the machine, and the console that is a serial port's other name.
NOT_PLUGGED = {("controllers", kind) for kind in ("pci", "usb", "sata", "virtio-serial")} | {
    ("consoles", "pty"), ("consoles", "tcp")}


@pytest.fixture(scope="module")
def capabilities() -> QemuCapabilities:
    """What the x86 emulator of this machine can do."""
    return x86_capabilities()


SHARED = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"  # which virtiofs needs


def running(capabilities: QemuCapabilities, devices: str) -> tuple[Domain, Setup]:
    """A domain as it runs, and what its devices are built from."""
    domain = domain_of(capabilities, PORTS + devices, top=f"{NUMA}<iothreads>1</iothreads>{SHARED}")
    assert domain.devices is not None
    assign_names(domain.devices, q35=True)
    return domain, setup_of(domain, capabilities, boot={"virtio-disk0": 1},
                            descriptors={"net1": ["9"], "vsock0": ["10"]})


def one(domain: Domain, family: str) -> Any:
    """The first device of a family."""
    assert domain.devices is not None
    return next(iter(of_family(domain.devices, family)))


def refused(error: pytest.ExceptionInfo[LibvirtError]) -> list[object]:
    """Code, domain and message, as libvirt's binding shows them."""
    return [error.value.code, error.value.domain, error.value.message]


class TestSameParts:
    """A device that is plugged in is made of the parts that a start makes."""

    def test_each_family(self, capabilities: QemuCapabilities) -> None:
        """For every device that can be plugged in, the commands hold the values of the options; no family lacks."""
        setup = running(capabilities, DEVICES)[1]
        options = list(pairwise(build(setup, monitor="fd=3").argv))
        kinds = {kind.add: kind for kind in Kind if kind.add}
        seen: dict[str, int] = {}
        for family in PLUGGABLE:
            for device in of_family(setup.devices, family):
                if (family, getattr(device, "type", None)) in NOT_PLUGGED or getattr(device, "bus", None) == "ps2":
                    continue
                added = [step.command for step in attach(family, device, setup) if step.command.name in kinds]
                for command in added:
                    option = kinds[command.name].option
                    values = [value for name, value in options if name == option]
                    if option == "-chardev":
                        assert any(same_chardev(value, command.arguments) for value in values), command
                    else:
                        assert command.arguments in [json.loads(value) for value in values]
                assert added
                seen[family] = seen.get(family, 0) + 1
        assert set(seen) == set(PLUGGABLE)
        assert sum(seen.values()) >= 26

    def test_detach_is_the_reverse(self, capabilities: QemuCapabilities) -> None:
        """What takes a device out is what put it in, backwards; the guest is waited for, and what follows tidies up.

        Open files and secrets, which nobody has any more, are not needed for it.
        """
        domain, setup = running(capabilities, DEVICES)
        bare = setup_of(domain, capabilities)
        for family, index, steps in (("disks", 1, 6), ("interfaces", 1, 2), ("interfaces", 2, 3), ("rngs", 1, 3),
                                     ("channels", 1, 2)):
            device = list(of_family(setup.devices, family))[index]
            plugged, unplugged = attach(family, device, setup), detach(family, device, bare)
            undone = [step.undo.command for step in reversed(plugged) if step.undo]
            assert [step.command for step in unplugged] == undone
            assert len(unplugged) == steps
            assert [step.needed for step in unplugged] == [True] + [False] * (steps - 1)
        [first, *_] = detach("disks", one(domain, "disks"), bare)
        assert first == Step(Command("device_del", {"id": "virtio-disk0"}),
                             until=Event("DEVICE_DELETED", {"device": "virtio-disk0"}),
                             unless=Event("DEVICE_UNPLUG_GUEST_ERROR", {"device": "virtio-disk0"}))

    def test_settings_come_along(self, capabilities: QemuCapabilities) -> None:
        """A link that is down is pulled when the card is there, and the watchdog's action set before it can bite."""
        domain, setup = running(capabilities, "<interface type='user'><model type='virtio'/><link state='down'/>"
                                "</interface><watchdog model='i6300esb' action='dump'/>"
                                "<controller type='pci' model='pcie-to-pci-bridge'/>")
        assert attach("interfaces", one(domain, "interfaces"), setup)[-1].command == Command(
            "set_link", {"name": "net0", "up": False})
        assert [step.command.name for step in attach("watchdogs", one(domain, "watchdogs"), setup)] == [
            "set-action", "device_add"]
        assert attach("watchdogs", one(domain, "watchdogs"), setup)[0].command.arguments == {"watchdog": "pause"}

    def test_settings_of_a_start(self, capabilities: QemuCapabilities) -> None:
        """What a start sets beside the command line is what an update sets."""
        domain = running(capabilities, "<interface type='user'><link state='down'/></interface><graphics type='vnc' "
                         "passwd='abc'/><memballoon model='virtio'><stats period='5'/></memballoon>")[0]
        plain = running(capabilities, "<interface type='user'/><graphics type='vnc' passwd='x'/>")[0]
        by_updates = [tuple(step.command) for family in ("graphics", "memballoon", "interfaces")
                      for step in changed_settings(family, one(plain, family), one(domain, family))]
        started = before_run(domain)
        assert len(started) == 4
        assert all(command in by_updates for command in started)

    def test_shared_limits(self, capabilities: QemuCapabilities) -> None:
        """A group of limits comes with the first disk that has it and goes with the last; other limits are refused."""
        disk = ("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/{dev}'/>"
                "<target dev='{dev}' bus='virtio'/><iotune><total_iops_sec>{limit}</total_iops_sec>"
                "<group_name>g</group_name></iotune></disk>")
        setup = running(capabilities, disk.format(dev="vda", limit=100) + disk.format(dev="vdb", limit=100))[1]
        first, second = setup.devices.disks
        alone = running(capabilities, disk.format(dev="vda", limit=100))[1]
        group = Command("object-add", {"qom-type": "throttle-group", "id": "g", "limits": {"iops-total": 100}})
        assert group in [step.command for step in attach("disks", first, alone)]
        assert group not in [step.command for step in attach("disks", second, setup)]
        assert "object-del" in {step.command.name for step in detach("disks", first, alone)}
        assert "object-del" not in {step.command.name for step in detach("disks", first, setup)}
        for one_of_both in (first, second):
            changes = update("disks", one_of_both, changed(one_of_both, {"iotune.total_iops_sec": 50}), setup)
            assert [step.command.arguments["path"] for step in changes] == ["/objects/g"]
            changes = update("disks", one_of_both, changed(one_of_both, {"iotune": None}), setup)
            assert [step.command.name for step in changes] == ["qom-set", "blockdev-del"]
        other = copy.deepcopy(second)
        assert other.iotune is not None
        other.iotune.total_iops_sec = 200
        with pytest.raises(LibvirtError) as error:
            attach("disks", other, setup)
        assert refused(error) == [67, 10, "unsupported configuration: different iotunes for disks vdb and vda"]


def same_chardev(option: str, arguments: Mapping[str, Any]) -> bool:
    """Whether an option says all that a command says, in whatever words."""
    first, *pairs = option.replace(",,", "\0").split(",")
    values = [pair.partition("=")[2].replace("\0", ",") for pair in pairs]

    def leaves(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [leaf for name, item in value.items() if name != "type" for leaf in leaves(item)]
        return [{True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)]

    backend = arguments["backend"]
    said = leaves({name: item for name, item in backend["data"].items() if name != "server"})
    listens = backend["data"].get("server", False)  # the defaults are opposite, so the command always says it
    return first == backend["type"] and ("server=on" in pairs) == listens and ("server" in backend["data"]) == (
        first == "socket") and f"id={arguments['id']}" in pairs and all(
        values.count(leaf) >= said.count(leaf) for leaf in said)


class TestRefused:
    """What cannot be done while a guest runs, with libvirt's code, domain and text."""

    @pytest.mark.parametrize("xml", [
        "<sound model='ich9'/>", "<tpm model='tpm-tis'><backend type='emulator'/></tpm>", "<graphics type='vnc'/>",
        "<video><model type='virtio'/></video>", "<panic model='isa'/>", "<memballoon model='virtio'/>",
        "<hub type='usb'/>", "<audio id='1' type='none'/>", "<iommu model='intel'/>", "<serial type='pty'/>",
        "<parallel type='pty'/>",
    ])
    def test_no_such_operation(self, xml: str, capabilities: QemuCapabilities) -> None:
        """Kinds of device that only a start gives."""
        tag = xml[1:].partition(" ")[0].partition(">")[0]
        domain, setup = running(capabilities, xml)
        for operation, name in ((attach, "attach"), (detach, "detach")):
            with pytest.raises(LibvirtError) as error:
                operation(FAMILIES[tag], one(domain, FAMILIES[tag]), setup)
            assert refused(error) == [
                84, 10, f"Operation not supported: live {name} of device '{tag}' is not supported"]

    @pytest.mark.parametrize(("xml", "attached", "detached"), [
        ("<filesystem type='mount'><source dir='/tmp'/><target dir='x'/></filesystem>",
         *[[84, 10, "Operation not supported: only virtiofs filesystems can be hotplugged"]] * 2),
        ("<input type='mouse' bus='ps2'/>",
         [84, 10, "Operation not supported: input device on bus 'ps2' cannot be hot plugged."],
         [84, 10, "Operation not supported: input device on bus 'ps2' cannot be detached"]),
        ("<controller type='usb' model='qemu-xhci'/>",
         [84, 10, "Operation not supported: 'usb' controller cannot be hot plugged."],
         [84, 10, "Operation not supported: 'usb' controller cannot be hot unplugged."]),
        ("<watchdog model='ib700'/>",
         [84, 10, "Operation not supported: hotplug of watchdog of model ib700 is not supported"],
         [84, 10, "Operation not supported: hot unplug of watchdog of model ib700 is not supported"]),
        ("<disk type='file' device='floppy'><source file='/x'/><target dev='fda' bus='fdc'/></disk>",
         [84, 10, "Operation not supported: floppy device hotplug isn't supported"],
         [84, 10, "Operation not supported: disk device type 'floppy' cannot be detached"]),
        ("<disk type='file' device='cdrom'><source file='/x'/><target dev='sda' bus='sata'/></disk>",
         [84, 10, "Operation not supported: disk bus 'sata' cannot be hotplugged."],
         [84, 10, "Operation not supported: disk device type 'cdrom' cannot be detached"]),
        ("<disk type='file' device='disk'><source file='/x'/><target dev='sda' bus='sata'/></disk>",
         [84, 10, "Operation not supported: disk bus 'sata' cannot be hotplugged."],
         [84, 10, "Operation not supported: This type of disk cannot be hot unplugged"]),
        ("<rng model='virtio'><backend model='random'/><address type='pci' bus='0' slot='0x10'/></rng>",
         [27, 20, "XML error: The device at PCI address 0000:00:10.0 requires hotplug capability, but the PCI "
                  "controller with index='0' doesn't support hotplug"],
         [9, 10, "operation failed: cannot hot unplug rng device with PCI guest address: 0000:00:10.0 - not allowed "
                 "by controller"]),
    ])
    def test_plugging(self, xml: str, attached: list[object], detached: list[object],
                      capabilities: QemuCapabilities) -> None:
        """Families, kinds and places that cannot be plugged in or taken out."""
        setup = running(capabilities, xml)[1]
        family = FAMILIES[xml[1:].partition(" ")[0]]
        device = next(device for device in of_family(setup.devices, family)
                      if family != "controllers" or device.type == "usb")
        for operation, expected in ((attach, attached), (detach, detached)):
            with pytest.raises(LibvirtError) as error:
                operation(family, device, setup)
            assert refused(error) == expected

    def test_port_without_hotplug(self, capabilities: QemuCapabilities) -> None:
        """A root port of which the user said so, and one function of several."""
        port = ("<controller type='pci' index='20' model='pcie-root-port'><target hotplug='off'/></controller>"
                "<rng model='virtio'><backend model='random'/><address type='pci' bus='20'/></rng>")
        domain, setup = running(capabilities, "".join(
            f"<controller type='pci' index='{n}' model='pcie-root-port'/>" for n in range(13, 20)) + port)
        with pytest.raises(LibvirtError, match="0000:14:00\\.0 - not allowed by controller"):
            detach("rngs", one(domain, "rngs"), setup)
        cards = "".join(f"<interface type='user'><model type='virtio'/><address type='pci' slot='8' function='{n}' "
                        f"multifunction='{'off' if n else 'on'}'/></interface>" for n in range(2))
        domain, setup = running(capabilities, cards)
        with pytest.raises(LibvirtError) as error:
            detach("interfaces", setup.devices.interfaces[1], setup)
        assert refused(error) == [9, 10, "operation failed: cannot hot unplug interface device with multifunction PCI "
                                         "guest address: 0000:00:08.1"]

    def test_busy_controller(self, capabilities: QemuCapabilities) -> None:
        """A SCSI controller with disks stays; one without goes."""
        setup = running(capabilities, DEVICES)[1]
        busy, idle = [other for other in setup.devices.controllers if other.type == "scsi"]
        with pytest.raises(LibvirtError) as error:
            detach("controllers", busy, setup)
        assert refused(error) == [9, 10, "operation failed: device cannot be detached: device is busy"]
        assert [step.command for step in detach("controllers", idle, setup)] == [Command("device_del", {"id": "scsi1"})]

    @pytest.mark.parametrize(("xml", "change", "expected"), [
        ("disk", {"serial": "S2"}, (84, 10, "cannot modify field 'serial' of the disk")),
        ("disk", {"driver.cache": "unsafe"}, (84, 10, "cannot modify field 'cache' of the disk")),
        ("disk", {"driver.detect_zeroes": "on"},
         (84, 10, "cannot modify field 'detect_zeroes' of the disk")),
        ("disk", {"driver.type": "raw"}, (84, 10, "cannot modify field 'type' of the disk")),
        ("disk", {"readonly": True}, (84, 10, "cannot modify field 'readonly' of the disk")),
        ("disk", {"target_bus": "scsi"}, (84, 10, "cannot modify field 'bus' of the disk")),
        ("disk", {"geometry_cyls": 5},
         (84, 10, "cannot modify field 'geometry cylinders' of the disk")),
        ("disk", {"logical_block_size": 512},
         (84, 10, "cannot modify field 'blockio logical_block_size' of the disk")),
        ("disk", {"source.file": "/other"},
         (67, 10, "disk source can be changed only in removable drives")),
        ("disk", {"alias": "ua-x"}, (29, 20, "changing device alias is not allowed")),
        ("disk", {"acpi_index": 5}, (29, 20, "changing device 'acpi index' is not allowed")),
        ("interface", {"model": "e1000"},
         (84, 10, "cannot modify network device model from virtio to e1000")),
        ("interface", {"type": "ethernet"},
         (84, 10, "unable to change config on 'ethernet' network type")),
        ("interface", {"driver.queues": 2},
         (84, 10, "cannot modify virtio network device driver attributes")),
        ("interface", {"driver.iommu": True},
         (84, 10, "cannot modify virtio network device driver options")),
        ("interface", {"rom_bar": False},
         (84, 10, "cannot modify network device rom bar setting")),
        ("interface", {"target_dev": "abc"}, (84, 10, "cannot modify network device tap name")),
        ("interface", {"mtu": 1400}, (84, 10, "cannot modify field 'size' of the interface")),
        ("graphics", {"port": 5950}, (84, 10, "cannot change port settings on vnc graphics")),
        ("graphics", {"keymap": "de"}, (84, 10, "cannot change keymap setting on vnc graphics")),
        ("memballoon", {"autodeflate": True},
         (84, 10, "cannot modify field 'autodeflate' of the memballoon")),
        ("memory", {"size": 262144},
         (67, 10, "cannot modify memory size from '131072' to '262144'")),
        ("memory", {"block": 4096},
         (67, 10, "cannot modify memory block size from '2048' to '4096'")),
        ("rng", {"rate_bytes": 5},
         (67, 10, "live update of device 'rng' is not supported (at rng/rate/@bytes)")),
        ("channel", {"target.name": "other"},
         (67, 10, "live update of device 'chr' is not supported (at channel/target/@name)")),
    ])
    def test_updates(self, xml: str, change: Mapping[str, Any], expected: tuple[int, int, str],
                     capabilities: QemuCapabilities) -> None:
        """The first field that cannot change is named, also where libvirt would pass over it."""
        domain, setup = running(capabilities, CHANGING)
        old = one(domain, FAMILIES[xml])
        with pytest.raises(LibvirtError) as error:
            update(FAMILIES[xml], old, changed(old, change), setup)
        kind = {84: "Operation not supported", 67: "unsupported configuration", 29: "operation forbidden"}
        code, domain_of_error, text = expected
        assert refused(error) == [code, domain_of_error, f"{kind[code]}: {text}"]


CHANGING = """
<controller type='usb' model='qemu-xhci'/>
<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='/img/a'/>
 <target dev='vda' bus='virtio'/><serial>S1</serial></disk>
<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/img/cd1'/><target dev='sda' bus='sata'/>
</disk>
<disk type='file' device='floppy'><target dev='fda' bus='fdc'/></disk>
<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>
<channel type='pty'><target type='virtio' name='a'/></channel>
<graphics type='vnc' port='5900' autoport='no' passwd='abc'/>
<memballoon model='virtio'><stats period='5'/></memballoon>
<rng model='virtio'><rate bytes='100'/><backend model='random'>/dev/urandom</backend></rng>
<memory model='virtio-mem'><target><size unit='MiB'>128</size><node>0</node><block unit='MiB'>2</block>
 <requested unit='MiB'>64</requested></target></memory>
"""


def changed(device: Any, change: Mapping[str, Any]) -> Any:
    """A copy with other values, by dotted names; what only a running domain has is left out."""
    new = copy.deepcopy(device)
    for name in {"alias", "address"} & set(lines_of(type(new))):
        setattr(new, name, None)
    for name, value in change.items():
        *path, last = name.split(".")
        holder = new
        for part in path:
            if getattr(holder, part) is None:
                setattr(holder, part, lines_of(type(holder))[part].model())
            holder = getattr(holder, part)
        setattr(holder, last, value)
    return new


class TestUpdates:
    """What an update consists of."""

    @pytest.mark.parametrize(("tag", "change", "commands"), [
        ("interface", {"link_state": "down"}, [("set_link", {"name": "net0", "up": False})]),
        ("memballoon", {"stats_period": 10}, [("qom-set", {
            "path": "/machine/peripheral/balloon0", "property": "guest-stats-polling-interval", "value": 10})]),
        ("memballoon", {"stats_period": None}, [("qom-set", {
            "path": "/machine/peripheral/balloon0", "property": "guest-stats-polling-interval", "value": 0})]),
        ("memory", {"requested": 32768}, [("qom-set", {
            "path": "/machine/peripheral/virtiomem0", "property": "requested-size", "value": 32 * 1024 * 1024})]),
        ("graphics", {"passwd": "def", "passwd_valid_to": "2030-01-01T00:00:00"}, [
            ("set_password", {"protocol": "vnc", "password": "def", "connected": "keep"}),
            ("expire_password", {"protocol": "vnc", "time": "1893456000"})]),
        ("disk", {"iotune.total_bytes_sec": 5000}, [
            ("object-add", {"qom-type": "throttle-group", "id": "throttle-virtio-disk0",
                            "limits": {"bps-total": 5000}}),
            ("blockdev-add", {"driver": "throttle", "node-name": "libvirt-{}-throttle",
                              "throttle-group": "throttle-virtio-disk0", "file": "libvirt-{}-format"}),
            ("qom-set", {"path": "/machine/peripheral/virtio-disk0", "property": "drive",
                         "value": "libvirt-{}-throttle"})]),
        ("disk", {"snapshot": "no"}, []),
        ("disk", {"source.startup_policy": "optional"}, []),
        ("disk", {}, []), ("rng", {}, []), ("graphics", {}, []), ("memory", {}, []), ("interface", {}, []),
        ("graphics", {"passwd": None}, []),  # what a document without its secrets looks like
    ])
    def test_commands(self, tag: str, change: Mapping[str, Any], commands: list[tuple[str, Mapping[str, Any]]],
                      capabilities: QemuCapabilities) -> None:
        """One field, and what it takes; the new document is completed with what it did not say."""
        domain, setup = running(capabilities, CHANGING)
        old = one(domain, FAMILIES[tag])
        new = changed(old, change)
        steps = update(FAMILIES[tag], old, new, setup)
        index = str(old.source.index) if tag == "disk" else ""
        expected = json.loads(json.dumps(commands).replace("{}", index))
        assert [list(step.command) for step in steps] == expected
        if tag in ("interface", "disk", "memory"):
            assert (new.alias, new.address) == (old.alias, old.address)
        if tag == "graphics":
            assert new.passwd

    def test_each_is_taken_back(self, capabilities: QemuCapabilities) -> None:
        """The undo of every step restores what was."""
        domain, setup = running(capabilities, CHANGING)
        old = one(domain, "interfaces")
        [link] = update("interfaces", old, changed(old, {"link_state": "down"}), setup)
        assert link.undo == Step(Command("set_link", {"name": "net0", "up": True}))
        old = one(domain, "graphics")
        steps = update("graphics", old, changed(old, {"passwd": "def"}), setup)
        assert [step.undo.command.arguments for step in steps if step.undo] == [
            {"protocol": "vnc", "password": "abc", "connected": "keep"}, {"protocol": "vnc", "time": "never"}]

    def test_another_medium(self, capabilities: QemuCapabilities) -> None:
        """The new medium is opened before the drive is; the old one is closed last, and its loss harms nothing."""
        setup = running(capabilities, CHANGING)[1]
        old = setup.devices.disks[1]
        assert old.source is not None
        new = changed(old, {"source.file": "/img/cd2", "source.index": None})
        steps = update("disks", old, new, setup, force=True)
        top = max(int(disk.source.index or 0) for disk in setup.devices.disks if disk.source) + 1
        assert new.source.index == top
        assert [(step.command.name, step.needed) for step in steps] == [
            ("blockdev-add", True), ("blockdev-add", True), ("blockdev-open-tray", True),
            ("blockdev-remove-medium", True), ("blockdev-insert-medium", True), ("blockdev-close-tray", True),
            ("blockdev-del", False), ("blockdev-del", False)]
        assert steps[2].command.arguments == {"id": old.alias, "force": True}
        assert steps[2].asks is None
        assert steps[3].undo is not None
        assert steps[3].undo.command.arguments == {"id": old.alias, "node-name": f"libvirt-{old.source.index}-format"}
        assert steps[4].command.arguments == {"id": old.alias, "node-name": f"libvirt-{top}-format"}
        gentle = update("disks", old, changed(old, {"source": None}), setup)
        assert gentle[0].asks == Event("DEVICE_TRAY_MOVED", {"id": old.alias, "tray-open": True})
        assert [step.command.name for step in gentle] == [
            "blockdev-open-tray", "blockdev-remove-medium", "blockdev-close-tray", "blockdev-del", "blockdev-del"]

    def test_nothing_of_the_old_medium(self, capabilities: QemuCapabilities) -> None:
        """A new medium gets neither the layers of the old one nor its secrets; the same one keeps them."""
        cdrom = ("<disk type='network' device='cdrom'><driver name='qemu' type='raw'/><source protocol='https' "
                 "name='{}'><host name='a' port='443'/><cookies><cookie name='c'>secret</cookie></cookies></source>"
                 "<target dev='sda' bus='sata'/></disk>")
        setup = running(capabilities, cdrom.format("x"))[1]
        [old] = setup.devices.disks
        assert old.source is not None
        old.backing_store = BackingStore()
        other = changed(old, {"source.name": "y", "source.cookies": [], "source.index": None, "backing_store": None})
        update("disks", old, other, setup)
        assert (other.source.cookies, other.backing_store, other.source.index) == ([], None, 2)
        same = changed(old, {"source.cookies": [], "source.index": None, "backing_store": None})
        assert update("disks", old, same, setup) == ()
        assert same.source == old.source
        assert same.backing_store == BackingStore()

    def test_empty_floppy(self, capabilities: QemuCapabilities) -> None:
        """A floppy drive has no tray, and an empty one nothing to take out; nothing shadows what it reads."""
        family, new = device_of(capabilities, "<disk type='file' device='floppy'><source file='/img/f'/>"
                                "<target dev='fda' bus='fdc'/></disk>")
        setup = running(capabilities, CHANGING)[1]
        old = next(disk for disk in setup.devices.disks if disk.device == "floppy")
        assert [step.command.name for step in update(family, old, new, setup)] == [
            "blockdev-add", "blockdev-add", "blockdev-insert-medium"]
        with pytest.raises(LibvirtError) as error:
            update(family, old, changed(new, {"driver.copy_on_read": True}), setup)
        assert refused(error) == [
            67, 10, "unsupported configuration: copy_on_read is not supported with removable disk 'fda'"]

    def test_limits_that_end(self, capabilities: QemuCapabilities) -> None:
        """QEMU keeps limits that it is not told, so those that end are set to what means none."""
        domain, setup = running(capabilities, CHANGING)
        old = changed(one(domain, "disks"), {"iotune.total_bytes_sec": 5000, "iotune.total_bytes_sec_max": 9000,
                                             "iotune.total_bytes_sec_max_length": 5})
        old.alias, old.address = one(domain, "disks").alias, one(domain, "disks").address
        [step] = update("disks", old, changed(old, {"iotune.total_bytes_sec_max": None, "iotune.total_bytes_sec": None,
                                                    "iotune.total_bytes_sec_max_length": None,
                                                    "iotune.read_iops_sec": 7}), setup)
        assert step.command.arguments == {
            "path": "/objects/throttle-virtio-disk0", "property": "limits",
            "value": {"iops-read": 7, "bps-total": 0, "bps-total-max": 0, "bps-total-max-length": 1}}
        assert step.undo is not None
        assert step.undo.command.arguments["value"] == {
            "bps-total": 5000, "bps-total-max": 9000, "bps-total-max-length": 5, "iops-read": 0}


def object_add(name: str, kind: str = "iothread") -> Step:
    """A step that QEMU takes, or refuses for another kind."""
    return Step(Command("object-add", {"qom-type": kind, "id": name}), Step(Command("object-del", {"id": name})))


class TestCarryingOut:
    """All of a change, or nothing, with a QEMU that has no machine."""

    def test_half_way(self, run_dir: Path) -> None:
        """The steps before the one that QEMU refused are taken back, that one is not, and its error is told."""
        async def scenario() -> None:
            async with guest(run_dir) as (_, monitor):
                await monitor.execute("object-add", {"qom-type": "iothread", "id": "there"})
                with pytest.raises(LibvirtError, match="attempt to add duplicate property 'there'"):
                    await carry_out((object_add("a"), object_add("b"), object_add("there")), monitor.execute, Reports())
                left = {item["name"] for item in await monitor.execute("qom-list", {"path": "/objects"})}
                assert left == {"type", "there"}
        asyncio.run(scenario())

    def test_tidying_up(self, run_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A step that only tidies up may fail: the rest is done, and the log tells."""
        async def scenario() -> None:
            async with guest(run_dir) as (_, monitor):
                gone = Step(Command("object-del", {"id": "none"}), needed=False)
                assert await carry_out((gone, object_add("a")), monitor.execute, Reports()) == ()
                assert len(await monitor.execute("qom-list", {"path": "/objects"})) == 2
        with caplog.at_level(logging.WARNING):
            asyncio.run(scenario())
        assert "object-del" in caplog.text

    def test_waiting(self, run_dir: Path) -> None:
        """A step that waits goes on with its event; without it, the rest is handed back to be done later."""
        async def scenario() -> None:
            reports = Reports()
            async with guest(run_dir, on_event=reports.hear) as (_, monitor):
                resumed = Step(Command("cont", {}), until=Event("RESUME", {}))
                assert await carry_out((resumed, object_add("a")), monitor.execute, reports) == ()
                never = Step(Command("stop", {}), until=Event("DEVICE_DELETED", {"device": "x"}))
                rest = (object_add("b"),)
                assert await carry_out((never, *rest), monitor.execute, reports, patience=0.05) == rest
                assert await carry_out(rest, monitor.execute, reports) == ()
                assert len(await monitor.execute("qom-list", {"path": "/objects"})) == 3
        asyncio.run(scenario())

    def test_the_guest_says_no(self, run_dir: Path) -> None:
        """The event of a guest that keeps its device is libvirt's error."""
        async def scenario() -> None:
            reports = Reports()
            async with guest(run_dir, on_event=reports.hear) as (_, monitor):
                kept = Step(Command("cont", {}), until=Event("DEVICE_DELETED", {}), unless=Event("RESUME", {}))
                with pytest.raises(LibvirtError) as error:
                    await carry_out((object_add("a"), kept), monitor.execute, reports)
                assert refused(error) == [9, 10, "operation failed: unplug of device was rejected by the guest"]
                assert len(await monitor.execute("qom-list", {"path": "/objects"})) == 1
        asyncio.run(scenario())

    def test_a_question_to_the_guest(self, run_dir: Path) -> None:
        """A refusal that asks the guest is none when the guest does it, and stands when it does not."""
        async def scenario() -> None:
            reports = Reports()
            async with guest(run_dir, on_event=reports.hear) as (_, monitor):
                asked = object_add("x", "nonsense")._replace(asks=Event("RESUME", {}))
                waiting = asyncio.create_task(carry_out((asked, object_add("a")), monitor.execute, reports))
                await monitor.execute("query-status")  # behind the refusal
                await monitor.execute("cont")
                assert await waiting == ()
                with pytest.raises(LibvirtError, match="does not accept value 'nonsense'"):
                    await carry_out((asked,), monitor.execute, reports, patience=0.05)
        asyncio.run(scenario())

    def test_uncertain(self, run_dir: Path) -> None:
        """A command that was cancelled may have taken effect: it is taken back, unless that could do harm."""
        async def scenario() -> None:
            async with guest(run_dir) as (_, monitor):
                async def slow(command: str, arguments: Mapping[str, object]) -> Any:
                    answer = await monitor.execute(command, arguments)
                    if command == "object-add":
                        begun.set()
                        await asyncio.Event().wait()
                    return answer

                begun = asyncio.Event()
                task = asyncio.create_task(carry_out((object_add("a"),), slow, Reports()))
                await begun.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert len(await monitor.execute("qom-list", {"path": "/objects"})) == 1
                begun.clear()
                careful = object_add("b")._replace(undo_if_sure=True)
                task = asyncio.create_task(carry_out((careful,), slow, Reports()))
                await begun.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert len(await monitor.execute("qom-list", {"path": "/objects"})) == 2
        asyncio.run(scenario())

    def test_filters_are_not_taken_back_blindly(self, capabilities: QemuCapabilities) -> None:
        """QEMU dies when a device is told to use the node that it uses: nobody tries that without being sure."""
        setup = running(capabilities, CHANGING)[1]
        old = setup.devices.disks[0]
        steps = update("disks", old, changed(old, {"iotune.total_iops_sec": 5}), setup)
        assert [step.undo_if_sure for step in steps] == [step.command.name == "qom-set" for step in steps]


def test_families_have_builders() -> None:
    """What can be plugged in is something that a start makes."""
    assert set(PLUGGABLE) <= set(BUILDERS)
