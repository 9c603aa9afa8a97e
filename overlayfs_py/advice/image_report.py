"""All that there is to say of a stored image: its layers, what each adds, and advice."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overlayfs_py.advice.findings import Severity
from overlayfs_py.advice.image_findings import Advice, instruction, saved_by
from overlayfs_py.advice.image_risks import modes, secrets, told_secrets
from overlayfs_py.advice.image_stack import ImageStack
from overlayfs_py.advice.image_waste import caches, hidden, twice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.advice.image_facts import FileFact, ImageFacts, LayerFacts
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.go_json import Json

RULES = {
    "DeletedLater": "files that a later layer deletes",
    "ReplacedLater": "files that a later layer writes again",
    "CopiedForAttributes": "files that a later layer copies for another mode or owner",
    "CacheLeftBehind": "what package managers keep for the next time",
    "SameContent": "the same content in several layers",
    "SecretInLayer": "keys, tokens and logins in files",
    "SecretInHistory": "keys, tokens and logins in the history",
    "SecretInConfig": "keys, tokens and logins in the environment",
    "RepositoryInLayer": "a repository of git",
    "SetUserId": "files with set-user-ID or set-group-ID",
    "WorldWritable": "what everybody may write to",
}


@dataclass(frozen=True, slots=True)
class LayerReport:
    """A layer in figures."""

    at: int
    diff_id: Digest
    instruction: str
    bytes: int
    files: int  # of them; everything but directories
    deletes: int  # names that it deletes or replaces
    wasted_bytes: int  # of its bytes, what advice on waste would save
    shown: tuple[FileFact, ...]  # its regular files, a hard link once
    wasted: frozenset[int]  # the numbers of those that are waste


@dataclass(frozen=True, slots=True)
class ImageReport:
    """An image, its layers and the advice on it."""

    name: str
    image_id: Digest
    bytes: int
    layers: tuple[LayerReport, ...]  # lowest first
    advice: tuple[Advice, ...]  # the worst first, then what saves most

    @property
    def wasted_bytes(self) -> int:
        """What following the advice would save, style and mere information left aside."""
        return saved_by(_on_waste(self.advice))

    @property
    def savable_bytes(self) -> int:
        """What following all of it would save."""
        return saved_by(self.advice)

    @property
    def wasted_share(self) -> float:
        """The part of the image that is waste, 0 to 1."""
        return self.wasted_bytes / self.bytes if self.bytes else 0.0


def report(name: str, facts: ImageFacts, skip: Sequence[str] = ()) -> ImageReport:
    """Look an image over; rules of the names in `skip` are left out."""
    stack = ImageStack(facts.layers)
    found = [
        *hidden(facts, stack),
        *caches(facts, stack),
        *twice(facts, stack),
        *secrets(facts, stack),
        *told_secrets(facts),
        *modes(facts, stack),
    ]
    advice = sorted(
        (each for each in found if each.rule not in skip),
        key=lambda each: (-each.severity, -each.saved_bytes, each.layer or 0, each.rule),
    )
    together: dict[tuple[int, int], int] = {}
    for each in _on_waste(advice):
        together.update(each.saves)
    layers = tuple(_layer(layer, stack, together) for layer in facts.layers)
    size = sum(layer.bytes for layer in layers)
    return ImageReport(name, facts.config.image_id, size, layers, tuple(advice))


def _on_waste(advice: Sequence[Advice]) -> list[Advice]:
    return [each for each in advice if each.severity >= Severity.WARNING]


def _layer(facts: LayerFacts, stack: ImageStack, wasted: dict[tuple[int, int], int]) -> LayerReport:
    once = {fact.number: fact for fact in facts.files if fact.is_regular}
    waste = frozenset(number for number in once if (facts.at, number) in wasted)
    return LayerReport(
        facts.at,
        facts.diff_id,
        instruction(facts.created_by),
        sum(fact.size for fact in once.values()),
        sum(not fact.is_directory for fact in facts.files),
        sum(each.by == facts.at for each in stack.hidden),
        sum(once[number].size for number in waste),
        tuple(once.values()),
        waste,
    )


def as_json(found: ImageReport) -> dict[str, Json]:
    """A report for programs; sizes in bytes."""
    return {
        "image": found.name,
        "id": found.image_id,
        "bytes": found.bytes,
        "wasted_bytes": found.wasted_bytes,
        "wasted_percent": round(100 * found.wasted_share, 2),
        "savable_bytes": found.savable_bytes,
        "layers": [
            {
                "layer": layer.at,
                "diff_id": layer.diff_id,
                "instruction": layer.instruction,
                "bytes": layer.bytes,
                "files": layer.files,
                "deletes": layer.deletes,
                "wasted_bytes": layer.wasted_bytes,
            }
            for layer in found.layers
        ],
        "advice": [
            {
                "rule": each.rule,
                "severity": each.severity.word,
                "message": each.message,
                "layer": each.layer,
                "paths": [os.fsdecode(b"/" + path) for path in each.paths],
                "bytes": each.saved_bytes,
                "rewrite": each.rewrite,
            }
            for each in found.advice
        ],
    }
