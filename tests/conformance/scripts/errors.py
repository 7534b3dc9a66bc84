"""The exception, its nine fields, the last error of the thread, and handlers."""

import threading
from types import ModuleType
from typing import Any

from tests.support.recording import Recorder


def run(libvirt: ModuleType, uri: str) -> dict[str, Any]:
    """A failure seen from all sides."""
    r = Recorder(libvirt)
    conn = libvirt.open(uri)
    r.section("before any error")
    last_error(r, libvirt)
    r.section("failures")
    failures = {
        "domain": lambda: conn.lookupByName("zz"), "network": lambda: conn.networkLookupByName("zz"),
        "pool": lambda: conn.storagePoolLookupByName("zz"), "volume": lambda: conn.storageVolLookupByPath("/zz"),
        "device": lambda: conn.nodeDeviceLookupByName("zz"), "state": lambda: conn.lookupByName("test").create(),
        "no support": conn.listAllSecrets, "uri": lambda: libvirt.open("::::"),
        "flags": lambda: conn.lookupByName("test").reboot(1 << 29), "xml": lambda: conn.defineXML("<domain/>"),
    }
    for name, failure in failures.items():
        try:
            failure()
        except libvirt.libvirtError as error:
            r.note(name, {"err": error.err, "args": error.args, "text": str(error), "fields": [
                error.get_error_code(), error.get_error_domain(), error.get_error_message(), error.get_error_level(),
                error.get_str1(), error.get_str2(), error.get_str3(), error.get_int1(), error.get_int2()]})
    r.section("after an error")
    last_error(r, libvirt)
    elsewhere: list[Any] = []
    thread = threading.Thread(target=lambda: elsewhere.append(libvirt.virGetLastError()))
    thread.start()
    thread.join()
    r.note("in another thread", elsewhere)
    r.note("made by hand", libvirt.libvirtError("by hand").err)
    r.section("after a success")
    conn.numOfDomains()
    last_error(r, libvirt)
    r.section("after a reset")
    r.call(conn, "lookupByName", "zz")
    r.call(libvirt, "virResetLastError")
    last_error(r, libvirt)
    by_hand = libvirt.libvirtError("by hand")
    r.note("made by hand", [str(by_hand), by_hand.err, by_hand.args, by_hand.get_error_code(), by_hand.get_str1()])
    handlers(r, libvirt, conn)
    return r.steps


def last_error(r: Recorder, libvirt: ModuleType) -> None:
    """What the thread remembers."""
    for function in ("virGetLastError", "virGetLastErrorCode", "virGetLastErrorDomain", "virGetLastErrorMessage"):
        r.call(libvirt, function)


def handlers(r: Recorder, libvirt: ModuleType, conn: Any) -> None:
    """A handler is told of each failure, once."""
    r.section("handler")
    seen: list[Any] = []
    answer = libvirt.registerErrorHandler(lambda context, error: seen.append((context, error)), "context")
    r.note("registered", answer)
    r.call(conn, "lookupByName", "zz")
    r.call(conn, "lookupByName", 5)
    r.call(conn, "numOfDomains")
    r.note("seen", seen)
    r.note("unregistered", libvirt.registerErrorHandler(None, None))
    seen.clear()
    r.call(conn, "lookupByName", "zz")
    r.note("seen afterwards", seen)
