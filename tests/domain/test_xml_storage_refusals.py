"""What libvirt refuses of storage and host devices although each value is well: what is missing, what contradicts.

Each document below is one that libvirt refuses; ours must be its own error number, domain and words, which are asked of
its test driver. Wrong values of each attribute are in the tests of the models.
"""

from __future__ import annotations

import pytest

from tests.support.oracle import answers
from tests.support.storage_devices import parse_devices, refusal, roomy_domain
from virtbus_domain.xml.storage_checks import check
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


def _disk(kind: str, body: str) -> str:
    return f"<disk type='{kind}'>{body}<target dev='vda'/></disk>"


# Sources, by the type of the disk.
SOURCES = {
    "network": [
        "<source/>", "<source name='x'/>", "<source protocol='rbd'/>", "<source protocol='none'/>",
        "<source protocol='rbd' name='x'/>", "<source protocol='gluster' name='v'><host name='h'/></source>",
        "<source protocol='nbd'><host/></source>", "<source protocol='nbd'><host transport='unix'/></source>",
        "<source protocol='nbd'><host name='h' socket='/s'/></source>",
        "<source protocol='nbd'><host name='h' port='70000'/></source>",
        "<source protocol='http' name='x'><host name='h'/><cookies><cookie name='a'/></cookies></source>",
        "<source protocol='http' name='x'><host name='h'/><cookies><cookie>b</cookie></cookies></source>",
        "<source protocol='http' name='x'><host name='h'/><cookies><cookie name='a b'>c</cookie></cookies></source>",
        "<source protocol='http' name='x'><host name='h'/><cookies><cookie name='a'>b;c</cookie></cookies></source>",
        "<source protocol='http' name='x'><host name='h'/><cookies><cookie name='a'>b</cookie>"
        "<cookie name='a'>c</cookie></cookies></source>",
        "<source protocol='rbd' name='a/b'><auth/></source>",
        "<source protocol='rbd' name='a/b'><auth username='u'/></source>",
        "<source protocol='rbd' name='a/b'><auth username='u'><secret type='ceph'/></auth></source>",
        "<source protocol='rbd' name='a/b'><auth username='u'><secret usage='x'/></auth></source>",
        "<source protocol='rbd' name='a/b'><auth username='u'><secret type='iscsi' usage='x'/></auth></source>",
        "<source protocol='iscsi' name='a'><host name='h'/><auth username='u'><secret type='ceph' usage='x'/></auth>"
        "</source>",
    ],
    "volume": [
        "<source pool='p'/>", "<source volume='p'/>",
    ],
    "nvme": [
        "<source namespace='1'><address bus='1'/></source>", "<source type='pci'><address bus='1'/></source>",
        "<source type='pci' namespace='1'/>", "<source type='pci' namespace='0'><address bus='1'/></source>",
        "<source type='unix' namespace='1'><address bus='1'/></source>",
    ],
    "vhostuser": [
        "<source path='/p'/>", "<source type='unix'/>", "<source type='pci' path='/p'/>",
        "<source type='unix' path='/p'><reconnect enabled='yes'/></source>",
    ],
    "block": [
        "<source dev='/d'><reservations/></source>",
        "<source dev='/d'><reservations managed='no'><source path='/p' mode='client'/></reservations></source>",
        "<source dev='/d'><reservations managed='no'><source type='unix' mode='client'/></reservations></source>",
        "<source dev='/d'><reservations managed='no'><source type='unix' path='/p'/></reservations></source>",
        "<source dev='/d'><reservations managed='no'><source type='unix' path='/p' mode='server'/></reservations>"
        "</source>",
        "<source dev='/d'><reservations managed='no'/></source>",
    ],
}
# What stands inside the source of a file, beside it, and below it in the chain.
INSIDE = [
    "<slices><slice type='storage' offset='1'/></slices>", "<slices><slice type='storage' size='1'/></slices>",
    "<encryption/>", "<encryption format='luks'><secret/></encryption>",
    "<encryption format='luks'><secret type='passphrase'/></encryption>",
    "<encryption format='luks'><secret type='passphrase' uuid='6695eb01-f6a4-8304-79aa-97f2502e193f' usage='u'/>"
    "</encryption>",
    "<encryption format='luks'><cipher size='1'/></encryption>",
    "<encryption format='luks'><cipher name='aes'/></encryption>",
    "<encryption format='luks'><cipher name='aes' size='256'/></encryption>",
    "<encryption format='luks'><ivgen name='x'/></encryption>",
    "<encryption format='luks'><cipher name='aes' size='256'/><ivgen/></encryption>",
    "<seclabel model='x' relabel='no'><label>l</label></seclabel>",
]
BESIDE = [
    "<boot/>", "<boot order='0'/>", "<address/>", "<address type='none'/>", "<address type='virtio-s390'/>",
    "<address type='usb' port='1.2.3.4.5'/>", "<address type='ccw' cssid='0xfe'/>",
    "<address type='ccw' cssid='0xff' ssid='0' devno='1'/>",
    "<address type='ccw' cssid='0xfe' ssid='4' devno='1'/>", "<address type='dimm'/>",
    "<vendor>123456789</vendor>", "<product>12345678901234567</product>", "<vendor>é</vendor>", "<wwn>5</wwn>",
    "<backingStore type='file'/>", "<backingStore type='file'><format type='raw'/></backingStore>",
    "<backingStore type='foo'><format type='raw'/><source file='/b'/></backingStore>",
    "<backingStore type='network'><format type='raw'/><source protocol='rbd'/></backingStore>",
]
DEVICES = [
    "<disk type='network'><source protocol='rbd' name='a/b'><auth username='u'><secret type='ceph' usage='x'/></auth>"
    "</source><target dev='vda'/><auth username='u'><secret type='ceph' usage='x'/></auth></disk>",
    "<disk type='file'><source file='/a'><encryption format='luks'/></source><target dev='vda'/>"
    "<encryption format='luks'/></disk>",
    "<controller type='ide' model='virtio-scsi'/>", "<controller type='sata' model='ich6'/>",
    "<controller type='pci' index='1' model='pcie-root-port'><target busNr='255'/></controller>",
    "<controller type='pci' index='1' model='pcie-root-port'><target chassisNr='0'/></controller>",
    "<controller type='pci' index='1' model='pcie-root-port'><target chassis='-1'/></controller>",
    "<controller type='usb' index='-1'/>", "<filesystem><target dir='t'/></filesystem>",
    "<filesystem><source dir='/d'/></filesystem>",
    "<filesystem type='block'><source dir='/d'/><target dir='t'/></filesystem>",
    "<filesystem type='ram'><source/><target dir='t'/></filesystem>",
    "<filesystem fmode='1777'><source dir='/d'/><target dir='t'/></filesystem>",
    "<filesystem dmode='9'><source dir='/d'/><target dir='t'/></filesystem>",
    "<hostdev mode='subsystem' type='pci'/>", "<hostdev mode='subsystem'><source/></hostdev>",
    "<hostdev mode='subsystem' type='net'><source/></hostdev>",
    "<hostdev mode='capabilities' type='pci'><source/></hostdev>",
    "<hostdev type='usb'><source><vendor id='1'/></source></hostdev>",
    "<hostdev type='usb'><source><product id='1'/></source></hostdev>",
    "<hostdev type='usb'><source><vendor/><product id='1'/></source></hostdev>",
    "<hostdev type='usb'><source><vendor id='0'/><product id='1'/></source></hostdev>",
    "<hostdev type='usb'><source><address bus='1'/></source></hostdev>",
    "<hostdev type='usb'><source><address device='1'/></source></hostdev>",
    "<hostdev type='scsi'><source><adapter name='a'/></source></hostdev>",
    "<hostdev type='scsi'><source><address bus='1' target='1' unit='1'/></source></hostdev>",
    "<hostdev type='scsi'><source><adapter/><address bus='1' target='1' unit='1'/></source></hostdev>",
    "<hostdev type='scsi'><source><adapter name='a'/><address bus='1' unit='1'/></source></hostdev>",
    "<hostdev type='scsi'><source protocol='iscsi'><host name='h'/></source></hostdev>",
    "<hostdev type='scsi'><source protocol='iscsi' name='x'/></hostdev>",
    "<hostdev type='scsi'><source protocol='iscsi' name='x'><host name='h'/><host name='i'/></source></hostdev>",
    "<hostdev type='scsi_host'><source wwpn='naa.5123456789abcde0'/></hostdev>",
    "<hostdev type='scsi_host'><source protocol='vhost'/></hostdev>",
    "<hostdev type='scsi_host'><source protocol='iscsi' wwpn='naa.5123456789abcde0'/></hostdev>",
    "<hostdev type='mdev'><source><address uuid='6695eb01-f6a4-8304-79aa-97f2502e193f'/></source></hostdev>",
    "<hostdev type='mdev' model='vfio-pci'><source/></hostdev>",
    "<hostdev type='mdev' model='vfio-pci'><source><address/></source></hostdev>",
    "<hostdev mode='capabilities' type='storage'><source/></hostdev>",
    "<hostdev mode='capabilities' type='misc'><source/></hostdev>",
    "<hostdev mode='capabilities' type='net'><source/></hostdev>",
    "<hostdev type='pci' sgio='filtered'><source/></hostdev>",
    "<hostdev type='pci' rawio='no'><source/></hostdev>",
    "<hostdev type='pci'><source/><teaming type='transient'/></hostdev>", "<hub/>", "<redirdev bus='usb'/>",
    "<redirfilter><usbdev/></redirfilter>", "<redirfilter><usbdev class='256' allow='yes'/></redirfilter>",
    "<redirfilter><usbdev version='2' allow='yes'/></redirfilter>", "<smartcard/>",
    "<smartcard mode='host-certificates'><certificate>a</certificate></smartcard>",
    "<smartcard mode='host-certificates'><certificate>a</certificate><certificate>b</certificate>"
    "<certificate>c</certificate><database>d</database></smartcard>",
    "<smartcard mode='passthrough'/>", "<lease><lockspace>l</lockspace></lease>",
    "<lease><lockspace>l</lockspace><key>k</key></lease>", "<memory/>",
    "<memory model='dimm'><target><node>0</node></target></memory>",
    "<hostdev type='pci'><source/><teaming persistent='a'/></hostdev>",
    "<memory model='nvdimm'><uuid>x</uuid><source><path>/p</path></source><target><size>1</size></target></memory>",
    "<memory model='dimm'><source><nodemask>x</nodemask></source><target><size>1</size></target></memory>",
    "<memory model='dimm'/>", "<iommu/>", "<memballoon/>", "<vsock><cid address='0'/></vsock>", "<shmem/>",
    "<watchdog/>", "<rng/>", "<rng model='virtio'/>", "<rng model='virtio'><backend/></rng>",
    "<rng model='virtio'><backend model='x'/></rng>", "<rng model='virtio'><backend model='egd'/></rng>", "<tpm/>",
    "<tpm><backend/></tpm>", "<tpm><backend type='external'/></tpm>",
    "<tpm><backend type='external'><source type='tcp' mode='connect'/></backend></tpm>",
    "<tpm><backend type='external'><source type='unix' mode='bind' path='/p'/></backend></tpm>",
    "<tpm><backend type='emulator'><active_pcr_banks><md5/></active_pcr_banks></backend></tpm>",
]

REFUSED = [
    *(_disk(kind, source) for kind, sources in SOURCES.items() for source in sources),
    *(_disk("file", f"<source file='/a'>{inside}</source>") for inside in INSIDE),
    *(_disk("file", f"<source file='/a'/>{beside}") for beside in BESIDE),
    *DEVICES,
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refusal_is_libvirts(number: int) -> None:
    """Error number, domain and words are libvirt's."""
    theirs = answers("domain", [roomy_domain(devices) for devices in REFUSED], c.VIR_DOMAIN_XML_INACTIVE)[number]
    assert not isinstance(theirs, str), REFUSED[number]
    assert refusal(REFUSED[number]) == theirs, REFUSED[number]


def test_refusal_of_a_model_has_the_path() -> None:
    """A value or an attribute that is wrong is named with the place of its element in the document."""
    with pytest.raises(LibvirtError) as refused:
        parse_devices("<disk/><disk><source><encryption format='luks'><secret/></encryption></source></disk>")
    assert refused.value.message.endswith("(at /devices/disk[2]/source/encryption/secret)")


def test_devices_that_are_whole_pass() -> None:
    """Checks have nothing against devices that have what their types need."""
    devices = parse_devices(
        "<disk type='network'><source protocol='rbd' name='a/b'><auth username='u'><secret type='ceph' usage='q'/>"
        "</auth>"
        "</source></disk><disk type='nvme'><source type='pci' namespace='1'><address bus='1'/></source></disk>"
        "<disk><backingStore/></disk><controller type='usb' model='qemu-xhci'/><smartcard mode='host'/>"
        "<hostdev type='pci'><source/></hostdev><tpm><backend type='emulator'/></tpm>")
    for device in devices.all():
        check(device)
