from __future__ import annotations

import base64
import json
import stat
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.registry.auth_file import (
    AuthFile,
    Entry,
    normal_name,
    read_auth_file,
    remove_all_logins,
    remove_login,
    write_login,
)
from overlayfs_py.registry.credentials import AuthFiles, IdentityToken, Password
from overlayfs_py.registry.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path


def auth(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


NAMES = {
    "https://index.docker.io/v1/": "docker.io",
    "index.docker.io": "docker.io",
    "https://registry.example.com/v2/": "registry.example.com",
    "http://localhost:5000": "localhost:5000",
    "registry.example.com/team/": "registry.example.com/team",
}
BROKEN = {
    "no JSON": b"{",
    "a list": b"[]",
    "no base64": b'{"auths": {"a": {"auth": "!"}}}',
    "not ASCII": '{"auths": {"a": {"auth": "dTpw\u00e9"}}}'.encode(),
    "no text": b'{"auths": {"a": {"auth": "/w=="}}}',
    "of another type": b'{"auths": 1}',
    "deep": b'{"auths": ' + b"[" * 100_000,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "auth.json"


@pytest.mark.parametrize(("key", "name"), NAMES.items(), ids=NAMES.keys())
def test_a_key_means_a_registry(key: str, name: str) -> None:
    assert normal_name(key) == name


def test_the_entry_that_names_the_most_counts(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    names = ("r.example/a/b", "r.example/a", "r.example", "https://index.docker.io/v1/")
    path.write_text(json.dumps({"auths": {name: auth(f"{name}:s:t") for name in names}}))
    file = read_auth_file(path)

    assert file.entry_for("r.example", "a/b") == Entry("r.example/a/b", "s:t")
    assert file.entry_for("r.example", "a/c") == Entry("r.example/a", "s:t")
    assert file.entry_for("r.example", "ab") == Entry("r.example", "s:t")
    assert file.entry_for("docker.io", "library/x") == Entry("https", "//index.docker.io/v1/:s:t")
    assert file.entry_for("example", "a/b") is None


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_named_and_shows_no_secret(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "auth.json"
    path.write_bytes(raw)

    with pytest.raises(Refused) as refused:
        read_auth_file(path)
    assert refused.value.filename == str(path)


def test_a_missing_or_empty_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")

    assert read_auth_file(tmp_path / "none") == AuthFile(tmp_path / "none")
    assert read_auth_file(tmp_path / "empty").entries == {}


def test_a_login_is_for_its_owner_alone(path: Path) -> None:
    write_login(path, "r.example", "ada", "a:b")

    assert read_auth_file(path).entries == {"r.example": Entry("ada", "a:b")}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["auth.json"]


def test_a_login_leaves_everything_else_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    before = {"auths": {"other": {"auth": "YTpi", "email": "x"}}, "psFormat": "table", "n": 1.5}
    path.write_text(json.dumps(before))
    path.chmod(0o644)

    write_login(path, "r.example", "ada", "b")

    after = json.loads(path.read_text())
    assert after["auths"].pop("r.example") == auth("ada:b")
    assert after == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_login_takes_the_place_of_the_old_one_under_any_name(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"auths": {"https://index.docker.io/v1/": auth("old:x")}}))

    write_login(path, "docker.io", "new", "y")

    assert json.loads(path.read_text())["auths"] == {"docker.io": auth("new:y")}


def test_a_login_follows_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")

    write_login(tmp_path / "link", "r.example", "ada", "b")

    assert (tmp_path / "link").is_symlink()
    assert read_auth_file(tmp_path / "real").entries == {"r.example": Entry("ada", "b")}


def test_logging_out_takes_one_login_or_all(path: Path) -> None:
    for name in ("a.example", "b.example", "c.example"):
        write_login(path, name, "ada", "b")

    assert remove_login(path, "a.example")
    assert not remove_login(path, "a.example")
    assert set(read_auth_file(path).entries) == {"b.example", "c.example"}
    assert remove_all_logins(path)
    assert not remove_all_logins(path)
    assert read_auth_file(path).entries == {}


@pytest.mark.trio
async def test_files_are_asked_in_their_order(tmp_path: Path) -> None:
    write_login(tmp_path / "1", "a.example", "first", "x")
    write_login(tmp_path / "2", "a.example", "second", "x")
    write_login(tmp_path / "2", "b.example", "second", "y")
    files = AuthFiles([tmp_path / "none", tmp_path / "1", tmp_path / "2"])

    assert await files.find("a.example", "app") == Password("first", "x")
    assert await files.find("b.example", "app") == Password("second", "y")
    assert await files.find("c.example", "app") is None


@pytest.mark.trio
async def test_an_identity_token_goes_before_a_password(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    entry = auth("00000000-0000-0000-0000-000000000000:") | {"identitytoken": "refresh"}
    path.write_text(json.dumps({"auths": {"a.example": entry}}))

    assert await AuthFiles([path]).find("a.example", "app") == IdentityToken("refresh")


def test_no_secret_is_in_a_representation() -> None:
    shown = repr([Password("ada", "secret"), IdentityToken("secret"), Entry("ada", "secret")])

    assert "ada" in shown
    assert "secret" not in shown.lower().replace("secret=", "")


@pytest.mark.parametrize("text", ["\n", "76", "\r\n"])
def test_line_ends_in_a_login_are_passed_over_as_in_go(tmp_path: Path, text: str) -> None:
    pair = base64.b64encode(b"u:" + b"p" * 90).decode()
    wrapped = f"{pair[:76]}\n{pair[76:]}\n" if text == "76" else pair + text
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"Auths": {"r.example": {"Auth": wrapped}}}))

    found = read_auth_file(path).entry_for("r.example", "")

    assert found is not None
    assert (found.user, found.secret) == ("u", "p" * 90)


def test_a_login_is_written_where_the_others_are_whatever_the_key_s_case(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"Auths": {"a": auth("u:s")}, "other": 1}))

    write_login(path, "b", "v", "t")

    assert sorted(read_auth_file(path).entries) == ["a", "b"]
    assert sorted(json.loads(path.read_text())) == ["auths", "other"]
