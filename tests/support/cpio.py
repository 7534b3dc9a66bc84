"""The "newc" cpio archive the Linux kernel unpacks as initramfs, written without root rights or a cpio program.

Format: Linux, Documentation/driver-api/early-userspace/buffer-format.rst. A device node is only a header here, so
/dev/console can be put in by an ordinary user.
"""

from __future__ import annotations

import stat


class Archive:
    """Collects entries in order; folders must come before what is in them."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._inode = 0

    def folder(self, path: str) -> None:
        """Add a folder anyone may enter."""
        self._entry(path, stat.S_IFDIR | 0o755)

    def file(self, path: str, content: bytes, mode: int) -> None:
        """Add a file with these permission bits."""
        self._entry(path, stat.S_IFREG | mode, content)

    def symlink(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, path: str, major: int, minor: int) -> None:
        """Add a character device node, for root alone."""
        self._entry(path, stat.S_IFCHR | 0o600, device=(major, minor))

    def packed(self) -> bytes:
        """The archive, ended as the format wants it."""
        self._entry("TRAILER!!!", 0)
        return bytes(self._data)

    def _entry(self, path: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        name = path.encode() + b"\x00"
        fields = (self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name), 0)
        self._data += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        self._pad()
        self._data += content
        self._pad()

    def _pad(self) -> None:
        self._data += bytes(-len(self._data) % 4)
