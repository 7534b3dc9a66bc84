"""Connection URIs: which driver, on which node, by which door, through which broker.

The form is libvirt's, ``driver[+transport]://[user@][node]/path[?params]``, and so are the errors of malformed ones
(libvirt 9.0.0). Where libvirt's transport names a way to reach a host, ours names a door: none or ``unix`` is this
machine, ``amqp`` and ``amqps`` (AMQP over TLS) are a node behind the broker.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError, invalid_arg

REMOTE_TRANSPORTS = ("amqp", "amqps")
TRANSPORTS = ("", "unix", *REMOTE_TRANSPORTS)
LOCAL_URI = "qemu:///system"

# RFC 3986, with the characters that it allows unescaped; a driver is what precedes "+transport" in the scheme.
URI = re.compile(
    r"(?:(?P<driver>[A-Za-z][A-Za-z0-9.-]*)(?P<plus>\+(?P<transport>[A-Za-z0-9.-]*))?:)?"
    r"(?://(?:(?P<user>[^/?#@\s\[\]]*)@)?(?P<node>[^/?#@\s\[\]]*|\[[0-9A-Fa-f:.]+\](?::\d+)?))?"
    r"(?P<path>[^?#\s\[\]]*)(?:\?(?P<query>[^#\s]*))?(?:\#\S*)?")
# What the pattern lets pass: a stray "%", and a colon before the first slash where no driver explains it.
UNREADABLE = re.compile(r"%(?![0-9A-Fa-f]{2})|^(?![A-Za-z][A-Za-z0-9.+-]*:)[^/?#]*:")
# A node's name becomes a word of routing keys and of queue names, so it holds nothing that AMQP or a URI could split.
NODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")


@dataclass(frozen=True)
class ConnectionURI:
    """A parsed URI; ``str()`` gives it as it was written, which is what ``getURI()`` returns."""

    text: str
    driver: str
    transport: str = ""
    user: str = ""
    node: str = ""
    path: str = ""
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def remote(self) -> bool:
        """Whether calls go through a broker."""
        return self.transport in REMOTE_TRANSPORTS

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> ConnectionURI:
    """Read a URI; failures carry libvirt's codes: 1 unreadable, 5 without a driver, 8 a part that cannot be."""
    found = URI.fullmatch(text)
    if found is None or UNREADABLE.search(text):
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"Unable to parse URI {text}", domain=c.VIR_FROM_URI)
    if found["driver"] is None:
        raise LibvirtError(c.VIR_ERR_NO_CONNECT, f"URI '{text}' does not include a driver name")
    transport, node = found["transport"] or "", unquote(found["node"] or "")
    if transport not in TRANSPORTS or (found["plus"] and not transport):
        raise invalid_arg("transport in URL not recognised (should be unix|amqp|amqps)", c.VIR_FROM_REMOTE)
    _check_node(text, transport, node)
    return ConnectionURI(
        text=text, driver=found["driver"], transport=transport, user=unquote(found["user"] or ""), node=node,
        path=unquote(found["path"]), params=dict(parse_qsl(found["query"] or "", keep_blank_values=True)))


def resolve(name: str | None) -> ConnectionURI:
    """The URI that ``open(name)`` means: without one, ``LIBVIRT_DEFAULT_URI``, then ``uri_default`` of the
    configuration file, then this machine's QEMU.
    """
    if name is not None and not isinstance(name, str):
        raise TypeError(f"virConnectOpen() argument 1 must be str or None, not {type(name).__name__}")
    return parse(name or os.environ.get("LIBVIRT_DEFAULT_URI") or _configured("uri_default") or LOCAL_URI)


def broker_address(uri: ConnectionURI) -> str:
    """The AMQP URL of the broker: ``?broker=`` of the URI, ``VIRTBUS_BROKER``, then ``broker`` of the configuration
    file. A bare ``host[:port]`` will do. With transport ``amqps`` the address is made ``amqps`` too: who asks for TLS
    never gets less.
    """
    address = uri.params.get("broker") or os.environ.get("VIRTBUS_BROKER") or _configured("broker")
    if not address:
        raise invalid_arg(
            f"no broker address for '{uri}': give ?broker=, VIRTBUS_BROKER, or broker in {config_files()[0]}",
            c.VIR_FROM_REMOTE)
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = uri.transport, address
    if scheme not in REMOTE_TRANSPORTS:
        raise invalid_arg(f"broker address must begin with amqp:// or amqps://, not {scheme}://", c.VIR_FROM_REMOTE)
    return f"{'amqps' if uri.transport == 'amqps' else scheme}://{rest}"


def config_files() -> tuple[Path, Path]:
    """Where settings of clients are looked for, the user's own before the machine's."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(home) / "virtbus" / "virtbus.toml", Path("/etc/virtbus/virtbus.toml")


def _check_node(text: str, transport: str, node: str) -> None:
    if transport in REMOTE_TRANSPORTS:
        if not node:
            raise invalid_arg(f"URI '{text}' names no node", c.VIR_FROM_REMOTE)
        if not NODE.fullmatch(node):
            raise invalid_arg(
                f"'{node}' in URI '{text}' is no node name (letters, digits, '.', '_', '-'; the broker's address and "
                "port go into ?broker=)", c.VIR_FROM_REMOTE)
    elif node:
        raise invalid_arg(f"URI '{text}' names a node but no transport to it (amqp|amqps)", c.VIR_FROM_REMOTE)


def _configured(key: str) -> str | None:
    """A text setting from the first configuration file that has it."""
    for path, settings in _configurations():
        if (value := settings.get(key)) is not None:
            if not isinstance(value, str):
                raise LibvirtError(c.VIR_ERR_CONF_SYNTAX, f"{path}: {key} must be a string", domain=c.VIR_FROM_CONF)
            return value
    return None


def _configurations() -> Iterator[tuple[Path, dict[str, object]]]:
    for path in config_files():
        try:
            yield path, tomllib.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise LibvirtError(c.VIR_ERR_OPEN_FAILED, f"'{path}': {error.strerror}", domain=c.VIR_FROM_CONF) from error
        except ValueError as error:
            raise LibvirtError(c.VIR_ERR_CONF_SYNTAX, f"{path}: {error}", domain=c.VIR_FROM_CONF) from error
