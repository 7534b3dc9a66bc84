"""The declaration of the domain service: its name, and its handlers by importing the modules that hold them."""

from virtbus_domain import definition, facts, lifecycle, lookup
from virtbus_domain.handlers import handlers
from virtbus_domain.metrics import Domains
from virtbus_shared.service.runtime import Service

__all__ = ["SERVICE", "definition", "facts", "lifecycle", "lookup"]

SERVICE = Service("domain", handlers, Domains)
