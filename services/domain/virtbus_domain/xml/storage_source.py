"""What backs a disk, or a layer below it: files, devices, volumes and network storage, with keys and credentials.

Disks, their backing chains and mirrors, snapshots, backups and SCSI host devices share these models. Which of the
fields of a source count depends on the type of what it backs, and for network storage on the protocol.
"""

from __future__ import annotations

from virtbus_domain.xml.address import HostPciAddress
from virtbus_domain.xml.chardev import SourceSeclabel
from virtbus_domain.xml.lenient import TEXT
from virtbus_domain.xml.values import NOT_EMPTY, OWN_NUMBER, PORT, UINT_OR_ZERO, ULONG_OR_ZERO
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, sub, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import UINT, ULONG, UUID, YESNO, AnyRefusal, words

TYPES = ("file", "block", "dir", "network", "volume", "nvme", "vhostuser")
FORMATS = ("raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop", "cow", "qcow", "qcow2",
           "qed", "vmdk", "luks")
PROTOCOLS = ("none", "nbd", "rbd", "sheepdog", "gluster", "iscsi", "http", "https", "ftp", "ftps", "tftp", "ssh",
             "vxhs", "nfs")
# What libvirt reads of a source, by its type and, for network storage, by its protocol, beyond what all have.
COMMON_FIELDS = ("startup_policy", "index", "slices", "encryption")
SOURCE_FIELDS: dict[str, tuple[str, ...]] = {
    "file": ("file", "fdgroup", "seclabels", "auth", "reservations"),
    "block": ("dev", "seclabels", "auth", "reservations"),
    "dir": ("dir", "seclabels", "auth", "reservations"),
    "volume": ("pool", "volume", "mode", "seclabels", "reservations"),
    "nvme": ("type", "managed", "namespace", "address", "seclabels", "auth"),
    "vhostuser": ("type", "socket_path", "reconnect_enabled", "reconnect_timeout", "seclabels", "auth"),
    "network": ("protocol", "name", "tls", "tls_hostname", "hosts", "snapshot", "config_file", "initiator", "auth",
                "reservations"),
}
_HTTP = ("query", "cookies", "readahead", "timeout")
PROTOCOL_FIELDS: dict[str, tuple[str, ...]] = {
    "http": _HTTP, "https": (*_HTTP, "ssl_verify"), "ftp": ("readahead", "timeout"),
    "ftps": ("readahead", "timeout", "ssl_verify"),
    "nfs": ("identity_user", "identity_group"),
}
ENCRYPTIONS = ("default", "qcow", "luks", "luks2")


_NO_SECRET: AnyRefusal = (c.VIR_ERR_XML_ERROR, "invalid secret uuid '{value}'", c.VIR_FROM_NONE)


def _wrong(detail: str, code: int = c.VIR_ERR_XML_ERROR) -> AnyRefusal:
    """A refusal of the part of libvirt that knows storage and nothing of domains."""
    return (code, detail, c.VIR_FROM_STORAGE)


@element
class StorageAuth(Element):
    """A user name and the secret that holds the password: by ``secret_uuid``, or by the name of its use."""

    username: str | None = attr("@username", NOT_EMPTY, required=_wrong("missing username for auth"),
                                error=_wrong("missing username for auth"))
    secret_type: str | None = attr(
        "secret/@type", words("ceph", "iscsi"), error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown secret type '{value}'"),
        required=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown secret type '<null>'"))
    secret_uuid: str | None = attr("secret/@uuid", UUID, error=_NO_SECRET)
    secret_usage: str | None = attr("secret/@usage")


@element
class EncryptionSecret(Element):
    """A passphrase of an encrypted image, as a secret: by ``uuid``, or by the name of its use."""

    type: str | None = attr(
        "@type", words("passphrase"), required=_wrong("unknown volume encryption secret type"),
        error=_wrong("unknown volume encryption secret type {value}", c.VIR_ERR_CONFIG_UNSUPPORTED))
    uuid: str | None = attr("@uuid", UUID, error=_NO_SECRET)
    usage: str | None = attr("@usage")


@element(open_tag=True)
class Encryption(Element):
    """How an image is encrypted, and who decrypts it. Cipher and ``ivgen`` are for making a new image only."""

    format: str | None = attr(
        "@format", words(*ENCRYPTIONS), required=_wrong("unknown volume encryption format"),
        error=_wrong("unknown volume encryption format type {value}", c.VIR_ERR_CONFIG_UNSUPPORTED))
    engine: str | None = attr("@engine", words("qemu", "librbd"))
    secrets: list[EncryptionSecret] = subs("secret", EncryptionSecret)
    cipher_name: str | None = attr("cipher/@name", required=_wrong("cipher info missing 'name' attribute"))
    cipher_size: int | None = attr("cipher/@size", UINT, required=True)
    cipher_mode: str | None = attr("cipher/@mode")
    cipher_hash: str | None = attr("cipher/@hash")
    ivgen_name: str | None = attr("ivgen/@name", required=_wrong("missing ivgen info name string"))
    ivgen_hash: str | None = attr("ivgen/@hash")


@element
class StorageHost(Element):
    """A server of network storage: ``name`` and ``port``, or the path of a ``socket``."""

    name: str | None = attr("@name")
    port: int | None = attr("@port", PORT)
    transport: str | None = attr("@transport", words("tcp", "unix", "rdma"),
                                 error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown protocol transport type '{value}'"))
    socket: str | None = attr("@socket")


@element
class StorageSlice(Element):
    """The part of a file or device that holds the image, in bytes."""

    type: str | None = attr("@type")
    offset: int | None = attr("@offset", ULONG,
                              error=(c.VIR_ERR_XML_ERROR, "malformed value '{value}' of 'offset' attribute of slice"))
    size: int | None = attr("@size", ULONG,
                            error=(c.VIR_ERR_XML_ERROR, "malformed value '{value}' of 'size' attribute of slice"))


@element
class Cookie(Element):
    """What an HTTP server is sent with each request; as good as a password."""

    name: str | None = attr("@name", NOT_EMPTY, required=(c.VIR_ERR_XML_ERROR, "missing cookie name"),
                            error=(c.VIR_ERR_XML_ERROR, "missing cookie name"))
    value: str | None = text(".")


@element
class Reservations(Element):
    """Who may ask the storage for SCSI persistent reservations: a daemon that the service starts, or a running one."""

    managed: bool | None = attr("@managed", YESNO, required=True)
    source_type: str | None = attr("source/@type", words("unix"),
                                   required=_wrong("missing connection type for <reservations/>"),
                                   error=_wrong("unsupported connection type for <reservations/>: {value}"))
    source_path: str | None = attr("source/@path", NOT_EMPTY, required=_wrong("missing path for <reservations/>"),
                                   error=_wrong("missing path for <reservations/>"))
    source_mode: str | None = attr("source/@mode", words("client"),
                                   required=_wrong("missing connection mode for <reservations/>"),
                                   error=_wrong("unsupported connection mode for <reservations/>: {value}"))


@element
class DiskSource(Element):
    """What backs a disk: one of ``file``, ``dev``, ``dir``, ``pool`` with ``volume``, ``protocol`` with ``name``.

    Of an NVMe disk it is the host's controller at ``address`` with a ``namespace`` of it, of a vhost-user disk the
    ``path`` of a socket; both have a ``type`` of their own. ``index`` is the layer's number in a running domain,
    ``readahead`` is in bytes, ``timeout`` and the reconnection's time in seconds. ``fdgroup`` names file descriptors
    that a client has handed over.
    """

    file: str | None = attr("@file", TEXT)
    fdgroup: str | None = attr("@fdgroup")
    dev: str | None = attr("@dev", TEXT)
    dir: str | None = attr("@dir", TEXT)
    pool: str | None = attr("@pool")
    volume: str | None = attr("@volume")
    mode: str | None = attr("@mode", words("host", "direct"), error=(
        c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown source mode '{value}' for volume type disk"))
    type: str | None = attr("@type", words("pci", "unix"),
                            error=(c.VIR_ERR_XML_ERROR, "unsupported source type '{value}'"))
    socket_path: str | None = attr("@path")
    managed: bool | None = attr("@managed", YESNO)
    namespace: int | None = attr("@namespace", ULONG, error=(c.VIR_ERR_XML_ERROR, "malformed namespace '{value}'"))
    protocol: str | None = attr("@protocol", words(*PROTOCOLS))
    name: str | None = attr("@name", TEXT)
    query: str | None = attr("@query")
    tls: bool | None = attr("@tls", YESNO)
    tls_hostname: str | None = attr("@tlsHostname")
    startup_policy: str | None = attr("@startupPolicy", words("mandatory", "requisite", "optional"))
    index: int | None = attr("@index", OWN_NUMBER, live=True)
    hosts: list[StorageHost] = subs("host", StorageHost)
    identity_user: str | None = attr("identity/@user")
    identity_group: str | None = attr("identity/@group")
    snapshot: str | None = attr("snapshot/@name")
    config_file: str | None = attr("config/@file")
    initiator: str | None = attr("initiator/iqn/@name")
    ssl_verify: bool | None = attr("ssl/@verify", YESNO)
    cookies: list[Cookie] = subs("cookies/cookie", Cookie, secret=True)
    readahead: int | None = attr("readahead/@size", ULONG_OR_ZERO, error=(
        c.VIR_ERR_XML_ERROR, "invalid readahead size or timeout"))
    timeout: int | None = attr("timeout/@seconds", ULONG_OR_ZERO, error=(
        c.VIR_ERR_XML_ERROR, "invalid readahead size or timeout"))
    reconnect_enabled: bool | None = attr("reconnect/@enabled", YESNO)
    reconnect_timeout: int | None = attr("reconnect/@timeout", UINT_OR_ZERO)
    address: HostPciAddress | None = sub("address", HostPciAddress)
    slices: list[StorageSlice] = subs("slices/slice", StorageSlice)
    seclabels: list[SourceSeclabel] = subs("seclabel", SourceSeclabel)
    auth: StorageAuth | None = sub("auth", StorageAuth)
    reservations: Reservations | None = sub("reservations", Reservations)
    encryption: Encryption | None = sub("encryption", Encryption)

    @property
    def path(self) -> str | None:
        """The file, device or directory on the host, None for what is reached otherwise."""
        return self.file or self.dev or self.dir

    @property
    def is_empty(self) -> bool:
        """Nothing is named: an empty drive, or a mistake."""
        return not (self.path or self.protocol or self.pool or self.volume or self.type)
