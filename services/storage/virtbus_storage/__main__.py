"""The ``virtbus-storage`` program: wiring only."""

from virtbus_shared.service import daemon
from virtbus_storage.service import SERVICE


def main() -> None:
    """Run the storage service until it is told to stop."""
    daemon.main(SERVICE)


if __name__ == "__main__":
    main()
