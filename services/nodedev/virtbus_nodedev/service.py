"""The declaration of the node device service."""

from virtbus_shared.service.runtime import Service

from virtbus_nodedev.handlers import handlers

SERVICE = Service("nodedev", handlers)
