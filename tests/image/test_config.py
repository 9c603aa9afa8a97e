from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.image.config import (
    Healthcheck,
    HistoryEntry,
    RunConfig,
    build_config,
    chain_ids,
    parse_config,
)
from overlayfs_py.image.digest import DigestMismatch, digest_of
from overlayfs_py.image.errors import BadDocument
from overlayfs_py.image.platform import Platform

if TYPE_CHECKING:
    from overlayfs_py.image.go_json import Json

A, B = digest_of(b"a"), digest_of(b"b")
AMD64 = Platform("linux", "amd64")


def config(**changes: Json) -> bytes:
    base: dict[str, Json] = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [A]},
    }
    return json.dumps(base | changes).encode()


def test_a_config_keeps_its_bytes_whose_digest_is_the_image_id() -> None:
    raw = config()

    parsed = parse_config(raw)

    assert (parsed.raw, parsed.image_id) == (raw, digest_of(raw))
    assert (parsed.platform, parsed.diff_ids, parsed.run) == (AMD64, (A,), RunConfig())


def test_what_a_container_starts_with() -> None:
    run = {
        "User": "u",
        "ExposedPorts": {"80/tcp": {}, "443/tcp": None, "9/udp": {"x": 1}},
        "Env": ["A=1"],
        "Entrypoint": None,
        "Cmd": [],
        "Volumes": {"/v": {}},
        "WorkingDir": "/w",
        "Labels": {"k": None},
        "StopSignal": "SIGINT",
        "OnBuild": ["RUN x"],
        "Shell": ["/bin/sh", "-c"],
        "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5, "Retries": 2},
        "ArgsEscaped": True,
        "AttachStdin": False,
    }

    assert parse_config(config(config=run)).run == RunConfig(
        "u",
        ("443/tcp", "80/tcp", "9/udp"),
        ("A=1",),
        None,
        (),
        ("/v",),
        "/w",
        {"k": ""},
        "SIGINT",
        ("RUN x",),
        ("/bin/sh", "-c"),
        Healthcheck(("CMD", "x"), interval_ns=5, retries=2),
        args_escaped=True,
    )


def test_null_is_absent() -> None:
    nothing = dict.fromkeys(["created", "author", "config", "history", "variant", "os.version"])

    assert parse_config(config(**nothing)).run == RunConfig()


def test_history_may_miss_layers_of_builders_that_squash() -> None:
    assert parse_config(config(history=[{"empty_layer": True}])).history == (
        HistoryEntry(empty_layer=True),
    )


REFUSED: dict[str, tuple[bytes, str]] = {
    "not json": (b"{", "Input data was truncated"),
    "not an object": (b"[]", "Expected `object`"),
    "no rootfs": (b"{}", "no rootfs"),
    "another rootfs": (config(rootfs={"type": "base"}), "of type 'base'"),
    "more history than layers": (config(history=[{}, {}]), "makes 2 layers, its rootfs has 1"),
    "a diff ID that is none": (config(rootfs={"diff_ids": ["sha256:x"]}), "not a sha256 digest"),
    "too many layers": (config(rootfs={"diff_ids": [A] * 501}), "501 layers"),
    "too much history": (config(history=[{"empty_layer": True}] * 10_001), "10001 steps"),
    "a wrong type": (config(config={"Env": "A=1"}), r"Expected `array \| null`"),
    "too large": (b" " * (16 << 20) + b"{}", "more than the 16777216"),
}


@pytest.mark.parametrize(("raw", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_config_is_refused_with_its_reason(raw: bytes, why: str) -> None:
    with pytest.raises(BadDocument, match=why):
        parse_config(raw)


def test_a_config_is_what_it_was_asked_for_by() -> None:
    with pytest.raises(DigestMismatch):
        parse_config(config(), A)


def test_a_chain_id_names_a_layer_with_all_below_it() -> None:
    # OCI image-spec config.md: the digests as texts, one space between, no newline.
    second = "sha256:" + hashlib.sha256(f"{A} {B}".encode()).hexdigest()
    third = "sha256:" + hashlib.sha256(f"{second} {B}".encode()).hexdigest()

    assert chain_ids([A, B, B]) == (A, second, third)
    assert chain_ids([]) == ()


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_lists = st.none() | st.lists(_text, max_size=3).map(tuple)
_sets = st.none() | st.sets(_text, max_size=3).map(lambda names: tuple(sorted(names)))
_runs = st.builds(
    RunConfig,
    _text,
    _sets,
    _lists,
    _lists,
    _lists,
    _sets,
    _text,
    st.none() | st.dictionaries(_text, _text, max_size=3),
    _text,
    _lists,
    _lists,
    st.none()
    | st.builds(Healthcheck, _lists.filter(lambda test: test != ()), retries=st.integers(0, 9)),
    st.booleans(),
)
_steps = st.builds(HistoryEntry, _text, _text, _text, _text, st.just(value=True))


@given(_runs, st.lists(_steps, max_size=3), _text)
def test_a_built_config_says_what_it_was_given(
    run: RunConfig, steps: list[HistoryEntry], comment: str
) -> None:
    built = build_config(AMD64, [A, A], history=steps, run=run, created="t", comment=comment)

    assert (built.run, built.history, built.comment) == (run, tuple(steps), comment)
    assert (built.platform, built.diff_ids, built.created) == (AMD64, (A, A), "t")
    assert parse_config(built.raw) == built


CASES = [
    ("rootfs", "rootfS"),
    ("rootfs", "ROOTFS"),
    ("diff_ids", "Diff_IDs"),
    ("config", "Config"),
    ("Cmd", "cmd"),
    ("WorkingDir", "workingDir"),
    ("Labels", "label\u017f"),  # a long s, which Go folds too
    ("Test", "test"),
    ("history", "History"),
    ("created_by", "Created_By"),
    ("architecture", "Architecture"),
]


@pytest.mark.parametrize(("ours", "theirs"), CASES, ids=[pair[1] for pair in CASES])
def test_keys_count_whatever_their_case(ours: str, theirs: str) -> None:
    run = {"Cmd": ["/a"], "WorkingDir": "/w", "Labels": {"K": "v"}, "Healthcheck": {"Test": ["x"]}}
    raw = config(config=run, history=[{"created_by": "RUN x"}])

    odd = parse_config(raw.replace(f'"{ours}"'.encode(), f'"{theirs}"'.encode()))
    plain = parse_config(raw)

    assert (odd.run, odd.history, odd.diff_ids) == (plain.run, plain.history, plain.diff_ids)
    assert (odd.platform, odd.run.labels) == (plain.platform, {"K": "v"})


def test_the_last_of_two_keys_counts() -> None:
    raw = config()[:-1] + b', "Rootfs": {"diff_ids": ["%s"]}}' % B.encode()

    assert parse_config(raw).diff_ids == (B,)


def test_what_docker_takes_for_a_list() -> None:
    run: Json = {"Cmd": "/bin/app", "Entrypoint": "", "Shell": "sh", "Env": [None, "A=1"]}

    parsed = parse_config(config(config=run, history=[None])).run

    assert (parsed.cmd, parsed.entrypoint, parsed.shell) == (("/bin/app",), ("",), ("sh",))
    assert parsed.env == ("", "A=1")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb"\ud800", "\ufffd"),
        (rb"x\uDFFFy", "x\ufffdy"),
        (rb"\ud83d\ude00", "\U0001f600"),
        (rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (rb"\\ud800", r"\ud800"),
        (rb"\\\ud800", "\\\ufffd"),
        (b"\xff", "\ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
    ],
)
def test_what_is_no_text_is_replaced_as_in_go(written: bytes, read: str) -> None:
    raw = config(config={"User": "here"}).replace(b"here", written)

    assert parse_config(raw).run.user == read
    assert parse_config(raw).raw == raw
