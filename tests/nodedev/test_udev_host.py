"""Host facts: of the machine that runs the tests, and of prepared machines with another shape."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import uuid
from pathlib import Path

import pytest
from lxml import etree

from tests.support.components import require
from tests.support.this_host import this_host
from virtbus_nodedev import sysfs
from virtbus_nodedev.host import Host
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

SCHEMA = Path("/usr/share/libvirt/schemas/capability.rng")


def machine(folder: Path, cpus: list[tuple[int, int, int, int]], threads: int = 1) -> Host:
    """A prepared machine: (node, socket, die, core) per CPU; CPUs of one core follow each other."""
    system, proc = folder / "sys", folder / "proc"
    proc.mkdir()
    (proc / "cpuinfo").write_text(
        "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu MHz\t\t: 2400.123\nflags\t\t: fpu sse4_1\n")
    (proc / "meminfo").write_text("MemTotal:  4000 kB\nMemFree:  1000 kB\n")
    nodes = system / "devices/system/node"
    for number, (node, package, die, core) in enumerate(cpus):
        topology = system / f"devices/system/cpu/cpu{number}/topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{package}\n")
        (topology / "die_id").write_text(f"{die}\n")
        (topology / "core_id").write_text(f"{core}\n")
        first = number // threads * threads
        siblings = f"{first}-{first + threads - 1}" if threads > 1 else f"{number}"
        (topology / "thread_siblings_list").write_text(siblings + "\n")
        (nodes / f"node{node}").mkdir(parents=True, exist_ok=True)
        (nodes / f"node{node}/cpu{number}").symlink_to(topology.parent)
    count = len({node for node, *_ in cpus})
    for node in range(count):
        (nodes / f"node{node}/meminfo").write_text(f"Node {node} MemTotal:  2000 kB\nNode {node} MemFree:  500 kB\n")
        (nodes / f"node{node}/distance").write_text(" ".join("10" if n == node else "21" for n in range(count)) + "\n")
    (nodes / "online").write_text(f"0-{count - 1}\n")
    (folder / "etc").mkdir()
    (folder / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    return Host(system, proc, folder / "etc")


def attributes(element: etree._Element, path: str) -> dict[str, str]:
    """The attributes of the first element at a path."""
    found = element.find(path)
    assert found is not None
    return {str(name): str(value) for name, value in found.attrib.items()}


def test_node_info_of_this_host() -> None:
    """CPU count, architecture and memory agree with what the system's own tools say, and the product is whole."""
    info = Host().info()
    assert info.model == platform.machine()
    assert info.cpus == int(subprocess.check_output(["getconf", "_NPROCESSORS_ONLN"]))
    assert info.nodes * info.sockets * info.cores * info.threads == os.sysconf("SC_NPROCESSORS_CONF")
    assert 0 < Host().free_memory() < info.memory * 1024


def test_node_info_counts_as_libvirt_does(tmp_path: Path) -> None:
    """Two nodes of one socket with two cores of two threads: sockets are counted per node."""
    cpus = [(node, node, 0, core) for node in (0, 1) for core in (0, 1) for _thread in (0, 1)]
    info = machine(tmp_path, cpus, threads=2).info()
    assert (info.cpus, info.nodes, info.sockets, info.cores, info.threads) == (8, 2, 1, 2, 2)
    assert (info.memory, info.mhz) == (4000, 2400)


def test_unlike_sockets_become_one(tmp_path: Path) -> None:
    """Where no product fits (two sockets with three and one cores), all CPUs are told as cores of one socket."""
    info = machine(tmp_path, [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 2), (0, 1, 0, 0)]).info()
    assert (info.nodes, info.sockets, info.cores, info.threads) == (1, 1, 4, 1)


def test_offline_cpu(tmp_path: Path) -> None:
    """An offline CPU is not among the active ones, and has no place in the topology."""
    host = machine(tmp_path, [(0, 0, 0, 0), (0, 0, 0, 1)])
    (tmp_path / "sys/devices/system/cpu/cpu1/online").write_text("0\n")
    assert (host.info().cpus, host.info().cores) == (1, 2)
    document = etree.fromstring(host.capabilities_xml())
    assert attributes(document, ".//cell/cpus/cpu[2]") == {"id": "1"}


def test_topology_of_two_cells(tmp_path: Path) -> None:
    """Cells tell their memory, pages, distances and CPUs with siblings; dies are told beside cores."""
    cpus = [(node, node, die, core) for node in (0, 1) for die in (0, 1) for core in (0, 1)]
    host = etree.fromstring(machine(tmp_path, cpus).capabilities_xml())
    assert attributes(host, "cpu/topology") == {"sockets": "1", "dies": "2", "cores": "2", "threads": "1"}
    cells = host.findall("topology/cells/cell")
    assert [cell.findtext("memory") for cell in cells] == ["2000", "2000"]
    assert [s.get("value") for s in cells[1].findall("distances/sibling")] == ["21", "10"]
    assert attributes(cells[1], "cpus/cpu") == {
        "id": "4", "socket_id": "1", "die_id": "0", "core_id": "0", "siblings": "4"}
    assert [f.get("name") for f in host.findall("cpu/feature")] == ["fpu", "sse4.1"]
    assert host.findtext("cpu/vendor") == "Intel"


def test_capabilities_of_this_host_are_valid() -> None:
    """The host element satisfies libvirt's schema, is the same at each call, and names this host's UUID."""
    document = this_host().capabilities_xml()
    assert document == this_host().capabilities_xml()
    assert etree.fromstring(document).findtext("uuid") == this_host().uuid()
    require("libvirt's schemas", SCHEMA.exists(), "package libvirt0 is not installed")
    schema = etree.RelaxNG(etree.parse(SCHEMA))
    # libxml2 finds no dot in the schema's pattern for feature names, and so refuses libvirt's own "sse4.1" as well.
    without_dots = document.replace("sse4.", "sse4-")
    assert schema.validate(etree.fromstring(f"<capabilities>{without_dots}</capabilities>")), schema.error_log


def test_uuid_sources(tmp_path: Path) -> None:
    """The firmware's UUID comes first; one of equal digits is refused as libvirt refuses it; then the machine id."""
    host = machine(tmp_path, [(0, 0, 0, 0)])
    assert host.uuid() == "01234567-89ab-cdef-0123-456789abcdef"
    firmware = tmp_path / "sys/class/dmi/id/product_uuid"
    firmware.parent.mkdir(parents=True)
    firmware.write_text("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF\n")
    assert host.uuid() == "01234567-89ab-cdef-0123-456789abcdef"
    firmware.write_text("4C4C4544-0051-3410-8052-B4C04F4E3132\n")
    assert host.uuid() == "4c4c4544-0051-3410-8052-b4c04f4e3132"


def test_host_without_any_identity(tmp_path: Path) -> None:
    """A host without an identity of its own, such as a container, gets one that stays the same over restarts."""
    nothing = tmp_path / "nothing"
    first = Host(nothing, nothing, nothing, state=tmp_path).uuid()
    assert str(uuid.UUID(first)) == first
    assert Host(nothing, nothing, nothing, state=tmp_path).uuid() == first
    assert [path.name for path in tmp_path.iterdir()] == ["host-uuid"]


def test_host_without_any_identity_and_place(tmp_path: Path) -> None:
    """Without a place to keep one, no UUID is invented: the call fails and says what is missing."""
    with pytest.raises(LibvirtError, match="neither a firmware UUID nor a machine id") as caught:
        Host(tmp_path, tmp_path, tmp_path).uuid()
    assert caught.value.code == c.VIR_ERR_INTERNAL_ERROR


def test_hostname() -> None:
    """The name begins with what the kernel calls this host."""
    assert Host().hostname().split(".")[0] == socket.gethostname().split(".")[0]


@pytest.mark.parametrize(("text", "numbers"), [("", []), ("0", [0]), ("0-3,8,10-11", [0, 1, 2, 3, 8, 10, 11])])
def test_cpu_lists(text: str, numbers: list[int]) -> None:
    """The kernel's list format is read and written."""
    assert sysfs.parse_list(text) == numbers
    assert sysfs.format_list(numbers) == text
