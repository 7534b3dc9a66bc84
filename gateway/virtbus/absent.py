"""Classes of libvirt-python whose objects no service of virtbus makes yet.

Programs name them (in annotations, in ``isinstance``), so they exist; their methods fail with code 3 like every other
call that is not supported. A class leaves this file when its first row comes into the table.
"""

from virtbus.handle import Handle
from virtbus.unsupported import complete


@complete
class virDomainCheckpoint(Handle):
    """A point in time for incremental backups of a domain."""


@complete
class virDomainSnapshot(Handle):
    """A snapshot of a domain."""


@complete
class virInterface(Handle):
    """A network interface of the host."""


@complete
class virNetworkPort(Handle):
    """A port of a virtual network."""


@complete
class virNWFilter(Handle):
    """A network filter."""


@complete
class virNWFilterBinding(Handle):
    """A network filter on a port."""


@complete
class virSecret(Handle):
    """A secret that a domain or a pool needs."""


@complete
class virStream(Handle):
    """A stream of data, such as a volume's."""
