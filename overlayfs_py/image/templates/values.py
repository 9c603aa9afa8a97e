"""Values with Go's types: what a template prints, compares and refuses depends on them.

A `Value | None` is what Go's reflect.Value is to a template: None is an invalid one, the result of
a missing map key, printed as `<no value>`. An `Interface` is a slot that may hold anything, or nil.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Kind(Enum):
    """Go's kinds, as far as they differ here."""

    BOOL = auto()
    INT = auto()
    UINT = auto()
    FLOAT = auto()
    STRING = auto()
    SLICE = auto()
    MAP = auto()
    STRUCT = auto()
    POINTER = auto()
    INTERFACE = auto()
    FUNCTION = auto()
    REFLECTED = auto()  # a parameter that takes any value as it is, nil too


@dataclass(frozen=True, slots=True)
class Type:
    """A Go type; two with one name are the same."""

    kind: Kind
    name: str
    element: Type | None = None  # of slices, maps, pointers
    fields: tuple[Field, ...] = ()
    is_text: bool = False  # prints as its first field says, and is its last one in JSON: a time

    def __str__(self) -> str:
        return self.name

    @property
    def can_be_nil(self) -> bool:
        return self.kind in _NILABLE

    def field_named(self, name: str) -> int | None:
        """Where a struct has this field; None if it has none."""
        return next((at for at, field in enumerate(self.fields) if field.name == name), None)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a struct, and how it appears in JSON."""

    name: str
    type: Type
    json_name: str
    omit_empty: bool = False


_NILABLE = frozenset(
    {Kind.SLICE, Kind.MAP, Kind.POINTER, Kind.INTERFACE, Kind.FUNCTION, Kind.REFLECTED}
)

BOOL = Type(Kind.BOOL, "bool")
INT = Type(Kind.INT, "int")
INT64 = Type(Kind.INT, "int64")
DURATION = Type(Kind.INT, "time.Duration")  # nanoseconds; prints as `1m30s`
UINT8 = Type(Kind.UINT, "uint8")
FLOAT64 = Type(Kind.FLOAT, "float64")
STRING = Type(Kind.STRING, "string")
JSON_NUMBER = Type(Kind.STRING, "json.Number")
ANY = Type(Kind.INTERFACE, "interface {}")
REFLECTED = Type(Kind.REFLECTED, "reflect.Value")
EMPTY_STRUCT = Type(Kind.STRUCT, "struct {}")


def slice_of(element: Type) -> Type:
    return Type(Kind.SLICE, f"[]{element.name}", element)


def map_of(element: Type) -> Type:
    """A map whose keys are strings; no other is needed."""
    return Type(Kind.MAP, f"map[string]{element.name}", element)


def pointer_to(element: Type) -> Type:
    return Type(Kind.POINTER, f"*{element.name}", element)


@dataclass(frozen=True, slots=True)
class Bool:
    """A bool."""

    value: bool
    type: Type = BOOL


@dataclass(frozen=True, slots=True)
class Integer:
    """An int or a uint of any size."""

    value: int
    type: Type = INT


@dataclass(frozen=True, slots=True)
class Float:
    """A float64."""

    value: float
    type: Type = FLOAT64


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    value: str
    type: Type = STRING


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice; None is nil, which is empty and prints so."""

    items: Sequence[Value] | None
    type: Type

    def __len__(self) -> int:
        return len(self.items or ())


@dataclass(frozen=True, slots=True)
class Map:
    """A map by strings; None is nil, which is empty and prints so."""

    entries: Mapping[str, Value] | None
    type: Type

    def __len__(self) -> int:
        return len(self.entries or ())

    def sorted(self) -> list[tuple[str, Value]]:
        """The entries in the order that Go prints and ranges over them."""
        entries = self.entries or {}
        return [(key, entries[key]) for key in sorted(entries, key=key_order)]


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct: a value for each field of its type."""

    values: tuple[Value, ...]
    type: Type


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer; None is nil."""

    target: Value | None
    type: Type


@dataclass(frozen=True, slots=True)
class Interface:
    """What a slot of type interface{} holds; None is nil. `held` is never an Interface."""

    held: Value | None
    type: Type = ANY


@dataclass(frozen=True, slots=True)
class Function:
    """What a template can call; the last of variadic parameters stands for any number."""

    name: str
    parameters: tuple[Type, ...]
    call: Callable[[Sequence[Value | None]], Value | None]
    variadic: bool = False
    type: Type = Type(Kind.FUNCTION, "func")


Value: TypeAlias = (
    Bool | Integer | Float | Text | Slice | Map | Struct | Pointer | Interface | Function
)


def key_order(key: str) -> bytes:
    """Go compares strings by their bytes."""
    return key.encode("utf-8", "surrogatepass")


def held(value: Value | None) -> Value | None:
    """What an interface holds; any other value is itself."""
    return value.held if isinstance(value, Interface) else value


def indirect(value: Value | None) -> tuple[Value | None, bool]:
    """Follow pointers and interfaces; returns where it ended, and whether that is a nil one."""
    while isinstance(value, Pointer | Interface):
        target = value.target if isinstance(value, Pointer) else value.held
        if target is None:
            return value, True
        value = target
    return value, False


def is_nil(value: Value | None) -> bool:
    match value:
        case None:
            return True
        case Slice(items=inside) | Interface(held=inside) | Pointer(target=inside):
            return inside is None
        case Map(entries=entries):
            return entries is None
        case _:
            return False


def truth(value: Value | None) -> bool:
    """Whether a condition holds: the value is not the empty one of its type."""
    match held(value):
        case None:
            return False
        case Bool(value=plain) | Integer(value=plain) | Float(value=plain) | Text(value=plain):
            return bool(plain)
        case Slice() | Map() as collection:
            return len(collection) > 0
        case Pointer(target=target):
            return target is not None
        case _:
            return True  # a struct, a function


def zero(type_: Type) -> Value | None:
    """The empty value of a type; None for what nothing is known of."""
    match type_.kind:
        case Kind.BOOL:
            return Bool(value=False, type=type_)
        case Kind.INT | Kind.UINT:
            return Integer(0, type_)
        case Kind.FLOAT:
            return Float(0.0, type_)
        case Kind.STRING:
            return Text("", type_)
        case Kind.SLICE:
            return Slice(None, type_)
        case Kind.MAP:
            return Map(None, type_)
        case Kind.POINTER:
            return Pointer(None, type_)
        case Kind.INTERFACE:
            return Interface(None, type_)
        case Kind.STRUCT:
            return Struct(tuple(filter(None, (zero(field.type) for field in type_.fields))), type_)
        case Kind.FUNCTION | Kind.REFLECTED:
            return None
