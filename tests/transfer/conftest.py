from __future__ import annotations

from tests.transfer.registries import ours, registry, serve  # noqa: F401 (fixtures)
