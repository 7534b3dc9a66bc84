"""The network drivers shipped with the service."""
