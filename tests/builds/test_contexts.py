from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.builds.archive_context import archive_context, is_archive_head
from overlayfs_py.builds.copying import CopyOptions, write_copy
from overlayfs_py.builds.failures import BadContext, SourceNotFound
from overlayfs_py.builds.host_context import HostContext
from overlayfs_py.builds.layers_context import LayersContext
from overlayfs_py.builds.loose_files import heredocs
from overlayfs_py.builds.repositories import Repository, check_out, is_bare, parse_repository
from overlayfs_py.builds.selection import select, select_all
from overlayfs_py.store.store import Store
from tests.builds.building import layer_of
from tests.builds.trees import changes
from tests.support.trees import Dir, File, Symlink, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.store.additions import Addition


@pytest.fixture
def addition(tmp_path: Path) -> Iterator[Addition]:
    with Store.open(tmp_path / "store").add() as addition:
        yield addition


def tar(directory: Path, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as made:
        made.add(directory, ".")
    return out.getvalue()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_is_a_context(addition: Addition, tmp_path: Path, mode: str) -> None:
    build(tmp_path / "tree", {"d/x": File(b"x", uid=7, gid=8, mode=0o640), "l": Symlink("d/x")})
    data = tar(tmp_path / "tree", mode)

    with archive_context(addition, [data[:300], data[300:]], "stdin") as context:
        layer = write_copy(addition, select(context, ["l", "d"]), (), "/to/", CopyOptions())

    assert is_archive_head(data[:512])
    assert changes((), layer) == {
        "/to": "d 755 0:0",
        "/to/l": "f 640 0:0 x",
        "/to/x": "f 640 0:0 x",
    }


@pytest.mark.parametrize("data", [b"FROM scratch\n", b"x" * 600, b""])
def test_a_dockerfile_is_no_archive(data: bytes) -> None:
    assert not is_archive_head(data)


def test_a_tar_that_is_cut_short(addition: Addition, tmp_path: Path) -> None:
    build(tmp_path / "tree", {"x": File(b"x" * 5000)})

    with pytest.raises(BadContext) as raised:
        archive_context(addition, [tar(tmp_path / "tree")[:3000]], "stdin")

    assert str(raised.value).startswith("stdin: bad tar at byte ")


def test_a_tar_leads_nowhere(addition: Addition, tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        info = tarfile.TarInfo("etc")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        made.addfile(info)
        made.addfile(tarfile.TarInfo("etc/../../escaped"))

    with pytest.raises(BadContext):
        archive_context(addition, [out.getvalue()], "stdin")
    assert not (tmp_path / "escaped").exists()


def test_a_stage_keeps_its_owners(addition: Addition, tmp_path: Path) -> None:
    stage = {
        "app": Dir(mode=0o750, uid=3, gid=4),
        "app/x": File(b"x", uid=5, gid=6, mode=0o4755, xattrs={"user.a": b"1"}),
        "app/up": Symlink("/etc"),
    }
    build(tmp_path / "stage", stage)
    layers = (layer_of(addition, tmp_path / "stage"),)

    with LayersContext(layers, "build") as context:
        layer = write_copy(addition, select(context, ["/app"]), (), "/new", CopyOptions())
        kept = write_copy(addition, select(context, ["/*"]), (), "/all/", CopyOptions())

    assert changes((), layer) == {
        "/new": "d 755 0:0",
        "/new/up": "l 0:0 /etc",
        "/new/x": "f 4755 5:6 x user.a=b'1'",
    }
    assert changes((), kept)["/all/x"] == "f 4755 5:6 x user.a=b'1'"


def test_an_empty_stage_has_nothing() -> None:
    with LayersContext((), "scratch") as context, pytest.raises(SourceNotFound) as raised:
        select(context, ["/x"])

    assert str(raised.value) == "/x: not found: scratch is empty"


def test_heredocs_are_files(addition: Addition) -> None:
    context = heredocs({"b.sh": b"two\n", "[a]": b"one\n"}, mtime_ns=5)

    layer = write_copy(addition, select_all(context), (), "/to/", CopyOptions(owner="1:2"))

    assert changes((), layer) == {
        "/to": "d 755 1:2",
        "/to/[a]": "f 644 1:2 one\n",
        "/to/b.sh": "f 644 1:2 two\n",
    }


NOT_A_REPOSITORY = None
REPOSITORIES = {
    "https://example.org/a/b.git": Repository("https://example.org/a/b.git"),
    "https://example.org/b.git#v1:sub/dir": Repository(
        "https://example.org/b.git", "v1", "sub/dir"
    ),
    "git@example.org:a/b.git#main": Repository("git@example.org:a/b.git", "main"),
    "ssh://git@example.org/b": Repository("ssh://git@example.org/b"),
    "github.com/a/b": Repository("https://github.com/a/b"),
    "https://example.org/file.tar.gz": NOT_A_REPOSITORY,
    "directory.git": NOT_A_REPOSITORY,
    "a/b:c": NOT_A_REPOSITORY,
}


@pytest.mark.parametrize("text", REPOSITORIES)
def test_what_names_a_repository(text: str) -> None:
    assert parse_repository(text) == REPOSITORIES[text]


ENVIRONMENT = {
    "PATH": os.defpath,
    "HOME": "/nonexistent",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
    "GIT_COMMITTER_DATE": "2024-01-02T03:04:05Z",
    "GIT_CONFIG_NOSYSTEM": "1",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    place = tmp_path / "repository"
    build(place, {"a": File(b"a"), "sub/run": File(b"r", mode=0o755), "l": Symlink("/etc")})
    for words in (
        ("init", "-q", "-b", "main"),
        ("add", "-A"),
        ("commit", "-q", "-m", "one"),
        ("tag", "v1"),
        ("rm", "-q", "a"),
        ("commit", "-q", "-m", "two"),
    ):
        subprocess.run(["git", "-C", place, *words], check=True, env=ENVIRONMENT)
    return place


def test_a_repository_is_a_context(addition: Addition, tmp_path: Path, repository: Path) -> None:
    (tmp_path / "out").mkdir()
    old_mask = os.umask(0o077)
    try:
        meant = Repository(f"file://{repository}", "v1")
        found = check_out(meant, tmp_path / "out", ENVIRONMENT)
    finally:
        os.umask(old_mask)

    with HostContext(bytes(found)) as context:
        layer = write_copy(addition, select(context, ["."]), (), "/", CopyOptions())
        times = {item.mtime_ns for item in context.children(context.root)}

    assert times == {1_704_164_645 * 1_000_000_000}
    assert changes((), layer) == {
        "/a": "f 644 0:0 a",
        "/l": "l 0:0 /etc",
        "/sub": "d 755 0:0",
        "/sub/run": "f 755 0:0 r",
    }


def test_the_git_directory_stays_if_it_is_wanted(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "out").mkdir()

    found = check_out(
        Repository(f"file://{repository}", directory="sub"),
        tmp_path / "out",
        ENVIRONMENT,
        keep_git_dir=True,
    )

    assert found == (tmp_path / "out" / "sub").resolve()
    assert (tmp_path / "out" / ".git").is_dir()
    assert not (tmp_path / "out" / "a").exists()
    assert is_bare(bytes(repository / ".git"))
    assert not is_bare(bytes(repository))


def test_no_hook_of_a_repository_runs(tmp_path: Path, repository: Path) -> None:
    hooks = tmp_path / "home" / "hooks"
    build(
        hooks, {"post-checkout": File(b"#!/bin/sh\ntouch %s/ran\n" % bytes(tmp_path), mode=0o755)}
    )
    (tmp_path / "home" / ".gitconfig").write_text(f"[core]\nhooksPath = {hooks}\n")
    (tmp_path / "out").mkdir()
    environment = {**ENVIRONMENT, "HOME": str(tmp_path / "home")}

    check_out(Repository(f"file://{repository}"), tmp_path / "out", environment)

    assert (tmp_path / "out" / "sub").is_dir()
    assert not (tmp_path / "ran").exists()


BAD_REPOSITORIES = {
    "no such branch": (Repository("", "none"), "fatal: couldn't find remote ref none"),
    "a ref that is an option": (Repository("", "--upload-pack=x"), "cannot be a branch"),
    "another commit": (Repository("", "v1"), "expected 0000"),
    "a directory outside": (Repository("", "v1", "../.."), "it has no directory ../.."),
    "a link that leads out": (Repository("", "v1", "l"), "it has no directory l"),
}


@pytest.mark.parametrize("name", BAD_REPOSITORIES)
def test_what_a_repository_cannot_give(tmp_path: Path, repository: Path, name: str) -> None:
    asked, why = BAD_REPOSITORIES[name]
    asked = Repository(f"file://{repository}", asked.ref, asked.directory)
    (tmp_path / "out").mkdir()

    with pytest.raises((BadContext, SourceNotFound)) as raised:
        check_out(
            asked,
            tmp_path / "out",
            ENVIRONMENT,
            checksum="0000" if name == "another commit" else "",
        )

    assert why in str(raised.value)


def test_git_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(BadContext) as raised:
        check_out(Repository("https://h/x.git"), tmp_path, {"PATH": str(tmp_path)})

    told = "https://h/x.git: a git repository needs the git program, which is not installed"
    assert str(raised.value) == told
