"""The commands of a shell text, as far as advice needs them: words, pipes, substitutions.

No shell: what a word's variables hold is not known, and nothing is run. A text that a shell would
refuse gives the commands that can be told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_DEEPEST = 5  # of substitutions in each other
_MOST_COMMANDS = 2000  # of one text; no rule needs more to say that it is too long
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v]+|\\\n)|(?P<comment>\#[^\n]*)|(?P<operator>&&|\|\||;;|\|&|[;|&\n()])"""
    r"""|(?P<redirect>[0-9]*(?:<<<|<<-?|>>|<>|[<>]&|&>|[<>]\|?))"""
)
_PLAIN = re.compile(r"[^ \t\r\f\v\n;|&()<>'\"\\$`]+")
_KEYWORDS = {"if", "then", "else", "elif", "do", "while", "until", "!", "{", "}", "time", "exec"}
_KEYWORDS |= {"fi", "done", "esac", "eval", "command", "builtin", "nohup", "sudo", "doas", "env"}
_BRACKET = re.compile(r"[()']|\\.", re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_HEREDOC_END = re.compile(r"<<-?\s*(['\"]?)([^\s'\"<>|&;]+)\1")


@dataclass(slots=True)
class ShellCommand:
    """A simple command."""

    words: list[str] = field(default_factory=list)  # without quotes; `$` and what follows stays
    assignments: dict[str, str] = field(default_factory=dict)
    prefixes: list[str] = field(default_factory=list)  # `sudo`, `if`, `!`
    written: list[str] = field(default_factory=list)  # files that its output goes to
    offset: int = 0  # in the text
    end: int = 0
    pipes: bool = False  # its output goes to the next command
    after: str = ""  # the operator before it

    @property
    def program(self) -> str:
        """The name of its program, without a path."""
        return self.words[0].rpartition("/")[2] if self.words else ""

    @property
    def arguments(self) -> list[str]:
        """Its words that are not flags, without the program."""
        return [word for word in self.words[1:] if not word.startswith("-")]

    @property
    def action(self) -> str:
        """The first word that is no flag, `install` of `apt-get -y install`."""
        return next(iter(self.arguments), "")

    def has(self, *flags: str) -> bool:
        """Whether one of the flags was given; those of one letter also as one of several."""
        letters = {flag[1] for flag in flags if len(flag) == len("-y") and flag[1] != "-"}
        for word in self.words[1:]:
            if word in flags or any(word.startswith(f"{flag}=") for flag in flags):
                return True
            if word.startswith("-") and not word.startswith("--") and letters & set(word[1:]):
                return True
        return False


def shell_commands(text: str) -> list[ShellCommand]:
    """Return the commands of a text in the order in which they stand there."""
    return _Reader(text, 0, 0).commands()[:_MOST_COMMANDS]


class _Reader:
    def __init__(self, text: str, base: int, depth: int) -> None:
        self._text = text
        self._base = base
        self._depth = depth
        self._at = 0
        self._found: list[ShellCommand] = []
        self._nested: list[ShellCommand] = []
        self._heredocs: list[str] = []  # names of those whose bodies are still to come

    def commands(self) -> list[ShellCommand]:
        current = self._new("")
        waiting = False  # for the file of a redirection
        while self._at < len(self._text) and len(self._found) < _MOST_COMMANDS:
            token = _TOKEN.match(self._text, self._at)
            if token is None or (token["comment"] and not self._may_comment()):
                start = self._at
                word = self._word()
                if waiting:
                    current.written.append(word)
                    waiting = False
                else:
                    self._add(current, word, start)
                current.end = self._base + self._at
            elif token["operator"]:
                self._at = token.end()
                current.pipes = token["operator"] in ("|", "|&")
                self._finish(current)
                if token["operator"] == "\n":
                    self._skip_bodies()
                current = self._new(token["operator"])
            elif token["redirect"]:
                waiting = self._redirect(token["redirect"], token.end())
            else:
                self._at = token.end()
        self._finish(current)
        return self._found

    def _new(self, after: str) -> ShellCommand:
        return ShellCommand(offset=self._base + self._at, end=self._base + self._at, after=after)

    def _may_comment(self) -> bool:
        return self._at == 0 or self._text[self._at - 1] in " \t\n;"

    def _finish(self, command: ShellCommand) -> None:
        if command.words or command.assignments:
            self._found.append(command)
        self._found += self._nested
        self._nested = []

    def _add(self, command: ShellCommand, word: str, start: int) -> None:
        if not command.words:
            if not command.prefixes and not command.assignments:
                command.offset = self._base + start
            if word in _KEYWORDS:
                command.prefixes.append(word)
                return
            if _ASSIGNMENT.match(word):
                name, _, value = word.partition("=")
                command.assignments[name] = value
                return
        command.words.append(word)

    def _redirect(self, mark: str, end: int) -> bool:
        """Step over a redirection; returns whether a file's name follows that is written to."""
        heredoc = _HEREDOC_END.match(self._text, self._at)
        if heredoc is not None and "<<<" not in mark:
            self._at = heredoc.end()
            self._heredocs.append(heredoc[2])
            return False
        self._at = end
        if ">" in mark and not mark.endswith("&"):
            return True
        while self._text[self._at : self._at + 1] in (" ", "\t"):
            self._at += 1
        self._word()
        return False

    def _skip_bodies(self) -> None:
        for name in self._heredocs:
            ending = re.compile(rf"^\t*{re.escape(name)}$", re.MULTILINE)
            found = ending.search(self._text, self._at)
            self._at = len(self._text) if found is None else min(found.end() + 1, len(self._text))
        self._heredocs = []

    def _word(self) -> str:
        found: list[str] = []
        start = self._at
        while self._at < len(self._text):
            plain = _PLAIN.match(self._text, self._at)
            if plain is not None:
                found.append(plain[0])
                self._at = plain.end()
                continue
            character = self._text[self._at]
            if character in " \t\r\f\v\n;|&()<>" and (character != "(" or self._at == start):
                break
            found.append(self._part(character))
        if self._at == start:
            self._at += 1
        return "".join(found)

    def _part(self, character: str) -> str:
        if character == "'":
            return self._until("'", self._at + 1)
        if character == '"':
            return self._double_quoted()
        if character == "\\":
            self._at += 2
            escaped = self._text[self._at - 1 : self._at]
            return "" if escaped == "\n" else escaped
        if character == "`":
            start = self._at + 1
            self._nest(self._until("`", start), start)
            return "$()"
        if self._text.startswith("$(", self._at):
            return self._substitution()
        self._at += 1
        return character

    def _until(self, closing: str, start: int) -> str:
        end = self._text.find(closing, start)
        end = len(self._text) if end < 0 else end
        self._at = min(end + 1, len(self._text))
        return self._text[start:end]

    def _double_quoted(self) -> str:
        found: list[str] = []
        self._at += 1
        while self._at < len(self._text) and self._text[self._at] != '"':
            if self._text[self._at] == "\\":
                found.append(self._text[self._at + 1 : self._at + 2])
                self._at += 2
            elif self._text.startswith("$(", self._at):
                found.append(self._substitution())
            else:
                found.append(self._text[self._at])
                self._at += 1
        self._at = min(self._at + 1, len(self._text))
        return "".join(found)

    def _substitution(self) -> str:
        start, depth = self._at + 2, 1
        self._at = start
        while depth and (found := _BRACKET.search(self._text, self._at)) is not None:
            self._at = found.end()
            if found[0] == "'":
                self._until("'", self._at)
            depth += {"(": 1, ")": -1}.get(found[0], 0)
        end = self._at - 1
        if depth:
            end = self._at = len(self._text)
        self._nest(self._text[start:end], start)
        return "$()"

    def _nest(self, text: str, start: int) -> None:
        if self._depth < _DEEPEST and not text.startswith("("):  # arithmetic has no commands
            self._nested += _Reader(text, self._base + start, self._depth + 1).commands()
