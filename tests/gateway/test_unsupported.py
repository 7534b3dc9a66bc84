"""No method of libvirt-python is missing, and what is not there yet says so with code 3."""

from __future__ import annotations

import inspect

import pytest

from tests.support.oracle_scripts import ask_oracle, needs_oracle
from virtbus import unsupported
from virtbus.errors import libvirtError
from virtbus_shared import constants as c

LISTING = """
import json, libvirt
classes = {n: v for n, v in vars(libvirt).items() if n.startswith("vir") and isinstance(v, type)}
print(json.dumps({n: [m for m, f in vars(v).items() if callable(f) and m[0] != "_"] for n, v in classes.items()}))
"""
# Answers of the real library: which VIR_FROM_* stands in the error of a call that the test driver lacks.
PROBE = """
import json, libvirt
libvirt.registerErrorHandler(lambda context, error: None, None)
conn = libvirt.open("test:///default")
objects = {"virConnect": conn, "virDomain": conn.lookupByID(1), "virNetwork": conn.networkLookupByName("default"),
           "virNodeDevice": conn.listAllDevices()[0]}
calls = {"virConnect": ["numOfNWFilters", "numOfSecrets", "getSEVInfo", "listAllNWFilterBindings", "listAllSecrets",
                        "getMemoryStats 0", "getStoragePoolCapabilities", "getDomainCapabilities", "setKeepAlive 1 1"],
         "virDomain": ["abortJob", "jobInfo", "migrateGetMaxSpeed", "pMWakeup", "securityLabelList"],
         "virNetwork": ["DHCPLeases", "listAllPorts"], "virNodeDevice": ["reset", "dettach", "isActive"]}
answers = []
for name, methods in calls.items():
    for call in methods:
        method, *arguments = call.split()
        try:
            getattr(objects[name], method)(*map(int, arguments))
        except libvirt.libvirtError as error:
            answers.append([name, method, list(error.err)])
print(json.dumps(answers))
"""


class virNetwork:  # noqa: N801 - the class of libvirt-python of that name
    """A class of ours that has some methods and lacks the rest."""

    def create(self) -> int:
        """Start the network."""
        return 0


@needs_oracle
def test_every_method_is_known() -> None:
    """The table has the classes of libvirt-python and each of their public methods, and no others."""
    theirs = {name: set(methods) - {"c_pointer"} for name, methods in ask_oracle(LISTING).items()}
    theirs.pop("libvirtError", None)
    ours = {name: {method for method, _ in unsupported.c_names(name)} for name in unsupported.METHODS}
    assert ours == theirs


@needs_oracle
def test_errors_are_those_of_libvirt() -> None:
    """Code, origin, message and details of a call that is not supported are libvirt's own."""
    answers = ask_oracle(PROBE)
    assert len(answers) > 15
    for class_name, method, fields in answers:
        made: type[object] = type(class_name, (), {})
        stub = unsupported.complete(made)()
        with pytest.raises(libvirtError) as caught:
            getattr(stub, method)()
        assert list(caught.value.err or ()) == fields


def test_missing_methods_answer_with_code_3() -> None:
    """A class keeps its own methods; each other one fails with code 3 and names the C function."""
    completed = unsupported.complete(virNetwork)
    assert completed is virNetwork
    assert completed().create() == 0
    method = getattr(completed(), "XMLDesc")  # noqa: B009 - mypy cannot know it
    with pytest.raises(libvirtError) as caught:
        method(0, flags=1)
    message = "this function is not supported by the connection driver: virNetworkGetXMLDesc"
    assert caught.value.get_error_code() == c.VIR_ERR_NO_SUPPORT
    assert (str(caught.value), caught.value.get_error_domain()) == (message, c.VIR_FROM_NETWORK)
    assert "virNetworkGetXMLDesc" in (inspect.getdoc(method) or "")
    assert method.__qualname__ == "virNetwork.XMLDesc"


@pytest.mark.parametrize(("c_name", "origin"), [
    ("virDomainGetInfo", c.VIR_FROM_DOMAIN), ("virDomainInterfaceStats", c.VIR_FROM_DOMAIN),
    ("virNodeGetInfo", c.VIR_FROM_DOMAIN), ("virNodeNumOfDevices", c.VIR_FROM_NODEDEV),
    ("virConnectListAllNodeDevices", c.VIR_FROM_NODEDEV), ("virConnectNumOfDefinedNetworks", c.VIR_FROM_NETWORK),
    ("virConnectListDefinedInterfaces", c.VIR_FROM_INTERFACE), ("virStorageVolDelete", c.VIR_FROM_STORAGE),
    ("virConnectListAllStoragePools", c.VIR_FROM_STORAGE), ("virSecretLookupByUUID", c.VIR_FROM_SECRET),
    ("virNWFilterBindingLookupByPortDev", c.VIR_FROM_NWFILTER), ("virStreamNew", c.VIR_FROM_STREAMS),
    ("virDomainListAllSnapshots", c.VIR_FROM_DOMAIN_SNAPSHOT), ("virConnectClose", c.VIR_FROM_NONE),
])
def test_origins(c_name: str, origin: int) -> None:
    """Each function speaks for the part of libvirt that holds it."""
    assert unsupported.origin_of(c_name) == origin
