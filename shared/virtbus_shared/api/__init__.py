"""THE TABLE: every procedure and every event of the four services, declared once.

One module per service holds its rows and their models, and nothing else: no logic and no machinery. Importing this
package fills ``TABLE``. To find the path of a call, search for its row: ``domain.CREATE`` lists the row, the gateway
method, the handler, and nothing else.
"""

from virtbus_shared.api import common, domain, network, nodedev, storage
from virtbus_shared.procedure import TABLE

SERVICES = ("domain", "network", "storage", "nodedev")

__all__ = ["SERVICES", "TABLE", "common", "domain", "network", "nodedev", "storage"]
