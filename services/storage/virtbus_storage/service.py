"""The declaration of the storage service: its name, and its handlers by importing the modules that hold them."""

from virtbus_shared.service.runtime import Service
from virtbus_storage import pools, volumes
from virtbus_storage.handlers import handlers
from virtbus_storage.metrics import Pools

__all__ = ["SERVICE", "pools", "volumes"]

SERVICE = Service("storage", handlers, Pools)
