"""Walking a tree over a value.

Source: text/template, exec.go: how fields are found, arguments checked, and each message.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from overlayfs_py.image.templates import nodes
from overlayfs_py.image.templates.bytes_text import quote, to_bytes
from overlayfs_py.image.templates.errors import (
    ExecutionError,
    FunctionError,
    NotCallable,
    TemplateError,
)
from overlayfs_py.image.templates.printing import printable, show
from overlayfs_py.image.templates.values import (
    ANY,
    INT,
    REFLECTED,
    STRING,
    Bool,
    Float,
    Function,
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
    held,
    indirect,
    truth,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from overlayfs_py.image.templates.parser import Tree

_DEEPEST = 100  # templates within templates; Go stops at 100000, which our stack does not hold
_LARGEST_INT = 2**63 - 1


class MissingKey(Enum):
    """What a key that a map lacks is."""

    NO_VALUE = "no value"
    ERROR = "error"


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


@dataclass(slots=True)
class _Absent:
    """Not even nil: no value came through the pipeline."""


_ABSENT = _Absent()


@dataclass(frozen=True, slots=True)
class Program:
    """Templates that know each other, and what they may call."""

    trees: Mapping[str, Tree]
    functions: Mapping[str, Function]
    missing_key: MissingKey = MissingKey.NO_VALUE


def execute(program: Program, name: str, value: Value | None) -> str:
    """Return what the template `name` prints for `value`.

    Raises:
        ExecutionError: it does not fit the value.
    """
    out: list[str] = []
    try:
        _Execution(program, program.trees[name], value, out, 0).run()
    except RecursionError:
        raise ExecutionError(f"template: {name}: nested too deeply") from None
    return "".join(out)


class _Execution:
    """One template on one value; templates that it calls have their own."""

    def __init__(
        self, program: Program, tree: Tree, value: Value | None, out: list[str], depth: int
    ) -> None:
        self._program = program
        self._tree = tree
        self._value = value
        self._out = out
        self._depth = depth
        self._node: nodes.Placed | None = None  # where we are, for messages
        self._variables: list[tuple[str, Value | None]] = [("$", value)]

    def run(self) -> None:
        self._walk_all(self._value, self._tree.nodes)

    def _failure(self, message: str) -> TemplateError:
        if self._node is None:
            return ExecutionError(f"template: {self._tree.name}: {message}")
        place = _place(self._tree.text, self._node.at)
        return ExecutionError(
            f"template: {self._tree.file}:{place}: executing {quote(self._tree.name)}"
            f" at <{self._node}>: {message}"
        )

    # Nodes.

    def _walk_all(self, dot: Value | None, body: Sequence[nodes.Node]) -> None:
        for node in body:
            self._walk(dot, node)

    def _walk(self, dot: Value | None, node: nodes.Node) -> None:
        self._node = node
        match node:
            case nodes.Text(text=text):
                self._out.append(text)
            case nodes.Action():
                value = self._pipeline(dot, node.pipeline)
                if not node.pipeline.variables:
                    self._print(node, value)
            case nodes.Branch(keyword="range"):
                self._range(dot, node)
            case nodes.Branch():
                self._condition(dot, node)
            case nodes.Jump(keyword="break"):
                raise _Break
            case nodes.Jump():
                raise _Continue
            case nodes.Call():
                self._call_template(dot, node)

    def _print(self, node: nodes.Action, value: Value | None) -> None:
        self._node = node
        if isinstance(value, Function):
            raise self._failure(f"can't print {node} of type {value.type}")
        self._out.append(show(printable(value)))

    def _condition(self, dot: Value | None, node: nodes.Branch) -> None:
        mark = len(self._variables)
        value = self._pipeline(dot, node.pipeline)
        if truth(value):
            self._walk_all(value if node.keyword == "with" else dot, node.body)
        elif node.otherwise is not None:
            self._walk_all(dot, node.otherwise)
        del self._variables[mark:]

    def _range(self, dot: Value | None, node: nodes.Branch) -> None:
        outside = len(self._variables)
        value, _ = indirect(self._pipeline(dot, node.pipeline))
        mark = len(self._variables)
        found = False
        try:
            for index, element in self._elements(node, value):
                found = True
                self._bind(node.pipeline, index, element)
                self._iterate(element, node)
                del self._variables[mark:]
        except _Break:
            pass  # which leaves the innermost range, and that is this one
        if not found and node.otherwise is not None:
            self._walk_all(dot, node.otherwise)
        del self._variables[outside:]

    def _iterate(self, element: Value | None, node: nodes.Branch) -> None:
        try:
            self._walk_all(element, node.body)
        except _Continue:
            return

    def _elements(
        self, node: nodes.Branch, value: Value | None
    ) -> Iterator[tuple[Value | None, Value | None]]:
        match value:
            case None:
                return iter(())
            case Slice(items=items):
                return ((Integer(at), item) for at, item in enumerate(items or ()))
            case Map():
                return ((Text(key), item) for key, item in value.sorted())
            case Integer(value=count, type=type_):
                if len(node.pipeline.variables) > 1:
                    raise self._failure(f"can't use {count} to iterate over more than one variable")
                return ((None, Integer(number, type_)) for number in range(count))
            case _:
                raise self._failure(f"range can't iterate over {show(value)}")

    def _bind(self, pipeline: nodes.Pipeline, index: Value | None, element: Value | None) -> None:
        names = [variable.name for variable in pipeline.variables]
        values = [index, element] if len(names) > 1 else [element]
        for position, (name, value) in enumerate(zip(names, values, strict=False)):
            if pipeline.assigns:
                self._assign(name, value)
            else:
                # The pipeline pushed them in this order.
                self._variables[position - len(names)] = (name, value)

    def _call_template(self, dot: Value | None, node: nodes.Call) -> None:
        tree = self._program.trees.get(node.name)
        if tree is None:
            raise self._failure(f"template {quote(node.name)} not defined")
        if self._depth == _DEEPEST:
            raise self._failure(f"exceeded maximum template depth ({_DEEPEST})")
        value = None if node.pipeline is None else self._pipeline(dot, node.pipeline)
        _Execution(self._program, tree, value, self._out, self._depth + 1).run()

    # Pipelines.

    def _pipeline(self, dot: Value | None, pipeline: nodes.Pipeline) -> Value | None:
        self._node = pipeline
        value: Value | _Absent | None = _ABSENT
        for command in pipeline.commands:
            value = held(self._command(dot, command, value))
        assert not isinstance(value, _Absent)
        for variable in pipeline.variables:
            if pipeline.assigns:
                self._assign(variable.name, value)
            else:
                self._variables.append((variable.name, value))
        return value

    def _assign(self, name: str, value: Value | None) -> None:
        for at in range(len(self._variables) - 1, -1, -1):
            if self._variables[at][0] == name:
                self._variables[at] = (name, value)
                return
        raise self._failure(f"undefined variable: {name}")

    def _lookup(self, name: str) -> Value | None:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise self._failure(f"undefined variable: {name}")

    def _command(
        self, dot: Value | None, command: nodes.Command, final: Value | _Absent | None
    ) -> Value | None:
        first, arguments = command.words[0], command.words[1:]
        match first:
            case nodes.Identifier():
                return self._function(dot, first, command, arguments, final)
            case nodes.Fields() | nodes.Chain():
                return self._named(dot, first, arguments, final)
            case nodes.Variable() if first.fields:
                return self._named(dot, first, arguments, final)
            case nodes.Pipeline():
                self._require_no_argument(first, arguments, final)
                return self._pipeline(dot, first)
            case _:
                self._node = first
                self._require_no_argument(first, arguments, final)
                return self._plain(dot, first)

    def _require_no_argument(
        self, first: nodes.Operand, arguments: Sequence[nodes.Operand], final: object
    ) -> None:
        if arguments or final is not _ABSENT:
            raise self._failure(f"can't give argument to non-function {first}")

    def _plain(self, dot: Value | None, operand: nodes.Operand) -> Value | None:
        """An operand where no type is asked for."""
        self._node = operand
        match operand:
            case nodes.Dot():
                return dot
            case nodes.Boolean(value=flag):
                return Bool(flag)
            case nodes.String(value=text):
                return Text(text)
            case nodes.Number():
                return self._number(operand)
            case nodes.Variable() if not operand.fields:
                return self._lookup(operand.name)
            case nodes.Fields() | nodes.Variable() | nodes.Chain():
                return self._named(dot, operand, (), _ABSENT)
            case nodes.Pipeline():
                return self._pipeline(dot, operand)
            case nodes.Identifier():
                return self._function(dot, operand, operand, (), _ABSENT)
            case nodes.Nil():
                raise self._failure("nil is not a command")

    def _number(self, number: nodes.Number) -> Value:
        if number.looks_fractional and number.fraction is not None:
            return Float(number.fraction)
        if number.integer is None or number.integer > _LARGEST_INT:
            raise self._failure(f"{number} overflows int")
        return Integer(number.integer)

    # Fields.

    def _named(
        self,
        dot: Value | None,
        node: nodes.Fields | nodes.Variable | nodes.Chain,
        arguments: Sequence[nodes.Operand],
        final: Value | _Absent | None,
    ) -> Value | None:
        self._node = node
        match node:
            case nodes.Fields(names=names):
                receiver = dot
            case nodes.Variable(fields=names):
                receiver = self._lookup(node.name)
            case nodes.Chain(names=names):
                receiver = self._start(dot, node)
        for name in names[:-1]:
            receiver = self._field(name, receiver, has_arguments=False)
        has_arguments = bool(arguments) or final is not _ABSENT
        return self._field(names[-1], receiver, has_arguments=has_arguments)

    def _start(self, dot: Value | None, node: nodes.Chain) -> Value | None:
        if isinstance(node.start, nodes.Nil):
            raise self._failure(f"indirection through explicit nil in {node}")
        return self._plain(dot, node.start)

    def _field(self, name: str, receiver: Value | None, *, has_arguments: bool) -> Value | None:
        if receiver is None:
            if self._program.missing_key is MissingKey.ERROR:
                raise self._failure(f"nil data; no entry for key {quote(name)}")
            return None
        inside, _ = indirect(receiver)
        match inside:
            case Interface():
                raise self._failure(f"nil pointer evaluating {receiver.type}.{name}")
            case Struct():
                return self._struct_field(name, inside, receiver, has_arguments=has_arguments)
            case Map():
                return self._entry(name, inside, has_arguments=has_arguments)
            case Pointer():
                raise self._failure(_nil_evaluated(name, inside, receiver))
            case _:
                raise self._failure(f"can't evaluate field {name} in type {receiver.type}")

    def _struct_field(
        self, name: str, struct: Struct, receiver: Value, *, has_arguments: bool
    ) -> Value:
        at = struct.type.field_named(name)
        if at is None:
            raise self._failure(f"can't evaluate field {name} in type {receiver.type}")
        if has_arguments:
            raise self._failure(f"{name} has arguments but cannot be invoked as function")
        return struct.values[at]

    def _entry(self, name: str, map_: Map, *, has_arguments: bool) -> Value | None:
        if has_arguments:
            raise self._failure(f"{name} is not a method but has arguments")
        found = (map_.entries or {}).get(name)
        if found is None and self._program.missing_key is MissingKey.ERROR:
            raise self._failure(f"map has no entry for key {quote(name)}")
        return found

    # Functions.

    def _function(
        self,
        dot: Value | None,
        node: nodes.Identifier,
        whole: nodes.Identifier | nodes.Command,
        arguments: Sequence[nodes.Operand],
        final: Value | _Absent | None,
    ) -> Value | None:
        self._node = node
        function = self._program.functions[node.name]
        self._require_count(function, len(arguments), final)
        if function.name in {"and", "or"}:
            return self._and_or(dot, function, arguments, final)
        values = [
            self._argument(dot, self._parameter(function, at), argument)
            for at, argument in enumerate(arguments)
        ]
        if not isinstance(final, _Absent):
            values.append(self._fit(final, self._parameter(function, len(values))))
        try:
            return function.call(values)
        except NotCallable as error:
            self._node = whole
            callee = arguments[0] if arguments else _reflected(values[0])
            message = f"error calling call: non-function {callee} of type {error}"
            raise self._failure(message) from error
        except FunctionError as error:
            self._node = whole
            raise self._failure(f"error calling {function.name}: {error}") from error

    def _require_count(self, function: Function, count: int, final: Value | _Absent | None) -> None:
        given = count + (not isinstance(final, _Absent))
        wanted = len(function.parameters)
        if function.variadic and given < wanted - 1:
            message = f"want at least {wanted - 1} got {count}"
        elif not function.variadic and given != wanted:
            message = f"want {wanted} got {given}"
        else:
            return
        raise self._failure(f"wrong number of args for {function.name}: {message}")

    def _parameter(self, function: Function, at: int) -> Type:
        return function.parameters[min(at, len(function.parameters) - 1)]

    def _and_or(
        self,
        dot: Value | None,
        function: Function,
        arguments: Sequence[nodes.Operand],
        final: Value | _Absent | None,
    ) -> Value | None:
        """What decides is the result; what follows it is not evaluated."""
        value: Value | None = None
        for argument in arguments:
            value = self._argument(dot, REFLECTED, argument)
            if truth(value) is (function.name == "or"):
                return value
        return value if isinstance(final, _Absent) else final

    def _argument(self, dot: Value | None, type_: Type, operand: nodes.Operand) -> Value | None:
        self._node = operand
        match operand:
            case nodes.Nil():
                if not type_.can_be_nil:
                    raise self._failure(f"cannot assign nil to {type_}")
                return None
            case nodes.Boolean() | nodes.Number() | nodes.String():
                return self._constant(type_, operand)
            case _:
                return self._fit(self._plain(dot, operand), type_)

    def _constant(
        self, type_: Type, operand: nodes.Boolean | nodes.Number | nodes.String
    ) -> Value | None:
        if type_ in {ANY, REFLECTED}:
            return self._plain(None, operand)
        if type_ == STRING:
            if isinstance(operand, nodes.String):
                return Text(operand.value)
            raise self._failure(f"expected string; found {operand}")
        assert type_ == INT
        integer = operand.integer if isinstance(operand, nodes.Number) else None
        if integer is not None and integer <= _LARGEST_INT:
            return Integer(integer)
        raise self._failure(f"expected integer; found {operand}")

    def _fit(self, value: Value | None, type_: Type) -> Value | None:
        """The value as an argument of this type."""
        if type_ == REFLECTED:
            return value
        if type_ == ANY:
            return held(value)
        if value is None:
            raise self._failure(f"invalid value; expected {type_}")
        inside = value.held if isinstance(value, Interface) and value.held else value
        if inside.type == type_:
            return inside
        if isinstance(inside, Pointer) and inside.type.element == type_:
            if inside.target is None:
                raise self._failure(f"dereference of nil pointer of type {type_}")
            return inside.target
        raise self._failure(f"wrong type for value; expected {type_}; got {inside.type}")


def _nil_evaluated(name: str, pointer: Pointer, receiver: Value) -> str:
    """What is wrong with a field of a nil pointer: that there is none, or that it is nil."""
    target = pointer.type.element
    assert target is not None
    if target.kind is Kind.STRUCT and target.field_named(name) is None:
        return f"can't evaluate field {name} in type {receiver.type}"
    return f"nil pointer evaluating {receiver.type}.{name}"


def _reflected(value: Value | None) -> str:
    """Go's String of a reflect.Value: a string, or what type something else has."""
    assert value is not None
    return value.value if isinstance(value, Text) else f"<{value.type} Value>"


def _place(text: str, at: int) -> str:
    """`line:column`, the column in bytes from 0."""
    start = text.rfind("\n", 0, at) + 1
    return f"{text.count(chr(10), 0, at) + 1}:{len(to_bytes(text[start:at]))}"
