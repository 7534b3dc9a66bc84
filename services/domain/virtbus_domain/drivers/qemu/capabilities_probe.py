"""Asking an emulator what it can do: one start without a machine and a dozen questions over QMP, a third of a second.

Every question is asked once for everything; QEMU is never asked device by device. The only repeated one is what the
CPU models contain, on x86, where libvirt's ``host-model`` has to be found among them.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from virtbus_domain.drivers.qemu.capabilities import (
    ARCHITECTURES,
    SCHEMA_PATHS,
    Accelerator,
    Machine,
    QemuCapabilities,
    Sev,
)
from virtbus_domain.drivers.qemu.cpu_models import CpuDefinition, CpuModel, HostModel, nearest_model
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.monitor import Monitor, listen
from virtbus_domain.drivers.qemu.process import launch
from virtbus_shared.errors import LibvirtError
from virtbus_shared.timeout import timeout

PROBE_TIMEOUT = 30.0  # seconds; a cold page cache on a busy disk can take several

# Models that stand for no processor that was ever sold, and a version of one ("EPYC-v2") beside the model itself.
_NO_HOST = re.compile(r"max|host|base|qemu(32|64)|kvm(32|64)|.*-v[0-9]+")
# Switches of paravirtualisation, and details of nested VMX that follow from the model: no part of a CPU's identity.
_NO_IDENTITY = ("kvm", "hv-", "vmx-")


async def probe(binary: Path) -> QemuCapabilities:
    """Start the emulator and ask it. ``LibvirtError`` with its own words when it does not run."""
    # Without TCG in the build, KVM is what is left; it is not used for more than answering.
    async with asked(binary, ["tcg", "kvm"]) as monitor:
        return await _ask(binary, monitor)


async def probe_kvm(binary: Path) -> Accelerator:
    """What an emulator offers with KVM, which must be known to work. ``LibvirtError`` as for ``probe``."""
    async with asked(binary, ["kvm"]) as monitor:
        commands = _names(await monitor.execute("query-commands"))
        return await _accelerator(monitor, commands, "host")


@asynccontextmanager
async def asked(binary: Path, accelerators: Sequence[str]) -> AsyncIterator[Monitor]:
    """The monitor of an emulator that runs for as long as it is asked."""
    with tempfile.TemporaryDirectory(prefix="virtbus-probe-") as scratch:
        paths = GuestPaths(Path(scratch), 1, "00000000-0000-0000-0000-000000000000")
        paths.create()
        listener = listen(paths.monitor)
        argv = [
            str(binary), "-S", "-no-user-config", "-nodefaults", "-display", "none", "-machine", "none",
            *(word for accelerator in accelerators for word in ("-accel", accelerator)),
            "-chardev", f"socket,id=charmonitor,fd={listener.fileno()},server=on,wait=off",
            "-mon", "chardev=charmonitor,mode=control"]
        process, monitor = await launch(argv, paths, listener, [], outlives_us=False)
        try:
            async with timeout(PROBE_TIMEOUT):
                yield monitor
        finally:
            await process.kill()
            await monitor.closed.wait()


async def _ask(binary: Path, monitor: Monitor) -> QemuCapabilities:
    version = await monitor.execute("query-version")
    target = await monitor.execute("query-target")
    commands = _names(await monitor.execute("query-commands"))
    accelerators = await _types(monitor, "accel")
    machines = [item for item in await monitor.execute("query-machines") if item["name"] != "none"]
    schema = Schema(await monitor.execute("query-qmp-schema"))
    number = version["qemu"]
    return QemuCapabilities(
        binary=binary,
        arch=ARCHITECTURES.get(target["arch"], target["arch"]),
        version=number["major"] * 1_000_000 + number["minor"] * 1_000 + number["micro"],
        package=version["package"],
        machines=tuple(_machine(item) for item in machines),
        has_tcg="tcg-accel" in accelerators,
        has_kvm="kvm-accel" in accelerators,
        devices=await _types(monitor, "device"),
        objects=await _types(monitor, "user-creatable"),
        commands=commands,
        options=_options(await monitor.execute("query-command-line-options")),
        netdevs=schema.members("netdev_add/type"),
        blockdevs=schema.members("blockdev-add/driver"),
        chardevs=schema.members("chardev-add/backend/type"),
        displays=schema.members("query-display-options:type"),
        audiodevs=schema.members("query-audiodevs:driver") if "query-audiodevs" in commands else None,
        tpm_models=await _listed(monitor, commands, "query-tpm-models"),
        tpm_types=await _listed(monitor, commands, "query-tpm-types"),
        schema=frozenset(path for path in SCHEMA_PATHS if schema.has(path)),
        tcg=await _accelerator(monitor, commands, "max") if "tcg-accel" in accelerators else None,
        kvm=None,
        machine_properties=await _machine_properties(monitor, machines),  # last, for a reason
    )


def _machine(item: Mapping[str, Any]) -> Machine:
    return Machine(
        name=item["name"], alias=item.get("alias"), is_default=item.get("is-default", False),
        max_cpus=item["cpu-max"], ram_id=item.get("default-ram-id"), deprecated=item.get("deprecated", False),
        default_cpu=item.get("default-cpu-type"), hotplugs_cpus=item["hotpluggable-cpus"],
        numa_by_size=item.get("numa-mem-supported", False))


async def _machine_properties(monitor: Monitor, machines: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """What ``-machine`` takes, of the machines with an alias, the newest of their kind: two on x86.

    QEMU makes one of each to answer. One that cannot be made ends QEMU (microvm, which has no alias, does), so this
    is the last question, and what was answered until then is the answer.
    """
    properties: set[str] = set()
    with suppress(LibvirtError):
        for item in machines:
            if "alias" in item:
                typename = f"{item['name']}-machine"
                properties |= _names(await monitor.execute("qom-list-properties", {"typename": typename}))
    return frozenset(properties)


async def _accelerator(monitor: Monitor, commands: frozenset[str], richest: str) -> Accelerator:
    """The answers that depend on the accelerator in use; ``richest`` is the model that has all it offers."""
    models = await _maybe(monitor, commands, "query-cpu-definitions") or []
    everything = await _definition(monitor, commands, richest)
    gic = await _maybe(monitor, commands, "query-gic-capabilities") or []
    sev = await _maybe(monitor, commands, "query-sev-capabilities")
    return Accelerator(
        cpu_models=tuple(_cpu_model(item) for item in models),
        cpu_features=_switches(everything),
        cpu_available=_turned_on(everything),
        host_model=await _host_model(monitor, commands, everything, [item["name"] for item in models]),
        gic_versions=frozenset(item["version"] for item in gic
                               if item["kernel" if richest == "host" else "emulated"]),
        sev=Sev(sev["cbitpos"], sev["reduced-phys-bits"]) if sev else None,
    )


def _cpu_model(item: Mapping[str, Any]) -> CpuModel:
    unavailable = item.get("unavailable-features")
    return CpuModel(
        name=item["name"], typename=item.get("typename", ""), deprecated=item.get("deprecated", False),
        unavailable=None if unavailable is None else tuple(map(sys.intern, unavailable)))


async def _definition(monitor: Monitor, commands: frozenset[str], model: str) -> Mapping[str, Any]:
    """The properties that make up a model; none where QEMU cannot tell."""
    for kind in ("static", "full"):  # only x86 and s390x have models from which all others can be made
        answer = await _maybe(monitor, commands, "query-cpu-model-expansion", {"type": kind, "model": {"name": model}})
        if answer:
            properties: Mapping[str, Any] = answer["model"].get("props", {})
            return properties
    return {}


def _switches(properties: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(sys.intern(name) for name, value in properties.items() if isinstance(value, bool))


def _turned_on(properties: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(sys.intern(name) for name, value in properties.items() if value is True)


async def _host_model(monitor: Monitor, commands: frozenset[str], everything: Mapping[str, Any],
                      models: Iterable[str]) -> HostModel | None:
    """What libvirt's ``host-model`` is, where a CPU has a vendor by which to find it: on x86."""
    if "vendor" not in everything:
        return None
    return nearest_model(
        _identity("host", everything),
        [_identity(name, await _definition(monitor, commands, name))
         for name in models if not _NO_HOST.fullmatch(name)])


def _identity(name: str, properties: Mapping[str, Any]) -> CpuDefinition:
    features = frozenset(item for item in _turned_on(properties) if not item.startswith(_NO_IDENTITY))
    return CpuDefinition(name, properties.get("vendor", ""), properties.get("family", 0), properties.get("model", 0),
                         features)


async def _maybe(monitor: Monitor, commands: frozenset[str], command: str,
                 arguments: Mapping[str, object] | None = None) -> Any:
    """The answer to a question that not every emulator, machine or host has an answer to; None without one."""
    if command not in commands:
        return None
    try:
        return await monitor.execute(command, arguments)
    except LibvirtError:
        if monitor.closed.is_set():
            raise
        return None


async def _types(monitor: Monitor, parent: str) -> frozenset[str]:
    return _names(await monitor.execute("qom-list-types", {"implements": parent, "abstract": False}))


async def _listed(monitor: Monitor, commands: frozenset[str], command: str) -> frozenset[str]:
    return frozenset(await _maybe(monitor, commands, command) or [])


def _names(items: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(sys.intern(item["name"]) for item in items)


def _options(items: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    options: set[str] = set()
    for item in items:
        options.add(item["option"])
        options.update(f"{item['option']}.{parameter['name']}" for parameter in item["parameters"])
    return frozenset(options)


class Schema:
    """QMP's own description, as ``query-qmp-schema`` gives it; QEMU's "QAPI introspection" documents the form.

    A path begins with a command: "netdev_add/type" is a member of what it takes, "query-status:status" one of what it
    answers. From there "name" is a member or a value of an enumeration, and "+name" the variant of that name, whose
    members follow. Lists are looked through.
    """

    def __init__(self, entities: Iterable[Mapping[str, Any]]) -> None:
        self._entities = {entity["name"]: entity for entity in entities}

    def has(self, path: str) -> bool:
        """Whether there is such a thing."""
        return self._find(path) is not None

    def members(self, path: str) -> frozenset[str]:
        """The values of the enumeration at a path; none if it is none."""
        found = self._find(path) or {}
        return frozenset(map(sys.intern, found.get("values", ())))

    def _find(self, path: str) -> Mapping[str, Any] | None:
        command, separator, rest = path.partition(":")
        if not separator:
            command, _, rest = path.partition("/")
        entity = self._entities.get(command)
        if entity is None or entity["meta-type"] != "command":
            return None
        found: Mapping[str, Any] | None = self._type(entity["ret-type" if separator else "arg-type"])
        for step in rest.split("/") if rest else ():
            found = self._step(found, step) if found is not None else None
        return found

    def _step(self, found: Mapping[str, Any], step: str) -> Mapping[str, Any] | None:
        if step in found.get("values", ()):
            return {}
        where, key = ("variants", "case") if step.startswith("+") else ("members", "name")
        for item in found.get(where, ()):
            if item.get(key) == step.removeprefix("+"):
                return self._type(item["type"])
        return None

    def _type(self, name: str) -> Mapping[str, Any]:
        entity = self._entities[name]
        return self._type(entity["element-type"]) if entity["meta-type"] == "array" else entity
