"""Virtual CPUs plugged in at start, and the host's CPUs that threads may run on, with real guests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.live_guest import domain_of, live_guest, setup_of, x86_capabilities
from virtbus_domain.drivers.qemu.affinity import Pins, pin_threads, pins_of
from virtbus_domain.drivers.qemu.command import build
from virtbus_domain.drivers.qemu.names import assign_names
from virtbus_domain.drivers.qemu.vcpus import first_vcpus, plug_vcpus, plugged_vcpus
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


def domain_with(top: str, devices: str = "") -> Domain:
    """A domain with this said of its CPUs."""
    return domain_of(x86_capabilities(), devices, top=top)


def options(domain: Domain, option: str) -> list[str]:
    """What follows each occurrence of an option."""
    assert domain.devices is not None
    assign_names(domain.devices, q35=True)
    argv = build(setup_of(domain, x86_capabilities()), monitor="fd=3").argv
    return [value for name, value in pairwise(argv) if name == option]


CHOSEN = ("<vcpu current='3'>4</vcpu><vcpus><vcpu id='0' enabled='yes' hotpluggable='no' order='1'/>"
          "<vcpu id='1' enabled='no' hotpluggable='yes'/><vcpu id='2' enabled='yes' hotpluggable='yes' order='3'/>"
          "<vcpu id='3' enabled='yes' hotpluggable='yes' order='2'/></vcpus>")


class TestPlugged:
    """CPUs that can be unplugged."""

    def test_counts(self) -> None:
        """QEMU starts with those that stay; the others follow in their order."""
        domain = domain_with(CHOSEN)
        assert (first_vcpus(domain), plugged_vcpus(domain)) == (1, [3, 2])
        assert options(domain, "-smp") == ["1,maxcpus=4,sockets=4,cores=1,threads=1"]
        plain = domain_with("<vcpu current='3'>4</vcpu>")
        assert (first_vcpus(plain), plugged_vcpus(plain)) == (3, [])

    def test_real(self, tmp_path: Path) -> None:
        """A guest has exactly the CPUs that are enabled, at their places, by libvirt's names."""
        top = ("<vcpu current='3'>8</vcpu><vcpus><vcpu id='0' enabled='yes' hotpluggable='no' order='1'/>"
               "<vcpu id='2' enabled='yes' hotpluggable='yes' order='3'/>"
               "<vcpu id='6' enabled='yes' hotpluggable='yes' order='2'/></vcpus>"
               "<cpu><topology sockets='2' cores='2' threads='2'/></cpu>")

        async def scenario() -> None:
            async with live_guest(domain_with(top), x86_capabilities(), tmp_path) as guest:
                cpus = await guest.ask("query-cpus-fast")
                assert {cpu["cpu-index"]: cpu["props"] for cpu in cpus} == {
                    0: {"socket-id": 0, "core-id": 0, "thread-id": 0},
                    2: {"socket-id": 0, "core-id": 1, "thread-id": 0},
                    6: {"socket-id": 1, "core-id": 1, "thread-id": 0}}
                names = {str(cpu["qom-path"]) for cpu in cpus}
                assert names >= {"/machine/peripheral/vcpu2", "/machine/peripheral/vcpu6"}

        asyncio.run(scenario())

    def test_first_ones_stay(self) -> None:
        """QEMU starts with the first CPUs; that others stay instead is refused, not changed."""
        domain = domain_with("<vcpu current='2'>4</vcpu><vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/>"
                             "<vcpu id='1' enabled='no' hotpluggable='yes'/>"
                             "<vcpu id='3' enabled='yes' hotpluggable='no'/></vcpus>")
        with pytest.raises(LibvirtError, match=r"/domain/vcpus/vcpu: CPUs \[0, 3\]") as error:
            first_vcpus(domain)
        assert error.value.code == c.VIR_ERR_CONFIG_UNSUPPORTED

    @pytest.mark.parametrize("slots", [
        [], [{"props": {"socket-id": number}, "type": "x-cpu", "vcpus-count": 1, "qom-path": "/x"}
             for number in range(4)],
        [{"props": {"core-id": number}, "type": "x-cpu", "vcpus-count": 8} for number in range(4)]])
    def test_no_place(self, slots: list[Mapping[str, Any]]) -> None:
        """A place that is not there, is taken, or is for a whole core at once is no place for a CPU."""
        with pytest.raises(LibvirtError, match="no free place for vcpu '3'"):
            plug_vcpus(domain_with(CHOSEN), slots)


class TestPins:
    """Threads on chosen CPUs of the host."""

    def test_said(self) -> None:
        """What the document says of single threads, of the emulator, and of all."""
        assert pins_of(domain_with("<vcpu>2</vcpu>")) is None
        assert pins_of(domain_with("<vcpu cpuset='0-1'>2</vcpu>")) == Pins({}, {}, "0-1", "0-1")
        assert pins_of(domain_with(
            "<vcpu cpuset='0'>2</vcpu><iothreads>1</iothreads><cputune><vcpupin vcpu='1' cpuset='1'/>"
            "<emulatorpin cpuset='0-1'/><iothreadpin iothread='1' cpuset='1'/></cputune>")) == Pins(
                {1: "1"}, {1: "1"}, "0-1", "0")

    def test_real(self, tmp_path: Path) -> None:
        """The kernel has the sets that were said, for each kind of thread."""
        if len(os.sched_getaffinity(0)) < 2:
            pytest.skip("one CPU is no choice")
        first, second, *_ = sorted(os.sched_getaffinity(0))
        domain = domain_with(
            f"<vcpu cpuset='{first},{second}'>2</vcpu><iothreads>2</iothreads><cputune>"
            f"<vcpupin vcpu='1' cpuset='{second}'/><emulatorpin cpuset='{first}'/>"
            f"<iothreadpin iothread='2' cpuset='{second}'/></cputune>")

        async def scenario() -> None:
            async with live_guest(domain, x86_capabilities(), tmp_path) as guest:
                cpus = {cpu["cpu-index"]: cpu["thread-id"] for cpu in await guest.ask("query-cpus-fast")}
                threads = {thread["id"]: thread["thread-id"] for thread in await guest.ask("query-iothreads")}
                assert os.sched_getaffinity(guest.guest.process.pid) == {first}
                assert os.sched_getaffinity(cpus[0]) == {first, second}
                assert os.sched_getaffinity(cpus[1]) == {second}
                assert os.sched_getaffinity(threads["iothread1"]) == {first, second}
                assert os.sched_getaffinity(threads["iothread2"]) == {second}

        asyncio.run(scenario())

    def test_no_such_cpu(self, tmp_path: Path) -> None:
        """CPUs that the host does not have are libvirt's system error, and no guest is left."""
        async def scenario() -> None:
            refused = r"cannot set CPU affinity on process [0-9]+: Invalid argument"
            with pytest.raises(LibvirtError, match=refused) as error:
                async with live_guest(domain_with("<vcpu cpuset='4000'>1</vcpu>"), x86_capabilities(), tmp_path):
                    pass
            assert (error.value.code, error.value.domain) == (c.VIR_ERR_SYSTEM_ERROR, c.VIR_FROM_NONE)

        asyncio.run(scenario())
        assert list((tmp_path / "qemu").iterdir()) == []

    def test_shared_thread(self) -> None:
        """CPUs that one thread emulates give it all that they may use; a thread that has ended is passed over."""
        own = sorted(os.sched_getaffinity(0))
        thread = os.getpid()
        cpus = [{"cpu-index": number, "thread-id": thread} for number in range(2)]
        pins = Pins({0: str(own[0]), 1: str(own[-1])}, {}, None, None)
        gone = [{"id": "iothread1", "thread-id": 2**22 - 1}]
        try:
            pin_threads(thread, pins._replace(others=str(own[0])), cpus, gone)
            assert os.sched_getaffinity(0) == {own[0], own[-1]}
        finally:
            os.sched_setaffinity(0, own)


class TestThreads:
    """Other things said of threads and of QEMU as a whole."""

    def test_main_loop(self, tmp_path: Path) -> None:
        """The helpers of the main loop are counted as those of an I/O thread are."""
        domain = domain_with("<vcpu>1</vcpu><iothreadids><iothread id='4' thread_pool_min='1' thread_pool_max='3'/>"
                             "</iothreadids><defaultiothread thread_pool_min='2' thread_pool_max='8'/>")

        async def scenario() -> None:
            async with live_guest(domain, x86_capabilities(), tmp_path) as guest:
                for name, least, most in (("main-loop", 2, 8), ("iothread4", 1, 3)):
                    for what, value in (("thread-pool-min", least), ("thread-pool-max", most)):
                        assert await guest.ask("qom-get", {"path": f"/objects/{name}", "property": what}) == value

        asyncio.run(scenario())

    @pytest.mark.parametrize(("behavior", "expected"), [
        ("omit", ['{"deprecated-output":"hide"}']),
        ("reject", ['{"deprecated-output":"hide","deprecated-input":"reject"}']),
        ("crash", ['{"deprecated-output":"hide","deprecated-input":"crash"}']), ("none", []), ("odd", [])])
    def test_deprecation(self, behavior: str, expected: list[str]) -> None:
        """What QEMU does with what is to end, in libvirt's words for it."""
        domain = domain_with("<vcpu>1</vcpu>")
        domain.qemu_deprecation = behavior
        assert options(domain, "-compat") == expected
