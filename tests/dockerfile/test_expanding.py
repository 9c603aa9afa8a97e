"""Instructions get the values of their variables, and tell which they used."""

from __future__ import annotations

import pytest

from overlayfs_py.dockerfile.errors import DockerfileError, ExpansionError
from overlayfs_py.dockerfile.expanding import expanded, resolve_mounts
from overlayfs_py.dockerfile.expansion import Expanded, expand, expand_body, expand_words
from overlayfs_py.dockerfile.instructions import Copy, Expose, Run
from overlayfs_py.dockerfile.mounts import CacheMount, SecretMount
from overlayfs_py.dockerfile.parsing import parse

_VALUES = {"A": "abcabc", "E": "", "P": "foo/bar/x.tar.gz", "Q": 'it\'s "q"', "S": "a b"}


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("$A-${A}", "abcabc-abcabc"),
        ("'$A'\"$A\"\\$A", "$Aabcabc$A"),
        ("${U:-d}${E:-d}${E-d}${U-$A}", "ddabcabc"),
        ("${A:+s}${E:+s}${E+s}${U+s}", "ss"),
        ("${P##*/} ${P#*/} ${P%.*} ${P%%.*}", "x.tar.gz bar/x.tar.gz foo/bar/x.tar foo/bar/x"),
        ("${A/b/X} ${A//b/X} ${A/c*/} ${A//[/}", "aXcabc aXcaXc ab abcabc"),
        ("${P//\\//-}", "foo-bar-x.tar.gz"),
        ('${U:-"}"}', "}"),
        ("$", "$"),
        ("a\\", "a"),
        ('"\\n\\""', '\\n"'),
        ("$Q", 'it\'s "q"'),
    ],
)
def test_words(word: str, text: str) -> None:
    assert expand(word, _VALUES).text == text


def test_a_word_tells_what_it_took_from_where() -> None:
    found = expand("$A${E:-$U}${A:-$S}${E:+$S}", _VALUES)

    # What stands in an operand that was not taken is no part of the text.
    assert found == Expanded("abcabcabcabc", frozenset("AE"), frozenset("U"))


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("${U:?no U}", "U: no U"),
        ("${E:?}", "E: is not allowed to be empty"),
        ("${U?}", "U: is not allowed to be unset"),
        ("'a", "this ' is not closed"),
        ("${A", "this ${ is not closed"),
        ("${A/b}", "this ${ is not complete: / and a replacement are missing"),
        ("${}", "${ needs the name of a variable"),
        ("${A^}", "no operator '^' in ${}: there are - + ? # ## % %% / //"),
        ("${A#\\b}", "bad pattern '\\\\b': \\b escapes nothing"),
        ("${A:-" * 101, "more than 100 substitutions in each other"),
    ],
)
def test_words_that_cannot_be(word: str, why: str) -> None:
    with pytest.raises(ExpansionError) as raised:
        expand(word, _VALUES)

    assert raised.value.reason == why


def test_bodies_keep_quotes() -> None:
    assert expand_body("'$A' \"\\$A\"\n", _VALUES).text == "'abcabc' \"$A\"\n"


def test_values_split_where_they_are_not_quoted() -> None:
    assert expand_words('$S "$S"$A', _VALUES).words == ("a", "b", "a babcabc")


def test_a_value_cannot_grow_without_bound() -> None:
    with pytest.raises(ExpansionError, match="characters"):
        expand("$A$A", {"A": "a" * (1 << 23) + "b"})


def _first(text: str) -> tuple[Copy | Run | Expose, ...]:
    return parse(f"FROM a\n{text}".encode(), "D").stages[0].instructions  # type: ignore[return-value]


def test_an_instruction_gets_values_wherever_it_may_have_variables() -> None:
    (copy,) = _first("COPY --chown=$U:$A --exclude=$A <<-a $A /$S\n\t$A'$E'\na\n")
    found = expanded(copy, _VALUES)
    copy = found.instruction

    assert isinstance(copy, Copy)
    assert (copy.sources, copy.destination, copy.chown) == (("abcabc",), "/a b", ":abcabc")
    assert copy.files[0].body == "abcabc''\n"
    assert copy.exclude == ("$A",)
    assert (found.used, found.missing) == (frozenset("ASE"), frozenset("U"))


def test_ports_are_as_in_a_config() -> None:
    (expose,) = _first("EXPOSE 80 $P 8000-8002/UDP")
    found = expanded(expose, {"P": "53/udp 1:2"}).instruction

    assert isinstance(found, Expose)
    assert found.ports == ("53/udp", "2/tcp", "80/tcp", "8000/udp", "8001/udp", "8002/udp")


def test_mounts_get_values() -> None:
    (run,) = _first(
        "RUN --mount=type=$T,id=a,target=/b/,uid=7 --mount=type=secret,id=$S,mode=440 id"
    )
    assert isinstance(run, Run)
    mounts, used = resolve_mounts(run, {"T": "cache", "S": "k"})

    assert mounts == (
        CacheMount("/b/", "a", uid=7),
        SecretMount("k", "/run/secrets/k", mode=0o440),
    )
    assert used == {"T", "S"}


def test_an_error_of_a_word_names_the_instruction() -> None:
    (copy,) = _first("COPY ${U:?needed} /")

    with pytest.raises(DockerfileError, match=r"^D:2:1: U: needed$") as raised:
        expanded(copy, {})
    assert raised.value.details == ("  COPY ${U:?needed} /", "  ^")
