"""The ``virtbus-nodedev`` program: wiring only."""

from virtbus_nodedev.service import SERVICE
from virtbus_shared.service import daemon


def main() -> None:
    """Run the node device service until it is told to stop."""
    daemon.main(SERVICE)


if __name__ == "__main__":
    main()
