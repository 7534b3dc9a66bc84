"""Documents that set what the others leave out: together, every attribute that a start could look at.

Each is a definition that QEMU of this node would take, or a device that is refused; values are chosen to differ from
what would be there without them.
"""

from __future__ import annotations

from tests.support.command_line import domain_xml

_VIRTIO = "<driver iommu='on' ats='on' packed='on' page_per_vq='on'/>"
_ACPI = "<features><acpi/></features>"
_UUID = "6c5a17aa-bccb-4c32-824d-b1e4536d8726"
_CODE = "<loader readonly='yes' type='pflash'>/l</loader>"
_SHARED = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
_CELL = "<cpu><numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu>"
_MODULES = f"<maxMemory slots='4' unit='GiB'>4</maxMemory><vcpu>1</vcpu>{_CELL}"
_TELNET = ("type='tcp'><source mode='bind' host='h' service='1'/><protocol type='telnet'/>"
           "<log file='/l' append='on'/>")


def _disk(inner: str, target: str = "vda", kind: str = "file", driver: str = "qemu") -> str:
    return (f"<disk type='{kind}' device='disk'><driver name='{driver}' type='raw'/>{inner}<target dev='{target}'/>"
            "</disk>")


def _audio(number: int, kind: str, attributes: str, inner: str = "") -> str:
    return f"<audio id='{number}' type='{kind}' {attributes}>{inner}</audio>"


def _module(model: str, inner: str) -> str:
    return domain_xml(f"<memory model='{model}'{inner}</memory>", top=_MODULES)


def _limits(direction: str, unit: str, target: str) -> str:
    name = f"{direction}_{unit}_sec"
    return _disk(f"<source file='/{name}'/><iotune><{name}>9</{name}><{name}_max>19</{name}_max>"
                 f"<{name}_max_length>2</{name}_max_length></iotune>", target)


_LIMITS = "".join(_limits(direction, unit, f"vd{letter}") for letter, (direction, unit) in zip("abcdef", (
    (direction, unit) for direction in ("total", "read", "write") for unit in ("bytes", "iops")), strict=True))

DOCUMENTS = (
    # sound
    domain_xml(
        _audio(1, "oss", "tryMMap='yes' exclusive='yes' dspPolicy='3'",
               "<input dev='/dev/dsp0' bufferCount='3' tryPoll='yes'/><output/>")
        + _audio(2, "jack", "", "<input serverName='s' clientName='c' connectPorts='p' exactName='yes'/>")
        + _audio(3, "pulseaudio", "serverName='x'", "<input name='n' streamName='s' latency='100'/>")
        + _audio(4, "sdl", "driver='alsa'", "<output bufferCount='2'/>")
        + "<graphics type='vnc' port='5900' autoport='no' passwd='x' connected='fail'><audio id='2'/></graphics>"
          "<graphics type='spice' port='5901' tlsPort='5902' autoport='no'><gl enable='yes'/></graphics>"),
    # disks
    domain_xml(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/t'/>"
        "<backingStore type='file'><format type='qcow2'><metadata_cache><max_size unit='B'>65536</max_size>"
        "</metadata_cache></format><source file='/b'/></backingStore><target dev='vda'/></disk>"
        + _disk("<source protocol='nbd' name='x' tls='yes' tlsHostname='o'><host name='h' port='1'/></source>", "vdb",
                "network")
        + _disk("<source protocol='rbd' name='p/i'><host name='h'/><encryption format='luks2' engine='librbd'>"
                f"<secret type='passphrase' uuid='{_UUID}'/></encryption></source>", "vdc", "network")
        + _disk("<source file='/x'/><acpi index='3'/>", "vdd")
        + "<disk type='dir' device='floppy'><driver name='qemu' type='fat'/><source dir='/d'/>"
          "<target dev='fda' bus='fdc'/><readonly/></disk>"),
    domain_xml(_LIMITS),
    domain_xml(_disk("<source type='pci' managed='yes' namespace='1'>"
                     "<address domain='0' bus='1' slot='0' function='0'/></source>", "vdb", "nvme")),
    # character devices and what is like them
    domain_xml(
        "<controller type='ccid' index='0'/><controller type='ccid' index='1'/>"
        "<controller type='virtio-serial' index='3'/>"
        f"<smartcard mode='passthrough' {_TELNET}<address type='ccid' controller='1' slot='0'/></smartcard>"
        f"<redirdev bus='usb' {_TELNET}</redirdev><rng model='virtio'><backend model='egd' {_TELNET}</backend></rng>"
        "<serial type='tcp'><source mode='bind' host='h' service='1' tls='yes'/></serial>"
        "<serial type='pty'><target type='pci-serial'/><acpi index='4'/></serial>"
        "<serial type='pty'><target type='isa-serial'/><address type='isa' iobase='0x3e8' irq='0x5'/></serial>"
        "<channel type='pty'><target type='virtio' name='x'/>"
        "<address type='virtio-serial' controller='3' bus='0' port='2'/></channel>"),
    # controllers, and small devices on them
    domain_xml(
        "<controller type='pci' model='pcie-root'><pcihole64 unit='GiB'>1</pcihole64></controller>"
        "<controller type='pci' index='1' model='pcie-root-port'><model name='ioh3420'/></controller>"
        f"<controller type='scsi' model='virtio-scsi'>{_VIRTIO}<acpi index='7'/></controller>"
        "<controller type='pci' index='20' model='pcie-expander-bus'><target busNr='254'><node>0</node></target>"
        "</controller><controller type='usb' index='1' model='qemu-xhci'/>"
        "<hub type='usb'><address type='usb' bus='1' port='1'/></hub>", top=f"<vcpu>1</vcpu>{_CELL}"),
    domain_xml(
        f"<crypto model='virtio' type='qemu'><backend model='builtin' queues='2'/>{_VIRTIO}</crypto>"
        f"<input type='mouse' bus='virtio'>{_VIRTIO}<acpi index='2'/></input>"
        "<input type='passthrough' bus='virtio' model='virtio-non-transitional'><source evdev='/dev/e'/></input>"
        f"<rng model='virtio'><backend model='random'>/r</backend>{_VIRTIO}<acpi index='3'/></rng>"
        f"<vsock model='virtio-non-transitional'><cid auto='no' address='3'/>{_VIRTIO}<acpi index='4'/></vsock>"
        "<memballoon model='virtio'><acpi index='5'/></memballoon>"
        "<watchdog model='i6300esb'><acpi index='6'/></watchdog><sound model='ich9'><acpi index='7'/></sound>"
        f"<video>{_VIRTIO}<model type='virtio' blob='on' heads='1'/><acpi index='8'/></video>"
        "<interface type='user'><mac address='52:54:00:01:02:03'/><model type='virtio'/><acpi index='9'/></interface>"),
    domain_xml("<video><driver name='vhostuser'/><model type='virtio' heads='1'/></video>", top=_SHARED),
    domain_xml("<iommu model='virtio'/>", top=_ACPI),
    domain_xml(
        "<shmem name='a' role='master'><model type='ivshmem-plain'/><size unit='M'>8</size><acpi index='2'/></shmem>"
        "<shmem name='b' role='peer'><model type='ivshmem-doorbell'/><server path='/s'/>"
        "<msi vectors='2' ioeventfd='on'/></shmem>"),
    domain_xml("<filesystem type='mount'><driver type='virtiofs' iommu='on' ats='on' packed='on' page_per_vq='on'/>"
               "<source socket='/s'/><target dir='x'/><boot order='1'/><acpi index='3'/></filesystem>", top=_SHARED),
    # devices of the host
    domain_xml(
        "<hostdev mode='subsystem' type='pci'><source><address domain='1' bus='2' slot='3' function='4'/></source>"
        "<rom enabled='no'/><acpi index='2'/></hostdev>"
        "<hostdev mode='subsystem' type='mdev' model='vfio-pci' display='on' ramfb='on'><source>"
        f"<address uuid='{_UUID}'/></source></hostdev>"
        "<hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source></hostdev>"
        "<graphics type='vnc'/><interface type='user'><mac address='52:54:00:01:02:03'/><model type='virtio'/>"
        "<teaming type='persistent'/><alias name='ua-t'/></interface><interface type='hostdev'>"
        "<mac address='52:54:00:01:02:03'/><source>"
        "<address type='pci' domain='0' bus='1' slot='0' function='0'/></source>"
        "<teaming type='transient' persistent='ua-t'/></interface>"),
    domain_xml("<interface type='hostdev'><driver name='kvm'/><source>"
               "<address type='pci' domain='0' bus='1' slot='0' function='0'/></source></interface>"),
    # processors and memory
    domain_xml(top=(
        "<vcpu current='2'>3</vcpu><vcpus><vcpu id='0' enabled='yes' hotpluggable='no' order='1'/>"
        "<vcpu id='1' enabled='yes' hotpluggable='yes' order='3'/>"
        "<vcpu id='2' enabled='yes' hotpluggable='yes' order='2'/></vcpus>"
        "<iothreadids><iothread id='1'><poll max='7' grow='8' shrink='9'/></iothread></iothreadids>"
        "<defaultiothread thread_pool_min='1' thread_pool_max='2'/><cputune><emulatorpin cpuset='0'/></cputune>"
        "<features><tcg><tb-cache unit='MiB'>64</tb-cache></tcg></features>")),
    domain_xml(kind="kvm", top=(
        "<features><acpi/><kvm><pv-ipi state='off'/><dirty-ring state='on' size='4096'/></kvm><hyperv mode='custom'>"
        "<relaxed state='on'/><vapic state='on'/><vpindex state='on'/><synic state='on'/><reset state='on'/>"
        "<reenlightenment state='on'/><tlbflush state='on'><direct state='on'/><extended state='on'/></tlbflush>"
        "<evmcs state='on'/><emsr_bitmap state='on'/><xmm_input state='on'/></hyperv></features>"
        "<cpu mode='host-passthrough' migratable='off'><cache mode='passthrough'/>"
        "<maxphysaddr mode='passthrough' limit='40'/></cpu>"
        "<clock offset='utc'><timer name='tsc' frequency='1000000'/></clock>")),
    domain_xml(kind="kvm", top=(
        "<features><hyperv mode='passthrough'/></features><cpu mode='custom' match='exact'>"
        "<model fallback='allow' vendor_id='123456789012'>qemu64</model><cache level='3' mode='emulate'/></cpu>")),
    domain_xml(top=(
        "<vcpu>2</vcpu><memoryBacking><hugepages><page size='2' unit='MiB' nodeset='1'/></hugepages></memoryBacking>"
        "<numatune><memory mode='strict' nodeset='0'/><memnode cellid='1' mode='preferred' nodeset='1'/></numatune>"
        "<cpu><numa><cell id='0' cpus='0' memory='32' unit='MiB'><distances><sibling id='0' value='10'/>"
        "<sibling id='1' value='31'/></distances></cell><cell id='1' cpus='1' memory='32' unit='MiB'><distances>"
        "<sibling id='0' value='21'/><sibling id='1' value='10'/></distances></cell></numa></cpu>")),
    domain_xml(top="<memoryBacking><source type='file'/><discard/></memoryBacking>"),
    domain_xml(top="<clock offset='utc'><timer name='rtc' tickpolicy='catchup'><catchup limit='1'/></timer></clock>"),
    domain_xml(top="<on_poweroff>restart</on_poweroff>"),
    domain_xml(top="<memory unit='MiB' dumpCore='on'>64</memory>").replace("<memory unit='MiB'>64</memory>", ""),
    domain_xml("<memory model='dimm' access='private' discard='yes'><source><nodemask>1</nodemask></source>"
               "<target><size unit='MiB'>128</size><node>0</node></target></memory>",
               top=f"<numatune><memory mode='strict' nodeset='0'/></numatune>{_MODULES}"),
    _module("dimm", "><source><pagesize unit='KiB'>2048</pagesize></source><target><size unit='MiB'>128</size>"
                    "<node>0</node></target>"),
    _module("nvdimm", f"><uuid>{_UUID}</uuid><source><path>/p</path><alignsize unit='KiB'>2048</alignsize><pmem/>"
                      "</source><target><size unit='MiB'>128</size><node>0</node>"
                      "<label><size unit='KiB'>128</size></label><readonly/></target>"),
    _module("virtio-mem", "><target><size unit='MiB'>128</size><node>0</node><block unit='MiB'>2</block>"
                          "<requested unit='MiB'>4</requested></target><acpi index='6'/>"),
    # firmware
    domain_xml(os=("<loader readonly='yes' type='pflash' secure='yes' format='qcow2'>/l</loader>"
                   "<nvram format='qcow2'>/n</nvram><dtb>/d</dtb>"),
               top="<features><acpi/><smm state='on'/></features>"),
    domain_xml(os=_CODE, top="<features><acpi/><smm state='off'/></features>"),
    domain_xml(os=f"{_CODE}<nvram type='block'><source dev='/d'/></nvram>", top=_ACPI),
    domain_xml(os="<smbios mode='host'/>"),
    # QEMU's own
    domain_xml(attributes=" xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'").replace(
        "</domain>", "<qemu:deprecation behavior='reject'/></domain>"),
)
