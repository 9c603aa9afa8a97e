"""What is known of the files that a build may copy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContextFacts:
    """Sizes in a build context, after what is ignored."""

    bytes: int  # of all that the build sees
    files: int
    entries: dict[str, int]  # bytes of each entry of the root
    ignore_file: str | None  # the name of what is ignored, None if there is no such file
    complete: bool = True  # False if there was more than was looked at

    def size_of(self, source: str) -> int | None:
        """The bytes of a source of COPY, where that is known."""
        cleaned = source.strip("/").removeprefix("./")
        if cleaned in ("", "."):
            return self.bytes
        return self.entries.get(cleaned)
