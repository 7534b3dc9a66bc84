"""Placeholder."""
from virtbus_storage.drivers.test import TestDriver


class DirDriver(TestDriver):
    """x"""

    paths = ()
