"""The node device drivers shipped with the service."""
