"""The ``test`` driver: domains that run in memory, with the contents and the words of libvirt's ``test:///default``.

It lets programs be tried without a hypervisor, and lets our own tests make a hypervisor misbehave: a domain whose
metadata holds ``<fault xmlns="urn:virtbus:test" operation="create" kind="hang"/>`` hangs, fails or crashes in that
operation. State transitions and messages follow libvirt 9.0.0's test driver, which clients' own tests rely on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping
from typing import ClassVar

from lxml import etree

from virtbus_domain.driver import DomainDriver
from virtbus_domain.drivers.test_model import model_statistics
from virtbus_domain.moves import Move
from virtbus_domain.normalise import Context, normalise
from virtbus_domain.object import DomainObject, Facts, identity
from virtbus_domain.statistics import DomainStatistics, Shape
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import AnyProcedure
from virtbus_shared.service import node_file

FAULTS = "urn:virtbus:test"

DEFAULT = """
<node>
  <domain type='test'>
    <name>test</name>
    <uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid>
    <memory>8388608</memory>
    <currentMemory>2097152</currentMemory>
    <vcpu>2</vcpu>
    <os><type>hvm</type></os>
    <devices>
      <disk type='file'>
        <source file='/guest/diskimage1'/><target dev='vda' bus='virtio'/>
        <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
      </disk>
      <interface type='network'>
        <mac address='aa:bb:cc:dd:ee:ff'/><source network='default'/><target dev='testnet0'/>
        <address type='pci' domain='0x0000' bus='0x00' slot='0x01' function='0x0'/>
      </interface>
      <memballoon model='virtio'>
        <address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x0'/>
      </memballoon>
    </devices>
  </domain>
</node>
"""

GUEST = """  <guest>
    <os_type>{os_type}</os_type>
    <arch name='i686'>
      <wordsize>32</wordsize>
      <emulator>/usr/bin/test-hv</emulator>
      <domain type='test'/>
    </arch>
    <features>
      <pae/>
      <nonpae/>
    </features>
  </guest>

"""

RUNNING = Move(c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_BOOTED,
               ((c.VIR_DOMAIN_EVENT_STARTED, c.VIR_DOMAIN_EVENT_STARTED_BOOTED),))
SHUT_DOWN = Move(c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_SHUTDOWN,
                 ((c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN),))
DESTROYED = Move(c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_DESTROYED,
                 ((c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_DESTROYED),))
PAUSED = Move(c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PAUSED_USER,
              ((c.VIR_DOMAIN_EVENT_SUSPENDED, c.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED),))
RESUMED = Move(c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_UNPAUSED,
               ((c.VIR_DOMAIN_EVENT_RESUMED, c.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED),))
CRASHED = Move(c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_CRASHED,
               ((c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_CRASHED),))


class TestDriver(DomainDriver):
    """``test:///default``, and in-process ``test:///a/file.xml``."""

    __test__ = False  # its name makes pytest curious

    paths = ("/default",)
    type_name = "TEST"
    prefix = "test"
    error_domain = c.VIR_FROM_TEST
    version = 2
    flags: ClassVar[Mapping[str, int]] = {
        "DomainCreateXML": c.VIR_DOMAIN_START_VALIDATE,
        "DomainDefineXMLFlags": c.VIR_DOMAIN_DEFINE_VALIDATE,
        "DomainGetXMLDesc": c.VIR_DOMAIN_XML_SECURE | c.VIR_DOMAIN_XML_INACTIVE | c.VIR_DOMAIN_XML_MIGRATABLE,
        "DomainUndefineFlags": (c.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | c.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                                | c.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA),
        "DomainDestroyFlags": c.VIR_DOMAIN_DESTROY_GRACEFUL,
        "DomainGetVcpusFlags": c.VIR_DOMAIN_AFFECT_LIVE | c.VIR_DOMAIN_AFFECT_CONFIG | c.VIR_DOMAIN_VCPU_MAXIMUM,
    }

    @classmethod
    def accepts(cls, path: str, *, inprocess: bool) -> bool:
        """In-process, also a file that describes a node."""
        return node_file.accepts(path, inprocess=inprocess)

    async def start(self) -> None:
        """Continue with what the store kept, or begin with the default content."""
        self.load()
        if len(self.domains):
            return
        change = self.host.change()
        for text in node_file.documents(self.host.path, DEFAULT, "domain"):
            model = await self.read(text)
            domain = DomainObject(*identity(model), self.facts(model))
            domain.inactive = format_domain(model, live=False, secure=True)
            domain.id = model.id = self.next_id()
            domain.live = format_domain(model, live=True, secure=True)
            # No reason: libvirt's test driver has none for the domain that is there from the beginning.
            domain.state, domain.reason, domain.started = RUNNING.state, c.VIR_DOMAIN_RUNNING_UNKNOWN, time.time()
            self.domains.add(domain)
            change.put("domain", domain.uuid, domain.record())
        await self.host.commit(change)

    async def stop(self) -> None:
        """Nothing is held."""

    def max_vcpus(self, domain_type: str) -> int:
        """The same for every type, even an unknown one."""
        del domain_type
        return 32

    async def capabilities(self) -> str:
        """Two kinds of guests."""
        return "".join(GUEST.format(os_type=os_type) for os_type in ("hvm", "xen"))

    async def read(self, xml: str) -> Domain:
        """A document with the defaults of the test driver."""
        model = parse_domain(xml)
        normalise(model, Context("test"))
        return model

    def lookup_detail(self, detail: str) -> str | None:
        """The test driver's look-ups say no more than "Domain not found"."""
        del detail
        return None

    def cpu_time(self, domain: DomainObject) -> int:
        """As if one CPU had been busy ever since the start."""
        return int(max(0.0, time.time() - domain.started) * 1e9) if domain.active else 0

    async def statistics(self, domain: DomainObject, shape: Shape) -> DomainStatistics:
        """The model of ``test_model``, unless the domain asks for a fault."""
        await self._effect(domain, "statistics", RUNNING)
        return model_statistics(shape, domain.facts, time.time() - domain.started)

    def facts(self, model: Domain) -> Facts:
        """Every domain of the test driver says that it runs Linux, whatever its document says."""
        return dataclasses.replace(super().facts(model), os_type="linux")

    def check(self, row: AnyProcedure, domain: DomainObject) -> None:
        """libvirt's test driver words its refusals as internal errors, and lets transient domains be undefined."""
        match row:
            case api.CREATE if domain.active:
                refusal = f"Domain '{domain.name}' is already running"
            case api.SUSPEND if domain.state != c.VIR_DOMAIN_RUNNING:
                refusal = f"domain '{domain.name}' not running"
            case api.SHUTDOWN if not domain.active:
                refusal = f"domain '{domain.name}' not running"
            case api.RESUME if domain.state != c.VIR_DOMAIN_PAUSED:
                refusal = f"domain '{domain.name}' not paused"
            case api.DESTROY | api.REBOOT | api.RESET if not domain.active:
                raise self.invalid("domain is not running", c.VIR_FROM_DOMAIN)
            case _:
                return
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, refusal, domain=self.error_domain)

    async def _effect(self, domain: DomainObject, operation: str, move: Move) -> Move:
        """What every operation comes down to here, unless the domain asks for a fault."""
        text = domain.live or domain.inactive or ""
        if FAULTS not in text:
            return move
        metadata = parse_domain(text).metadata
        for fault in etree.fromstring((metadata and metadata.get(FAULTS)) or "<none/>").iter(f"{{{FAULTS}}}fault"):
            if fault.get("operation") != operation:
                continue
            match fault.get("kind"):
                case "hang":
                    await asyncio.Event().wait()
                case "fail":
                    raise LibvirtError(int(fault.get("code", c.VIR_ERR_OPERATION_FAILED)),
                                       fault.get("message", f"{operation} fails on request"), domain=self.error_domain)
                case "crash":
                    return CRASHED
        return move

    async def domain_create(self, domain: DomainObject, model: Domain, flags: int) -> Move:
        """Runs at once."""
        del model, flags
        return await self._effect(domain, "create", RUNNING)

    async def domain_shutdown(self, domain: DomainObject, flags: int) -> Move:
        """The guest obeys at once."""
        del flags
        return await self._effect(domain, "shutdown", SHUT_DOWN)

    async def domain_reboot(self, domain: DomainObject, flags: int) -> Move:
        """The guest obeys at once; ``on_reboot`` decides what comes after."""
        del flags
        assert domain.live is not None
        stays = parse_domain(domain.live).on_reboot in (None, "restart", "rename-restart")
        return await self._effect(domain, "reboot", Move(c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_BOOTED)
                                  if stays else SHUT_DOWN)

    async def domain_reset(self, domain: DomainObject, flags: int) -> Move:
        """Runs on."""
        del flags
        return await self._effect(domain, "reset", Move(domain.state, domain.reason))

    async def domain_destroy(self, domain: DomainObject, flags: int) -> Move:
        """Gone at once."""
        del flags
        return await self._effect(domain, "destroy", DESTROYED)

    async def domain_suspend(self, domain: DomainObject) -> Move:
        """Paused at once."""
        return await self._effect(domain, "suspend", PAUSED)

    async def domain_resume(self, domain: DomainObject) -> Move:
        """Runs at once."""
        return await self._effect(domain, "resume", RESUMED)
