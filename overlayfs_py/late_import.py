"""Modules that are loaded at their first use, and patterns that are compiled then.

Not importlib's LazyLoader: an import statement that finds its module already makes it load.
"""

from __future__ import annotations

import importlib
import re
from typing import overload


class LateModule:
    """Stands for a module, which is imported when something of it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> object:
        value: object = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)  # the next time it is found without coming here
        return value


class LatePattern:
    """Stands for a compiled pattern, which is compiled at its first use; see `late_pattern`."""

    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, attribute: str) -> object:
        value: object = getattr(re.compile(self._text, self._flags), attribute)
        setattr(self, attribute, value)
        return value


@overload
def late_pattern(text: str, flags: int = 0) -> re.Pattern[str]: ...


@overload
def late_pattern(text: bytes, flags: int = 0) -> re.Pattern[bytes]: ...


def late_pattern(text: str | bytes, flags: int = 0) -> object:
    """What `re.compile` returns, compiled at its first use: most runs have none for it."""
    return LatePattern(text, flags)
