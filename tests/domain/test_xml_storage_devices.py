"""Disks, controllers, shared folders, host devices and the small ones: every attribute, held to libvirt's answers.

Each fragment below is defined with libvirt's test driver. What it then writes must come back from our models as it
stands; what the fragment said must be in it; and together the fragments use every line that the models declare, while
libvirt's schema knows no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.fragments import devices_of, lacking, said, wrong_values
from tests.support.oracle import answers
from tests.support.schema_paths import declared_paths, schema_paths
from tests.support.schemas import require_schemas
from tests.support.storage_devices import DEVICES, parse_devices, refusal, roomy_domain
from virtbus_domain.xml import chardev, network_port
from virtbus_domain.xml.address import VirtioS390Address
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.crypto import Crypto
from virtbus_domain.xml.disk import Disk, Mirror
from virtbus_domain.xml.domain import Devices
from virtbus_domain.xml.filesystem import Filesystem
from virtbus_domain.xml.hostdev import Hostdev, HostdevSource
from virtbus_domain.xml.hub import Hub
from virtbus_domain.xml.iommu import Iommu
from virtbus_domain.xml.lease import Lease
from virtbus_domain.xml.memballoon import Memballoon
from virtbus_domain.xml.memory_device import MemoryDevice
from virtbus_domain.xml.nvram import NvramDevice
from virtbus_domain.xml.panic import Panic
from virtbus_domain.xml.redirdev import Redirdev, RedirFilter
from virtbus_domain.xml.rng import Rng
from virtbus_domain.xml.shmem import Shmem
from virtbus_domain.xml.smartcard import Smartcard
from virtbus_domain.xml.storage_kinds import (
    drop_from_controller,
    drop_from_disk,
    drop_from_filesystem,
    drop_from_hostdev,
    drop_from_memory,
    drop_from_redirdev,
    drop_from_rng,
    drop_from_smartcard,
    drop_from_tpm,
    settle_shmem,
)
from virtbus_domain.xml.storage_source import DiskSource, Encryption
from virtbus_domain.xml.tpm import Tpm
from virtbus_domain.xml.vsock import Vsock
from virtbus_domain.xml.watchdog import Watchdog
from virtbus_shared import constants as c
from virtbus_shared.service.xml_lines import Element, Output, content, declared, lines_of

MODELS: dict[str, type[Element]] = {
    "disk": Disk, "controller": Controller, "lease": Lease, "filesystem": Filesystem, "smartcard": Smartcard,
    "tpm": Tpm, "hostdev": Hostdev, "redirdev": Redirdev, "redirfilter": RedirFilter, "hub": Hub,
    "watchdog": Watchdog, "memballoon": Memballoon, "rng": Rng, "nvram": NvramDevice, "panic": Panic, "shmem": Shmem,
    "memory": MemoryDevice, "iommu": Iommu, "vsock": Vsock, "crypto": Crypto,
}

def _format(devices: Devices, output: Output = Output.SECURE) -> str:
    return DEVICES.format(devices, output)


def _drop_foreign(devices: Devices) -> None:
    """What the types of the devices leave without a meaning."""
    for disk in devices.disks:
        drop_from_disk(disk)
    for controller in devices.controllers:
        drop_from_controller(controller)
    for filesystem in devices.filesystems:
        drop_from_filesystem(filesystem)
    for smartcard in devices.smartcards:
        drop_from_smartcard(smartcard)
    for tpm in devices.tpms:
        drop_from_tpm(tpm)
    for hostdev in devices.hostdevs:
        drop_from_hostdev(hostdev)
    for redirdev in devices.redirdevs:
        drop_from_redirdev(redirdev)
    for rng in devices.rngs:
        drop_from_rng(rng)
    for shmem in devices.shmems:
        settle_shmem(shmem)
    for memory in devices.memories:
        drop_from_memory(memory)


UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"
VDA, SDA = "<target dev='vda' bus='virtio'/>", "<target dev='sda' bus='scsi'/>"
VIRTIO = "iommu='on' ats='on' packed='off' page_per_vq='on'"
LUKS = f"<encryption format='luks' engine='qemu'><secret type='passphrase' uuid='{UUID}'/></encryption>"
EVERYTHING = """
    file='/f' dev='/d' dir='/r' pool='p' volume='v' mode='host' path='/s' managed='yes' namespace='1' name='n/m'
    query='q' tls='no' tlsHostname='h' index='3'><host name='h' port='9'/><snapshot name='s'/><config file='/c'/>
    <initiator><iqn name='i'/></initiator><ssl verify='no'/><cookies><cookie name='a'>b</cookie></cookies>
    <readahead size='1'/><timeout seconds='2'/><identity user='u' group='g'/><reconnect enabled='yes' timeout='4'/>
    <address domain='0' bus='1' slot='2' function='3'/><slices><slice type='storage' offset='0' size='4'/></slices>
    <seclabel model='dac' relabel='no'/>"""
AUTH = f"<auth username='u'><secret type='ceph' uuid='{UUID}'/></auth>"

FRAGMENTS = {
    # disks
    "disk": f"""
        <disk type='file' device='disk' model='virtio' snapshot='external'>
          <driver name='qemu' type='qcow2' cache='none' error_policy='stop' rerror_policy='report' io='native'
                  ioeventfd='on' event_idx='off' copy_on_read='off' discard='unmap' iothread='2' queues='4'
                  queue_size='256' detect_zeroes='unmap' {VIRTIO}>
            <metadata_cache><max_size unit='KiB'>1024</max_size></metadata_cache></driver>
          <source file='/a' startupPolicy='optional' index='7'>
            <slices><slice type='storage' offset='1' size='2'/></slices>
            <seclabel model='dac' relabel='no'/><seclabel model='selinux'><label>x</label></seclabel>{LUKS}</source>
          <backingStore type='file' index='3'>
            <format type='qcow2'><metadata_cache><max_size unit='MiB'>5</max_size></metadata_cache></format>
            <source file='/b'/><backingStore type='block'><format type='raw'/><source dev='/c'/><backingStore/>
            </backingStore></backingStore>
          <backenddomain name='bd'/><geometry cyls='1' heads='2' secs='3' trans='lba'/>
          <blockio logical_block_size='512' physical_block_size='4096'/>{VDA}
          <iotune><total_bytes_sec>1</total_bytes_sec><total_iops_sec>2</total_iops_sec>
            <total_bytes_sec_max>3</total_bytes_sec_max><total_iops_sec_max>4</total_iops_sec_max>
            <size_iops_sec>5</size_iops_sec><group_name>g</group_name>
            <total_bytes_sec_max_length>6</total_bytes_sec_max_length>
            <total_iops_sec_max_length>7</total_iops_sec_max_length></iotune>
          <shareable/><serial>s x</serial><boot order='1' loadparm='ab'/><alias name='ua-d'/><acpi index='3'/>
          <address type='pci' bus='0' slot='10' function='1' multifunction='on'/>
        </disk>""",
    "disk, scsi": """
        <disk type='block'><driver name='qemu' type='aio' cache='default'/><source dev='/d'/>
          <target dev='sda' bus='scsi' rotation_rate='7200'/>
          <iotune><read_bytes_sec>1</read_bytes_sec><write_bytes_sec>2</write_bytes_sec>
            <read_iops_sec>3</read_iops_sec><write_iops_sec>4</write_iops_sec><read_bytes_sec_max>5</read_bytes_sec_max>
            <write_bytes_sec_max>6</write_bytes_sec_max><read_iops_sec_max>7</read_iops_sec_max>
            <write_iops_sec_max>8</write_iops_sec_max><read_bytes_sec_max_length>9</read_bytes_sec_max_length>
            <write_bytes_sec_max_length>10</write_bytes_sec_max_length>
            <read_iops_sec_max_length>11</read_iops_sec_max_length>
            <write_iops_sec_max_length>12</write_iops_sec_max_length></iotune>
          <transient shareBacking='yes'/><wwn>5000C50015EA71AA</wwn><vendor>v w</vendor><product>p q</product>
          <address type='drive' controller='0' bus='0' target='0' unit='3'/></disk>""",
    "disk, nothing said": """
        <disk><driver><metadata_cache><max_size>0</max_size></metadata_cache></driver>
          <source file='/a'><slices/><seclabel model='x'/></source><backingStore/><geometry cyls='3'/>
          <blockio logical_block_size='0'/><target dev='vda' tray='closed' rotation_rate='0'/>
          <iotune><total_bytes_sec>0</total_bytes_sec></iotune><transient shareBacking='no'/><serial/><wwn/></disk>
        <disk device='cdrom'><source file='' startupPolicy='requisite'/><target dev='sdb' bus='sata' tray='open'/>
          <readonly/></disk>
        <disk device='cdrom' type='block'><source/><target dev='sdc' bus='sata'/><readonly/></disk>""",
    "disk, no source": "<disk device='floppy' type='dir'><target dev='fda'/></disk>",
    "disk, removable": "<disk type='file' device='cdrom'><source file='/a'/><target dev='sda' bus='usb' tray='open' "
                       "removable='on'/><readonly/></disk><disk device='floppy'><target dev='fda'/></disk>",
    "disk, lun": """
        <disk type='block' device='lun' rawio='yes' sgio='filtered'>
          <source dev='/dev/x'><reservations managed='no'><source type='unix' path='/p' mode='client'/></reservations>
          </source><target dev='sda' bus='scsi'/></disk>
        <disk type='block' device='lun' rawio='no'><source dev='/dev/y'><reservations managed='yes'/></source>
          <target dev='sdb' bus='scsi'/></disk>""",
    **{f"disk, {kind}": f"<disk type='{kind}' device='cdrom'><source startupPolicy='optional' {EVERYTHING}{LUKS}"
                        "</source><target dev='sda' bus='sata'/><readonly/></disk>"
       for kind in ("file", "block", "dir", "volume")},
    "disk, volume, direct": f"<disk type='volume'><source pool='p' volume='v' mode='direct'/>{VDA}</disk>",
    "disk, nvme": f"<disk type='nvme'><source type='pci' {EVERYTHING}{AUTH}</source>{VDA}</disk>",
    "disk, vhostuser": f"<disk type='vhostuser'><source type='unix' {EVERYTHING}</source>{VDA}</disk>",
    **{f"disk, {protocol}": f"<disk type='network'><source protocol='{protocol}' {EVERYTHING}</source>{VDA}</disk>"
       for protocol in ("nbd", "gluster", "sheepdog", "tftp", "vxhs", "nfs")},
    **{f"disk, {protocol}": f"<disk type='network'><source protocol='{protocol}' {EVERYTHING}{AUTH}{LUKS}</source>"
                            f"{VDA}</disk>" for protocol in ("rbd", "http", "https", "ftp", "ftps", "ssh")},
    "disk, iscsi": f"<disk type='network'><source protocol='iscsi' {EVERYTHING}<auth username='u'><secret "
                   f"type='iscsi' usage='z'/></auth></source>{VDA}</disk>",
    "disk, hosts": f"<disk type='network'><source protocol='gluster' name='v/x'><host name='h' transport='tcp' "
                   "port='0'/><host name='i' transport='rdma' port='08'/><host transport='unix' socket='/s' name='z'/>"
                   f"</source>{VDA}</disk>",
    "disk, old places": f"<disk type='network'><auth username='u'><secret type='ceph' usage='q'/></auth>"
                        f"<source protocol='rbd' name='p/i'/>{VDA}<encryption format='luks2' engine='librbd'><secret "
                        "type='passphrase' usage='a'/><secret type='passphrase' usage='b'/></encryption></disk>",
    "disk, bare encryption": f"<disk type='file'><source file='/a'><encryption format='qcow'/></source>{VDA}</disk>",
    "disk, chain": f"""
        <disk type='file'><source file='/a'/><backingStore type='network'><format type='raw'/>
          <source protocol='nbd' name='e'><host name='h' port='4'/><slices><slice type='storage' offset='0' size='9'/>
          </slices></source><backingStore type='volume'><format type='vmdk'/><source pool='p' volume='v' mode='host'
          startupPolicy='optional'/><backingStore type='nvme'><format type='raw'/><source type='pci' managed='no'
          namespace='2'><address bus='1'/></source></backingStore></backingStore></backingStore>{VDA}</disk>
        <disk type='file'><source file='/b'/><backingStore><format type='raw'/><source file='/c'/></backingStore>
          <target dev='vdb'/></disk>""",
    **{f"disk, {name}": f"<disk><source file='/a'/>{VDA}<address {address}</disk>" for name, address in {
        "whole pci address": "type='pci' domain='1' bus='0x2' slot='037' function='7' multifunction='off'><zpci "
                             "uid='3' fid='0x9'/></address>",
        "virtio-serial address": "type='virtio-serial' controller='1' bus='2' port='5'/>",
        "ccid address": "type='ccid' controller='2' slot='1'/>", "usb address": "type='usb' bus='1' port='1.+02.3'/>",
        "usb address, no port": "type='usb' bus='1' port='0'/>", "vio address": "type='spapr-vio' reg='3000'/>",
        "ccw address": "type='ccw' cssid='0xfe' ssid='0' devno='10'/>", "mmio address": "type='virtio-mmio'/>",
        "isa address": "type='isa' iobase='0x505' irq='f'/>", "dimm address": "type='dimm' slot='1' base='100000'/>",
        "dimm address, anywhere": "type='dimm' slot='2'/>"}.items()},
    # controllers
    "scsi": f"""
        <controller type='scsi' index='0' model='virtio-scsi' ports='3'><driver queues='4' cmd_per_lun='5'
          max_sectors='6' ioeventfd='on' iothread='2' {VIRTIO}/><model name='ioh3420'/><target chassis='3'/>
          <alias name='ua-s'/><acpi index='3'/><address type='pci' slot='4'/></controller>""",
    "usb": "<controller type='usb' index='0' model='ich9-ehci1'/><controller type='usb' index='0' model='ich9-uhci1' "
           "ports='8' vectors='3'><master startport='2'/><alias name='ua-q'/></controller>",
    "pci": """
        <controller type='pci' index='0' model='pcie-root'><target index='0'/><pcihole64 unit='MiB'>1</pcihole64>
          </controller><controller type='pci' index='1' model='pcie-root-port'><model name='ioh3420'/>
          <target chassisNr='1' chassis='0x2' port='010' busNr='250' hotplug='off' index='4'><node>0</node></target>
          <pcihole64>5</pcihole64></controller><controller type='pci' index='2' model='pci-bridge'><model name='none'/>
          </controller>""",
    "virtio-serial": "<controller type='virtio-serial' index='1' ports='4' vectors='5' maxGrantFrames='3'/>",
    "xenbus": "<controller type='xenbus' index='0' maxGrantFrames='5' maxEventChannels='0' ports='1'/>",
    "controller, nothing said": "<controller type='sata' index='0'><driver queues='0' iothread='0'/><target/><model/>"
                                "<pcihole64>4</pcihole64><master/></controller>",
    # shared folders
    "filesystem": f"""
        <filesystem type='mount' accessmode='mapped' model='virtio' multidevs='remap' fmode='0644' dmode='755'>
          <driver type='path' format='raw' wrpolicy='immediate' queue='3' {VIRTIO}/>
          <binary path='/v' xattr='on'><cache mode='always'/></binary><source dir='/d'/><target dir='t'/><readonly/>
          <space_hard_limit unit='MiB'>2</space_hard_limit><space_soft_limit unit='KiB'>1</space_soft_limit>
          <alias name='ua-f'/><acpi index='3'/><address type='pci' slot='6'/></filesystem>""",
    "virtiofs": f"""
        <filesystem type='mount' accessmode='passthrough'><driver type='virtiofs' queue='5' {VIRTIO}/>
          <binary path='/v' xattr='on'><cache mode='always'/><sandbox mode='chroot'/><lock posix='on' flock='off'/>
          <thread_pool size='16'/></binary><source dir='/d'/><target dir='t'/><boot order='3' loadparm='5'/>
          </filesystem>""",
    "virtiofs, served": "<filesystem><driver type='virtiofs'/><binary path=''><thread_pool size='-1'/></binary>"
                        "<source socket='/s' dir='/d'/><target dir='t'/></filesystem>",
    **{f"filesystem, {kind}": f"<filesystem type='{kind}' multidevs='default' fmode='0'><driver format='raw'/><source "
                              "dir='/d' file='/f' dev='/v' name='n' pool='p' volume='q' usage='10' units='MB'/>"
                              "<target dir='t'/><space_hard_limit>0</space_hard_limit></filesystem>"
       for kind in ("mount", "bind", "file", "block", "template", "ram", "volume")},
    # host devices
    "hostdev, pci": """
        <hostdev mode='subsystem' type='pci' managed='yes'><driver name='vfio'/>
          <source writeFiltering='no'><address domain='0' bus='6' slot='2' function='1' multifunction='on'/></source>
          <teaming type='transient' persistent='ua-x'/><readonly/><shareable/><boot order='1' loadparm='2'/>
          <alias name='ua-h'/><rom enabled='yes' bar='off' file='/r'/><acpi index='3'/>
          <address type='pci' slot='9'/></hostdev>""",
    "hostdev, unassigned": "<hostdev type='pci' managed='?' display='on'><source><address bus='6'/></source>"
                           "<ip address='1.2.3.4'/><address type='unassigned'/></hostdev>",
    "hostdev, usb": """
        <hostdev mode='subsystem' type='usb' managed='no'>
          <source startupPolicy='optional' guestReset='uninitialized' writeFiltering='yes' missing='yes'>
          <vendor id='0x1234'/><product id='18'/><address bus='0x1' device='010'/></source><boot order='2'/>
          <address type='usb' bus='0' port='1'/></hostdev>""",
    "hostdev, scsi": "<hostdev mode='subsystem' type='scsi' sgio='filtered' rawio='yes'><source protocol='adapter'>"
                     "<adapter name='scsi_host0'/><address bus='0x1' target='1' unit='2'/></source><readonly/>"
                     "<shareable/></hostdev>",
    "hostdev, iscsi": "<hostdev mode='subsystem' type='scsi'><source protocol='iscsi' name='iqn.x/1'><host name='h' "
                      "port='5'/><auth username='u'><secret type='iscsi' usage='q'/></auth><initiator><iqn name='i'/>"
                      "</initiator></source></hostdev>",
    "hostdev, scsi_host": "<hostdev mode='subsystem' type='scsi_host' model='virtio-non-transitional'><source "
                          "protocol='vhost' wwpn='naa.5123456789abcde0'/><boot order='3'/></hostdev>",
    "hostdev, mdev": f"<hostdev mode='subsystem' type='mdev' model='vfio-pci' display='on' ramfb='off' managed='no'>"
                     f"<source><address uuid='{UUID.replace('-', '').upper()}'/></source></hostdev>",
    "hostdev, storage": "<hostdev mode='capabilities' type='storage' managed='yes'><source><block>/b</block>"
                        "<char>/c</char></source></hostdev>",
    "hostdev, misc": "<hostdev mode='capabilities' type='misc'><source><char>/c</char></source></hostdev>",
    "hostdev, net": "<hostdev mode='capabilities' type='net'><source><interface>eth0</interface></source><ip "
                    "address='1.2.3.4' family='ipv4' prefix='24' peer='1.2.3.5'/><route family='ipv4' "
                    "address='1.0.0.0' prefix='8' gateway='1.2.3.1' metric='4'/><route address='2.0.0.0' "
                    "netmask='255.0.0.0' gateway='1.2.3.1'/></hostdev>",
    "redirdev": "<controller type='usb' model='ich9-ehci1'/><redirdev bus='usb' type='tcp'><source mode='connect' "
                "host='h' service='4'><reconnect enabled='yes' timeout='3'/></source><protocol type='raw'/><log "
                "file='/l' append='on'/><boot order='2' loadparm='3'/><alias name='ua-r'/><acpi index='3'/>"
                "<address type='usb' bus='0' port='4'/></redirdev>",
    "redirdev, others": "<controller type='usb' model='ich9-ehci1'/><redirdev type='spicevmc'/><redirdev type='pty'>"
                        "<source path='/x'/></redirdev><redirdev type='file'><source path='/x' append='on'><seclabel "
                        "model='dac' relabel='no'/></source><log append='on'/></redirdev>",
    "redirfilter": "<redirfilter><usbdev class='0xef' vendor='0x15e1' product='2007' version='1.1' allow='yes'/>"
                   "<usbdev class='-1' vendor='-1' product='-2' version='-1' allow='no'/></redirfilter>",
    "smartcard": "<smartcard mode='host' type='tcp'><certificate>a</certificate><source path='/p'/><alias "
                 "name='ua-s'/><acpi index='3'/><address type='ccid' controller='0' slot='0'/></smartcard>",
    "smartcard, certificates": "<smartcard mode='host-certificates'><certificate>a</certificate><certificate>b"
                               "</certificate><certificate>c</certificate><database>/d</database></smartcard>",
    "smartcard, elsewhere": "<smartcard mode='passthrough' type='tcp'><source mode='bind' host='h' service='1' "
                            "tls='yes'/><protocol type='raw'/><log file='/l' append='off'/><database>/q</database>"
                            "</smartcard>",
    # the small ones
    "lease": "<lease><lockspace>l</lockspace><key>k</key><target path='/p' offset='5'/></lease><lease><lockspace>l"
             "</lockspace><key>j</key><target path='/p' offset='0'/></lease>",
    "memory, dimm": f"""
        <memory model='dimm' access='private' discard='yes'><uuid>{UUID}</uuid><source><path>/p</path>
          <nodemask>0-3,^2</nodemask><pagesize unit='KiB'>4</pagesize></source>
          <target><size unit='MiB'>2</size><node>0</node><readonly/></target><alias name='ua-m'/><acpi index='2'/>
          <address type='dimm' slot='0' base='0x100000000'/></memory>""",
    "memory, nvdimm": "<memory model='nvdimm' access='shared'><source><path>/p</path><alignsize unit='MiB'>2"
                      "</alignsize><pmem/></source><target><size>524288</size><node>0</node><label><size>128</size>"
                      "</label><readonly/></target></memory>",
    "memory, virtio-pmem": "<memory model='virtio-pmem' access='shared'><source><path>/p</path><pagesize>0</pagesize>"
                           "</source><target><size>524288</size></target><address type='pci' slot='7'/></memory>",
    "memory, virtio-mem": "<memory model='virtio-mem'><source><nodemask>1</nodemask><pagesize>2048</pagesize></source>"
                          "<target><size>524288</size><node>0</node><block>2048</block><requested>4096</requested>"
                          "<current>2048</current></target></memory>",
    "memory, sgx-epc": "<memory model='sgx-epc'><source><nodemask>0-1</nodemask></source><target><size>524288</size>"
                       "</target></memory>",
    "iommu": "<iommu model='intel'><driver intremap='on' caching_mode='off' eim='on' iotlb='off' aw_bits='48'/>"
             "<alias name='ua-i'/><acpi index='2'/></iommu>",
    "iommu, virtio": "<iommu model='virtio'><driver aw_bits='0'/><address type='pci' slot='4'/></iommu>",
    "vsock": f"<vsock model='virtio'><cid auto='no' address='5'/><driver {VIRTIO}/><alias name='ua-v'/><acpi "
             "index='4'/><address type='pci' slot='8'/></vsock>",
    "vsock, nothing said": "<vsock model='default'><cid auto='yes'/><driver/></vsock>",
    "shmem": "<shmem name='s' role='master'><model type='ivshmem-plain'/><size unit='MiB'>4</size><alias name='ua-s'/>"
             "<acpi index='4'/><address type='pci' slot='9'/></shmem>",
    "shmem, doorbell": "<shmem name='s' role='peer'><model type='ivshmem-doorbell'/><server path='/p'/><msi "
                       "vectors='4' ioeventfd='on'/></shmem>",
    "shmem, odd": "<shmem name='s'><model type='ivshmem-doorbell'/><size>2097153</size><server/><msi "
                  "vectors='0'/></shmem><shmem name='t' role='master'><model type='ivshmem'/><size unit='KiB'>0</size>"
                  "</shmem>",
    "hub": "<hub type='usb'><alias name='ua-h'/><acpi index='3'/><address type='usb' bus='0' port='1'/></hub>",
    "nvram": "<nvram><alias name='ua-n'/><acpi index='3'/><address type='spapr-vio' reg='0x3000'/></nvram>",
    "nvram, bare": "<nvram/>",
    "panic": "<panic model='isa'><alias name='ua-p'/><acpi index='3'/><address type='isa' iobase='0x505'/></panic>"
             "<panic model='hyperv'/>",
    "watchdog": "<watchdog model='i6300esb' action='inject-nmi'><alias name='ua-w'/><acpi index='3'/><address "
                "type='pci' slot='9'/></watchdog>",
    "watchdog, none": "<watchdog model='diag288' action='none'/>",
    "memballoon": f"<memballoon model='virtio' autodeflate='on' freePageReporting='off'><stats period='5'/><driver "
                  f"{VIRTIO}/><alias name='ua-b'/><acpi index='3'/><address type='pci' slot='9'/></memballoon>",
    "memballoon, none": "<memballoon model='none'><stats period='-3'/></memballoon>",
    "rng": f"<rng model='virtio'><rate bytes='5' period='6'/><backend model='random'>/dev/hwrng</backend><driver "
           f"{VIRTIO}/><alias name='ua-r'/><acpi index='3'/><address type='pci' slot='9'/></rng><rng model='virtio'>"
           "<rate bytes='0' period='4'/><backend model='builtin'>/x</backend></rng>",
    "rng, egd": "<rng model='virtio'><backend model='egd' type='udp'><source mode='connect' host='h' service='2'/>"
                "<source mode='bind' host='h' service='1'/></backend></rng><rng model='virtio'><backend model='egd' "
                "type='tcp'><source mode='connect' host='h' service='2'/><protocol type='raw'/><log file='/l' "
                "append='on'/></backend></rng><rng model='virtio'><backend model='egd' type='pty'><source path='/p'/>"
                "</backend></rng>",
    "tpm": f"<tpm model='tpm-crb'><backend type='emulator' version='2.0' persistent_state='yes'><encryption "
           f"secret='{UUID}'/><active_pcr_banks><sha512/><sha1/><sha256/><sha384/></active_pcr_banks>"
           "<device path='/d'/></backend><alias name='ua-t'/><acpi index='3'/></tpm>",
    "tpm, passthrough": "<tpm model='tpm-tis'><backend type='passthrough' version='2.0'><device path='/dev/tpm1'/>"
                        "<active_pcr_banks/></backend></tpm>",
    "tpm, external": "<tpm model='tpm-spapr'><backend type='external'><source type='unix' path='/p' mode='connect'/>"
                     "</backend><address type='spapr-vio' reg='0x4000'/></tpm>",
}


def _stored(case: str) -> str:
    """The devices of our families as libvirt wrote them when it had defined a fragment."""
    documents = [roomy_domain(fragment) for fragment in FRAGMENTS.values()]
    found = answers("domain", documents, c.VIR_DOMAIN_XML_INACTIVE | c.VIR_DOMAIN_XML_SECURE)
    dump = found[list(FRAGMENTS).index(case)]
    assert isinstance(dump, str), dump
    return devices_of(dump, MODELS)


@pytest.mark.parametrize("case", FRAGMENTS)
def test_what_libvirt_writes_comes_back_as_it_stands(case: str) -> None:
    """Read by our models and written again, libvirt's own output is the same, character by character."""
    stored = _stored(case)
    assert _format(DEVICES.parse(stored)) == stored


@pytest.mark.parametrize("case", FRAGMENTS)
def test_what_is_written_reads_the_same_again(case: str) -> None:
    """Parsing what we format gives the same model, in the live form with secrets, which loses nothing."""
    devices = parse_devices(FRAGMENTS[case])
    assert DEVICES.parse(_format(devices, Output.LIVE | Output.SECURE)) == devices


@pytest.mark.parametrize("case", FRAGMENTS)
def test_libvirt_keeps_what_we_keep(case: str) -> None:
    """A fragment without what its type leaves without a meaning is contained in what libvirt stored of it."""
    devices = parse_devices(FRAGMENTS[case])
    _drop_foreign(devices)
    hidden = DEVICES.parse(_format(devices))  # the stored form has no runtime names
    assert not list(lacking(hidden, DEVICES.parse(_stored(case))))


@pytest.mark.parametrize("case", FRAGMENTS)
def test_we_keep_what_libvirt_keeps(case: str) -> None:
    """Whatever a fragment says and libvirt stores, our models store too."""
    devices = parse_devices(FRAGMENTS[case])
    _drop_foreign(devices)
    ours, theirs = (said(text) for text in (_format(devices), _stored(case)))
    assert not (theirs & said(f"<devices>{FRAGMENTS[case]}</devices>")) - ours


# Lines that libvirt's test driver lets no document use: descriptors that a client hands over, a cipher, which is for
# making an image, and what only a running domain has.
BEYOND = {(DiskSource, "fdgroup"), (Disk, "mirror"), (HostdevSource, "missing"),
          *((Encryption, line) for line in lines_of(Encryption) if line.startswith(("cipher", "ivgen")))}


# Models with tests of their own.
ELSEWHERE = {chardev.__name__, network_port.__name__}


def _said(model: Element) -> Iterator[tuple[type[Element], str]]:
    """Each line of a model, and of those inside, that says something."""
    for name, value in content(model).items():
        yield type(model), name
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Element):
                yield from _said(inner)


def test_fragments_use_every_line() -> None:
    """No attribute is declared that these tests do not exercise, those of every kind of address among them."""
    used = {line for fragment in FRAGMENTS.values() for line in _said(parse_devices(fragment))}
    families = [model for family in MODELS.values() for model in declared(family)
                if model not in (Crypto, Mirror, VirtioS390Address) and model.__module__ not in ELSEWHERE]
    lines = {(model, name) for model in families for name, line in lines_of(model).items()
             if not isinstance(line.default, str)}
    assert {f"{model.__name__}.{name}" for model, name in lines - used - BEYOND} == set()


# What the schema knows and libvirt's own parser reads nowhere, or only in its status files; and targets of character
# devices, of which a smart card has none.
SCHEMA_ONLY = re.compile(
    "(?:.*/)?(?:seclabel/@labelskip|reservations/source/reconnect/@(?:enabled|timeout)|address/@multifunction)"
    "|source/adapter/(?:@|parentaddr/).*|mirror/backingStore.*")
SCHEMA_ONLY_OF = {"smartcard": {"target/@type", "target/@port", "target/model/@name"}}


@pytest.mark.parametrize("tag", [tag for tag in MODELS if tag != "crypto"])
def test_schema_knows_no_more(tag: str) -> None:
    """Every attribute and text of libvirt's schema has a line in our models."""
    known = schema_paths(require_schemas() / "domaincommon.rng", "memorydev" if tag == "memory" else tag)
    lines = declared_paths(MODELS[tag]) | SCHEMA_ONLY_OF.get(tag, set())
    assert {path for path in known - lines
            if not path.startswith("address/") and not SCHEMA_ONLY.fullmatch(path)} == set()


# --- refusals -------------------------------------------------------------------------------------------------------

# What a device alone does not tell, or what only a complete one does: checks of the whole definition.
OTHERS_CHECK = {
    "devices/disk/target/@dev", "devices/disk/source/@file", "devices/disk/source/@dev",
    "devices/filesystem/source/@units", "devices/shmem/size/@unit", "devices/memory/target/size",
    "devices/memory/source/path", "devices/memory/target/label/size", "devices/memory/target/block",
    "devices/memory/target/requested",
}
# Where an empty word counts as none, or libvirt's words depend on more than the value.
OTHER_WORDS = {
    *(f"devices/disk/{layer}source/slices/slice/@{name}" for layer in ("", "backingStore/")
      for name in ("offset", "size")),
    *(f"devices/disk/{place}encryption/{name}" for place in ("", "source/") for name in ("@format", "secret/@type")),
    *(f"devices/disk/{layers}format/@type" for layers in ("backingStore/", "backingStore/" * 2, "backingStore/" * 3)),
    "devices/disk/source/reservations/source/@type", "devices/disk/source/reservations/source/@mode",
    "devices/disk/source/@type", "devices/disk/source/@name", "devices/filesystem/source/@usage",
    "devices/hostdev/teaming/@type", "devices/hostdev/source/auth/secret/@type", "devices/hostdev/source/@protocol",
    "devices/tpm/backend/source/@type", *(f"devices/hostdev/route/@{name}" for name in (
        "family", "address", "gateway", "netmask")),
}
# libvirt reads this and forgets it, refuses it without a word, or takes -1 for the largest number there is.
FORGOTTEN = {"devices/hostdev/source/address/@multifunction"}
WORDLESS = {"devices/smartcard/database", "devices/lease/lockspace"}
WRAPPED = {"devices/disk/source/@namespace", "devices/disk/backingStore/backingStore/backingStore/source/@namespace",
           "devices/filesystem/driver/@queue", "devices/rng/rate/@bytes", "devices/rng/rate/@period"}
# Nonsense in a device of a fragment whose type does not read it, beside another that has it.
BESIDE = {"devices/disk/source/auth/secret/@type", "devices/disk/backingStore/format/@type",
          "devices/controller/pcihole64"}


def _kills_libvirt(devices: str) -> bool:
    """libvirt 9.0.0 dies of an iSCSI disk that names no target."""
    return 'protocol="iscsi"' in devices and 'name=""' in devices


def test_wrong_values_are_refused_as_by_libvirt() -> None:
    """Error number, domain and words are libvirt's for every attribute; and we refuse nothing that it would store."""
    wrong = [(path, devices) for path, devices in wrong_values(FRAGMENTS.values()) if not _kills_libvirt(devices)]
    theirs = answers("domain", [roomy_domain(devices) for _, devices in wrong], c.VIR_DOMAIN_XML_INACTIVE)
    refused = 0
    for (path, devices), answer in zip(wrong, theirs, strict=True):
        ours = refusal(devices)
        if isinstance(answer, str):
            # Nonsense in what a type does not read is no fault to libvirt; to us it is, and nothing is lost by it.
            kept = {place.removeprefix("domain/") for place, _ in said(answer)}
            assert ours is None or path not in kept - WRAPPED - BESIDE, devices
        elif ours is None:
            assert path in OTHERS_CHECK | FORGOTTEN | WORDLESS, (devices, answer)
        elif path not in OTHERS_CHECK | OTHER_WORDS | WORDLESS:
            refused += 1
            assert ours == answer, devices
    assert refused > 2500


# --- the live form --------------------------------------------------------------------------------------------------

LIVE = """\
<devices>
  <disk type='network' device='disk'>
    <driver name='qemu' type='qcow2'/>
    <source protocol='https' name='x' index='2'>
      <host name='h' port='443'/>
      <cookies>
        <cookie name='a'>b</cookie>
      </cookies>
    </source>
    <backingStore type='file' index='3'>
      <format type='raw'/>
      <source file='/b'/>
      <backingStore/>
    </backingStore>
    <mirror type='file' file='/m' format='raw' job='copy' ready='yes'>
      <format type='raw'/>
      <source file='/m' index='4'/>
      <backingStore/>
    </mirror>
    <target dev='vda' bus='virtio'/>
    <alias name='virtio-disk0'/>
    <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>
  </disk>
  <controller type='pci' index='0' model='pcie-root'>
    <alias name='pcie.0'/>
  </controller>
  <hostdev mode='subsystem' type='usb' managed='no'>
    <source missing='yes'>
      <vendor id='0x0001'/>
      <product id='0x0002'/>
    </source>
    <alias name='hostdev0'/>
  </hostdev>
  <redirdev bus='usb' type='pty'>
    <source path='/dev/pts/4'/>
    <alias name='ua-mine'/>
  </redirdev>
  <memory model='virtio-mem'>
    <target>
      <size unit='KiB'>524288</size>
      <node>0</node>
      <block unit='KiB'>2048</block>
      <requested unit='KiB'>4096</requested>
      <current unit='KiB'>2048</current>
    </target>
    <alias name='ua-a b'/>
  </memory>
</devices>
"""

STORED = """\
<devices>
  <disk type='network' device='disk'>
    <driver name='qemu' type='qcow2'/>
    <source protocol='https' name='x'>
      <host name='h' port='443'/>
    </source>
    <backingStore type='file'>
      <format type='raw'/>
      <source file='/b'/>
      <backingStore/>
    </backingStore>
    <target dev='vda' bus='virtio'/>
    <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>
  </disk>
  <controller type='pci' index='0' model='pcie-root'/>
  <hostdev mode='subsystem' type='usb' managed='no'>
    <source>
      <vendor id='0x0001'/>
      <product id='0x0002'/>
    </source>
  </hostdev>
  <redirdev bus='usb' type='pty'>
    <alias name='ua-mine'/>
  </redirdev>
  <memory model='virtio-mem'>
    <target>
      <size unit='KiB'>524288</size>
      <node>0</node>
      <block unit='KiB'>2048</block>
      <requested unit='KiB'>4096</requested>
    </target>
  </memory>
</devices>
"""


def test_stored_form_hides_what_only_runs_and_the_cookies() -> None:
    """The live form has all; the stored one no layer number, mirror, pty, memory in use, or alias not a user's own."""
    devices = DEVICES.parse(LIVE)
    assert _format(devices, Output.LIVE | Output.SECURE) == LIVE
    assert _format(devices, Output.INACTIVE) == STORED
    assert "cookie" not in _format(devices, Output.LIVE)


def test_newer_devices_come_back() -> None:
    """Crypto devices, which libvirt 9.0.0 does not know, lose nothing."""
    document = """\
<devices>
  <crypto model='virtio' type='qemu'>
    <backend model='builtin' queues='1'/>
    <driver iommu='on' ats='on' packed='off' page_per_vq='on'/>
    <alias name='ua-c'/>
    <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>
  </crypto>
</devices>
"""
    assert _format(DEVICES.parse(document)) == document
