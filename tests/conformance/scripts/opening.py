"""URIs that cannot be opened, the default URI, and the forms of open."""

import os
from types import ModuleType
from typing import Any

from tests.support.recording import Recorder

BAD = ("::::", "1:///", "http://[bad", "test:///def ault", "test", "/etc/passwd", "test://", "test:///",
       "test:///nonexistent", "test:nonexistent", "test:///default/")
GOOD = ("test:///default?x=y", "test:///default#f", "test://user@/default")


def run(libvirt: ModuleType, uri: str) -> dict[str, Any]:
    """Which URIs open, and what is said of the others."""
    r = Recorder(libvirt)
    for text in BAD:
        r.call(libvirt, "open", text, keep=lambda conn: "opened", label=text)
    for text in GOOD:
        conn = r.call(libvirt, "open", text)
        r.call(conn, "getURI")
        r.call(conn, "getType")
        r.call(conn, "close")
    r.section("types")
    for wrong in (5, b"test:///default", ["test:///default"]):
        r.call(libvirt, "open", wrong)
        r.call(libvirt, "openReadOnly", wrong)
    r.section("default")
    os.environ["LIBVIRT_DEFAULT_URI"] = uri
    for name in (None, ""):
        conn = r.call(libvirt, "open", name)
        r.call(conn, "getURI")
        r.call(conn, "close")
    conn = r.call(libvirt, "openReadOnly")
    r.call(conn, "close")
    r.section("openAuth")
    auth = [[libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_PASSPHRASE], lambda credentials, data: 0, None]
    conn = r.call(libvirt, "openAuth", uri, auth, 0, label="read-write")
    r.call(conn, "numOfDomains")
    r.call(conn, "close")
    conn = r.call(libvirt, "openAuth", uri, auth, libvirt.VIR_CONNECT_RO, label="read-only")
    r.call(r.call(conn, "lookupByName", "test"), "suspend")
    r.call(conn, "close")
    return r.steps
