"""The machine on the command line: what is switched in it, its CPUs, memory, clock, firmware and tables."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from tests.support.command_line import UUID, command, domain_xml, keyed, objects, only, options, setup_of
from tests.support.real_qemu import capabilities
from virtbus_domain.drivers.qemu.command import build
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

NOON = 1_000_000_000.0  # 2001-09-09 01:46:40 UTC
ACPI = "<features><acpi/></features>"
FLASH = "<loader readonly='yes' type='pflash'{}>/c.fd</loader><nvram>/v,1.fd</nvram>"
CELLS = ("<vcpu>4</vcpu><numatune><memory mode='strict' nodeset='0'/><memnode cellid='1' mode='preferred' "
         "nodeset='0'/></numatune><cpu><numa><cell id='0' cpus='0,2-3' memory='32' unit='MiB' memAccess='shared'>"
         "<distances><sibling id='1' value='21'/></distances></cell>"
         "<cell id='1' cpus='1' memory='31000' unit='KiB'/></numa></cpu>")

# What a document says beside devices and in <os>: the options that its command has and the plain domain's has not.
# "Q35" stands for the machine's name.
OPTIONS: list[tuple[str, str, list[tuple[str, str]]]] = [
    # CPUs
    ("<vcpu current='2'>4</vcpu>", "", [("-smp", "2,maxcpus=4,sockets=4,cores=1,threads=1")]),
    ("<vcpu>8</vcpu><cpu><topology sockets='2' cores='2' threads='2'/></cpu>", "",
     [("-smp", "8,sockets=2,dies=1,cores=2,threads=2")]),
    # switches of the machine; without ACPI it has none
    (ACPI, "", [("-machine", "Q35,usb=off,dump-guest-core=off,memory-backend=pc.ram")]),
    ("<features><acpi/><vmport state='off'/><ioapic driver='qemu'/><smm state='on'><tseg unit='MiB'>48</tseg></smm>"
     "</features>", "",
     [("-machine", "Q35,usb=off,vmport=off,smm=on,kernel_irqchip=split,dump-guest-core=off,"
                   "memory-backend=pc.ram"), ("-global", "mch.extended-tseg-mbytes=48")]),
    (f"{ACPI}<pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='yes'/></pm>", "",
     [("-machine", "Q35,usb=off,dump-guest-core=off,memory-backend=pc.ram"),
      ("-global", "ICH9-LPC.disable_s3=1"), ("-global", "ICH9-LPC.disable_s4=0")]),
    ("<on_reboot>destroy</on_reboot>", "", [("-action", "reboot=shutdown")]),
    ("<features><vmcoreinfo state='on'/></features><genid>4b92a976-34b6-48b8-9341-3816aa93c238</genid>", "",
     [("-device", '{"driver":"vmcoreinfo"}'),
      ("-device", '{"driver":"vmgenid","id":"vmgenid0","guid":"4b92a976-34b6-48b8-9341-3816aa93c238"}')]),
    # the clock
    ("<clock offset='localtime'><timer name='rtc' tickpolicy='catchup' track='guest'/>"
     "<timer name='pit' tickpolicy='delay'/></clock>", "",
     [("-rtc", "base=localtime,driftfix=slew,clock=vm"), ("-global", "kvm-pit.lost_tick_policy=delay")]),
    ("<clock offset='utc'><timer name='rtc' track='wall'/></clock>", "", [("-rtc", "base=utc,clock=host")]),
    ("<clock offset='absolute' start='0'/>", "", [("-rtc", "base=1970-01-01T00:00:00")]),
    ("<clock offset='variable' adjustment='-100' basis='utc'/>", "", [("-rtc", "base=2001-09-09T01:45:00")]),
    # memory
    ("<memoryBacking><locked/></memoryBacking>", "", [("-overcommit", "mem-lock=on")]),
    ("<memoryBacking><source type='file'/><access mode='shared'/><allocation mode='immediate' threads='2'/><discard/>"
     "</memoryBacking>", "",
     [("-object", '{"qom-type":"memory-backend-file","id":"pc.ram","size":67108864,"mem-path":"/run/x/ram/pc.ram",'
                  '"share":true,"discard-data":true,"x-use-canonical-path-for-ramblock-id":false,"prealloc":true,'
                  '"prealloc-threads":2}')]),
    ("<memoryBacking><source type='memfd'/><hugepages><page size='2' unit='M'/></hugepages></memoryBacking>", "",
     [("-object", '{"qom-type":"memory-backend-memfd","id":"pc.ram","size":67108864,"hugetlb":true,'
                  '"hugetlbsize":2097152,"prealloc":true,"x-use-canonical-path-for-ramblock-id":false}')]),
    # what the guest reads about its machine
    ("<sysinfo type='smbios'><bios><entry name='vendor'>V,W</entry></bios><system><entry name='manufacturer'>M</entry>"
     "</system><oemStrings><entry>a,b</entry><entry>c</entry></oemStrings></sysinfo><sysinfo type='fwcfg'>"
     "<entry name='opt/x'>v,w</entry><entry name='opt/y' file='/f,1'/></sysinfo>", "<smbios mode='sysinfo'/>",
     [("-smbios", "type=0,vendor=V,,W"), ("-smbios", "type=1,manufacturer=M"),
      ("-smbios", "type=11,value=a,,b,value=c"), ("-fw_cfg", "name=opt/x,string=v,,w"),
      ("-fw_cfg", "name=opt/y,file=/f,,1")]),
    # how it boots
    ("", "<kernel>/k,1</kernel><initrd>/i</initrd><cmdline>console=ttyS0,115200 -device x</cmdline>"
     "<acpi><table type='slic'>/t,1</table></acpi>",
     [("-kernel", "/k,1"), ("-initrd", "/i"), ("-append", "console=ttyS0,115200 -device x"),
      ("-acpitable", "sig=SLIC,file=/t,,1")]),
    ("", "<bootmenu enable='yes' timeout='3000'/><bios rebootTimeout='7'/>",
     [("-boot", "menu=on,reboot-timeout=7,splash-time=3000,strict=on")]),
    ("", "<loader type='rom'>/b,1</loader>", [("-bios", "/b,1")]),
]


@pytest.mark.parametrize(("top", "os", "expected"), OPTIONS, ids=range(len(OPTIONS)))
def test_options(top: str, os: str, expected: list[tuple[str, str]]) -> None:
    """What a document says becomes exactly these options."""
    machine = capabilities().canonical_machine("q35").name
    plain = command(domain_xml(), now=NOON)
    told = command(domain_xml(top=top, os=os), now=NOON)
    usual = set(pairwise(plain))
    assert [(name, value) for name, value in pairwise(told)
            if name.startswith("-") and not value.startswith("-") and (name, value) not in usual] == [
        (name, value.replace("Q35", machine)) for name, value in expected]


class TestFixedPart:
    """What is the same for every guest."""

    def test_found_again(self) -> None:
        """The first option tells which guest it is; the monitor is the socket that was made for it."""
        argv = command(domain_xml())
        assert argv[1:3] == ["-pidfile", "/run/x/qemu.pid"]
        assert options(argv, "-chardev") == ["socket,id=charmonitor,fd=3,server=on,wait=off"]
        assert only(argv, "-mon") == "chardev=charmonitor,id=monitor,mode=control"
        assert only(argv, "-uuid") == UUID
        made = build(setup_of(domain_xml()), monitor="path=/a,b").argv
        assert options(made, "-chardev") == ["socket,id=charmonitor,path=/a,,b,server=on,wait=off"]

    def test_ends_with_the_guest(self) -> None:
        """A guest that powers off ends even while nobody watches; no files, programs or rights beyond its own."""
        argv = command(domain_xml())
        assert "-no-shutdown" not in argv
        assert {"-S", "-nodefaults", "-no-user-config"} < set(argv)
        assert only(argv, "-sandbox") == "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
        assert only(argv, "-accel") == "tcg,tb-size=32"
        assert only(argv, "-display") == "none"

    def test_name(self) -> None:
        """Whatever characters it has."""
        assert keyed(only(command(domain_xml(name="a guest, with=commas")), "-name")) == [
            ("guest", "a guest, with=commas"), ("debug-threads", "on")]

    def test_environment(self) -> None:
        """Beside the usual, QEMU finds the zone of its clock."""
        zone = "<clock offset='timezone' timezone='Europe/Berlin'/>"
        line = build(setup_of(domain_xml(top=zone)), monitor="fd=3")
        assert line.environment == {"TZ": "Europe/Berlin"}
        assert only(line.argv, "-rtc") == "base=localtime"
        assert build(setup_of(domain_xml()), monitor="fd=3").environment == {}


class TestKvm:
    """Help by hardware."""

    DOCUMENT = domain_xml(kind="kvm", top="<features><kvm><dirty-ring state='on' size='4096'/></kvm></features>")

    def test_used(self) -> None:
        """Type kvm is KVM."""
        assert only(command(self.DOCUMENT), "-accel") == "kvm,dirty-ring-size=4096"

    def test_refused(self) -> None:
        """Where it does not work the error has the reason, and where an emulator lacks emulation, too."""
        with pytest.raises(LibvirtError) as error:
            command(self.DOCUMENT, kvm_problem="it hangs")
        assert error.value.code == c.VIR_ERR_CONFIG_UNSUPPORTED
        assert error.value.message.endswith("does not support virt type 'kvm': it hangs")
        setup = setup_of(domain_xml())
        with pytest.raises(LibvirtError, match="built without TCG"):
            build(replace(setup, capabilities=replace(setup.capabilities, has_tcg=False)), monitor="fd=3")


class TestMemory:
    """Cells and what backs them."""

    def test_cells(self) -> None:
        """Each cell has its CPUs, its memory in whole MiB, its place on the host and its distance from the others."""
        argv = command(domain_xml(top=f"<maxMemory slots='4' unit='MiB'>4096</maxMemory>{CELLS}"))
        assert only(argv, "-m") == "size=64512k,slots=4,maxmem=4194304k"
        backing = objects(argv, "-object")
        assert backing["ram-node0"] == {
            "qom-type": "memory-backend-file", "size": 32 << 20, "mem-path": "/run/x/ram/ram-node0", "share": True,
            "host-nodes": [0], "policy": "bind"}
        assert backing["ram-node1"] == {"qom-type": "memory-backend-ram", "size": 31 << 20, "host-nodes": [0],
                                        "policy": "preferred"}
        assert options(argv, "-numa") == [
            "node,nodeid=0,cpus=0,cpus=2-3,memdev=ram-node0", "node,nodeid=1,cpus=1,memdev=ram-node1",
            "dist,src=0,dst=0,val=10", "dist,src=0,dst=1,val=21", "dist,src=1,dst=0,val=21", "dist,src=1,dst=1,val=10"]

    @pytest.mark.parametrize(("module", "back_end", "device"), [
        ("<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target>"
         "<address type='dimm' slot='2' base='0x100000000'/></memory>",
         {"qom-type": "memory-backend-ram", "size": 128 << 20},
         {"driver": "pc-dimm", "node": 0, "slot": 2, "addr": 1 << 32}),
        ("<memory model='nvdimm' access='shared'><source><path>/n,1</path><alignsize unit='MiB'>2</alignsize><pmem/>"
         "</source><target><size unit='MiB'>128</size><node>1</node><label><size unit='KiB'>128</size></label>"
         "<readonly/></target></memory>",
         {"qom-type": "memory-backend-file", "mem-path": "/n,1", "prealloc": True, "share": True, "size": 128 << 20,
          "align": 2 << 20, "pmem": True},
         {"driver": "nvdimm", "node": 1, "label-size": 128 << 10, "unarmed": True, "slot": 0}),
        ("<memory model='virtio-mem'><target><size unit='MiB'>128</size><node>0</node><block unit='MiB'>2</block>"
         "<requested unit='MiB'>64</requested></target></memory>",
         {"qom-type": "memory-backend-ram", "size": 128 << 20, "reserve": False},
         {"driver": "virtio-mem-pci", "node": 0, "block-size": 2 << 20, "requested-size": 64 << 20}),
        ("<memory model='virtio-pmem' access='shared'><source><path>/p</path></source><target>"
         "<size unit='MiB'>128</size></target></memory>",
         {"qom-type": "memory-backend-file", "mem-path": "/p", "share": True, "size": 128 << 20},
         {"driver": "virtio-pmem-pci"}),
    ])
    def test_modules(self, module: str, back_end: dict[str, Any], device: dict[str, Any]) -> None:
        """A module of each model, with the object behind it."""
        cells = CELLS.replace("<numatune><memory mode='strict' nodeset='0'/><memnode cellid='1' mode='preferred' "
                              "nodeset='0'/></numatune>", "").replace(" memAccess='shared'", "")
        head = "<maxMemory slots='4' unit='MiB'>4096</maxMemory><memory unit='MiB'>512</memory>"
        document = domain_xml(module, top=cells + ACPI + head).replace("<memory unit='MiB'>64</memory>", "", 1)
        argv = command(document)
        [name] = [name for name in objects(argv, "-object") if name.startswith("mem")]
        assert objects(argv, "-object")[name] == back_end
        found = objects(argv, "-device")[name.removeprefix("mem")]
        assert {key: value for key, value in found.items() if key not in ("memdev", "bus")
                and (key != "addr" or "dimm" in found["driver"])} == device
        assert found["memdev"] == name


class TestFirmware:
    """Flash memory."""

    def test_flash(self) -> None:
        """The code is only read, the variables are the guest's own."""
        argv = command(domain_xml(top=ACPI, os=FLASH.format("")))
        nodes = objects(argv, "-blockdev")
        assert {name: (node.get("filename"), node.get("read-only")) for name, node in nodes.items()} == {
            "libvirt-pflash0-storage": ("/c.fd", None), "libvirt-pflash0-format": (None, True),
            "libvirt-pflash1-storage": ("/v,1.fd", None), "libvirt-pflash1-format": (None, False)}
        machine = dict(keyed(only(argv, "-machine")))
        assert (machine["pflash0"], machine["pflash1"]) == ("libvirt-pflash0-format", "libvirt-pflash1-format")
        assert "smm" not in machine

    def test_secure(self) -> None:
        """Variables that only system management mode may write."""
        argv = command(domain_xml(top="<features><acpi/><smm state='on'/></features>",
                                  os=FLASH.format(" secure='yes'")))
        assert dict(keyed(only(argv, "-machine")))["smm"] == "on"
        assert "driver=cfi.pflash01,property=secure,value=on" in options(argv, "-global")


class TestThreads:
    """Threads for disks."""

    def test_counted_and_described(self) -> None:
        """Those that were described, and as many more as were counted, with the numbers that are left."""
        argv = command(domain_xml(top="<iothreads>3</iothreads><iothreadids>"
                                  "<iothread id='7' thread_pool_min='2' thread_pool_max='8'/></iothreadids>"))
        threads = objects(argv, "-object")
        assert [name for name in threads if name.startswith("iothread")] == ["iothread7", "iothread1", "iothread2"]
        assert threads["iothread7"] == {"qom-type": "iothread", "thread-pool-min": 2, "thread-pool-max": 8}


@pytest.mark.parametrize(("top", "os", "words"), [
    ("<on_poweroff>restart</on_poweroff>", "", "/domain/on_poweroff 'restart'"),
    ("<on_reboot>preserve</on_reboot>", "", "'preserve' action for 'on_reboot'/'on_poweroff'"),
    ("<vcpu>100000</vcpu>", "", "greater than"),
])
def test_refused(top: str, os: str, words: str) -> None:
    """What we cannot do is named by its path."""
    with pytest.raises(LibvirtError) as error:
        command(domain_xml(top=top, os=os))
    assert error.value.code == c.VIR_ERR_CONFIG_UNSUPPORTED
    assert words in error.value.message
