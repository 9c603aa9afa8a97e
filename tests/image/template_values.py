"""A value of every kind, the same as in go_oracle.go."""

from __future__ import annotations

from overlayfs_py.image.templates.values import (
    ANY,
    BOOL,
    DURATION,
    EMPTY_STRUCT,
    FLOAT64,
    INT,
    INT64,
    STRING,
    UINT8,
    Bool,
    Field,
    Float,
    Integer,
    Interface,
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

_TEXTS = slice_of(STRING)
_TEXT_MAP = map_of(STRING)
_SET = map_of(EMPTY_STRUCT)
_ANYTHING, _ANY_MAP = slice_of(ANY), map_of(ANY)


def _struct(name: str, **fields: Type) -> Type:
    return Type(
        Kind.STRUCT, f"main.{name}", fields=tuple(Field(n, t, n) for n, t in fields.items())
    )


def _texts(*values: str) -> Slice:
    return Slice(tuple(map(Text, values)), _TEXTS)


_HEALTH = _struct("Health", Test=_TEXTS, Interval=DURATION)
_CONFIG = _struct(
    "Config",
    User=STRING,
    ExposedPorts=_SET,
    Env=_TEXTS,
    Cmd=_TEXTS,
    Nil=_TEXTS,
    Labels=_TEXT_MAP,
    NilMap=_TEXT_MAP,
    Healthcheck=pointer_to(_HEALTH),
    NilCheck=pointer_to(_HEALTH),
    Flag=BOOL,
)
_ROOT = _struct("Root", Type=STRING, Layers=_TEXTS)
_DATA = _struct(
    "Data",
    ID=STRING,
    RepoTags=_TEXTS,
    Config=pointer_to(_CONFIG),
    NilConfig=pointer_to(_CONFIG),
    Size=INT64,
    Count=INT,
    F=FLOAT64,
    RootFS=_ROOT,
    Any=ANY,
    NilAny=ANY,
    Mixed=_ANYTHING,
    Raw=_ANY_MAP,
    Flag=BOOL,
    U=slice_of(UINT8),
)
_EMPTY = Struct((), EMPTY_STRUCT)
_HEALTHCHECK = Struct((_texts("CMD", "x"), Integer(90_000_000_000, DURATION)), _HEALTH)
_RUN = Struct(
    (
        Text("u<1>&"),
        Map({"80/tcp": _EMPTY, "443/tcp": _EMPTY}, _SET),
        _texts("A=1", "B=two words", "ä=€"),
        _texts("sh"),
        Slice(None, _TEXTS),
        Map({"b": Text("2"), "a": Text("1")}, _TEXT_MAP),
        Map(None, _TEXT_MAP),
        Pointer(_HEALTHCHECK, pointer_to(_HEALTH)),
        Pointer(None, pointer_to(_HEALTH)),
        Bool(value=True),
    ),
    _CONFIG,
)
_MIXED = (Integer(1), Text("a"), None, Bool(value=True), Float(2.0), _texts("q"))

VALUE: Value = Struct(
    (
        Text("sha256:0123456789abcdef"),
        _texts("a:1", "b:2"),
        Pointer(_RUN, pointer_to(_CONFIG)),
        Pointer(None, pointer_to(_CONFIG)),
        Integer(12345, INT64),
        Integer(-7),
        Float(1.5),
        Struct((Text("layers"), _texts("x", "y")), _ROOT),
        Interface(Text("any")),
        Interface(None),
        Slice(tuple(map(Interface, _MIXED)), _ANYTHING),
        Map(
            {
                "k": Interface(Text("v")),
                "n": Interface(None),
                "m": Interface(Map({"x": Interface(Float(1.0))}, _ANY_MAP)),
                "l": Interface(
                    Slice((Interface(Text("p")), Interface(Bool(value=False))), _ANYTHING)
                ),
            },
            _ANY_MAP,
        ),
        Bool(value=True),
        Slice(tuple(Integer(byte, UINT8) for byte in b"hi"), slice_of(UINT8)),
    ),
    _DATA,
)
