"""Graphics servers and windows: how people see the guest's screen."""

from __future__ import annotations

import re

from virtbus_domain.xml.lenient import TEXT, YES, YES_OR_NO, unless
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, subs
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import INT, ONOFF, ORDER, YESNO, Kind, words

TYPES = ("sdl", "vnc", "rdp", "desktop", "spice", "egl-headless", "dbus")
LISTEN_TYPES = ("none", "address", "network", "socket")
CHANNELS = ("main", "display", "inputs", "cursor", "playback", "record", "smartcard", "usbredir")
CHANNEL_MODES = ("any", "secure", "insecure")
COMPRESSIONS = ("auto", "never", "always")

_PASSWORD = ("passwd", "passwd_valid_to", "connected")

# What libvirt reads, by type.
FIELDS: dict[str, tuple[str, ...]] = {
    "sdl": ("display", "xauth", "fullscreen", "gl_enable"),
    "desktop": ("display", "fullscreen"),
    "egl-headless": ("gl_rendernode",),
    "vnc": ("port", "autoport", "websocket", "socket", "listen", "keymap", "share_policy", "power_control", *_PASSWORD,
            "listens", "audio_id"),
    "rdp": ("port", "autoport", "replace_user", "multi_user", "listen", "listens"),
    "spice": ("port", "tls_port", "autoport", "listen", "keymap", "default_mode", *_PASSWORD, "listens", "channels",
              "image_compression", "jpeg_compression", "zlib_compression", "playback_compression", "streaming_mode",
              "mouse_mode", "clipboard_copypaste", "filetransfer_enable", "gl_enable", "gl_rendernode"),
    "dbus": ("dbus_address", "p2p", "gl_enable", "gl_rendernode", "audio_id"),
}

_TIME = re.compile("([0-9]{1,4})-([0-9]{1,2})-([0-9]{1,2})T([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})", re.ASCII)


def _read_time(text: str) -> str:
    """Date and time in UTC; single digits are filled up."""
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError
    return "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*map(int, found.groups()))


@element
class Listen(Element):
    """Where a server listens: an address, the address of a virtual network (known while it runs), a unix socket,
    or nowhere."""

    type: str | None = attr("@type", words(*LISTEN_TYPES))
    address: str | None = attr("@address", TEXT, live=lambda address, listen: listen.type == "network")
    network: str | None = attr("@network", TEXT)
    socket: str | None = attr("@socket", TEXT)


@element
class SpiceChannel(Element):
    """Whether one channel of SPICE is encrypted."""

    name: str | None = attr("@name", words(*CHANNELS))
    mode: str | None = attr("@mode", words(*CHANNEL_MODES))


@element
class Graphics(Element):
    """One server or window. The password is written only for callers that may see it and ask for it."""

    type: str | None = attr("@type", words(*TYPES))
    port: int | None = attr("@port", INT)
    tls_port: int | None = attr("@tlsPort", unless(INT, 0))
    autoport: bool | None = attr("@autoport", YESNO)
    websocket: int | None = attr("@websocket", unless(INT, 0))
    replace_user: bool | None = attr("@replaceUser", YES)
    multi_user: bool | None = attr("@multiUser", YES)
    display: str | None = attr("@display")
    xauth: str | None = attr("@xauth")
    fullscreen: bool | None = attr("@fullscreen", YES_OR_NO)
    dbus_address: str | None = attr("@address")
    p2p: bool | None = attr("@p2p", YES_OR_NO)
    socket: str | None = attr("@socket", TEXT)
    listen: str | None = attr("@listen", TEXT)
    keymap: str | None = attr("@keymap")
    default_mode: str | None = attr("@defaultMode", unless(words(*CHANNEL_MODES), "any"))
    share_policy: str | None = attr(
        "@sharePolicy", unless(words("default", "allow-exclusive", "force-shared", "ignore"), "default"))
    power_control: bool | None = attr("@powerControl", YESNO)
    passwd: str | None = attr("@passwd", secret=True)
    passwd_valid_to: str | None = attr(
        "@passwdValidTo", Kind(_read_time),
        error=(c.VIR_ERR_INTERNAL_ERROR,
               "cannot parse password validity time '{value}', expect YYYY-MM-DDTHH:MM:SS"))
    connected: str | None = attr("@connected", words("fail", "disconnect", "keep"),
                                 error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown connected value {value}"))
    listens: list[Listen] = subs("listen", Listen)
    channels: list[SpiceChannel] = subs("channel", SpiceChannel)
    image_compression: str | None = attr("image/@compression",
                                         words("auto_glz", "auto_lz", "quic", "glz", "lz", "off"))
    jpeg_compression: str | None = attr("jpeg/@compression", words(*COMPRESSIONS))
    zlib_compression: str | None = attr("zlib/@compression", words(*COMPRESSIONS))
    playback_compression: bool | None = attr("playback/@compression", ONOFF)
    streaming_mode: str | None = attr("streaming/@mode", words("filter", "all", "off"))
    mouse_mode: str | None = attr("mouse/@mode", words("server", "client"))
    clipboard_copypaste: bool | None = attr("clipboard/@copypaste", YESNO)
    filetransfer_enable: bool | None = attr("filetransfer/@enable", YESNO)
    gl_enable: bool | None = attr("gl/@enable", YESNO)
    gl_rendernode: str | None = attr("gl/@rendernode")
    audio_id: int | None = attr("audio/@id", ORDER)
