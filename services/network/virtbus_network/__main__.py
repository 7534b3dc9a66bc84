"""The ``virtbus-network`` program: wiring only."""

from virtbus_network.service import SERVICE
from virtbus_shared.service import daemon


def main() -> None:
    """Run the network service until it is told to stop."""
    daemon.main(SERVICE)


if __name__ == "__main__":
    main()
