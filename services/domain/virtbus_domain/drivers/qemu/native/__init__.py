"""``domxml-to-native`` and the way back: a domain as the command that would run it, and the domain of such a command.

``forward`` builds the command without making anything for it. The way back reads all that the builder writes:
``options`` and ``values`` take the words apart, ``machine`` and what it calls read what is said of the machine,
``devices`` and what it calls what the machine consists of. Whoever adds to the builder adds here; what is added there
only is refused by name, and the tests find it.
"""

from virtbus_domain.drivers.qemu.native.forward import native_arguments
from virtbus_domain.drivers.qemu.native.machine import from_arguments

__all__ = ["from_arguments", "native_arguments"]
