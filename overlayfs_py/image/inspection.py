"""What `image inspect` says: docker's keys, with Go's types, so that templates print as docker's.

Source: moby, api/types/image (InspectResponse) and docker-image-spec (DockerOCIImageConfig).
`Size` is what the files of all layers add up to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from overlayfs_py.image import go_json
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.image.templates.encoding import from_json, to_json
from overlayfs_py.image.templates.errors import ExecutionError
from overlayfs_py.image.templates.execution import MissingKey
from overlayfs_py.image.templates.values import (
    BOOL,
    DURATION,
    EMPTY_STRUCT,
    INT,
    INT64,
    STRING,
    Bool,
    Field,
    Integer,
    Kind,
    Map,
    Pointer,
    Slice,
    Struct,
    Text,
    Type,
    Value,
    map_of,
    pointer_to,
    slice_of,
)
from overlayfs_py.image.times import go_text, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from overlayfs_py.image.config import Healthcheck, ImageConfig, RunConfig
    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.image.templates.template import Template

DRIVER = "overlayfs-py"


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a store knows of an image beside its documents."""

    descriptor: Descriptor  # of the manifest
    tags: tuple[str, ...]  # in full
    repo_digests: tuple[str, ...]  # in full
    size: int
    lower: tuple[str, ...]  # where its layers are, topmost first
    last_tag_ns: int | None


def _field(name: str, type_: Type, json_name: str | None = None) -> Field:
    """A field; one with a name for JSON is left out of it while it is empty."""
    return Field(name, type_, json_name or name, omit_empty=json_name is not None)


def _struct(name: str, *fields: tuple[str, Type] | tuple[str, Type, str]) -> Type:
    return Type(Kind.STRUCT, name, fields=tuple(_field(*field) for field in fields))


_TEXTS = slice_of(STRING)
_SET = map_of(EMPTY_STRUCT)
_TEXT_MAP = map_of(STRING)

_HEALTHCHECK = _struct(
    "v1.HealthcheckConfig",
    ("Test", _TEXTS, "Test"),
    ("Interval", DURATION, "Interval"),
    ("Timeout", DURATION, "Timeout"),
    ("StartPeriod", DURATION, "StartPeriod"),
    ("StartInterval", DURATION, "StartInterval"),
    ("Retries", INT, "Retries"),
)
_CONFIG = _struct(
    "v1.DockerOCIImageConfig",
    ("User", STRING, "User"),
    ("ExposedPorts", _SET, "ExposedPorts"),
    ("Env", _TEXTS, "Env"),
    ("Entrypoint", _TEXTS, "Entrypoint"),
    ("Cmd", _TEXTS, "Cmd"),
    ("Volumes", _SET, "Volumes"),
    ("WorkingDir", STRING, "WorkingDir"),
    ("Labels", _TEXT_MAP, "Labels"),
    ("StopSignal", STRING, "StopSignal"),
    ("ArgsEscaped", BOOL, "ArgsEscaped"),
    ("Healthcheck", pointer_to(_HEALTHCHECK), "Healthcheck"),
    ("OnBuild", _TEXTS, "OnBuild"),
    ("Shell", _TEXTS, "Shell"),
)
_DRIVER_DATA = _struct("storage.DriverData", ("Data", _TEXT_MAP), ("Name", STRING))
_ROOT_FS = _struct("image.RootFS", ("Type", STRING), ("Layers", _TEXTS, "Layers"))
_TIME = Type(
    Kind.STRUCT, "time.Time", fields=(Field("", STRING, ""), Field("", STRING, "")), is_text=True
)
_METADATA = _struct("image.Metadata", ("LastTagTime", _TIME, "LastTagTime"))
_DESCRIPTOR = _struct(
    "v1.Descriptor",
    ("MediaType", STRING, "mediaType"),
    ("Digest", Type(Kind.STRING, "digest.Digest"), "digest"),
    ("Size", INT64, "size"),
)
IMAGE = _struct(
    "image.InspectResponse",
    ("ID", STRING, "Id"),  # never empty
    ("RepoTags", _TEXTS),
    ("RepoDigests", _TEXTS),
    ("Parent", STRING, "Parent"),
    ("Comment", STRING, "Comment"),
    ("Created", STRING, "Created"),
    ("DockerVersion", STRING, "DockerVersion"),
    ("Author", STRING, "Author"),
    ("Config", pointer_to(_CONFIG)),
    ("Architecture", STRING),
    ("Variant", STRING, "Variant"),
    ("Os", STRING),
    ("OsVersion", STRING, "OsVersion"),
    ("Size", INT64),
    ("GraphDriver", pointer_to(_DRIVER_DATA), "GraphDriver"),
    ("RootFS", _ROOT_FS),
    ("Metadata", _METADATA),
    ("Descriptor", pointer_to(_DESCRIPTOR), "Descriptor"),
)


def inspect_image(config: ImageConfig, facts: StoreFacts) -> Value:
    """Return what there is to say of an image, for templates and for JSON."""
    platform = config.platform
    return _filled(
        IMAGE,
        {
            "ID": Text(config.image_id),
            "RepoTags": _texts(parse_reference(tag).familiar for tag in facts.tags),
            "RepoDigests": _texts(parse_reference(name).familiar for name in facts.repo_digests),
            "Parent": Text(""),  # classic builders' local images alone had one
            "Comment": Text(config.comment),
            "Created": Text(config.created),
            "DockerVersion": Text(config.docker_version),
            "Author": Text(config.author),
            "Config": Pointer(_run_config(config.run), pointer_to(_CONFIG)),
            "Architecture": Text(platform.architecture),
            "Variant": Text(platform.variant),
            "Os": Text(platform.os),
            "OsVersion": Text(platform.os_version),
            "Size": Integer(facts.size, INT64),
            "GraphDriver": _pointer(_driver_data(facts.lower)),
            "RootFS": _filled(
                _ROOT_FS, {"Type": Text("layers"), "Layers": _texts(config.diff_ids)}
            ),
            "Metadata": _filled(_METADATA, {"LastTagTime": _time(facts.last_tag_ns)}),
            "Descriptor": _pointer(_descriptor(facts.descriptor)),
        },
    )


def inspect_json(images: Sequence[Value]) -> str:
    """The array that docker prints, indented by four spaces; `<`, `>` and `&` stay as they are."""
    return go_json.indented([to_json(image) for image in images], escape_html=False)


def inspect_format(template: Template, image: Value) -> str:
    """What a template prints of an image.

    What the types do not have may be in the JSON under that name, as `{{.Id}}` is: docker tries
    there before it gives up, and so the second attempt's message is the one to show.

    Raises:
        ExecutionError: it does not fit either.
    """
    try:
        return template.execute(image)
    except ExecutionError:
        return template.execute(from_json(to_json(image)), MissingKey.ERROR)


def _run_config(run: RunConfig) -> Value:
    check = None if run.healthcheck is None else _healthcheck(run.healthcheck)
    return _filled(
        _CONFIG,
        {
            "User": Text(run.user),
            "ExposedPorts": _set(run.exposed_ports),
            "Env": _texts(run.env),
            "Entrypoint": _texts(run.entrypoint),
            "Cmd": _texts(run.cmd),
            "Volumes": _set(run.volumes),
            "WorkingDir": Text(run.working_dir),
            "Labels": _text_map(run.labels),
            "StopSignal": Text(run.stop_signal),
            "ArgsEscaped": Bool(run.args_escaped),
            "Healthcheck": Pointer(check, pointer_to(_HEALTHCHECK)),
            "OnBuild": _texts(run.on_build),
            "Shell": _texts(run.shell),
        },
    )


def _healthcheck(check: Healthcheck) -> Value:
    return _filled(
        _HEALTHCHECK,
        {
            "Test": _texts(check.test),
            "Interval": Integer(check.interval_ns, DURATION),
            "Timeout": Integer(check.timeout_ns, DURATION),
            "StartPeriod": Integer(check.start_period_ns, DURATION),
            "StartInterval": Integer(check.start_interval_ns, DURATION),
            "Retries": Integer(check.retries),
        },
    )


def _driver_data(lower: Iterable[str]) -> Struct:
    data = {"LowerDir": ":".join(path.replace(":", "\\:") for path in lower)}
    return _filled(_DRIVER_DATA, {"Data": _text_map(data), "Name": Text(DRIVER)})


def _descriptor(descriptor: Descriptor) -> Struct:
    return _filled(
        _DESCRIPTOR,
        {
            "MediaType": Text(descriptor.media_type),
            "Digest": Text(descriptor.digest, Type(Kind.STRING, "digest.Digest")),
            "Size": Integer(descriptor.size, INT64),
        },
    )


def _time(time_ns: int | None) -> Value:
    if time_ns is None:
        return Struct((Text("0001-01-01 00:00:00 +0000 UTC"), Text("0001-01-01T00:00:00Z")), _TIME)
    return Struct((Text(go_text(time_ns)), Text(rfc3339(time_ns))), _TIME)


def _filled(type_: Type, values: Mapping[str, Value]) -> Struct:
    return Struct(tuple(values[field.name] for field in type_.fields), type_)


def _pointer(target: Struct) -> Value:
    return Pointer(target, pointer_to(target.type))


def _texts(values: Iterable[str] | None) -> Value:
    return Slice(None if values is None else tuple(map(Text, values)), _TEXTS)


def _text_map(values: Mapping[str, str] | None) -> Value:
    entries = None if values is None else {key: Text(value) for key, value in values.items()}
    return Map(entries, _TEXT_MAP)


def _set(names: Iterable[str] | None) -> Value:
    empty = Struct((), EMPTY_STRUCT)
    return Map(None if names is None else dict.fromkeys(names, empty), _SET)
