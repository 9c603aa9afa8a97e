"""References: how people and registries name an image.

`debian`, `debian:12`, `localhost:5000/team/app:1@sha256:...`. The grammar and the short forms
are those of docker (distribution/reference: reference.go, normalize.go, regexp.go).
"""

from __future__ import annotations

import re

import msgspec

from overlayfs_py.image.digest import BadDigest, Digest, parse_digest
from overlayfs_py.image.errors import BadReference
from overlayfs_py.late_import import late_pattern

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_ALGORITHM = "sha256"
_LONGEST_PATH = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = late_pattern(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = late_pattern(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = late_pattern(r"\w[\w.-]{0,127}", re.ASCII)
_TAG_AT_END = late_pattern(r"(?P<name>.*[^:]):(?P<tag>[^/:]*)", re.DOTALL)
_IMAGE_ID = late_pattern(r"[a-f0-9]{64}")


class Reference(msgspec.Struct, frozen=True):
    """A repository in a registry, and what is meant in it: a tag, a manifest, or both.

    With both, the digest decides and the tag is a remark.
    """

    domain: str  # host[:port]
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def repository(self) -> str:
        """The full name of the repository, `docker.io/library/debian`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_repository(self) -> str:
        """The shortest name of the repository, `debian`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.repository
        short = self.path.removeprefix(_OFFICIAL)
        short = self.path if "/" in short else short
        # `docker.io/a.b/c` keeps its host: `a.b/c` would name another one.
        return short if _split_domain(short) == (self.domain, self.path) else self.repository

    @property
    def canonical(self) -> str:
        """The full text, `docker.io/library/debian:12`."""
        return self.repository + self._suffix

    @property
    def familiar(self) -> str:
        """The short text that docker prints, `debian:12`."""
        return self.familiar_repository + self._suffix

    @property
    def _suffix(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        return tag if self.digest is None else f"{tag}@{self.digest}"

    def with_default_tag(self) -> Reference:
        """The same, with the tag `latest` if it has neither tag nor digest."""
        if self.tag is not None or self.digest is not None:
            return self
        return msgspec.structs.replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """The tag `tag` of the same repository."""
        return msgspec.structs.replace(self, tag=_require_tag(tag, tag), digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The manifest `digest` of the same repository."""
        return msgspec.structs.replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        return self.canonical


def parse_reference(text: str) -> Reference:
    """Return what `text`, typed by a person, names; nothing is added but the default host.

    Raises:
        BadReference: it names no image.
    """
    if not text:
        raise BadReference(text, "an image's name cannot be empty")
    if _IMAGE_ID.fullmatch(text):
        raise BadReference(text, "64 hex digits are an image's ID, not a name")
    before, at, digest_text = text.partition("@")
    digest = _require_digest(text, digest_text) if at else None
    match = _TAG_AT_END.fullmatch(before)
    # A colon before the last slash belongs to the host's port, and the pattern leaves it there.
    name, tag = (before, None) if match is None else (match["name"], match["tag"])
    if tag is not None:
        _require_tag(text, tag)
    domain, path = _split_domain(name)
    _require_name(text, domain, path)
    return Reference(domain, path, tag, digest)


def require_tag_name(reference: Reference) -> None:
    """Raise if an image cannot be given this name.

    Source: moby, reference/store.go (addReference).

    Raises:
        BadReference: it has a digest; or it is `sha256` and a tag, which would read as an ID.
    """
    if reference.digest is not None:
        raise BadReference(reference.familiar, "a new name cannot have a digest")
    if reference.familiar_repository == _ALGORITHM:
        why = f"'{_ALGORITHM}' cannot be an image's name: with a tag it reads as an ID"
        raise BadReference(reference.familiar, why)


def has_domain(text: str) -> bool:
    """Whether a name says in which registry it is: its first component looks like a host."""
    first, slash, _ = text.partition("/")
    return bool(slash) and (
        first == "localhost" or first != first.lower() or not {".", ":"}.isdisjoint(first)
    )


def _split_domain(name: str) -> tuple[str, str]:
    """The host and the path."""
    domain, path = DEFAULT_DOMAIN, name
    if has_domain(name):
        domain, _, path = name.partition("/")
    domain = DEFAULT_DOMAIN if domain == _LEGACY_DOMAIN else domain
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = _OFFICIAL + path
    return domain, path


def _require_name(text: str, domain: str, path: str) -> None:
    if _DOMAIN.fullmatch(domain) is None:
        raise BadReference(text, f"{domain!r} is not a registry's host[:port]")
    if path != path.lower():
        raise BadReference(text, f"repository name {path!r} must be lowercase")
    if _PATH.fullmatch(path) is None:
        raise BadReference(text, f"{path!r} is not a repository's name")
    if len(path) > _LONGEST_PATH:
        raise BadReference(text, f"a repository's name has at most {_LONGEST_PATH} characters")


def _require_tag(text: str, tag: str) -> str:
    if _TAG.fullmatch(tag) is None:
        raise BadReference(
            text, f"{tag!r} is not a tag: 1 to 128 of A-Z a-z 0-9 _ . -, no dot first"
        )
    return tag


def _require_digest(text: str, digest: str) -> Digest:
    try:
        return parse_digest(digest)
    except BadDigest as error:
        raise BadReference(text, f"{digest!r} is not a sha256 digest") from error
