"""The hypervisor drivers shipped with the domain service; others come as distributions with an entry point."""
