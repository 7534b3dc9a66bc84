"""``domxml-to-native`` and the way back: a domain as the command that would run it, and the domain of such a command.

``forward`` builds the command without making anything for it. The way back reads what ``forward`` writes: ``options``
takes the words apart, ``machine`` reads what is said of the machine, ``storage`` and ``devices`` what it consists of.
"""

from virtbus_domain.drivers.qemu.native.forward import native_arguments
from virtbus_domain.drivers.qemu.native.machine import from_arguments

__all__ = ["from_arguments", "native_arguments"]
