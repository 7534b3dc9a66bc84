"""Character devices on the command line: the host's end, which has no JSON syntax, and the device on top of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.command_line import RUN, command, domain_xml, options, parts, written
from virtbus_domain.drivers.qemu.command.parts import plug, unplug
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

SPICE = "<graphics type='spice' autoport='yes'/>"

# A serial port: the chardev under it. A name that QEMU knows by another word in an option than in QMP (a path, a name)
# and addresses, which are nested in QMP and flat in options, are what there is to go wrong.
HOST_ENDS = {
    "<serial type='pty'/>": "pty,id=charserial0",
    "<serial type='null'/>": "null,id=charserial0",
    "<serial type='stdio'/>": "stdio,id=charserial0",
    "<serial type='vc'/>": "vc,id=charserial0",
    "<serial type='file'><source path='/a,b' append='on'/></serial>": "file,id=charserial0,path=/a,,b,append=on",
    "<serial type='dev'><source path='/dev/ttyS1'/></serial>": "serial,id=charserial0,path=/dev/ttyS1",
    "<serial type='pipe'><source path='/p'/></serial>": "pipe,id=charserial0,path=/p",
    "<serial type='unix'><source mode='bind' path='/s,1'/></serial>":
        "socket,id=charserial0,path=/s,,1,server=on,wait=off",
    "<serial type='unix'><source mode='connect' path='/s'/></serial>": "socket,id=charserial0,path=/s",
    "<serial type='unix'><source mode='connect' path='/s'><reconnect enabled='yes' timeout='3'/></source></serial>":
        "socket,id=charserial0,path=/s,reconnect=3",
    "<serial type='unix'><source mode='connect' path='/s'><reconnect enabled='no'/></source></serial>":
        "socket,id=charserial0,path=/s,reconnect=0",
    "<serial type='tcp'><source mode='bind' host='::1' service='7'/><protocol type='telnet'/></serial>":
        "socket,id=charserial0,host=::1,port=7,telnet=on,server=on,wait=off",
    "<serial type='tcp'><source mode='connect' host='h,x=y' service='7'/><protocol type='raw'/></serial>":
        "socket,id=charserial0,host=h,,x=y,port=7",
    "<serial type='udp'><source mode='connect' host='c' service='2'/></serial>": "udp,id=charserial0,host=c,port=2",
    "<serial type='udp'><source mode='bind' host='b' service='1'/><source mode='connect' host='c' service='2'/>"
    "</serial>": "udp,id=charserial0,host=c,port=2,localaddr=b,localport=1",
    "<serial type='dbus'><source channel='org.x'/></serial>": "dbus,id=charserial0,name=org.x",
    SPICE + "<serial type='spiceport'><source channel='org.x,y'/></serial>": "spiceport,id=charserial0,name=org.x,,y",
    "<serial type='null'><log file='/l,1' append='off'/></serial>":
        "null,id=charserial0,logfile=/l,,1,logappend=off",
}

# Devices: family, document, what is on top of the host's end (or all, where there is none).
DEVICES: dict[str, tuple[str, str, Any]] = {
    "ISA port": ("serials", "<serial type='null'/>", {"driver": "isa-serial", "index": 0}),
    "second ISA port": ("serials", "<serial type='null'><target port='1'/></serial>",
                        {"driver": "isa-serial", "index": 1}),
    "ISA port at a place": (
        "serials", "<serial type='null'><target port='0'/><address type='isa' iobase='0x3f8' irq='4'/></serial>",
        {"driver": "isa-serial", "iobase": 0x3F8, "irq": 4}),
    "USB port": ("serials", "<serial type='null'><target type='usb-serial' port='0'/></serial>",
                 {"driver": "usb-serial", "bus": "usb.0", "port": "1"}),
    "PCI port": ("serials", "<serial type='null'><target type='pci-serial' port='0'/></serial>",
                 {"driver": "pci-serial", "bus": "pci.4", "addr": "0x1"}),
    "debug port": ("serials", "<serial type='null'><target type='isa-debug' port='0'/>"
                   "<address type='isa' iobase='0x402'/></serial>", {"driver": "isa-debugcon", "iobase": 0x402}),
    "parallel port": ("parallels", "<parallel type='null'/>", {"driver": "isa-parallel"}),
    "virtio console": ("consoles", "<console type='null'><target type='virtio'/></console>", {"driver": "virtconsole"}),
    "channel": ("channels", "<channel type='null'><target type='virtio' name='a,b'/></channel>",
                {"driver": "virtserialport", "name": "a,b", "bus": "virtio-serial0.0", "nr": 1}),
    "smart card": ("smartcards", "<smartcard mode='passthrough' type='tcp'><source mode='bind' host='h' service='1'/>"
                   "<protocol type='raw'/></smartcard>", {"driver": "ccid-card-passthru", "bus": "ccid0.0"}),
    "redirected device": (
        "redirdevs", f"{SPICE}<redirdev bus='usb' type='spicevmc'><boot order='3'/></redirdev><redirfilter>"
        "<usbdev class='0x08' vendor='0x1234' product='0xBEEF' version='2.56' allow='yes'/><usbdev allow='no'/>"
        "</redirfilter>",
        {"driver": "usb-redir", "filter": "0x08:0x1234:0xBEEF:0x0256:1|-1:-1:-1:-1:0", "bootindex": 3,
         "bus": "usb.0", "port": "1"}),
}


@pytest.mark.parametrize("document", HOST_ENDS)
def test_host_end(document: str) -> None:
    """The chardev of each type."""
    assert written(domain_xml(document), "serials")[0] == HOST_ENDS[document]


@pytest.mark.parametrize("name", DEVICES)
def test_device(name: str) -> None:
    """What the guest sees, joined to its host's end by name."""
    family, document, expected = DEVICES[name]
    *_, device = written(domain_xml(document), family)
    alias, chardev = device.pop("id"), device.pop("chardev")
    assert chardev == f"char{alias}"
    assert {key: device.get(key) for key in expected} == expected
    assert device.keys() <= expected.keys() | {"bus", "nr"}


class TestSpecial:
    """Where the host's end is told what it is for."""

    def test_spice(self) -> None:
        """A SPICE channel is named by its purpose."""
        channel = "<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>"
        assert written(domain_xml(SPICE + channel), "channels")[0] == "spicevmc,id=charchannel0,name=vdagent"
        card = "<smartcard mode='passthrough' type='spicevmc'/>"
        assert written(domain_xml(SPICE + card), "smartcards")[0] == "spicevmc,id=charsmartcard0,name=smartcard"
        redirected = "<redirdev bus='usb' type='spicevmc'/>"
        assert written(domain_xml(SPICE + redirected), "redirdevs")[0] == "spicevmc,id=charredir0,name=usbredir"

    def test_clipboard(self) -> None:
        """QEMU's own agent is told of the clipboard and of who moves the pointer."""
        agent = ("<channel type='qemu-vdagent'><source><clipboard copypaste='yes'/><mouse mode='{}'/></source>"
                 "<target type='virtio' name='com.redhat.spice.0'/></channel>")
        for mode, switch in (("client", "on"), ("server", "off")):
            assert written(domain_xml(agent.format(mode)), "channels")[0] == (
                f"qemu-vdagent,id=charchannel0,clipboard=on,mouse={switch}")

    def test_parallel_port_of_the_host(self) -> None:
        """A device of the host is a parallel port under a parallel port."""
        document = "<parallel type='dev'><source path='/dev/parport0'/></parallel>"
        assert written(domain_xml(document), "parallels")[0] == "parallel,id=charparallel0,path=/dev/parport0"

    def test_guest_forwarding(self) -> None:
        """An address in the guest's network leads to a socket of the host."""
        document = ("<channel type='tcp'><source mode='connect' host='h' service='1'/>"
                    "<target type='guestfwd' address='10.0.2.1' port='4600'/></channel>")
        assert written(domain_xml(document), "channels") == [
            "socket,id=charchannel0,host=h,port=1",
            {"type": "user", "id": "channel0",
             "guestfwd": [{"str": "tcp:10.0.2.1:4600-chardev:charchannel0"}]}]

    def test_random_numbers_from_a_server(self) -> None:
        """The socket, the source, the device, in this order."""
        document = ("<rng model='virtio'><backend model='egd' type='tcp'><source mode='connect' host='h' service='1'/>"
                    "<protocol type='raw'/></backend></rng>")
        chardev, source, device = written(domain_xml(document), "rngs")
        assert chardev == "socket,id=charrng0,host=h,port=1"
        assert source == {"qom-type": "rng-egd", "id": "objrng0", "chardev": "charrng0"}
        assert device["rng"] == "objrng0"

    def test_smart_card_of_the_host(self) -> None:
        """Emulated by QEMU, without a host's end."""
        [card] = written(domain_xml("<smartcard mode='host'/>"), "smartcards")
        assert card == {"driver": "ccid-card-emulated", "id": "smartcard0", "backend": "nss-emulated",
                        "bus": "ccid0.0"}

    def test_console_that_is_a_serial_port(self) -> None:
        """It is the serial port's other name, and no device."""
        argv = command(domain_xml("<console type='pty'/>"))
        assert [value for value in options(argv, "-chardev") if "charmonitor" not in value] == ["pty,id=charserial0"]

    def test_unix_port_without_a_path(self) -> None:
        """Two channels without paths have sockets of their own in the guest's directory."""
        channel = "<channel type='unix'><target type='virtio' name='{}'/></channel>"
        values = [value for value in written(domain_xml(channel.format("a") + channel.format("b")), "channels")
                  if isinstance(value, str)]
        assert values == [f"socket,id=charchannel{number},path={RUN}/channel{number}.sock,server=on,wait=off"
                          for number in (0, 1)]


@pytest.mark.parametrize(("document", "words"), [
    ("<serial type='nmdm'><source master='/a' slave='/b'/></serial>", "a character device of type 'nmdm'"),
    ("<serial type='tcp'><source mode='bind' host='h' service='7' tls='yes'/></serial>", "TLS"),
    ("<channel type='null'><target type='xen' name='x'/></channel>", "the target of 'channel0'"),
    ("<smartcard mode='host-certificates'><certificate>a</certificate><certificate>b</certificate>"
     "<certificate>c</certificate></smartcard>", "smart card of mode 'host-certificates'"),
])
def test_refused(document: str, words: str) -> None:
    """What we cannot do is named."""
    with pytest.raises(LibvirtError) as error:
        command(domain_xml(document))
    assert error.value.code == c.VIR_ERR_CONFIG_UNSUPPORTED
    assert words in error.value.message


def test_plugged_as_started() -> None:
    """The same parts as QMP commands: the chardev's members nested as QMP has them, and taken away backwards."""
    made = parts(domain_xml("<channel type='unix'><source mode='connect' path='/s,1'/>"
                            "<target type='virtio' name='a'/></channel>"), "channels")
    chardev, device = plug(made)
    assert (chardev.name, chardev.arguments) == ("chardev-add", {
        "id": "charchannel0", "backend": {"type": "socket", "data": {
            "server": False, "addr": {"type": "unix", "data": {"path": "/s,1"}}}}})
    assert device.name == "device_add"
    assert device.arguments["chardev"] == "charchannel0"
    assert [(command.name, dict(command.arguments)) for command in unplug(made)] == [
        ("device_del", {"id": "channel0"}), ("chardev-remove", {"id": "charchannel0"})]

