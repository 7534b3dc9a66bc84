"""The storage drivers shipped with the service."""
