"""What keeps files from going into an image."""

from __future__ import annotations

from overlayfs_py.errors import OverlayError


class BuildFailure(OverlayError):
    """A step that cannot be done; docker's builder ends with 1."""

    exit_code = 1

    def __init__(self, name: str | bytes, why: str) -> None:
        super().__init__(None, why, name)


class BadContext(BuildFailure):
    """Something that is no build context, or one that cannot be read."""


class SourceNotFound(BuildFailure):
    """A source that a context does not have."""


class ChangedMeanwhile(BuildFailure):
    """A file that another process changed, or replaced, while it was read."""

    def __init__(self, name: str | bytes) -> None:
        super().__init__(name, "it changed while it was read: build again once it is at rest")


class CannotPlace(BuildFailure):
    """A file that cannot be where it is to be."""


class BadOption(BuildFailure):
    """A value that an option of COPY or ADD cannot have."""
