"""The messages of containerd.services.snapshots.v1, as classes made when this module is loaded.

A table of the public interface's fields takes the place of generated code: what protobuf's own
library makes of it is the same, and nothing has to be generated again. The numbers are those of
containerd's api/services/snapshots/v1/snapshots.proto and api/types/mount.proto.
"""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    empty_pb2,
    field_mask_pb2,
    message_factory,
    timestamp_pb2,
)

PACKAGE = "containerd.services.snapshots.v1"
SERVICE = f"{PACKAGE}.Snapshots"

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _Field.TYPE_STRING,
    "int64": _Field.TYPE_INT64,
    "Kind": _Field.TYPE_ENUM,
}
_MOUNT = ".containerd.types.Mount"
_TIME = ".google.protobuf.Timestamp"
_MASK = ".google.protobuf.FieldMask"

# A type's name; `*` before it for several, `map` for labels.
_NEW = {"snapshotter": (1, "string"), "key": (2, "string"), "parent": (3, "string")}
_ONE = {"snapshotter": (1, "string"), "key": (2, "string")}
_MOUNTS = {"mounts": (1, f"*{_MOUNT}")}
_INFO = {"info": (1, f".{PACKAGE}.Info")}
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "PrepareSnapshotRequest": {**_NEW, "labels": (4, "map")},
    "PrepareSnapshotResponse": _MOUNTS,
    "ViewSnapshotRequest": {**_NEW, "labels": (4, "map")},
    "ViewSnapshotResponse": _MOUNTS,
    "MountsRequest": _ONE,
    "MountsResponse": _MOUNTS,
    "RemoveSnapshotRequest": _ONE,
    "CommitSnapshotRequest": {
        "snapshotter": (1, "string"),
        "name": (2, "string"),
        "key": (3, "string"),
        "labels": (4, "map"),
        "parent": (5, "string"),
    },
    "StatSnapshotRequest": _ONE,
    "Info": {
        "name": (1, "string"),
        "parent": (2, "string"),
        "kind": (3, "Kind"),
        "created_at": (4, _TIME),
        "updated_at": (5, _TIME),
        "labels": (6, "map"),
    },
    "StatSnapshotResponse": _INFO,
    "UpdateSnapshotRequest": {
        "snapshotter": (1, "string"),
        "info": (2, f".{PACKAGE}.Info"),
        "update_mask": (3, _MASK),
    },
    "UpdateSnapshotResponse": _INFO,
    "ListSnapshotsRequest": {"snapshotter": (1, "string"), "filters": (2, "*string")},
    "ListSnapshotsResponse": {"info": (1, f"*.{PACKAGE}.Info")},
    "UsageRequest": _ONE,
    "UsageResponse": {"size": (1, "int64"), "inodes": (2, "int64")},
    "CleanupRequest": {"snapshotter": (1, "string")},
}
_KINDS = ("UNKNOWN", "VIEW", "ACTIVE", "COMMITTED")
_MOUNT_FIELDS = {
    "type": (1, "string"),
    "source": (2, "string"),
    "target": (3, "string"),
    "options": (4, "*string"),
}


class Method(NamedTuple):
    """A call of the service: what it takes and answers; `stream`: several answers."""

    request: str
    response: str
    stream: bool = False


METHODS = {
    "Prepare": Method("PrepareSnapshotRequest", "PrepareSnapshotResponse"),
    "View": Method("ViewSnapshotRequest", "ViewSnapshotResponse"),
    "Mounts": Method("MountsRequest", "MountsResponse"),
    "Commit": Method("CommitSnapshotRequest", "Empty"),
    "Remove": Method("RemoveSnapshotRequest", "Empty"),
    "Stat": Method("StatSnapshotRequest", "StatSnapshotResponse"),
    "Update": Method("UpdateSnapshotRequest", "UpdateSnapshotResponse"),
    "List": Method("ListSnapshotsRequest", "ListSnapshotsResponse", stream=True),
    "Usage": Method("UsageRequest", "UsageResponse"),
    "Cleanup": Method("CleanupRequest", "Empty"),
}


def _describe(
    message: descriptor_pb2.DescriptorProto, fields: dict[str, tuple[int, str]], package: str
) -> None:
    for name, (number, kind) in fields.items():
        field = message.field.add(name=name, number=number)
        many = kind.startswith("*") or kind == "map"
        field.label = _Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL
        kind = kind.removeprefix("*")
        if kind == "map":
            # How protobuf has a map: as pairs of a message of its own.
            pair = message.nested_type.add(name=f"{name.capitalize()}Entry")
            pair.options.map_entry = True
            _describe(pair, {"key": (1, "string"), "value": (2, "string")}, package)
            kind = f".{package}.{message.name}.{pair.name}"
        field.type = _TYPES.get(kind, _Field.TYPE_MESSAGE)
        if field.type == _Field.TYPE_ENUM:
            field.type_name = f".{package}.{kind}"
        elif field.type == _Field.TYPE_MESSAGE:
            field.type_name = kind


def _make() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for known in (empty_pb2, field_mask_pb2, timestamp_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    types = descriptor_pb2.FileDescriptorProto(
        name="overlayfs_py/mount.proto", package="containerd.types", syntax="proto3"
    )
    _describe(types.message_type.add(name="Mount"), _MOUNT_FIELDS, types.package)
    pool.Add(types)
    service = descriptor_pb2.FileDescriptorProto(
        name="overlayfs_py/snapshots.proto", package=PACKAGE, syntax="proto3"
    )
    service.dependency.extend(
        [types.name, field_mask_pb2.DESCRIPTOR.name, timestamp_pb2.DESCRIPTOR.name]
    )
    kinds = service.enum_type.add(name="Kind")
    for number, name in enumerate(_KINDS):
        kinds.value.add(name=name, number=number)
    for name, fields in _MESSAGES.items():
        _describe(service.message_type.add(name=name), fields, PACKAGE)
    pool.Add(service)
    return pool


_POOL = _make()


def message(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """Return the class of a message: `Info`, `Mount`, `Empty`..."""
    package = {"Mount": "containerd.types", "Empty": "google.protobuf"}.get(name, PACKAGE)
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{package}.{name}"))


KIND_NUMBERS = {name.lower(): number for number, name in enumerate(_KINDS)}
