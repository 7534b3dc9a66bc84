"""The ``test`` driver: the host of libvirt's ``test:///default``, which exists nowhere and never changes."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from virtbus_nodedev.driver import NodedevDriver
from virtbus_nodedev.host import NodeInfo
from virtbus_nodedev.xml import NodeDevice, parse_device
from virtbus_shared import constants as c
from virtbus_shared.service import node_file

COMPUTER = """<device>
  <name>computer</name>
  <capability type='system'>
    <hardware>
      <vendor>Libvirt</vendor>
      <version>Test driver</version>
      <serial>123456</serial>
      <uuid>11111111-2222-3333-4444-555555555555</uuid>
    </hardware>
    <firmware>
      <vendor>Libvirt</vendor>
      <version>Test Driver</version>
      <release_date>01/22/2007</release_date>
    </firmware>
  </capability>
</device>"""

SCSI_HOST = """<device>
  <name>scsi_host{host}</name>
  <parent>{parent}</parent>
  <capability type='scsi_host'>
    <host>{host}</host>
    <unique_id>{unique_id}</unique_id>
    <capability type='fc_host'>
      <wwnn>20000000{wwn}</wwnn>
      <wwpn>10000000{wwn}</wwpn>
      <fabric_wwn>20000000{fabric}</fabric_wwn>
    </capability>{ports}
  </capability>
</device>"""

PORTS = """
    <capability type='vport_ops'>
      <max_vports>0</max_vports>
      <vports>0</vports>
    </capability>"""

DEVICES = (
    SCSI_HOST.format(host=11, parent="scsi_host1", unique_id=10, wwn="34563456", fabric="43214321", ports=""),
    COMPUTER,
    SCSI_HOST.format(host=1, parent="computer", unique_id=0, wwn="12341234", fabric="43214321", ports=PORTS),
    SCSI_HOST.format(host=2, parent="computer", unique_id=1, wwn="56785678", fabric="87658765", ports=PORTS),
)

HOST = """  <host>
    <cpu>
      <arch>i686</arch>
      <features>
        <pae/>
        <nonpae/>
      </features>
      <pages unit='KiB' size='4'/>
      <pages unit='KiB' size='8'/>
      <pages unit='KiB' size='2048'/>
      <pages unit='KiB' size='1048576'/>
    </cpu>
    <power_management/>
    <iommu support='no'/>
    <topology>
      <cells num='2'>
{cells}
      </cells>
    </topology>
    <secmodel>
      <model>testSecurity</model>
      <doi></doi>
    </secmodel>
  </host>

"""

CELL = """        <cell id='{cell}'>
          <memory unit='KiB'>{memory}</memory>
          <pages unit='KiB' size='{page}'>524288</pages>
          <pages unit='KiB' size='2048'>0</pages>
          <pages unit='KiB' size='1048576'>0</pages>
          <cpus num='8'>
{cpus}
          </cpus>
        </cell>"""


def _cell(cell: int, memory: int, page: int) -> str:
    cpus = "\n".join(f"            <cpu id='{cell * 8 + i}' socket_id='{cell}' die_id='0' core_id='{i}' "
                     f"siblings='{cell * 8 + i}'/>" for i in range(8))
    return CELL.format(cell=cell, memory=memory, page=page, cpus=cpus)


class TestDriver(NodedevDriver):
    """``test:///default``: two cells of eight i686 CPUs, and three SCSI hosts."""

    __test__ = False  # its name makes pytest curious

    paths = ("/default",)
    prefix = "test"
    error_domain = c.VIR_FROM_TEST

    @classmethod
    def accepts(cls, path: str, *, inprocess: bool) -> bool:
        """In-process, also a file that describes a node."""
        return node_file.accepts(path, inprocess=inprocess)

    async def start(self) -> None:
        """The devices of the default node; one described by a file has the computer alone."""
        documents = DEVICES if self.host.path == "/default" else (COMPUTER,)
        self._devices = {device.name: device for device in map(parse_device, documents)}

    async def stop(self) -> None:
        """Nothing is held."""

    def devices(self) -> Iterable[NodeDevice]:
        """The same as ever."""
        return self._devices.values()

    def find(self, name: str) -> NodeDevice | None:
        """The same as ever."""
        return self._devices.get(name)

    def hostname(self) -> str:
        """The real host's name, as libvirt's test driver has it."""
        return platform.node()

    def node_info(self) -> NodeInfo:
        """A machine of 2007."""
        return NodeInfo("i686", 3145728, 16, 1400, 2, 2, 2, 2)

    def capabilities(self) -> str:
        """Two NUMA cells, with odd page sizes."""
        return HOST.format(cells="\n".join((_cell(0, 2097152, 4), _cell(1, 4194304, 8))))

    def free_memory(self) -> int:
        """The memory of the machine, as libvirt's test driver has it."""
        return 3145728
