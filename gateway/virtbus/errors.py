"""The exception that libvirt's users know, and what surrounds it: the last error of a thread, handlers, the print.

Services and the bus speak of failures as ``virtbus_shared.errors.LibvirtError``; a program written for libvirt-python
expects ``libvirtError``, a last error per thread, a handler that may be replaced, and a line on stderr while it is
not. This module is the one place where the first becomes the second. Behaviour: libvirt-python 9.0.0.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

from virtbus_shared import constants as c
from virtbus_shared.errors import Fields, LibvirtError

P = ParamSpec("P")
T = TypeVar("T")
ErrorHandler = Callable[[object, Fields], object]

# Who speaks, as the print on stderr names it; the index is the VIR_FROM_* number.
ORIGINS = (
    "", "Xen Driver", "Xen Daemon", "Xen Store", "S-Expression", "XML Util", "Domain", "XML-RPC", "Proxy Daemon",
    "Config File", "QEMU Driver", "Network", "Test Driver", "Remote Driver", "OpenVZ Driver", "Xen XM Driver",
    "Linux Statistics", "LXC Driver", "Storage Driver", "Network Driver", "Domain Config", "User Mode Linux Driver",
    "Node Device Driver", "Xen Inotify Driver", "Security Driver", "VirtualBox Driver", "Network Interface Driver",
    "Open Nebula Driver", "ESX Driver", "Power Hypervisor Driver", "Secrets Driver", "CPU Driver", "XenAPI Driver",
    "Network Filter Driver", "Lifecycle Hook", "Domain Snapshot", "Audit Utils", "Sysinfo Utils", "I/O Stream Utils",
    "VMware Driver", "Event Loop", "Xen Light Driver", "Lock Driver", "Hyper-V Driver", "Capabilities Utils",
    "URI Utils", "Authentication Utils", "DBus Utils", "Parallels Cloud Server", "Device Config",
    "SSH transport layer", "Lock Space", "Init control", "Identity", "Cgroup", "Access Manager", "Systemd", "Bhyve",
    "Crypto", "Firewall", "Polkit", "Thread jobs", "Admin Interface", "Log Manager", "Xen XL Config", "Perf",
    "Libssh transport layer", "Resource control", "FirewallD", "Domain Checkpoint", "TPM", "BPF",
    "Cloud-Hypervisor Driver",
)
LEVELS = {c.VIR_ERR_WARNING: "warning", c.VIR_ERR_ERROR: "error"}


class _ThreadState(threading.local):
    error: Fields | None = None


_last = _ThreadState()
_handler: tuple[ErrorHandler, object] | None = None


class libvirtError(Exception):
    """A failed call. ``err`` holds libvirt's nine fields, or None when the library said nothing about the failure.

    Built by hand, it takes the thread's last error and falls back to ``defmsg``, as libvirt-python does. The object
    arguments are those that its releases before 6 had; like there, they change nothing.
    """

    def __init__(
        self, defmsg: str, conn: object = None, dom: object = None, net: object = None, pool: object = None,
        vol: object = None,
    ) -> None:
        self.err = virGetLastError()
        super().__init__(defmsg if self.err is None else self.err[2])

    def get_error_code(self) -> int | None:
        """The ``VIR_ERR_*`` number."""
        return None if self.err is None else self.err[0]

    def get_error_domain(self) -> int | None:
        """The ``VIR_FROM_*`` number: which part failed."""
        return None if self.err is None else self.err[1]

    def get_error_message(self) -> str | None:
        """The whole text for people."""
        return None if self.err is None else self.err[2]

    def get_error_level(self) -> int | None:
        """1 for a warning, 2 for an error."""
        return None if self.err is None else self.err[3]

    def get_str1(self) -> str | None:
        """The template that the message was made from."""
        return None if self.err is None else self.err[4]

    def get_str2(self) -> str | None:
        """The detail that was put into the template."""
        return None if self.err is None else self.err[5]

    def get_str3(self) -> str | None:
        """A further detail; its meaning belongs to the code."""
        return None if self.err is None else self.err[6]

    def get_int1(self) -> int | None:
        """A number whose meaning belongs to the code (errno of a system error), else -1."""
        return None if self.err is None else self.err[7]

    def get_int2(self) -> int | None:
        """A further number, else -1."""
        return None if self.err is None else self.err[8]


def raise_error(error: LibvirtError) -> NoReturn:
    """Make ``error`` the thread's last error, tell the handler (or stderr), and raise it as ``libvirtError``."""
    fields = error.fields
    _last.error = fields
    _report(fields)
    # The cause holds nothing that the fields do not, and its traceback is our inside, not the caller's.
    raise libvirtError(error.message) from None


def api_call(function: Callable[P, T]) -> Callable[P, T]:
    """Mark a public call: it forgets the last error when it begins, and fails with ``libvirtError`` only.

    A marked call that calls another must not be marked twice over: the inner failure is already a ``libvirtError``
    and passes through unreported.
    """
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        _last.error = None
        try:
            return function(*args, **kwargs)
        except LibvirtError as error:
            raise_error(error)
    return call


def registerErrorHandler(f: ErrorHandler | None, ctx: object) -> int:
    """Have every error of this process reported as ``f(ctx, fields)``; ``None`` brings the print on stderr back.

    An exception of ``f`` is printed and hides nothing: the failed call still raises its ``libvirtError``.
    """
    global _handler
    if f is not None and not callable(f):
        raise TypeError(f"registerErrorHandler() argument 1 must be callable or None, not {type(f).__name__}")
    _handler = None if f is None else (f, ctx)
    return 1


def virGetLastError() -> Fields | None:
    """The nine fields of this thread's last failure, or None when its last call went well."""
    return _last.error


def virGetLastErrorCode() -> int:
    """The code of this thread's last failure, 0 when there is none."""
    return c.VIR_ERR_OK if _last.error is None else _last.error[0]


def virGetLastErrorDomain() -> int:
    """The origin of this thread's last failure, 0 when there is none."""
    return c.VIR_FROM_NONE if _last.error is None else _last.error[1]


def virGetLastErrorMessage() -> str:
    """The text of this thread's last failure, or "no error"."""
    return "no error" if _last.error is None else _last.error[2]


def virResetLastError() -> None:
    """Forget this thread's last failure."""
    _last.error = None


def virInitialize() -> int:
    """Nothing needs preparing; kept because programs call it first."""
    return 0


def getVersion(name: str | None = None) -> int | tuple[int, int]:
    """The libvirt API level that is offered, as major*1000000 + minor*1000 + release; with a name, it twice.

    libvirt ignores which driver is named, and so is it here.
    """
    if name is None:
        return c.LIBVIRT_VERSION
    if not isinstance(name, str):
        raise TypeError(f"virGetVersion() argument 1 must be str, not {type(name).__name__}")
    return (c.LIBVIRT_VERSION, c.LIBVIRT_VERSION)


def _report(fields: Fields) -> None:
    if _handler is None:
        print(_line(fields), file=sys.stderr)
        return
    function, context = _handler
    try:
        function(context, fields)
    except Exception:
        sys.excepthook(*sys.exc_info())


def _line(fields: Fields) -> str:
    _, domain, message, level = fields[:4]
    origin = ORIGINS[domain] if 0 <= domain < len(ORIGINS) else "Unknown"
    return f"libvirt: {origin} {LEVELS.get(level, '')} : {message.removesuffix(chr(10))}"
