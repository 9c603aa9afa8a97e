"""Reading WWW-Authenticate headers.

Source: RFC 9110, 11.3 and 11.6.1: several challenges may share one header, separated by commas as
their parameters are.

    challenge = scheme [ 1*SP ( token68 / #auth-param ) ]
    auth-param = token BWS "=" BWS ( token / quoted-string )
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PARAMETER = re.compile(rf"({_TOKEN})[ \t]*=[ \t]*({_TOKEN}|{_QUOTED})(?=[ \t]*(?:,|$))")
_SCHEME = re.compile(rf"({_TOKEN})(?=[ \t]|,|$)")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))")
_SPACES = re.compile(r"[ \t]*")
_SEPARATORS = re.compile(r"[ \t,]*")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that the server offers."""

    scheme: str  # lower case
    parameters: Mapping[str, str] = field(default_factory=dict)  # names in lower case


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Return all challenges; where a header stops making sense, the rest of it is left out."""
    return [challenge for header in headers for challenge in _parse(header)]


def _parse(header: str) -> Iterator[Challenge]:
    position = _end(_SEPARATORS, header, 0)
    while scheme := _SCHEME.match(header, position):
        parameters, position = _parse_parameters(header, scheme.end())
        yield Challenge(scheme[1].lower(), parameters)
        position = _end(_SEPARATORS, header, position)


def _parse_parameters(header: str, position: int) -> tuple[dict[str, str], int]:
    """Return a challenge's parameters, and where the next challenge may begin."""
    parameters: dict[str, str] = {}
    start = _end(_SPACES, header, position)
    while found := _PARAMETER.match(header, start):
        # The first of a name counts: a second one is not allowed.
        parameters.setdefault(found[1].lower(), _unquote(found[2]))
        position = found.end()
        start = _end(_SEPARATORS, header, position)
    if not parameters and (token := _TOKEN68.match(header, start)):
        position = token.end()
    return parameters, position


def _unquote(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return position if found is None else found.end()
