"""Placeholder."""
from virtbus_domain.drivers.test import TestDriver


class QemuDriver(TestDriver):
    """x"""

    paths = ()
