"""What earlier builds know of instructions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overlayfs_py.dockerfile.instructions import Instruction


@dataclass(frozen=True, slots=True)
class BuiltStep:
    """What an instruction made when it was built last."""

    seconds: float
    bytes: int | None  # of the files in its layer, None if the layer is gone


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """Steps by the text of their instructions."""

    steps: Mapping[str, BuiltStep] = field(default_factory=dict)

    def of(self, instruction: Instruction) -> BuiltStep | None:
        """What is known of an instruction, from whatever Dockerfile has the same."""
        return self.steps.get(instruction.source)

    def seconds(self, instruction: Instruction) -> float | None:
        """How long it took."""
        step = self.of(instruction)
        return None if step is None else step.seconds
