"""The declaration of the network service."""

from virtbus_network.handlers import handlers
from virtbus_network.metrics import Networks
from virtbus_shared.service.runtime import Service

SERVICE = Service("network", handlers, Networks)
