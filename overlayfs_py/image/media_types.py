"""Media types: what a blob or a manifest is, in Docker's words and in OCI's.

Sources: OCI image-spec media-types.md; Docker's image manifest v2, schema 2.
"""

from __future__ import annotations

from enum import Enum

from overlayfs_py.image.errors import BadDocument

_DOCKER = "application/vnd.docker."
_OCI = "application/vnd.oci."
_VENDORS = "application/vnd."

DOCKER_MANIFEST = f"{_DOCKER}distribution.manifest.v2+json"
DOCKER_INDEX = f"{_DOCKER}distribution.manifest.list.v2+json"
DOCKER_CONFIG = f"{_DOCKER}container.image.v1+json"
DOCKER_LAYER = f"{_DOCKER}image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = f"{_DOCKER}image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = f"{_DOCKER}image.rootfs.diff.tar.zstd"

OCI_MANIFEST = f"{_OCI}image.manifest.v1+json"
OCI_INDEX = f"{_OCI}image.index.v1+json"
OCI_CONFIG = f"{_OCI}image.config.v1+json"
OCI_LAYER = f"{_OCI}image.layer.v1.tar"
OCI_LAYER_GZIP = f"{_OCI}image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = f"{_OCI}image.layer.v1.tar+zstd"

MANIFESTS = frozenset({DOCKER_MANIFEST, OCI_MANIFEST})
INDEXES = frozenset({DOCKER_INDEX, OCI_INDEX})
# Beside the two right types those that old registries and clients have put into manifests; docker
# takes them too (moby, distribution/registry.go, ImageTypes).
_CONFIGS = frozenset({DOCKER_CONFIG, OCI_CONFIG, "application/octet-stream", "application/json"})
_CONFIGS |= {"text/html", ""}
# For `Accept`: a registry answers 404 for a kind that is not named.
ACCEPTED = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX)

_SCHEMA_1 = frozenset(
    {f"{_DOCKER}distribution.manifest.v1+json", f"{_DOCKER}distribution.manifest.v1+prettyjws"}
)
SCHEMA_1 = "a manifest of Docker's schema 1, which has no verifiable layers"
# What servers and files say that do not know what they hold.
_UNTOLD = frozenset({"", "application/json", "application/octet-stream", "text/plain"})


class Kind(Enum):
    """Whose words a document uses."""

    DOCKER = "docker"
    OCI = "oci"

    @property
    def manifest(self) -> str:
        return DOCKER_MANIFEST if self is Kind.DOCKER else OCI_MANIFEST

    @property
    def index(self) -> str:
        return DOCKER_INDEX if self is Kind.DOCKER else OCI_INDEX

    @property
    def config(self) -> str:
        return DOCKER_CONFIG if self is Kind.DOCKER else OCI_CONFIG

    def layer(self, compression: Compression) -> str:
        """The media type of a layer compressed so."""
        return _LAYER_TYPES[self, compression]


class Compression(Enum):
    """How a layer's tar is stored in its blob."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


_LAYER_TYPES = {
    (Kind.DOCKER, Compression.NONE): DOCKER_LAYER,
    (Kind.DOCKER, Compression.GZIP): DOCKER_LAYER_GZIP,
    (Kind.DOCKER, Compression.ZSTD): DOCKER_LAYER_ZSTD,
    (Kind.OCI, Compression.NONE): OCI_LAYER,
    (Kind.OCI, Compression.GZIP): OCI_LAYER_GZIP,
    (Kind.OCI, Compression.ZSTD): OCI_LAYER_ZSTD,
}
# Layers that were not to be copied to other registries; their bytes are as any other layer's.
_FOREIGN = {
    f"{_DOCKER}image.rootfs.foreign.diff.tar": Compression.NONE,
    f"{_DOCKER}image.rootfs.foreign.diff.tar.gzip": Compression.GZIP,
    f"{_OCI}image.layer.nondistributable.v1.tar": Compression.NONE,
    f"{_OCI}image.layer.nondistributable.v1.tar+gzip": Compression.GZIP,
    f"{_OCI}image.layer.nondistributable.v1.tar+zstd": Compression.ZSTD,
}
_COMPRESSIONS = {name: kind[1] for kind, name in _LAYER_TYPES.items()} | _FOREIGN


def is_config(media_type: str) -> bool:
    """Whether it may be the config of an image to run; that of a plugin or a chart is not."""
    return _without_parameters(media_type) in _CONFIGS


def is_layer(media_type: str) -> bool:
    """Whether it is a layer that can be unpacked."""
    return media_type in _COMPRESSIONS


def compression_of(media_type: str) -> Compression:
    """How a layer's blob is compressed.

    Raises:
        BadDocument: it is no layer that can be unpacked; an encrypted one, for example.
    """
    if media_type not in _COMPRESSIONS:
        raise BadDocument(media_type, "not the media type of a layer")
    return _COMPRESSIONS[media_type]


def kind_of(media_type: str) -> Kind:
    """Whose words a manifest's or an index's media type is."""
    return Kind.DOCKER if media_type.startswith(_DOCKER) else Kind.OCI


def agree(told: str | None, embedded: str | None, what: str) -> str:
    """Return the media type of a manifest from what it came with and what it says itself.

    Two readers must never take one document for two things (CVE-2021-41190).

    Args:
        told: the Content-Type, or the descriptor's media type; None if there was none.
        embedded: the document's `mediaType`.
        what: the document, for errors.

    Raises:
        BadDocument: they disagree, both are missing, or it is no manifest we know.
    """
    plain = _without_parameters(told)
    # A plain web server says anything of files that it knows nothing about; only what is said in
    # words of images can disagree.
    if plain in _UNTOLD or (embedded in MANIFESTS | INDEXES and not plain.startswith(_VENDORS)):
        plain = embedded or ""
    if not plain:
        raise BadDocument(what, "nothing says what this document is: it has no mediaType")
    if plain in _SCHEMA_1:
        raise BadDocument(what, SCHEMA_1)
    if plain not in MANIFESTS | INDEXES:
        raise BadDocument(what, f"{plain!r} is neither a manifest nor an index")
    if embedded is not None and embedded != plain:
        raise BadDocument(what, f"it came as {plain} and calls itself {embedded!r}")
    return plain


def _without_parameters(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()
