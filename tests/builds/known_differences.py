"""What other builders do otherwise, and why ours does not do as they do."""

from __future__ import annotations

import re
from typing import NamedTuple


class Known(NamedTuple):
    """Lines of a comparison that have one reason."""

    builder: str
    case: str  # patterns for the whole text
    line: str
    why: str

    def fits(self, builder: str, case: str, line: str) -> bool:
        return (
            self.builder == builder
            and re.fullmatch(self.case, case) is not None
            and re.fullmatch(self.line, line, re.DOTALL) is not None
        )


_BUILDAH_MOUNTS = r"/(etc/(hosts|hostname|resolv\.conf)|run(/.*)?): None .*"
KNOWN = (
    Known("buildkit", "etc-files", r"/(ls|tmp/h): .*", "a container's /etc/hosts and hostname"),
    Known("buildkit", "syntax-directive", "error: .*", "the frontend is never fetched"),
    Known("chroot", "hostname", "/h: .*", "nobody can give the container another name"),
    Known("chroot", "proc", "error: .*", "there is no /proc"),
    Known("chroot", "run-network-none", "error: .*", "the network is the container's"),
    Known(
        "buildkit", "context-as-base", r"history.*", "the first layer has no entry of its own there"
    ),
    Known("buildkit", "context-xattrs", r"/.*user\.one.*", "xattrs of a context are kept"),
    Known(
        "buildkit", "archive-sparse", "error: none .*", "GNU tar's sparse files are unknown there"
    ),
    Known(
        "buildkit", "error-archive-outside", "error: .*", "what leads out of an archive is an error"
    ),
    Known("buildkit", "error-chown-unknown", "error: .*", "a name that nobody has means nobody"),
    Known("buildkit", "network-host", "error: none .*", "its daemon has to allow it"),
    Known("buildkit", "run-environment", "/env: .*TRACEPARENT.*", "commands are traced there"),
    Known(
        "buildkit", "stage-by-number", "error: none .*", "only COPY knows a stage by number there"
    ),
    Known(
        "buildkit", "workdir-variables", "/a/b: .*", "its runtime makes what a path passes through"
    ),
    Known("buildkit", "from-as-case", "error: none .*", "FROM alone minds case there"),
    Known("buildah", ".*", _BUILDAH_MOUNTS, "its own mount points stay in the layer"),
    Known("buildah", ".*", r"config\.Labels: .*io\.buildah\.version.*", "its own label"),
    Known("buildah", ".*", r"config\.ArgsEscaped: True .*", "BuildKit says so of every CMD"),
    Known("buildah", ".*", r"config\.WorkingDir: '/' .*", "BuildKit says so of scratch"),
    Known("buildah", ".*", r"config\.Env: .*", "scratch has a PATH; the last ARG counts"),
    Known("buildah", "arg-.*|env-then-.*", "/.*", "an ARG after ENV counts, and is inherited"),
    Known("buildah", "target-number", "error: .*", "as BuildKit: numbers are for --from"),
    Known("buildah", ".*", "error: none .*", "1.28 is too old for it"),
)
