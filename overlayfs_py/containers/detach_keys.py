"""The keys that leave a container alone with its terminal, in docker's words: `ctrl-p,ctrl-q`."""

from __future__ import annotations

DEFAULT = b"\x10\x11"
_CONTROL = "ctrl-"
_CONTROLLED = "@abcdefghijklmnopqrstuvwxyz[\\]^_"  # by the byte that each gives with Control


def parse(text: str) -> bytes:
    """Return what a terminal sends for them.

    Raises:
        ValueError: saying which is no key.
    """
    return b"".join(_byte(key) for key in text.split(",")) if text else DEFAULT


def _byte(key: str) -> bytes:
    if len(key) == 1 and key.isascii():
        return key.encode()
    name = key.removeprefix(_CONTROL)
    if name == key or len(name) != 1 or name not in _CONTROLLED:
        raise ValueError(f"{key!r}: not a character, nor ctrl- and one of a-z @ [ \\ ] ^ _")
    return bytes([_CONTROLLED.index(name)])


class Watch:
    """Looks for the keys in what is typed; the beginning of them is held back until more is."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def passed(self, typed: bytes) -> tuple[bytes, bool]:
        """Return what goes on, and whether the keys follow it."""
        data = self._held + typed
        before, found, _ = data.partition(self._keys)
        if found:
            self._held = b""
            return before, True
        length = next(
            (n for n in range(len(self._keys) - 1, 0, -1) if data.endswith(self._keys[:n])), 0
        )
        self._held = data[len(data) - length :]
        return data[: len(data) - length], False
