"""The values of `build --cache-to` and `--cache-from`, in docker's words, and what they do."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.backends.mount_options import OptionError
from overlayfs_py.builds.cache_document import CONFIG_TYPE
from overlayfs_py.builds.cache_export import LARGEST_MOUNT, Exporter, ExportWanted, Mode
from overlayfs_py.builds.events import Notice
from overlayfs_py.builds.imported import read_caches
from overlayfs_py.cli.build_arguments import fields_of
from overlayfs_py.cli.registries import RegistryArguments, client_options, run_async
from overlayfs_py.cli.rights_arguments import size_bytes
from overlayfs_py.errors import Failure, describe, exit_code_of
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.transfer.directory_artifacts import DirectoryPlace
from overlayfs_py.transfer.registry_artifacts import RegistryPlace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.builds.build import Built
    from overlayfs_py.builds.imported import Imported, Tell
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.store import Store
    from overlayfs_py.transfer.artifacts import ArtifactPlace

_TO, _FROM = "--cache-to", "--cache-from"
_LOCAL_AND_COPY = "write type=local, and have the directory kept by"
_REFUSED = {
    "gha": f"GitHub gives access to that service to its own actions alone: {_LOCAL_AND_COPY} "
    "actions/cache, or use type=registry",
    "s3": f"there is no S3 client here: {_LOCAL_AND_COPY} one, or use type=registry",
    "azblob": f"there is no client for it here: {_LOCAL_AND_COPY} one, or use type=registry",
    "inline": "it would hold digests of BuildKit's own operations: use type=registry and a tag",
}
_WITHOUT_EFFECT = {"oci-mediatypes": "true", "image-manifest": "true", "compression": "gzip"}
_COMMON = {"type", "ref", "tag"}
_TO_KEYS = {*_COMMON, "dest", "mode", "ignore-error", "mounts", "mount", "mount-size"}
_FROM_KEYS = {*_COMMON, "src"}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Caches:
    """The caches of one build, besides that of its store."""

    def __init__(
        self,
        store: Store,
        arguments: RegistryArguments,
        caches_from: Sequence[str],
        caches_to: Sequence[str],
    ) -> None:
        """Read the values of `--cache-from` and of `--cache-to`.

        Raises:
            OptionError: one is none, or of a type that is not offered.
        """
        self._store = store
        self._arguments = arguments
        self._from = [self._source(value) for value in caches_from]
        self._to = [self._target(value) for value in caches_to]

    def read(self, addition: Addition, tell: Tell) -> Imported:
        """Read those to import from."""
        return read_caches(self._from, addition, tell)

    def write(self, addition: Addition, imported: Imported, built: Built, tell: Tell) -> None:
        """Export to where it was asked for.

        Raises:
            Failure: it cannot be written there; the image is made, and whatever comes first.
        """
        if not self._to:
            return
        exporter = Exporter(self._store, addition, imported, built, tell)
        exporter.gather(self._to)
        for wanted in self._to:
            try:
                run_async(partial(exporter.export, wanted))
            except OSError as error:
                text = f"cache to {wanted.place.name}: {describe(error)}"
                if not wanted.ignores_errors:
                    code = exit_code_of(error)
                    raise Failure(
                        f"{text} (the image is built; ignore-error=true)", code
                    ) from error
                tell(Notice(text))

    def _source(self, value: str) -> ArtifactPlace:
        if "=" not in value:
            return self._registry(parse_reference(value).with_default_tag())
        fields = _checked(_FROM, value, _FROM_KEYS)
        if fields["type"] == "registry":
            return self._registry(_reference(_FROM, value, fields))
        return _directory(_FROM, value, fields, "src")

    def _target(self, value: str) -> ExportWanted:
        if "=" not in value:
            value = f"type=registry,ref={value}"
        fields = _checked(_TO, value, _TO_KEYS)
        if fields["type"] == "registry":
            reference = _reference(_TO, value, fields)
            if reference.tag is None or reference.digest is not None:
                raise OptionError(_TO, f"{value!r}: ref= is a name with a tag, without a digest")
            place: ArtifactPlace = self._registry(reference)
        else:
            place = _directory(_TO, value, fields, "dest")
        mode = fields.get("mode", Mode.MIN.value)
        if mode not in {each.value for each in Mode}:
            raise OptionError(_TO, f"{value!r}: mode is min or max")
        mounts = fields.get("mounts", "none")
        if mounts not in {"all", "none"}:
            raise OptionError(_TO, f"{value!r}: mounts is all or none (mount=ID: one of them)")
        size = fields.get("mount-size")
        return ExportWanted(
            place,
            Mode(mode),
            mounts == "all",
            frozenset({fields["mount"]} if "mount" in fields else ()),
            LARGEST_MOUNT if size is None else size_bytes(_TO, size),
            _truth(value, fields.get("ignore-error", "false")),
        )

    def _registry(self, reference: Reference) -> RegistryPlace:
        options = client_options(self._arguments)
        return RegistryPlace(reference, options, CONFIG_TYPE, self._store.open_blob)


def _checked(option: str, value: str, known: set[str]) -> dict[str, str]:
    fields = fields_of(option, value)
    kind = fields.get("type", "")
    if kind in _REFUSED:
        raise OptionError(option, f"{value!r}: type={kind} is not offered: {_REFUSED[kind]}")
    if kind not in {"registry", "local"}:
        what = f"no type {kind!r}" if kind else "type= is needed"
        raise OptionError(option, f"{value!r}: {what} (registry or local)")
    for name, text in _WITHOUT_EFFECT.items():
        if fields.get(name, text) != text:
            raise OptionError(option, f"{value!r}: {name} is always {text} here")
    unknown = fields.keys() - known - _WITHOUT_EFFECT.keys()
    if unknown:
        raise OptionError(option, f"{value!r}: no key {min(unknown)!r}")
    return fields


def _reference(option: str, value: str, fields: dict[str, str]) -> Reference:
    if not fields.get("ref"):
        raise OptionError(option, f"{value!r}: ref= is needed")
    return parse_reference(fields["ref"]).with_default_tag()


def _directory(option: str, value: str, fields: dict[str, str], key: str) -> DirectoryPlace:
    if not fields.get(key):
        raise OptionError(option, f"{value!r}: {key}= is needed")
    return DirectoryPlace(Path(fields[key]).absolute(), fields.get("tag", "latest"), CONFIG_TYPE)


def _truth(value: str, text: str) -> bool:
    if text not in _BOOLEANS:
        raise OptionError(_TO, f"{value!r}: ignore-error is true or false")
    return _BOOLEANS[text]
