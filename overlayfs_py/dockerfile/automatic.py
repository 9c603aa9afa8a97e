"""Arguments that a build has without being given them."""

from __future__ import annotations

# Known before the first FROM; a stage that wants them says `ARG NAME`.
PLATFORM_ARGUMENTS = (
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDOSVERSION",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETOSVERSION",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETSTAGE",  # the name of the target, `default` if none was given
)

# A RUN has their values without an ARG, and they are in no cache key unless an ARG declares them.
PROXY_ARGUMENTS = tuple(
    spelling
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for spelling in (name, name.lower())
)

SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH"
