"""The ``virtbus-domain`` program: wiring only."""

from virtbus_domain.service import SERVICE
from virtbus_shared.service import daemon


def main() -> None:
    """Run the domain service until it is told to stop."""
    daemon.main(SERVICE)


if __name__ == "__main__":
    main()
