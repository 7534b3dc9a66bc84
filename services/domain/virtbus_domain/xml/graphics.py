"""Graphics servers: how people see the guest's screen."""

from __future__ import annotations

from virtbus_shared.service.xml import attr, element, subs
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import INT, ONOFF, UINT, YESNO, words

TYPES = ("sdl", "vnc", "rdp", "desktop", "spice", "egl-headless", "dbus")
LISTEN_TYPES = ("none", "address", "network", "socket")
CHANNELS = ("main", "display", "inputs", "cursor", "playback", "record", "smartcard", "usbredir")
CHANNEL_MODES = ("any", "secure", "insecure")


@element
class Listen(Element):
    """Where a server listens: an address, a virtual network's address, a unix socket, or nowhere.

    ``from_config`` marks a socket that the driver's settings chose, in a running domain's status.
    """

    type: str | None = attr("@type", words(*LISTEN_TYPES))
    address: str | None = attr("@address", live=lambda address, listen: listen.type == "network")
    network: str | None = attr("@network")
    socket: str | None = attr("@socket")


@element
class SpiceChannel(Element):
    """Whether one channel of SPICE is encrypted."""

    name: str | None = attr("@name", words(*CHANNELS))
    mode: str | None = attr("@mode", words(*CHANNEL_MODES))


@element
class Graphics(Element):
    """One server. The password is written only for callers that may see it and ask for it."""

    type: str | None = attr("@type", words(*TYPES))
    port: int | None = attr("@port", INT)
    tls_port: int | None = attr("@tlsPort", INT)
    autoport: bool | None = attr("@autoport", YESNO)
    websocket: int | None = attr("@websocket", INT)
    replace_user: bool | None = attr("@replaceUser", YESNO)
    multi_user: bool | None = attr("@multiUser", YESNO)
    display: str | None = attr("@display")
    xauth: str | None = attr("@xauth")
    fullscreen: bool | None = attr("@fullscreen", YESNO)
    dbus_address: str | None = attr("@address")
    p2p: bool | None = attr("@p2p", YESNO)
    socket: str | None = attr("@socket")
    listen_address: str | None = attr("@listen")
    keymap: str | None = attr("@keymap")
    default_mode: str | None = attr("@defaultMode", words(*CHANNEL_MODES))
    share_policy: str | None = attr("@sharePolicy", words("allow-exclusive", "force-shared", "ignore"))
    power_control: bool | None = attr("@powerControl", YESNO)
    passwd: str | None = attr("@passwd", secret=True)
    passwd_valid_to: str | None = attr("@passwdValidTo", secret=True)
    connected: str | None = attr("@connected", words("fail", "disconnect", "keep"), secret=True)
    listens: list[Listen] = subs("listen", Listen)
    channels: list[SpiceChannel] = subs("channel", SpiceChannel)
    image_compression: str | None = attr("image/@compression",
                                         words("auto_glz", "auto_lz", "quic", "glz", "lz", "off"))
    jpeg_compression: str | None = attr("jpeg/@compression", words("auto", "never", "always"))
    zlib_compression: str | None = attr("zlib/@compression", words("auto", "never", "always"))
    playback_compression: bool | None = attr("playback/@compression", ONOFF)
    streaming_mode: str | None = attr("streaming/@mode", words("filter", "all", "off"))
    mouse_mode: str | None = attr("mouse/@mode", words("server", "client"))
    clipboard_copypaste: bool | None = attr("clipboard/@copypaste", YESNO)
    filetransfer_enable: bool | None = attr("filetransfer/@enable", YESNO)
    gl_enable: bool | None = attr("gl/@enable", YESNO)
    gl_rendernode: str | None = attr("gl/@rendernode")
    audio_id: int | None = attr("audio/@id", UINT)
