"""The config of an image: what to run, on what, and which layers made it; its digest is the ID.

Sources: OCI image-spec config.md; moby's image.Image and container.Config.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping  # noqa: TC003 - msgspec looks it up
from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.image import go_json
from overlayfs_py.image.digest import Digest, DigestMismatch, digest_of, digest_of_hex
from overlayfs_py.image.documents import (
    LARGEST_CONFIG,
    Document,
    Strings,
    Texts,
    decode,
    digest_in,
    texts,
)
from overlayfs_py.image.errors import BadDocument
from overlayfs_py.image.manifest import MOST_LAYERS
from overlayfs_py.image.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from overlayfs_py.image.go_json import Json

_MOST_HISTORY = 10_000  # entries; a guess, far above what builders write


class Healthcheck(msgspec.Struct, frozen=True):
    """How to find out whether a container works; times in nanoseconds, 0 for the engine's own."""

    test: tuple[str, ...] | None = None
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


class RunConfig(msgspec.Struct, frozen=True):
    """What a container of the image starts with.

    None and an empty tuple differ for `entrypoint` and `cmd` alone: an empty one takes away what
    a base image says.
    """

    user: str = ""
    exposed_ports: tuple[str, ...] | None = None  # "80/tcp", sorted
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: tuple[str, ...] | None = None  # sorted
    working_dir: str = ""
    labels: Mapping[str, str] | None = None
    stop_signal: str = ""
    on_build: tuple[str, ...] | None = None
    shell: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    args_escaped: bool = False


_NOTHING = RunConfig()


class HistoryEntry(msgspec.Struct, frozen=True):
    """One step of the build; one with `empty_layer` made no layer."""

    created: str = ""  # RFC 3339, as it was written
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(msgspec.Struct, frozen=True):
    """A config and its exact bytes."""

    raw: bytes
    image_id: Digest
    platform: Platform
    diff_ids: tuple[Digest, ...]  # base first; the same layer may occur twice
    history: tuple[HistoryEntry, ...] = ()  # oldest first; empty if the builder kept none
    run: RunConfig = _NOTHING
    created: str = ""  # RFC 3339, as it was written
    author: str = ""
    comment: str = ""
    docker_version: str = ""

    @property
    def chain_ids(self) -> tuple[Digest, ...]:
        """For each layer, the name of the stack that it is the top of."""
        return chain_ids(self.diff_ids)


class _HealthcheckForm(Document, frozen=True, rename="pascal"):
    test: Strings | None = None
    interval: int | None = None
    timeout: int | None = None
    start_period: int | None = None
    start_interval: int | None = None
    retries: int | None = None

    def value(self) -> Healthcheck:
        return Healthcheck(
            _tuple(self.test),
            self.interval or 0,
            self.timeout or 0,
            self.start_period or 0,
            self.start_interval or 0,
            self.retries or 0,
        )


class _RunForm(Document, frozen=True, rename="pascal"):
    user: str | None = None
    # Go decodes the members of these into empty structs: what they hold says nothing.
    exposed_ports: dict[str, dict[str, msgspec.Raw] | None] | None = None
    env: Strings | None = None
    # One text instead of a list is a list of it (moby, api/types/strslice).
    entrypoint: Strings | str | None = None
    cmd: Strings | str | None = None
    volumes: dict[str, dict[str, msgspec.Raw] | None] | None = None
    working_dir: str | None = None
    labels: Texts | None = None
    stop_signal: str | None = None
    on_build: Strings | None = None
    shell: Strings | str | None = None
    healthcheck: _HealthcheckForm | None = None
    args_escaped: bool | None = None

    def value(self) -> RunConfig:
        return RunConfig(
            user=self.user or "",
            exposed_ports=_keys(self.exposed_ports),
            env=_tuple(self.env),
            entrypoint=_tuple(self.entrypoint),
            cmd=_tuple(self.cmd),
            volumes=_keys(self.volumes),
            working_dir=self.working_dir or "",
            labels=None if self.labels is None else texts(self.labels),
            stop_signal=self.stop_signal or "",
            on_build=_tuple(self.on_build),
            shell=_tuple(self.shell),
            healthcheck=None if self.healthcheck is None else self.healthcheck.value(),
            args_escaped=bool(self.args_escaped),
        )


class _HistoryForm(Document, frozen=True, rename=None):
    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None

    def value(self) -> HistoryEntry:
        return HistoryEntry(
            self.created or "",
            self.created_by or "",
            self.author or "",
            self.comment or "",
            bool(self.empty_layer),
        )


class _RootfsForm(Document, frozen=True, rename=None):
    type: str | None = None
    diff_ids: list[str] | None = None


class _ConfigForm(Document, frozen=True, rename=None):
    architecture: str | None = None
    os: str | None = None
    variant: str | None = None
    os_version: str | None = msgspec.field(default=None, name="os.version")
    os_features: list[str] | None = msgspec.field(default=None, name="os.features")
    rootfs: _RootfsForm | None = None
    history: list[_HistoryForm | None] | None = None
    config: _RunForm | None = None
    created: str | None = None
    author: str | None = None
    comment: str | None = None
    docker_version: str | None = None


def parse_config(raw: bytes, expected: Digest | None = None) -> ImageConfig:
    """Return the config that `raw` is.

    Raises:
        BadDocument: it is none, or its history and its layers do not fit together.
        DigestMismatch: it is not what was asked for.
    """
    image_id = digest_of(raw)
    if expected is not None and image_id != expected:
        raise DigestMismatch("image config", expected, image_id)
    what = f"image config {image_id}"
    form = decode(raw, _ConfigForm, what, LARGEST_CONFIG)
    diff_ids = _diff_ids(form.rootfs, what)
    history = tuple(entry.value() if entry else HistoryEntry() for entry in form.history or ())
    _require_fit(history, diff_ids, what)
    return ImageConfig(
        raw,
        image_id,
        _platform(form),
        diff_ids,
        history,
        RunConfig() if form.config is None else form.config.value(),
        form.created or "",
        form.author or "",
        form.comment or "",
        form.docker_version or "",
    )


def _platform(form: _ConfigForm) -> Platform:
    return Platform(
        form.os or "",
        form.architecture or "",
        form.variant or "",
        form.os_version or "",
        tuple(form.os_features or ()),
    )


def _diff_ids(rootfs: _RootfsForm | None, what: str) -> tuple[Digest, ...]:
    if rootfs is None:
        raise BadDocument(what, "it has no rootfs: not the config of an image")
    if rootfs.type not in {"layers", None}:
        raise BadDocument(what, f"its rootfs is of type {rootfs.type!r}, not layers")
    listed = rootfs.diff_ids or []
    if len(listed) > MOST_LAYERS:
        raise BadDocument(what, f"{len(listed)} layers, more than {MOST_LAYERS}")
    return tuple(digest_in(text, what) for text in listed)


def _require_fit(history: Sequence[HistoryEntry], diff_ids: Sequence[Digest], what: str) -> None:
    if len(history) > _MOST_HISTORY:
        raise BadDocument(what, f"{len(history)} steps of history, more than {_MOST_HISTORY}")
    made = sum(not entry.empty_layer for entry in history)
    # Builders that squash keep less history than layers, or none. More is what docker refuses
    # too ("too many non-empty layers in History section").
    if made > len(diff_ids):
        raise BadDocument(what, f"its history makes {made} layers, its rootfs has {len(diff_ids)}")


def chain_ids(diff_ids: Iterable[Digest]) -> tuple[Digest, ...]:
    """The chain ID of each layer, base first (OCI image-spec config.md, "Layer ChainID")."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        if chain:
            joined = f"{chain[-1]} {diff_id}".encode()
            chain.append(digest_of_hex(hashlib.sha256(joined).hexdigest()))
        else:
            chain.append(diff_id)
    return tuple(chain)


def _tuple(values: Strings | str | None) -> tuple[str, ...] | None:
    if isinstance(values, str):
        return (values,)
    return None if values is None else tuple(value or "" for value in values)


def _keys(values: Mapping[str, object] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(sorted(values))


def build_config(
    platform: Platform,
    diff_ids: Sequence[Digest],
    *,
    history: Sequence[HistoryEntry] = (),
    run: RunConfig = _NOTHING,
    created: str = "",
    author: str = "",
    comment: str = "",
) -> ImageConfig:
    """Return a new config: the same arguments always give the same bytes."""
    fields: dict[str, Json] = {
        "created": created,
        "author": author,
        "comment": comment,
        "architecture": platform.architecture,
        "os": platform.os,
        "os.version": platform.os_version,
        "os.features": list(platform.os_features),
        "variant": platform.variant,
        "config": run_json(run),
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [_history_json(entry) for entry in history],
    }
    kept = {name: value for name, value in fields.items() if value or name in _REQUIRED}
    return parse_config(go_json.compact_bytes(kept))


_REQUIRED = frozenset({"architecture", "os", "config"})


def run_json(run: RunConfig) -> dict[str, Json]:
    """The fields of `config`, in the order of image-spec's Go types, without those not set."""
    fields: dict[str, Json] = {
        "User": run.user or None,
        "ExposedPorts": _empty_structs(run.exposed_ports),
        "Env": run.env,
        "Entrypoint": run.entrypoint,
        "Cmd": run.cmd,
        "Volumes": _empty_structs(run.volumes),
        "WorkingDir": run.working_dir or None,
        "Labels": None if run.labels is None else go_json.sorted_map(run.labels),
        "StopSignal": run.stop_signal or None,
        "ArgsEscaped": run.args_escaped or None,
        "Healthcheck": None if run.healthcheck is None else healthcheck_json(run.healthcheck),
        "OnBuild": run.on_build,
        "Shell": run.shell,
    }
    return {name: value for name, value in fields.items() if value is not None}


def healthcheck_json(check: Healthcheck) -> dict[str, Json]:
    """The fields of `Healthcheck`, without those not set."""
    fields: dict[str, Json] = {
        "Test": check.test,
        "Interval": check.interval_ns,
        "Timeout": check.timeout_ns,
        "StartPeriod": check.start_period_ns,
        "StartInterval": check.start_interval_ns,
        "Retries": check.retries,
    }
    return {name: value for name, value in fields.items() if value}


def _history_json(entry: HistoryEntry) -> dict[str, Json]:
    fields: dict[str, Json] = {
        "created": entry.created,
        "created_by": entry.created_by,
        "author": entry.author,
        "comment": entry.comment,
        "empty_layer": entry.empty_layer,
    }
    return {name: value for name, value in fields.items() if value}


def _empty_structs(names: Sequence[str] | None) -> dict[str, Json] | None:
    return None if names is None else {name: {} for name in sorted(names)}
