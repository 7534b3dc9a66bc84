"""libvirt's errors: codes, domains, message texts, and the one exception that carries all nine fields.

Clients of libvirt branch on the code and show the message, so both are libvirt's own: a fixed text for each code,
followed by a detail ("Domain not found: no domain with matching name 'a'"). Services raise ``LibvirtError``; the
envelope carries its nine fields; the gateway turns them into ``libvirt.libvirtError``. Source: libvirt 9.0.0,
``virterror.h`` for the numbers; the texts are what its library answers for each number.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtbus_shared import constants as c

Fields = tuple[int, int, str, int, str | None, str | None, str | None, int, int]

# code -> the text without a detail; with a detail it is "text: detail", except where a pair says otherwise.
MESSAGES: dict[int, str | tuple[str, str]] = {
    c.VIR_ERR_INTERNAL_ERROR: "internal error",
    c.VIR_ERR_NO_MEMORY: "out of memory",
    c.VIR_ERR_NO_SUPPORT: "this function is not supported by the connection driver",
    c.VIR_ERR_UNKNOWN_HOST: ("unknown host", "unknown host %s"),
    c.VIR_ERR_NO_CONNECT: ("no connection driver available", "no connection driver available for %s"),
    c.VIR_ERR_INVALID_CONN: ("invalid connection pointer in", "invalid connection pointer in %s"),
    c.VIR_ERR_INVALID_DOMAIN: ("invalid domain pointer in", "invalid domain pointer in %s"),
    c.VIR_ERR_INVALID_ARG: "invalid argument",
    c.VIR_ERR_OPERATION_FAILED: "operation failed",
    c.VIR_ERR_GET_FAILED: "GET operation failed",
    c.VIR_ERR_POST_FAILED: "POST operation failed",
    c.VIR_ERR_HTTP_ERROR: ("got unknown HTTP error code", "got unknown HTTP error code %s"),
    c.VIR_ERR_SEXPR_SERIAL: "failed to serialize S-Expr",
    c.VIR_ERR_NO_XEN: ("could not use Xen hypervisor entry", "could not use Xen hypervisor entry %s"),
    c.VIR_ERR_XEN_CALL: ("failed Xen syscall", "failed Xen syscall %s"),
    c.VIR_ERR_OS_TYPE: ("unknown OS type", "unknown OS type %s"),
    c.VIR_ERR_NO_KERNEL: "missing kernel information",
    c.VIR_ERR_NO_ROOT: ("missing root device information", "missing root device information in %s"),
    c.VIR_ERR_NO_SOURCE: ("missing source information for device", "missing source information for device %s"),
    c.VIR_ERR_NO_TARGET: ("missing target information for device", "missing target information for device %s"),
    c.VIR_ERR_NO_NAME: ("missing name information", "missing name information in %s"),
    c.VIR_ERR_NO_OS: ("missing operating system information", "missing operating system information for %s"),
    c.VIR_ERR_NO_DEVICE: ("missing devices information", "missing devices information for %s"),
    c.VIR_ERR_NO_XENSTORE: ("could not connect to Xen Store", "could not connect to Xen Store %s"),
    c.VIR_ERR_DRIVER_FULL: ("too many drivers registered", "too many drivers registered in %s"),
    c.VIR_ERR_CALL_FAILED: "library call failed",
    c.VIR_ERR_XML_ERROR: ("XML description is invalid or not well formed", "XML error: %s"),
    c.VIR_ERR_DOM_EXIST: ("this domain exists already", "domain %s exists already"),
    c.VIR_ERR_OPERATION_DENIED: ("operation forbidden for read only access", "operation forbidden: %s"),
    c.VIR_ERR_OPEN_FAILED: ("failed to open configuration file", "failed to open configuration file %s"),
    c.VIR_ERR_READ_FAILED: ("failed to read configuration file", "failed to read configuration file %s"),
    c.VIR_ERR_PARSE_FAILED: ("failed to parse configuration file", "failed to parse configuration file %s"),
    c.VIR_ERR_CONF_SYNTAX: "configuration file syntax error",
    c.VIR_ERR_WRITE_FAILED: "failed to write configuration file",
    c.VIR_ERR_XML_DETAIL: ("parser error", "%s"),
    c.VIR_ERR_INVALID_NETWORK: ("invalid network pointer in", "invalid network pointer in %s"),
    c.VIR_ERR_NETWORK_EXIST: ("this network exists already", "network %s exists already"),
    c.VIR_ERR_SYSTEM_ERROR: ("system call error", "%s"),
    c.VIR_ERR_RPC: ("RPC error", "%s"),
    c.VIR_ERR_GNUTLS_ERROR: ("GNUTLS call error", "%s"),
    c.VIR_WAR_NO_NETWORK: "Failed to find the network",
    c.VIR_ERR_NO_DOMAIN: "Domain not found",
    c.VIR_ERR_NO_NETWORK: "Network not found",
    c.VIR_ERR_INVALID_MAC: "invalid MAC address",
    c.VIR_ERR_AUTH_FAILED: "authentication failed",
    c.VIR_ERR_INVALID_STORAGE_POOL: ("invalid storage pool pointer in", "invalid storage pool pointer in %s"),
    c.VIR_ERR_INVALID_STORAGE_VOL: ("invalid storage volume pointer in", "invalid storage volume pointer in %s"),
    c.VIR_WAR_NO_STORAGE: "Failed to find a storage driver",
    c.VIR_ERR_NO_STORAGE_POOL: "Storage pool not found",
    c.VIR_ERR_NO_STORAGE_VOL: "Storage volume not found",
    c.VIR_WAR_NO_NODE: "Failed to find a node driver",
    c.VIR_ERR_INVALID_NODE_DEVICE: ("invalid node device pointer", "invalid node device pointer in %s"),
    c.VIR_ERR_NO_NODE_DEVICE: "Node device not found",
    c.VIR_ERR_NO_SECURITY_MODEL: "Security model not found",
    c.VIR_ERR_OPERATION_INVALID: "Requested operation is not valid",
    c.VIR_WAR_NO_INTERFACE: "Failed to find the interface",
    c.VIR_ERR_NO_INTERFACE: "Interface not found",
    c.VIR_ERR_INVALID_INTERFACE: ("invalid interface pointer in", "invalid interface pointer in %s"),
    c.VIR_ERR_MULTIPLE_INTERFACES: "multiple matching interfaces found",
    c.VIR_WAR_NO_NWFILTER: "Failed to start the nwfilter driver",
    c.VIR_ERR_INVALID_NWFILTER: "Invalid network filter",
    c.VIR_ERR_NO_NWFILTER: "Network filter not found",
    c.VIR_ERR_BUILD_FIREWALL: "Error while building firewall",
    c.VIR_WAR_NO_SECRET: "Failed to find a secret storage driver",
    c.VIR_ERR_INVALID_SECRET: "Invalid secret",
    c.VIR_ERR_NO_SECRET: "Secret not found",
    c.VIR_ERR_CONFIG_UNSUPPORTED: "unsupported configuration",
    c.VIR_ERR_OPERATION_TIMEOUT: "Timed out during operation",
    c.VIR_ERR_MIGRATE_PERSIST_FAILED: "Failed to make domain persistent after migration",
    c.VIR_ERR_HOOK_SCRIPT_FAILED: "Hook script execution failed",
    c.VIR_ERR_INVALID_DOMAIN_SNAPSHOT: "Invalid domain snapshot",
    c.VIR_ERR_NO_DOMAIN_SNAPSHOT: "Domain snapshot not found",
    c.VIR_ERR_INVALID_STREAM: ("invalid stream pointer", "invalid stream pointer in %s"),
    c.VIR_ERR_ARGUMENT_UNSUPPORTED: "argument unsupported",
    c.VIR_ERR_STORAGE_PROBE_FAILED: "Storage pool probe failed",
    c.VIR_ERR_STORAGE_POOL_BUILT: "Storage pool already built",
    c.VIR_ERR_SNAPSHOT_REVERT_RISKY: "revert requires force",
    c.VIR_ERR_OPERATION_ABORTED: "operation aborted",
    c.VIR_ERR_AUTH_CANCELLED: "authentication cancelled",
    c.VIR_ERR_NO_DOMAIN_METADATA: "metadata not found",
    c.VIR_ERR_MIGRATE_UNSAFE: "Unsafe migration",
    c.VIR_ERR_OVERFLOW: "numerical overflow",
    c.VIR_ERR_BLOCK_COPY_ACTIVE: "block copy still active",
    c.VIR_ERR_OPERATION_UNSUPPORTED: "Operation not supported",
    c.VIR_ERR_SSH: "SSH transport error",
    c.VIR_ERR_AGENT_UNRESPONSIVE: "Guest agent is not responding",
    c.VIR_ERR_RESOURCE_BUSY: "resource busy",
    c.VIR_ERR_ACCESS_DENIED: "access denied",
    c.VIR_ERR_DBUS_SERVICE: "error from service",
    c.VIR_ERR_STORAGE_VOL_EXIST: ("this storage volume exists already", "storage volume %s exists already"),
    c.VIR_ERR_CPU_INCOMPATIBLE: "the CPU is incompatible with host CPU",
    c.VIR_ERR_XML_INVALID_SCHEMA: "XML document failed to validate against schema",
    c.VIR_ERR_MIGRATE_FINISH_OK: "migration successfully aborted",
    c.VIR_ERR_AUTH_UNAVAILABLE: "authentication unavailable",
    c.VIR_ERR_NO_SERVER: "Server not found",
    c.VIR_ERR_NO_CLIENT: "Client not found",
    c.VIR_ERR_AGENT_UNSYNCED: "guest agent replied with wrong id to guest-sync command",
    c.VIR_ERR_LIBSSH: "libssh transport error",
    c.VIR_ERR_DEVICE_MISSING: "device not found",
    c.VIR_ERR_INVALID_NWFILTER_BINDING: "Invalid network filter binding",
    c.VIR_ERR_NO_NWFILTER_BINDING: "Network filter binding not found",
    c.VIR_ERR_INVALID_DOMAIN_CHECKPOINT: "Invalid domain checkpoint",
    c.VIR_ERR_NO_DOMAIN_CHECKPOINT: "Domain checkpoint not found",
    c.VIR_ERR_NO_DOMAIN_BACKUP: "Domain backup job id not found",
    c.VIR_ERR_INVALID_NETWORK_PORT: "Invalid network port pointer",
    c.VIR_ERR_NETWORK_PORT_EXIST: ("this network port exists already", "network port %s exists already"),
    c.VIR_ERR_NO_NETWORK_PORT: "network port not found",
    c.VIR_ERR_NO_HOSTNAME: "no hostname found",
    c.VIR_ERR_CHECKPOINT_INCONSISTENT: "checkpoint inconsistent",
    c.VIR_ERR_MULTIPLE_DOMAINS: "multiple matching domains found",
}


def message_template(code: int, *, detail: bool) -> str:
    """The fixed text of an error number: with ``detail`` a template that holds one ``%s``."""
    entry = MESSAGES.get(code, "unknown error")
    if isinstance(entry, tuple):
        return entry[1] if detail else entry[0]
    return f"{entry}: %s" if detail else entry


class LibvirtError(Exception):
    """A failure with libvirt's nine fields.

    ``code`` is a ``VIR_ERR_*``, ``domain`` a ``VIR_FROM_*`` (which part of libvirt speaks), ``message`` the whole
    text for people, ``level`` 1 for a warning and 2 for an error; ``str1`` to ``str3``, ``int1`` and ``int2`` are
    details whose meaning belongs to the code (libvirt puts the message template and the detail into the first two).
    """

    def __init__(self, code: int, detail: str | None = None, *, domain: int = c.VIR_FROM_NONE,
                 int1: int = -1, int2: int = -1) -> None:
        template = message_template(code, detail=detail is not None)
        self.code = code
        self.domain = domain
        self.message = template % detail if detail is not None else template
        self.level = c.VIR_ERR_ERROR
        self.str1: str | None = template
        self.str2: str | None = detail
        self.str3: str | None = None
        self.int1 = int1
        self.int2 = int2
        super().__init__(self.message)

    @property
    def fields(self) -> Fields:
        """The nine fields in libvirt's order: what the wire carries and what libvirt-python's ``err`` holds."""
        return (self.code, self.domain, self.message, self.level, self.str1, self.str2, self.str3, self.int1, self.int2)

    @classmethod
    def from_fields(cls, fields: Sequence[object]) -> LibvirtError:
        """The error that these nine fields describe; ill-formed fields give an internal error that says so."""
        match list(fields):
            case [int(code), int(domain), str(message), int(level), str1, str2, str3, int(int1), int(int2)]:
                error = cls(code, domain=domain, int1=int1, int2=int2)
                error.message, error.level = message, level
                error.str1, error.str2, error.str3 = (None if s is None else str(s) for s in (str1, str2, str3))
                error.args = (message,)
                return error
        return cls(c.VIR_ERR_RPC, f"malformed error in reply: {fields!r}", domain=c.VIR_FROM_RPC)


def no_support(function: str, domain: int = c.VIR_FROM_NONE) -> LibvirtError:
    """The answer to a call that a driver lacks: clients probe for it by its code, 3."""
    return LibvirtError(c.VIR_ERR_NO_SUPPORT, function, domain=domain)


def invalid_arg(detail: str, domain: int = c.VIR_FROM_NONE) -> LibvirtError:
    """An argument that no call of this shape may have."""
    return LibvirtError(c.VIR_ERR_INVALID_ARG, detail, domain=domain)


def bare_error(code: int, message: str, function: str, argument: str, domain: int = c.VIR_FROM_NONE) -> LibvirtError:
    """An error whose message stands alone, with the function and the argument as details: libvirt's way of refusing
    a single argument."""
    error = LibvirtError(code, domain=domain, int1=0, int2=0)
    error.message, error.str1, error.str2 = message, function, argument
    error.args = (message,)
    return error


def check_flags(flags: int, allowed: int, function: str, domain: int = c.VIR_FROM_NONE) -> None:
    """Refuse flag bits that the call does not know, in libvirt's words."""
    if unknown := flags & ~allowed:
        raise bare_error(c.VIR_ERR_INVALID_ARG, f"unsupported flags (0x{unknown:x}) in function {function}",
                         function, "flags", domain)
