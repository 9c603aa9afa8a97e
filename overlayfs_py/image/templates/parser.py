"""From text to trees.

Source: text/template/parse, parse.go: the grammar, where variables are known, and each message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from overlayfs_py.image.templates import nodes
from overlayfs_py.image.templates.bytes_text import quote, unquote
from overlayfs_py.image.templates.errors import TemplateError
from overlayfs_py.image.templates.lexer import Kind, Token, tokens
from overlayfs_py.image.templates.numbers import BadNumber, parse_character, parse_number

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_OPERANDS = frozenset(
    {Kind.BOOL, Kind.CHARACTER, Kind.COMPLEX, Kind.DOT, Kind.FIELD, Kind.IDENTIFIER, Kind.NUMBER}
    | {Kind.NIL, Kind.RAW_STRING, Kind.STRING, Kind.VARIABLE, Kind.LEFT_PARENTHESIS}
)
# What cannot be executed can only begin a pipeline.
_CONSTANTS = (nodes.Boolean, nodes.Dot, nodes.Nil, nodes.Number, nodes.String)


@dataclass(frozen=True, slots=True)
class Tree:
    """A named template; `text` is what its nodes' positions are in."""

    name: str
    text: str
    file: str  # the name of the template that it was defined in
    nodes: tuple[nodes.Node, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing but spaces."""
        return all(isinstance(node, nodes.Text) and not node.text.strip() for node in self.nodes)


@dataclass(frozen=True, slots=True)
class _End:
    """`{{end}}`, or `{{else}}` with the token that follows it."""

    kind: Kind
    at: int

    def __str__(self) -> str:
        return f"{{{{{self.kind.value}}}}}"


def parse(name: str, text: str, functions: Collection[str]) -> dict[str, Tree]:
    """Return the template and those it defines, by name.

    Args:
        name: what messages call it; the main template has this name.
        text: the template.
        functions: the names of the functions that it may call.

    Raises:
        TemplateError: it is none.
    """
    try:
        return _Parser(name, text, functions).parse()
    except RecursionError:
        raise TemplateError(f"template: {name}:1: max expression depth exceeded") from None


class _Parser:
    def __init__(self, name: str, text: str, functions: Collection[str]) -> None:
        self._name = name
        self._text = text
        self._functions = functions
        self._tokens: Iterator[Token] = tokens(text)
        self._pending: list[Token] = []  # read ahead, the next one last
        self._line = 1  # of the token that was read last
        self._action_line = 0  # where the action begins that is being read; 0 outside
        self._variables = ["$"]
        self._ranges = 0  # how many we are in
        self._trees: dict[str, Tree] = {}

    # Tokens.

    def _next(self) -> Token:
        token = self._pending.pop() if self._pending else next(self._tokens)
        self._line = token.line
        if token.kind in {Kind.END_OF_TEXT, Kind.ERROR}:
            self._pending.append(token)  # nothing follows it
        return token

    def _back(self, *read: Token) -> None:
        """Take back what was read, in that order."""
        final = {Kind.END_OF_TEXT, Kind.ERROR}
        self._pending.extend(token for token in reversed(read) if token.kind not in final)

    def _peek(self) -> Token:
        token = self._next()
        self._back(token)
        return token

    def _next_word(self) -> Token:
        while (token := self._next()).kind is Kind.SPACE:
            pass
        return token

    def _peek_word(self) -> Token:
        token = self._next_word()
        self._back(token)
        return token

    def _expect(self, kinds: set[Kind], context: str) -> Token:
        token = self._next_word()
        if token.kind not in kinds:
            raise self._unexpected(token, context)
        return token

    def _unexpected(self, token: Token, context: str) -> TemplateError:
        if token.kind is not Kind.ERROR:
            return self._failure(f"unexpected {token} in {context}")
        started = ""
        if self._action_line not in {0, token.line}:
            started = f" started at {self._name}:{self._action_line}"
            if not token.text.endswith(" action"):
                started = f" in action{started}"
        return self._failure(f"{token}{started}")

    def _failure(self, message: str) -> TemplateError:
        return TemplateError(f"template: {self._name}:{self._line}: {message}")

    # Templates.

    def parse(self) -> dict[str, Tree]:
        body: list[nodes.Node] = []
        while (token := self._next()).kind is not Kind.END_OF_TEXT:
            if token.kind is Kind.LEFT_DELIMITER and self._peek_word().kind is Kind.DEFINE:
                self._next_word()
                self._definition()
                continue
            self._back(token)
            node = self._text_or_action()
            if isinstance(node, _End):
                raise self._failure(f"unexpected {node}")
            body.append(node)
        self._add(self._name, body)
        return self._trees

    def _definition(self) -> None:
        context = "define clause"
        name = self._unquoted(self._expect({Kind.STRING, Kind.RAW_STRING}, context))
        self._expect({Kind.RIGHT_DELIMITER}, context)
        self._subtemplate(name, context)

    def _subtemplate(self, name: str, context: str) -> None:
        """Read the body of another template, which knows no variables of ours."""
        variables, ranges = self._variables, self._ranges
        self._variables, self._ranges = ["$"], 0
        body, end = self._body()
        if end.kind is not Kind.END:
            raise self._failure(f"unexpected {end} in {context}")
        self._variables, self._ranges = variables, ranges
        self._add(name, body)

    def _add(self, name: str, body: list[nodes.Node]) -> None:
        """An empty template gives way to another of its name; two others are one too many."""
        tree = Tree(name, self._text, self._name, tuple(body))
        known = self._trees.get(name)
        if known is None or known.is_empty:
            self._trees[name] = tree
        elif not tree.is_empty:
            raise self._failure(f"template: multiple definition of template {quote(name)}")

    def _body(self) -> tuple[list[nodes.Node], _End]:
        body: list[nodes.Node] = []
        while self._peek_word().kind is not Kind.END_OF_TEXT:
            node = self._text_or_action()
            if isinstance(node, _End):
                return body, node
            body.append(node)
        raise self._failure("unexpected EOF")

    def _text_or_action(self) -> nodes.Node | _End:
        token = self._next_word()
        if token.kind is Kind.TEXT:
            return nodes.Text(token.at, token.text)
        if token.kind is not Kind.LEFT_DELIMITER:
            raise self._unexpected(token, "input")
        self._action_line = token.line
        node = self._action()
        self._action_line = 0
        return node

    def _action(self) -> nodes.Node | _End:
        token = self._next_word()
        match token.kind:
            case Kind.IF | Kind.WITH | Kind.RANGE:
                return self._branch(token.kind)
            case Kind.ELSE:
                return self._else()
            case Kind.END:
                return _End(Kind.END, self._expect({Kind.RIGHT_DELIMITER}, "end").at)
            case Kind.BREAK | Kind.CONTINUE:
                return self._jump(token)
            case Kind.TEMPLATE:
                return self._call()
            case Kind.BLOCK:
                return self._block()
            case _:
                self._back(token)
                return nodes.Action(token.at, self._pipeline("command", Kind.RIGHT_DELIMITER))

    def _jump(self, token: Token) -> nodes.Jump:
        after = self._next_word()
        if after.kind is not Kind.RIGHT_DELIMITER:
            raise self._unexpected(after, f"{{{{{token.text}}}}}")
        if not self._ranges:
            raise self._failure(f"{{{{{token.text}}}}} outside {{{{range}}}}")
        return nodes.Jump(token.at, token.text)

    def _else(self) -> _End:
        following = self._peek_word()
        if following.kind in {Kind.IF, Kind.WITH}:
            return _End(Kind.ELSE, following.at)  # which leaves the keyword to the branch
        return _End(Kind.ELSE, self._expect({Kind.RIGHT_DELIMITER}, "else").at)

    def _branch(self, kind: Kind) -> nodes.Branch:
        keyword = str(kind.value)
        known = len(self._variables)
        pipeline = self._pipeline(keyword, Kind.RIGHT_DELIMITER)
        self._ranges += kind is Kind.RANGE
        body, end = self._body()
        self._ranges -= kind is Kind.RANGE
        otherwise = self._otherwise(kind) if end.kind is Kind.ELSE else None
        del self._variables[known:]
        return nodes.Branch(pipeline.at, keyword, pipeline, body, otherwise)

    def _otherwise(self, kind: Kind) -> list[nodes.Node]:
        """What follows an `else`; `else if` and `else with` share their branch's `end`."""
        if kind is not Kind.RANGE and self._peek().kind is kind:
            self._next()
            return [self._branch(kind)]
        body, end = self._body()
        if end.kind is not Kind.END:
            raise self._failure(f"expected end; found {end}")
        return body

    def _call(self) -> nodes.Call:
        context = "template clause"
        token = self._next_word()
        name = self._template_name(token, context)
        after = self._next_word()
        if after.kind is Kind.RIGHT_DELIMITER:
            return nodes.Call(token.at, quote(name), name, None)
        self._back(after)
        pipeline = self._pipeline(context, Kind.RIGHT_DELIMITER)
        return nodes.Call(token.at, quote(name), name, pipeline)

    def _block(self) -> nodes.Call:
        context = "block clause"
        token = self._next_word()
        name = self._template_name(token, context)
        pipeline = self._pipeline(context, Kind.RIGHT_DELIMITER)
        self._subtemplate(name, context)
        return nodes.Call(token.at, quote(name), name, pipeline)

    def _template_name(self, token: Token, context: str) -> str:
        if token.kind not in {Kind.STRING, Kind.RAW_STRING}:
            raise self._unexpected(token, context)
        return self._unquoted(token)

    def _unquoted(self, token: Token) -> str:
        value = unquote(token.text)
        if value is None:
            raise self._failure("invalid syntax")
        return value

    # Pipelines.

    def _pipeline(self, context: str, end: Kind) -> nodes.Pipeline:
        start = self._peek_word()
        variables, assigns = self._declarations(context)
        commands: list[nodes.Command] = []
        while (token := self._next_word()).kind is not end:
            if token.kind not in _OPERANDS:
                raise self._unexpected(token, context)
            self._back(token)
            commands.append(self._command())
        self._require_executable(commands, context)
        return nodes.Pipeline(start.at, tuple(variables), assigns, tuple(commands))

    def _declarations(self, context: str) -> tuple[list[nodes.Variable], bool]:
        """`$x :=`, `$x =`, or in a range `$x, $y :=`; the variables are known from here on."""
        variables: list[nodes.Variable] = []
        while self._peek_word().kind is Kind.VARIABLE:
            token = self._next_word()
            adjacent = self._next()
            sign = self._next_word() if adjacent.kind is Kind.SPACE else adjacent
            is_comma = sign.kind is Kind.OTHER and sign.text == ","
            if sign.kind not in {Kind.ASSIGN, Kind.DECLARE} and not is_comma:
                # An argument after all: the space that ends it must be seen again.
                self._back(token, adjacent, *([sign] if sign is not adjacent else []))
                break
            variables.append(_variable(token))
            self._variables.append(token.text)
            if not is_comma:
                return variables, sign.kind is Kind.ASSIGN
            self._require_second(context, len(variables))
        return variables, False

    def _require_second(self, context: str, count: int) -> None:
        if context != "range" or count > 1:
            raise self._failure(f"too many declarations in {context}")
        following = self._peek_word().kind
        if following not in {Kind.VARIABLE, Kind.RIGHT_DELIMITER, Kind.RIGHT_PARENTHESIS}:
            raise self._failure("range can only initialize variables")

    def _require_executable(self, commands: list[nodes.Command], context: str) -> None:
        if not commands:
            raise self._failure(f"missing value for {context}")
        for stage, command in enumerate(commands[1:], 2):
            if isinstance(command.words[0], _CONSTANTS):
                raise self._failure(f"non executable command in pipeline stage {stage}")

    def _command(self) -> nodes.Command:
        start = self._peek_word()
        words: list[nodes.Operand] = []
        while True:
            self._peek_word_skipping_space()
            operand = self._operand()
            if operand is not None:
                words.append(operand)
            token = self._next()
            if token.kind is Kind.SPACE:
                continue
            if token.kind in {Kind.RIGHT_DELIMITER, Kind.RIGHT_PARENTHESIS}:
                self._back(token)
            elif token.kind is not Kind.PIPE:
                raise self._unexpected(token, "operand")
            break
        if not words:
            raise self._failure("empty command")
        return nodes.Command(start.at, tuple(words))

    def _peek_word_skipping_space(self) -> None:
        self._back(self._next_word())

    def _operand(self) -> nodes.Operand | None:
        term = self._term()
        first = self._peek()
        if term is None or first.kind is not Kind.FIELD:
            return term
        names: list[str] = []
        while self._peek().kind is Kind.FIELD:
            names.append(self._next().text[1:])
        match term:
            case nodes.Fields():
                return nodes.Fields(first.at, (*term.names, *names))
            case nodes.Variable():
                return replace(term, at=first.at, fields=(*term.fields, *names))
            case nodes.Identifier() | nodes.Chain() | nodes.Pipeline():
                return nodes.Chain(first.at, term, tuple(names))
            case _:
                raise self._failure(f"unexpected . after term {quote(str(term))}")

    def _term(self) -> nodes.Operand | None:
        token = self._next_word()
        match token.kind:
            case Kind.IDENTIFIER:
                return self._function(token)
            case Kind.DOT:
                return nodes.Dot(token.at)
            case Kind.NIL:
                return nodes.Nil(token.at)
            case Kind.VARIABLE:
                return self._known_variable(token)
            case Kind.FIELD:
                return nodes.Fields(token.at, (token.text[1:],))
            case Kind.BOOL:
                return nodes.Boolean(token.at, token.text == "true")
            case Kind.CHARACTER | Kind.NUMBER | Kind.COMPLEX:
                return self._number(token)
            case Kind.LEFT_PARENTHESIS:
                return self._pipeline("parenthesized pipeline", Kind.RIGHT_PARENTHESIS)
            case Kind.STRING | Kind.RAW_STRING:
                return nodes.String(token.at, token.text, self._unquoted(token))
            case _:
                self._back(token)
                return None

    def _function(self, token: Token) -> nodes.Identifier:
        if token.text not in self._functions:
            raise self._failure(f"function {quote(token.text)} not defined")
        return nodes.Identifier(token.at, token.text)

    def _known_variable(self, token: Token) -> nodes.Variable:
        variable = _variable(token)
        if variable.name not in self._variables:
            raise self._failure(f"undefined variable {quote(variable.name)}")
        return variable

    def _number(self, token: Token) -> nodes.Number:
        if token.kind is Kind.COMPLEX or token.text.endswith("i"):
            raise self._failure(f"complex numbers are not supported: {quote(token.text)}")
        read = parse_character if token.kind is Kind.CHARACTER else parse_number
        try:
            constant = read(token.text)
        except BadNumber as error:
            raise self._failure(str(error)) from error
        return nodes.Number(token.at, token.text, constant.integer, constant.fraction)


def _variable(token: Token) -> nodes.Variable:
    return nodes.Variable(token.at, token.text)
