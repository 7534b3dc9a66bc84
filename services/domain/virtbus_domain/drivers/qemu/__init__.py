"""The ``qemu`` driver: QEMU processes, driven by QMP.

``driver`` is the driver, ``guest`` one running guest: its process, its monitor, and what its events mean. Below them:
``process`` starts, watches and ends QEMU, ``monitor`` speaks QMP, ``discovery`` finds running guests again, ``tap``
makes network devices. ``command`` turns a document into a command line, with ``devices``, ``arguments``, ``names`` and
``supported``; ``capabilities`` and ``kvm`` say what an emulator and this node can do.
"""

from virtbus_domain.drivers.qemu.driver import QemuDriver

__all__ = ["QemuDriver"]
