"""The names of objects that hold secrets: whoever makes the files and whoever refers to them agree here."""

from __future__ import annotations


def auth_secret(node: str) -> str:
    """The password for a protocol node's server."""
    return f"{node}-auth-secret0"


def cookie_secret(node: str) -> str:
    """What a protocol node sends to its HTTP server."""
    return f"{node}-httpcookie-secret0"


def key_secret(node: str) -> str:
    """The key of the image in a format node."""
    return f"{node}-encryption-secret0"
