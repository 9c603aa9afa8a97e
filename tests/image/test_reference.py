from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.image.digest import digest_of
from overlayfs_py.image.errors import BadReference
from overlayfs_py.image.reference import Reference, parse_reference, require_tag_name

DIGEST = digest_of(b"")

# What a person types, its canonical and its familiar form (normalize.go).
FORMS = {
    "debian": ("docker.io/library/debian", "debian"),
    "debian:12": ("docker.io/library/debian:12", "debian:12"),
    "docker.io/debian": ("docker.io/library/debian", "debian"),
    "index.docker.io/debian": ("docker.io/library/debian", "debian"),
    "docker.io/library/debian": ("docker.io/library/debian", "debian"),
    "library/debian": ("docker.io/library/debian", "debian"),
    "team/app:1": ("docker.io/team/app:1", "team/app:1"),
    "library/a/b": ("docker.io/library/a/b", "library/a/b"),
    "docker.io/a.b/c": ("docker.io/a.b/c", "docker.io/a.b/c"),
    "localhost/app": ("localhost/app", "localhost/app"),
    "localhost:5000/app": ("localhost:5000/app", "localhost:5000/app"),
    "localhost:5000": ("docker.io/library/localhost:5000", "localhost:5000"),
    "127.0.0.1:5000/lib/base:12": ("127.0.0.1:5000/lib/base:12",) * 2,
    "[::1]:5000/app": ("[::1]:5000/app",) * 2,
    "Registry/app": ("Registry/app",) * 2,
    "quay.io/a/b_c/d__e/f-g/h--i/j.k": ("quay.io/a/b_c/d__e/f-g/h--i/j.k",) * 2,
    f"debian@{DIGEST}": (f"docker.io/library/debian@{DIGEST}", f"debian@{DIGEST}"),
    f"debian:12@{DIGEST}": (f"docker.io/library/debian:12@{DIGEST}", f"debian:12@{DIGEST}"),
    f"h:1/a:b@{DIGEST}": (f"h:1/a:b@{DIGEST}",) * 2,
    "a:" + "x" * 128: ("docker.io/library/a:" + "x" * 128, "a:" + "x" * 128),
    "a:_T.x-9": ("docker.io/library/a:_T.x-9", "a:_T.x-9"),
}

REFUSED = {
    "": "empty",
    "Debian": "must be lowercase",
    "quay.io/Team/app": "must be lowercase",
    "a" * 64: "an image's ID",
    "a//b": "not a repository's name",
    "/a": "not a repository's name",
    "a/": "not a repository's name",
    "a..b": "not a repository's name",
    "a___b": "not a repository's name",
    "-a": "not a repository's name",
    "a-": "not a repository's name",
    "a b": "not a repository's name",
    "a\n": "not a repository's name",
    "ä": "not a repository's name",
    "a/b" * 100: "at most 255",
    ":tag": "not a repository's name",
    "a:": "is not a tag",
    "a:.b": "is not a tag",
    "a:b:c": "not a repository's name",
    "a:" + "x" * 129: "is not a tag",
    "a:tag\n": "is not a tag",
    "a:ä": "is not a tag",
    "a@": "not a sha256 digest",
    "a@sha256:12": "not a sha256 digest",
    f"a@{DIGEST.upper()}": "not a sha256 digest",
    f"a@{DIGEST}@{DIGEST}": "not a sha256 digest",
    "host_x.y/a": "not a registry's host",
    "http://h/a": "not a registry's host",
    "-h.io/a": "not a registry's host",
    "h:port/a": "not a registry's host",
}


@pytest.mark.parametrize("text", FORMS)
def test_a_reference_has_a_canonical_and_a_familiar_form(text: str) -> None:
    reference = parse_reference(text)

    assert (reference.canonical, reference.familiar) == FORMS[text]


@pytest.mark.parametrize("text", FORMS)
def test_both_forms_mean_the_same(text: str) -> None:
    reference = parse_reference(text)

    assert parse_reference(reference.canonical) == reference
    assert parse_reference(reference.familiar) == reference


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_reference_is_refused_with_its_reason(text: str) -> None:
    with pytest.raises(BadReference, match=REFUSED[text]):
        parse_reference(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:12", "docker.io/library/debian:12"),
        (f"debian@{DIGEST}", f"docker.io/library/debian@{DIGEST}"),
    ],
)
def test_a_tag_is_added_where_nothing_else_says_what_is_meant(text: str, expected: str) -> None:
    assert str(parse_reference(text).with_default_tag()) == expected


def test_another_tag_or_digest_of_the_same_repository() -> None:
    reference = parse_reference(f"h:1/a:b@{DIGEST}")

    assert str(reference.with_tag("c")) == "h:1/a:c"
    assert str(reference.with_digest(DIGEST)) == f"h:1/a@{DIGEST}"
    with pytest.raises(BadReference, match="is not a tag"):
        reference.with_tag("a/b")


@given(st.text(alphabet="aA0.:/@_-[]\n", max_size=30) | st.text())
def test_any_text_is_refused_or_means_the_same_in_every_form(text: str) -> None:
    try:
        reference = parse_reference(text)
    except BadReference:
        return
    assert isinstance(reference, Reference)
    assert parse_reference(reference.canonical) == reference
    assert parse_reference(reference.familiar) == reference


@pytest.mark.parametrize("text", ["sha256", "sha256:abc", "docker.io/library/sha256:1"])
def test_a_name_that_reads_as_an_id_cannot_be_given(text: str) -> None:
    with pytest.raises(BadReference, match="reads as an ID"):
        require_tag_name(parse_reference(text))


@pytest.mark.parametrize("text", ["h/sha256:1", "team/sha256:abc", "sha512:1", "sha-256"])
def test_names_like_it_can(text: str) -> None:
    require_tag_name(parse_reference(text))
