"""The declaration of the node device service."""

from virtbus_nodedev.handlers import handlers
from virtbus_nodedev.metrics import Node
from virtbus_shared.service.runtime import Service

SERVICE = Service("nodedev", handlers, Node)
