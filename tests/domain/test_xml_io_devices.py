"""Interfaces, character devices, graphics, video, input and sound: every attribute, compared with libvirt's answers.

Each fragment below is defined with libvirt's test driver. What it then writes must come back from our models as it
stands; what the fragment said must be in it; and together the fragments use every line that the models declare, while
libvirt's schema knows no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from lxml import etree

from tests.support.fragments import devices_of, lacking, said, without_place, wrong_values
from tests.support.oracle import answers
from tests.support.schema_paths import declared_paths, schema_paths, used_paths
from tests.support.schemas import require_schemas
from virtbus_domain.xml.chardev import Chardev
from virtbus_domain.xml.graphics import Graphics
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.interface import Interface
from virtbus_domain.xml.kinds import (
    drop_from_audio,
    drop_from_chardev,
    drop_from_graphics,
    drop_from_input,
    drop_from_interface,
    drop_from_sound,
    drop_from_video,
)
from virtbus_domain.xml.sound import Audio, Sound
from virtbus_domain.xml.video import Video
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import Document, element, subs
from virtbus_shared.service.xml_lines import Element, Output

MODELS: dict[str, type[Element]] = {
    "interface": Interface, "serial": Chardev, "parallel": Chardev, "console": Chardev, "channel": Chardev,
    "input": Input, "graphics": Graphics, "sound": Sound, "audio": Audio, "video": Video,
}


@element(open_tag=True)
class IoDevices(Element):
    """The families of this file in the order of a domain's devices, so that it needs no other family."""

    interfaces: list[Interface] = subs("interface", Interface)
    serials: list[Chardev] = subs("serial", Chardev)
    parallels: list[Chardev] = subs("parallel", Chardev)
    consoles: list[Chardev] = subs("console", Chardev)
    channels: list[Chardev] = subs("channel", Chardev)
    inputs: list[Input] = subs("input", Input)
    graphics: list[Graphics] = subs("graphics", Graphics)
    sounds: list[Sound] = subs("sound", Sound)
    audios: list[Audio] = subs("audio", Audio)
    videos: list[Video] = subs("video", Video)

    def all(self) -> Iterator[Element]:
        """Every device."""
        for kind in (self.interfaces, self.serials, self.parallels, self.consoles, self.channels, self.inputs,
                     self.graphics, self.sounds, self.audios, self.videos):
            yield from kind

    def drop_foreign(self) -> None:
        """What the types of the devices leave without a meaning."""
        for interface in self.interfaces:
            drop_from_interface(interface)
        for tag, chardevs in (("serial", self.serials), ("parallel", self.parallels), ("console", self.consoles),
                              ("channel", self.channels)):
            for chardev in chardevs:
                drop_from_chardev(chardev, tag)
        for graphics in self.graphics:
            drop_from_graphics(graphics)
        for device in self.inputs:
            drop_from_input(device)
        for sound in self.sounds:
            drop_from_sound(sound)
        for audio in self.audios:
            drop_from_audio(audio)
        for video in self.videos:
            drop_from_video(video)


DEVICES = Document(IoDevices, "devices", "domain_definition", c.VIR_FROM_DOMAIN)


def _parse(devices: str) -> IoDevices:
    return DEVICES.parse(f"<devices>{devices}</devices>")


def _format(devices: IoDevices, output: Output = Output.SECURE) -> str:
    return DEVICES.format(devices, output)


def _domain(devices: str) -> str:
    return ("<domain type='test'><name>x</name><uuid>1695eb01-f6a4-8304-79aa-97f2502e193f</uuid><memory>65536</memory>"
            f"<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>{devices}</devices></domain>")


MAC = "<mac address='52:54:00:00:00:01'/>"
UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"
SILENCE = "<audio id='1' type='none'/>"

FRAGMENTS = {
    # interfaces
    "network": f"""
        <interface type='network' trustGuestRxFilters='no'>
          <mac address='52:54:0:0:0:1' type='static' check='no'/>
          <source network='n' portgroup='pg' portid='{UUID}' bridge='b0' macTableManager='libvirt'/>
          <vlan trunk='yes'><tag id='1' nativeMode='tagged'/><tag id='2'/></vlan>
          <virtualport type='openvswitch'><parameters profileid='p' interfaceid='{UUID}'/></virtualport>
          <bandwidth><inbound average='1' peak='2' floor='3' burst='4'/><outbound average='1' peak='2' burst='4'/>
          </bandwidth>
          <script path='/s'/><downscript path='/d'/><backenddomain name='bd'/><guest dev='g0' actual='ga'/>
          <target dev='tap9'/><model type='virtio'/>
          <driver name='vhost' txmode='iothread' ioeventfd='on' event_idx='off' queues='4' rx_queue_size='256'
                  tx_queue_size='512' rss='on' rss_hash_report='off' iommu='on' ats='on' packed='off' page_per_vq='on'>
            <guest csum='off' tso4='off' tso6='off' ecn='off' ufo='off'/>
            <host csum='off' gso='off' tso4='off' tso6='off' ecn='off' ufo='off' mrg_rxbuf='on'/>
          </driver>
          <backend tap='/dev/net/tun' vhost='/dev/vhost-net'/>
          <filterref filter='f'><parameter name='IP' value='1.2.3.4'/><parameter name='IP' value='1.2.3.5'/></filterref>
          <tune><sndbuf>1600</sndbuf></tune><teaming type='persistent'/><link state='down'/><mtu size='1400'/>
          <coalesce><rx><frames max='64'/></rx></coalesce><boot order='1' loadparm='a'/><alias name='ua-n'/>
          <rom enabled='yes' bar='on' file='/r'/><acpi index='3'/><address type='pci' bus='0' slot='5'/>
        </interface>""",
    "network, generated mac": "<interface type='network'><mac address='52:54:00:00:00:01' type='generated' "
                              "check='yes'/><source network='n'/><port isolated='yes'/></interface>",
    "network, midonet": f"<interface type='network'>{MAC}<source network='n'/><virtualport type='midonet'>"
                        f"<parameters interfaceid='{UUID}'/></virtualport></interface>",
    "network, any switch": f"<interface type='network'>{MAC}<source network='n'/><virtualport><parameters "
                           f"interfaceid='{UUID}' managerid='0x1' typeid='02' typeidversion='3' instanceid='{UUID}' "
                           "profileid='x'/></virtualport></interface>",
    "bridge": f"<interface type='bridge'>{MAC}<source bridge='br0' network='n' portgroup='p' macTableManager='kernel'/>"
              "<teaming type='transient' persistent='ua-x'/><link state='up'/></interface>",
    "bridge, filter": f"""
        <interface type='bridge'>{MAC}<source bridge='b'/><filterref filter='f'>
          <parameter name='b' value='2'/><parameter name='A' value='::1'/><parameter name='b' value='1'/>
          <parameter name='x-y' value='1'/><parameter name='C' value='a b'/><parameter name='c'/>
        </filterref></interface>""",
    "bridge, nothing said": f"<interface type='bridge'>{MAC}<source bridge='b'/><bandwidth/><coalesce/><port/>"
                            "<filterref/><link/><mtu/><script/><backend/><driver/><tune/><rom/><guest/></interface>",
    "user": f"""
        <interface type='user'>{MAC}<source dev='eth0'/><backend logFile='/l' tap='/t'/>
          <ip address='10.0.0.1' family='ipv4' prefix='24' peer='10.0.0.2'/>
          <ip address='FE80:0::1' family='ipv6' prefix='64'/>
          <route family='ipv4' address='1.0.0.0' prefix='8' gateway='10.0.0.3' metric='2'/>
          <route address='2.0.0.0' netmask='255.0.0.0' gateway='10.0.0.3'/>
          <portForward proto='tcp' address='1.2.3.4' dev='eth1'>
            <range start='1' end='4' to='5' exclude='yes'/><range start='9' exclude='no'/>
          </portForward><portForward proto='udp'/>
        </interface>""",
    "ethernet": f"""
        <interface type='ethernet'>{MAC}
          <source dev='v0'><ip address='10.0.0.1' family='ipv4' prefix='24' peer='10.0.0.2'/>
            <route family='ipv4' address='1.0.0.0' prefix='8' gateway='10.0.0.3' metric='2'/>
            <route address='2.0.0.0' netmask='255.0.0.0' gateway='10.0.0.3'/></source>
          <ip address='10.0.0.5'/><script path='/s'/><target dev='t0' managed='no'/>
          <model type='virtio-transitional'/><driver name='qemu' txmode='timer' queues='0'/>
        </interface>""",
    "ethernet, tap of a driver": f"<interface type='ethernet'>{MAC}<target dev='vnet7'/></interface>",
    "direct": f"""
        <interface type='direct' managed='yes' trustGuestRxFilters='yes'>{MAC}
          <source dev='eth0' mode='private' network='n'/>
          <virtualport type='802.1Qbg'>
            <parameters managerid='1' typeid='2' typeidversion='3' instanceid='{UUID}'/></virtualport>
          <filterref filter='f'/>
        </interface>""",
    "hostdev": f"<interface type='hostdev' managed='yes'>{MAC}<driver name='vfio' queues='3'/><source missing='yes'>"
               "<address type='pci' domain='0' bus='6' slot='1' function='2'/></source><vlan><tag id='42'/></vlan>"
               "<virtualport type='802.1Qbh'><parameters profileid='f'/></virtualport><model type='virtio'/>"
               "</interface>",
    "hostdev, usb": f"<interface type='hostdev' managed='no'>{MAC}<source><vendor id='4660'/><product id='0x4567'/>"
                    "<address type='usb' bus='6' device='0x3'/></source></interface>",
    "vhostuser": f"<interface type='vhostuser'>{MAC}<source type='unix' path='/p' mode='client'><reconnect "
                 "enabled='yes' timeout='10'/></source><model type='virtio'/><target dev='x'/></interface>",
    "vhostuser, server": f"<interface type='vhostuser'>{MAC}<source type='unix' path='/p' mode='server'><reconnect "
                         "enabled='no' timeout='4'/></source><model type='virtio'/></interface>",
    "vdpa": f"<interface type='vdpa'>{MAC}<source dev='/dev/vhost-vdpa-0' mode='vepa'/></interface>",
    "server": f"<interface type='server'>{MAC}<source address='1.2.3.4' port='5' name='n'/></interface>",
    "client": f"<interface type='client'>{MAC}<source address='1.2.3.4' port='5'/></interface>",
    "mcast": f"<interface type='mcast'>{MAC}<source address='230.2.3.4' port='5'/></interface>",
    "udp": f"<interface type='udp'>{MAC}<source address='1.2.3.4' port='5'><local address='1.2.3.5' port='6'/></source>"
           "</interface>",
    "internal": f"<interface type='internal'>{MAC}<source name='int'/></interface>",
    "vds": f"<interface type='vds'>{MAC}<source switchid='{UUID}' portid='12' portgroupid='pg' connectionid='-4'/>"
           "</interface>",
    "null": f"<interface type='null'>{MAC}<source dev='x'/></interface>",
    # character devices
    "file": """
        <serial type='file'>
          <source path='/p' append='on' tls='yes' host='h' channel='c'>
            <seclabel relabel='no' model='selinux'/><seclabel model='dac'><label>a</label></seclabel>
            <seclabel model='smack'/><reconnect enabled='yes' timeout='1'/></source>
          <log file='/l' append='off'/><protocol type='telnet'/>
          <target type='isa-serial' port='3' name='n'><model name='isa-serial'/></target>
          <alias name='ua-s'/><acpi index='4'/><address type='isa' iobase='0x3f8' irq='0x4'/>
        </serial>""",
    "dev": "<serial type='dev'><source path='/dev/ttyS0' mode='bind'/><target type='none'><model name='none'/></target>"
           "</serial>",
    "pipe": "<serial type='pipe'><source path='/p'/><log append='on'/></serial>",
    "pty": "<serial type='pty'><source path='/dev/pts/3'/><target type='pci-serial'/></serial>",
    "tcp": "<parallel type='tcp'><source mode='bind' host='h' service='1' tls='yes' path='/p'/>"
           "<protocol type='telnet'/><target port='2'/></parallel>",
    "tcp, client": "<serial type='tcp'><source mode='connect' host='h' service='1' tls='no'><reconnect enabled='yes' "
                   "timeout='3'/></source><protocol type='raw'/><log file='/l' append='on'/></serial>",
    "udp device": "<serial type='udp'><source mode='connect' host='h2' service='2'/><source mode='bind' host='h' "
                  "service='1'/></serial>",
    "unix": "<serial type='unix'><source mode='connect' path='/s'><reconnect enabled='no' timeout='3'/><seclabel "
            "model='dac' relabel='no'/></source></serial>",
    "nmdm": "<serial type='nmdm'><source master='/m' slave='/s'/></serial>",
    "spiceport": "<serial type='spiceport'><source channel='org.x'/></serial>",
    "vc, null and stdio": "<serial type='vc'><source path='/x'/></serial><serial type='null'><target "
                          "type='usb-serial'><model name='usb-serial'/></target></serial><serial type='stdio'>"
                          "<target type='isa-debug'><model name='isa-debugcon'/></target></serial>",
    "vdagent": "<channel type='qemu-vdagent'><source><mouse mode='client'/><clipboard copypaste='yes'/></source>"
               "<target type='virtio' name='com.redhat.spice.0'/></channel>",
    "vdagent, nothing said": "<channel type='qemu-vdagent'><source/><target type='virtio' port='3'/></channel>",
    "dbus channel": "<channel type='dbus'><source channel='org.x'/><target type='virtio' name='a'/></channel>",
    "forward": "<channel type='null'><target type='guestfwd' address='10.0.2.1' port='4600' name='n'/></channel>",
    "xen channel": "<channel type='unix'><source mode='bind' path='/x'/><target type='xen' name='org.x'/></channel>",
    "unix channel": "<channel type='unix'><source mode='bind'/><target type='virtio' name='n'/></channel>",
    "spicevmc": "<channel type='spicevmc'><target type='virtio' name='a' state='connected'/><alias name='ua-z'/>"
                "<address type='virtio-serial' controller='0' bus='0' port='5'/></channel>",
    "console": "<console type='pty' tty='/dev/pts/2'><source path='/dev/pts/2'/><log file='/l' append='on'/>"
               "<target type='virtio' port='0' name='n'/></console>",
    # graphics
    "vnc": """
        <graphics type='vnc' port='5901' autoport='no' websocket='5700' listen='1.2.3.4' sharePolicy='force-shared'
                  powerControl='yes' passwd='p' keymap='de' passwdValidTo='2030-1-02T3:04:5' connected='keep'
                  tlsPort='3'>
          <audio id='1'/><listen type='address' address='1.2.3.4'/><gl enable='yes'/>
        </graphics>""" + SILENCE,
    "vnc without password": "<graphics type='vnc' port='5901' passwdValidTo='2030-01-02T03:04:05' connected='keep' "
                            "sharePolicy='default' websocket='0'/>",
    "vnc on a socket": "<graphics type='vnc' socket='/s' powerControl='no'/>",
    "vnc on a network": "<graphics type='vnc'><listen type='network' network='n' address='1.2.3.4'/></graphics>",
    "vnc on another socket": "<graphics type='vnc'><listen type='socket' socket='/t'/></graphics>",
    "spice": """
        <graphics type='spice' port='5901' tlsPort='5902' autoport='no' listen='1.2.3.4' passwd='p' keymap='de'
                  passwdValidTo='2030-01-02T03:04:05' connected='fail' defaultMode='secure' websocket='3'>
          <channel name='usbredir' mode='secure'/><channel name='main' mode='secure'/>
          <channel name='display' mode='any'/><channel name='record' mode='insecure'/>
          <channel name='inputs' mode='secure'/><channel name='cursor' mode='secure'/>
          <channel name='playback' mode='secure'/><channel name='smartcard' mode='secure'/>
          <channel name='main' mode='insecure'/>
          <image compression='auto_glz'/><jpeg compression='auto'/><zlib compression='never'/>
          <playback compression='on'/><streaming mode='filter'/><clipboard copypaste='no'/><mouse mode='client'/>
          <filetransfer enable='no'/><gl enable='yes' rendernode='/dev/dri/x'/><audio id='1'/>
        </graphics>""" + SILENCE,
    "spice, nowhere": "<graphics type='spice' defaultMode='any'/>",
    "sdl": "<graphics type='sdl' display=':0' xauth='/x' fullscreen='yes' port='3'><gl enable='yes' rendernode='/r'/>"
           "</graphics>",
    "desktop": "<graphics type='desktop' display=':0' fullscreen='no'/>",
    "egl-headless": "<graphics type='egl-headless'><gl enable='yes' rendernode='/r'/></graphics>",
    "dbus": f"<graphics type='dbus' address='unix:path=/x' p2p='no'><gl enable='yes' rendernode='/r'/><audio id='1'/>"
            f"</graphics>{SILENCE}",
    "dbus, peer to peer": "<graphics type='dbus' p2p='yes'/>",
    "rdp": "<graphics type='rdp' port='3389' replaceUser='yes' multiUser='yes' listen='0.0.0.0'/>",
    "rdp, bare": "<graphics type='rdp' port='3389' replaceUser='no' multiUser='?' keymap='de'/>",
    # video
    "qxl": "<video><driver name='qemu' vgaconf='on'/><model type='qxl' vram='1024' heads='2' primary='yes' vram64='4' "
           "ram='2048' vgamem='8'/></video>",
    "virtio video": "<video><driver name='qemu' iommu='on' ats='on' packed='on' page_per_vq='on'/><model type='virtio' "
                    "heads='2' primary='no'><acceleration accel3d='yes' accel2d='no'/><resolution x='1' y='2'/>"
                    "</model><alias name='ua-v'/><acpi index='2'/><address type='pci' slot='3'/></video>",
    "video by vhostuser": "<video><driver name='vhostuser'/><model type='virtio'><acceleration accel3d='yes' "
                          "rendernode='/r'/></model></video>",
    "video by default": "<video><model type='default' vram='' ram='0' heads=''/></video>",
    "no video": "<video><driver name='qemu'/><model type='none' vram='5' heads='3' primary='yes'/><acpi index='3'/>"
                "</video>",
    # input
    "tablet": "<input type='tablet' bus='virtio' model='virtio-non-transitional'><driver iommu='on' ats='on' "
              "packed='on' page_per_vq='on'/><alias name='ua-i'/><acpi index='2'/><address type='pci' slot='4'/>"
              "</input>",
    "passthrough": "<input type='passthrough' bus='virtio' model='virtio'><source evdev='/dev/input/e1' grab='all'/>"
                   "</input>",
    "evdev": "<input type='evdev'><source dev='/dev/input/e1' grab='all' grabToggle='alt-alt' repeat='on' evdev='/e'/>"
             "</input>",
    "mouse": "<input type='mouse' bus='usb'><source dev='/d'/></input>",
    # sound
    "sound": "<sound model='ich9'><codec type='duplex'/><codec type='micro'/><codec type='output'/><audio id='1'/>"
             f"<alias name='ua-s'/><acpi index='2'/><address type='pci' slot='5'/></sound>{SILENCE}",
    "sound without codecs": "<sound model='ac97'><codec type='duplex'/></sound><sound model='ich7'><codec "
                            "type='micro'/></sound>",
    "silence": """
        <audio id='1' type='none' timerPeriod='5' serverName='s' driver='alsa' path='/p' tryMMap='yes'>
          <input mixingEngine='yes' fixedSettings='yes' voices='1' bufferLength='2' dev='/d' name='n' tryPoll='yes'>
            <settings frequency='44100' channels='2' format='s16'/></input>
          <output mixingEngine='no' fixedSettings='no' voices='1' bufferLength='2'/></audio>""",
    "alsa": "<audio id='1' type='alsa'><input dev='/a'/><output dev='/b' mixingEngine='yes' fixedSettings='yes'>"
            "<settings frequency='8000' channels='1' format='f32'/></output></audio>",
    "coreaudio": "<audio id='1' type='coreaudio'><input bufferCount='50'/><output bufferCount='0'/></audio>",
    "jack": "<audio id='1' type='jack'><input serverName='a' clientName='b' connectPorts='c' exactName='yes'/>"
            "<output serverName='a' clientName='b' connectPorts='c' exactName='no'/></audio>",
    "oss": "<audio id='1' type='oss' tryMMap='yes' exclusive='yes' dspPolicy='3'><input dev='/a' bufferCount='3' "
           "tryPoll='no'/><output dev='/a' bufferCount='3' tryPoll='yes'/></audio>",
    "pulseaudio": "<audio id='1' type='pulseaudio' serverName='s'><input name='a' streamName='b' latency='5'/>"
                  "<output name='a' streamName='b' latency='5'/></audio>",
    "sdl sound": "<audio id='1' type='sdl' driver='alsa'><input bufferCount='5'/><output bufferCount='6'/></audio>",
    "spice sound": "<audio id='1' type='spice'><input/><output voices='3'/></audio>",
    "sound to a file": "<audio id='1' type='file' path='/f'><output voices='3'/></audio>",
    "dbus sound": "<audio id='1' type='dbus'><output voices='3'/></audio>",
}

# libvirt writes the driver of an assigned interface before its source, that of any other card far behind it.
ANOTHER_ORDER = {"hostdev"}

def _stored(case: str) -> str:
    """The devices of our families as libvirt wrote them when it had defined a fragment."""
    documents = [_domain(fragment) for fragment in FRAGMENTS.values()]
    found = answers("domain", documents, c.VIR_DOMAIN_XML_INACTIVE | c.VIR_DOMAIN_XML_SECURE)
    dump = found[list(FRAGMENTS).index(case)]
    assert isinstance(dump, str), dump
    return devices_of(dump, MODELS)


@pytest.mark.parametrize("case", FRAGMENTS)
def test_what_libvirt_writes_comes_back_as_it_stands(case: str) -> None:
    """Read by our models and written again, libvirt's own output is the same, character by character."""
    stored = _stored(case)
    ours = _format(_parse_whole(stored))
    if case in ANOTHER_ORDER:
        assert sorted(ours.splitlines()) == sorted(stored.splitlines())
    else:
        assert ours == stored


@pytest.mark.parametrize("case", FRAGMENTS)
def test_what_is_written_reads_the_same_again(case: str) -> None:
    """Parsing what we format gives the same model, in the live form with secrets, which loses nothing."""
    devices = _parse(FRAGMENTS[case])
    assert _parse_whole(_format(devices, Output.LIVE | Output.SECURE)) == devices


@pytest.mark.parametrize("case", FRAGMENTS)
def test_libvirt_keeps_what_we_keep(case: str) -> None:
    """A fragment without what its type leaves without a meaning is contained in what libvirt stored of it."""
    devices = _parse(FRAGMENTS[case])
    devices.drop_foreign()
    hidden = _parse_whole(_format(devices))  # the stored form has no runtime names
    assert not list(lacking(hidden, _parse_whole(_stored(case))))


@pytest.mark.parametrize("case", FRAGMENTS)
def test_we_keep_what_libvirt_keeps(case: str) -> None:
    """Whatever a fragment says and libvirt stores, our models store too."""
    devices = _parse(FRAGMENTS[case])
    devices.drop_foreign()
    ours, theirs = (said(text) for text in (_format(devices), _stored(case)))
    assert not (theirs & said(f"<devices>{FRAGMENTS[case]}</devices>")) - ours


def _parse_whole(document: str) -> IoDevices:
    return DEVICES.parse(document)


# Lines that no document of libvirt 9.0.0 can use: it refuses a class and what leaves the guest a floor, and knows
# neither blobs nor, in Debian's build, the back end that its own schema names.
BEYOND = {
    "interface": {"bandwidth/@classID", "bandwidth/outbound/@floor", "backend/@type"},
    "video": {"model/@blob"},
}


@pytest.mark.parametrize("tag", MODELS)
def test_fragments_use_every_line(tag: str) -> None:
    """No attribute is declared that these tests do not exercise; addresses are tested with their own models."""
    families = ("serial", "parallel", "console", "channel") if MODELS[tag] is Chardev else (tag,)
    used = set()
    for fragment in FRAGMENTS.values():
        for node in etree.fromstring(f"<devices>{fragment}</devices>"):
            if node.tag in families:
                document = etree.tostring(node, encoding="unicode", with_tail=False)
                for device in _parse(document).all():
                    used |= used_paths(device)
    declared = {path for path in declared_paths(MODELS[tag]) if not re.search("(^|/)address/", path)}
    assert declared - used - BEYOND.get(tag, set()) == set()


# What the schema knows and libvirt's own parser reads nowhere, or only in its status files.
SCHEMA_ONLY = {
    "interface": {"source/@missing"},
    "chardev": {"source/seclabel/@labelskip"},
}


@pytest.mark.parametrize("tag", MODELS)
def test_schema_knows_no_more(tag: str) -> None:
    """Every attribute and text of libvirt's schema has a line in our models."""
    definition = {"graphics": "graphic"}.get(tag, tag)
    known = schema_paths(require_schemas() / "domaincommon.rng", definition)
    family = "chardev" if MODELS[tag] is Chardev else tag
    lines = declared_paths(MODELS[tag]) | SCHEMA_ONLY.get(family, set())
    assert {path for path in known - lines if not path.startswith("address/")} == set()


# --- refusals -------------------------------------------------------------------------------------------------------

# What one value alone does not tell: checks of a whole device, which belong to the completion of a definition.
OTHERS_CHECK = {
    "devices/interface/model/@type", "devices/interface/vlan/@trunk", "devices/interface/teaming/@type",
    "devices/interface/teaming/@persistent", "devices/interface/virtualport/parameters/@profileid",
    "devices/interface/source/@portid", "devices/interface/source/route/@prefix", "devices/serial/target/@port",
    "devices/channel/source/@channel", "devices/channel/target/@port", "devices/graphics/@listen",
    "devices/graphics/listen/@address", "devices/graphics/listen/@network", "devices/audio/@id",
    "devices/video/model/@type",
}
# Where libvirt's words depend on the type of the device, on which end of an interface has the route, or on the sign of
# an 802.1Qbg parameter; ours do not.
OTHER_WORDS = {
    *(f"devices/interface/source/route/@{name}" for name in ("family", "address", "netmask", "gateway")),
    "devices/graphics/@port",
    "devices/interface/virtualport/parameters/@managerid", "devices/interface/virtualport/parameters/@typeid",
    "devices/interface/virtualport/parameters/@typeidversion", "devices/interface/boot/@loadparm",
}
# Of VNC libvirt takes any word but "yes" for "no", of SPICE it does not; we do for neither.
STRICTER = {"devices/graphics/@autoport"}


def _our_answer(devices: str) -> tuple[int, int, str] | None:
    try:
        _parse(devices)
    except LibvirtError as refused:
        return refused.code, refused.domain, without_place(refused.message)
    return None


def test_wrong_values_are_refused_as_by_libvirt() -> None:
    """Error number, domain and words are libvirt's for every attribute; and we refuse nothing that it would store."""
    wrong = list(wrong_values(FRAGMENTS.values(), skip=("address",)))
    theirs = answers("domain", [_domain(devices) for _, devices in wrong], c.VIR_DOMAIN_XML_INACTIVE)
    refused = 0
    for (path, devices), answer in zip(wrong, theirs, strict=True):
        ours = _our_answer(devices)
        if isinstance(answer, str):
            # Nonsense in what a type does not read is no fault to libvirt; to us it is, and nothing is lost by it.
            kept = {path.removeprefix("domain/") for path, _ in said(answer)}
            assert ours is None or path not in kept - STRICTER, devices
        elif ours is None:
            assert path in OTHERS_CHECK, (devices, answer)
        elif path not in OTHERS_CHECK | OTHER_WORDS:
            refused += 1
            assert ours == answer, devices
    assert refused > 800


# --- the live form --------------------------------------------------------------------------------------------------

LIVE = """\
<devices>
  <interface type='network'>
    <mac address='52:54:00:00:00:01'/>
    <source network='n' portid='6695eb01-f6a4-8304-79aa-97f2502e193f' bridge='virbr0' macTableManager='libvirt'/>
    <target dev='vnet3'/>
    <model type='virtio'/>
    <alias name='net0'/>
  </interface>
  <serial type='pty'>
    <source path='/dev/pts/3'/>
    <target type='isa-serial' port='0'>
      <model name='isa-serial'/>
    </target>
    <alias name='serial0'/>
  </serial>
  <console type='pty' tty='/dev/pts/3'>
    <source path='/dev/pts/3'/>
    <target type='serial' port='0'/>
    <alias name='serial0'/>
  </console>
  <channel type='unix'>
    <source mode='bind' path='/run/agent'/>
    <target type='virtio' name='org.qemu.guest_agent.0' state='connected'/>
    <alias name='channel0'/>
    <address type='virtio-serial' controller='0' bus='0' port='1'/>
  </channel>
  <graphics type='vnc' port='5900' autoport='yes' passwd='p' passwdValidTo='2030-01-02T03:04:05' connected='keep'>
    <listen type='network' address='10.0.0.1' network='n'/>
  </graphics>
</devices>
"""

STORED = """\
<devices>
  <interface type='network'>
    <mac address='52:54:00:00:00:01'/>
    <source network='n'/>
    <model type='virtio'/>
  </interface>
  <serial type='pty'>
    <target type='isa-serial' port='0'>
      <model name='isa-serial'/>
    </target>
  </serial>
  <console type='pty'>
    <target type='serial' port='0'/>
  </console>
  <channel type='unix'>
    <source mode='bind' path='/run/agent'/>
    <target type='virtio' name='org.qemu.guest_agent.0'/>
    <address type='virtio-serial' controller='0' bus='0' port='1'/>
  </channel>
  <graphics type='vnc' port='5900' autoport='yes' passwdValidTo='2030-01-02T03:04:05' connected='keep'>
    <listen type='network' network='n'/>
  </graphics>
</devices>
"""


def test_stored_form_hides_what_only_runs_and_the_password() -> None:
    """The live form has all; the stored one no tap, port, path, state or address of the moment, and no password."""
    devices = _parse_whole(LIVE)
    assert _format(devices, Output.LIVE | Output.SECURE) == LIVE
    assert _format(devices, Output.INACTIVE) == STORED
    assert " passwd=" not in _format(devices, Output.LIVE)
