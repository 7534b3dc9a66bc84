"""Graphics servers: how people see the guest's screen."""

from __future__ import annotations

from virtbus_shared.service.xml import attr, element, raw
from virtbus_shared.service.xml_lines import Element, Raw
from virtbus_shared.service.xml_values import INT, YESNO, words


@element
class Graphics(Element):
    """One server. The password is written only for callers that may see it and ask for it."""

    type: str | None = attr("@type", words("sdl", "vnc", "rdp", "desktop", "spice", "egl-headless", "dbus"))
    port: int | None = attr("@port", INT)
    tls_port: int | None = attr("@tlsPort", INT)
    autoport: bool | None = attr("@autoport", YESNO)
    websocket: int | None = attr("@websocket", INT)
    socket: str | None = attr("@socket")
    listen_address: str | None = attr("@listen")
    keymap: str | None = attr("@keymap")
    passwd: str | None = attr("@passwd", secret=True)
    passwd_valid_to: str | None = attr("@passwdValidTo", secret=True)
    connected: str | None = attr("@connected", secret=True)
    share_policy: str | None = attr("@sharePolicy", words("allow-exclusive", "force-shared", "ignore"))
    listen: tuple[Raw, ...] = raw("listen")
