"""Modules that are loaded at their first use.

Not importlib's LazyLoader: an import statement that finds its module already makes it load.
"""

from __future__ import annotations

import importlib


class LateModule:
    """Stands for a module, which is imported when something of it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> object:
        value: object = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)  # the next time it is found without coming here
        return value
