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
    Known(
        "buildah",
        "archive-chown",
        "/.*",
        "--chown counts for archives; made directories are root's",
    ),
    Known(
        "buildah",
        "archive-content",
        "/x: .*",
        "an archive's own `.` does not describe where it goes",
    ),
    Known("buildah", "context-ignored|ignore-all", "/.*", "its patterns are not those of BuildKit"),
    Known(
        "buildah",
        "context-links",
        "/ctx/sock: .*",
        "sockets are left out there, empty files with BuildKit",
    ),
    Known("buildah", "context-modes", "/.*", "set-id bits are lost there"),
    Known("buildah", "context-image", "/p: .*", "--chmod is not for made directories there"),
    Known(
        "buildah",
        "copy-same|copy-several-to-file|copy-dest-link-file",
        "/.*",
        "its own idea of where a copy goes",
    ),
    Known(
        "buildah",
        "error-(archive-outside|copy-dir-.*|env-name|mount-missing|workdir-file)|expose-wrong",
        "error: .*",
        "it does not mind",
    ),
    Known(
        "buildah", "etc-files|hostname", "/.*", "a container has another name and /etc/hosts there"
    ),
    Known(
        "buildah",
        "expose.*",
        "config\\.ExposedPorts: .*",
        "ranges and capitals stay as they are written there",
    ),
    Known("buildah", "env-dollar-forms", "/o: .*", "`$$` is no variable there"),
    Known(
        "buildah",
        "from-stage-config|health.*|shell.*|.*onbuild.*",
        "config.*",
        "an OCI image has no SHELL, ONBUILD or HEALTHCHECK there",
    ),
    Known(
        "buildah",
        "from-stage-config|shell.*|.*onbuild.*",
        "/.*",
        "likewise: what follows from them",
    ),
    Known(
        "buildah",
        "json-broken|run-exec-variables",
        "/.*",
        "what is nearly JSON is a command with other words there",
    ),
    Known("buildah", "mount-rw-lost", "/.*", "what is written to a bind is kept there"),
    Known(
        "buildah",
        "mount-several|run-mount-bind|run-mount-cache",
        "/.*: None .*",
        "mount points stay in the layer there",
    ),
    Known(
        "buildah",
        "proc|run-capabilities|run-environment|run-fds-and-exit",
        "/.*",
        "its chroot isolation is no container",
    ),
    Known("buildah", "volume.*", "/.*", "below a VOLUME changes are lost there, and it is made"),
    Known(
        "buildah",
        "workdir(-owner-link|-variables|-user)?",
        "/.*",
        "it makes no directory for a WORKDIR that nothing uses",
    ),
    Known("buildah", "stage-graph", "/whole/etc/.*", "its own mount points stay in the layer"),
    Known("buildah", "target-number", "error: .*", "as BuildKit: numbers are for --from"),
    Known("buildah", ".*", "error: none .*", "1.28 is too old for it"),
)
