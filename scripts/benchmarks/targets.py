"""What the direct driver is held to: ratios of medians in one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.benchmarks.sides import DIRECT, FUSE_OVERLAYFS, KERNEL
from scripts.benchmarks.starting import BARE, MOUNT

if TYPE_CHECKING:
    from scripts.benchmarks.results import Results


@dataclass(frozen=True, slots=True)
class Target:
    """At most so many times what the peers take."""

    case: str
    of_kernel: float
    of_fuse_overlayfs: float
    side: str = DIRECT


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target beside what was measured; None: not measured."""

    case: str
    side: str
    reference: str
    allowed: float
    ratio: float | None

    @property
    def word(self) -> str:
        """The verdict in a word."""
        if self.ratio is None:
            return "not measured"
        return "met" if self.ratio <= self.allowed else "MISSED"


_MOUNT_OF_BARE = 8

TARGETS = (
    Target("open+close, warm", 1.3, 0.4),
    Target("find -printf %s, first", 4, 0.7),
    Target("find -printf %s, again", 1.3, 1.0),
    Target("tar c, first", 3, 0.7),
    Target("tar c, again", 1.5, 0.5),
    Target("re-read small files", 1.3, 0.5),
    Target("chroot sh -c 'true; id'", 1.2, 0.8),
    Target("untar the root", 5, 0.5),
    Target("rm -rf of the untarred root", 5, 0.5),
    Target("create files of 600 B", 3, 0.6),
    Target("write-temp-and-rename", 2, 0.7),
    Target("rm -rf of lower trees", 3, 0.2),
    Target("utimens on lower files", 1.2, 1.0),
    Target("chown -R of lower /usr/share", 0.3, 0.3, "direct+metacopy"),
    Target("append to a large file", 1.2, 1.2),
    Target("read, first", 4, 1.0),
    Target("read, again", 2, 1.2),
    Target("read-only mount: read, first", 1.1, 0.7, "direct+passthrough"),
    Target("read-only mount: read, again", 1.1, 0.7, "direct+passthrough"),
    Target("write + fsync", 1.3, 1.0),
    Target("dpkg -i in a chroot", 2, 0.8),
    Target("30 layers: walk, first", 4, 0.5),
    Target("crowded directory: ls -l", 4, 0.5),
    Target("crowded directory: lookups", 4, 0.5),
    Target("crowded directory: create", 4, 0.5),
    Target("crowded directory: delete", 4, 0.5),
)


def verdicts(results: Results) -> list[Verdict]:
    """Return every target whose case was chosen to be measured, and what came of it."""
    found = []
    for target in TARGETS:
        for reference, allowed in (
            (KERNEL, target.of_kernel),
            (FUSE_OVERLAYFS, target.of_fuse_overlayfs),
        ):
            ratio = results.ratio(target.case, target.side, reference)
            found.append(Verdict(target.case, target.side, reference, allowed, ratio))
    found.append(Verdict(MOUNT, DIRECT, BARE, _MOUNT_OF_BARE, _mount_of_bare(results)))
    return [verdict for verdict in found if verdict.case in results.cases]


def _mount_of_bare(results: Results) -> float | None:
    ours, bare = results.find(MOUNT, DIRECT), results.find(BARE, DIRECT)
    if ours is None or bare is None or ours.failure or bare.failure:
        return None
    return ours.median / bare.median
