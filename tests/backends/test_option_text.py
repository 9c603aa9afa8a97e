from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.backends.option_text import Option, split_list, split_options

OPTIONS = {
    "nothing": ("", []),
    "commas alone": (",,", []),
    "a flag": ("ro", [Option("ro", None)]),
    "a value": ("a=b", [Option("a", "b")]),
    "no value after the sign": ("a=", [Option("a", "")]),
    "an equals sign in the value": ("a=b=c", [Option("a", "b=c")]),
    "podman's trailing comma": ("a=b,", [Option("a", "b")]),
    "podman's doubled comma": ("a=b,,volatile", [Option("a", "b"), Option("volatile", None)]),
    "an escaped comma": (r"a=b\,c,d", [Option("a", r"b\,c"), Option("d", None)]),
    "an escaped backslash": (r"a=b\\,c", [Option("a", r"b\\"), Option("c", None)]),
    "a backslash at the end": ("a=b\\", [Option("a", "b\\")]),
    "a quoted comma": (
        'context="s0:c1,c2",ro',
        [Option("context", "s0:c1,c2"), Option("ro", None)],
    ),
    "quotes that open only": ('a="b,c', [Option("a", '"b'), Option("c", None)]),
    "quotes inside a value": ('a=b"c,d"', [Option("a", 'b"c'), Option('d"', None)]),
    "nothing in quotes": ('a="",b', [Option("a", ""), Option("b", None)]),
}

LISTS = {
    "nothing": ("", [""]),
    "one": ("a", ["a"]),
    "two": ("a:b", ["a", "b"]),
    "empty parts": (":a::b:", ["", "a", "", "b", ""]),
    "an escaped colon": (r"a\:b:c", ["a:b", "c"]),
    "an escaped backslash": (r"a\\:b", ["a\\", "b"]),
    "an escaped comma": (r"a\,b", ["a,b"]),
    "a backslash at the end": ("a\\", ["a\\"]),
}


@pytest.mark.parametrize(("text", "expected"), OPTIONS.values(), ids=OPTIONS.keys())
def test_options_end_at_commas(text: str, expected: list[Option]) -> None:
    assert split_options(text) == expected


@pytest.mark.parametrize(("text", "expected"), LISTS.values(), ids=LISTS.keys())
def test_lists_end_at_colons(text: str, expected: list[str]) -> None:
    assert split_list(text) == expected


def escaped(path: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\,:" else letter for letter in path)


paths = st.text(min_size=1).filter(lambda path: path[0] != '"')


@given(st.lists(paths, min_size=1))
def test_any_path_survives_when_escaped(names: list[str]) -> None:
    text = f"ro,lowerdir={':'.join(map(escaped, names))},rw"

    ro, lowerdir, rw = split_options(text)

    assert (ro.name, lowerdir.name, rw.name) == ("ro", "lowerdir", "rw")
    assert split_list(lowerdir.value or "") == names


def test_a_stack_of_500_layers_is_split_at_once() -> None:
    names = [f"/var/lib/containers/storage/overlay/l/{number:0>26}" for number in range(500)]

    [option] = split_options("lowerdir=" + ":".join(names))

    assert split_list(option.value or "") == names
