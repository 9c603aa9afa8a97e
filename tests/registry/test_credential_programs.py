from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.registry import credential_programs
from overlayfs_py.registry.credentials import AuthFiles, IdentityToken, Password
from overlayfs_py.registry.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path

# Keeps one file per server, as real ones keep a keyring's entries.
PROGRAM = """#!/bin/sh
dir=$(dirname "$0")/kept
mkdir -p "$dir"
case $1 in
store) tr -d '\\n' >"$dir/new"; name=$(sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/' "$dir/new")
    mv "$dir/new" "$dir/$(echo "$name" | tr / _)";;
get) read -r name; file=$dir/$(echo "$name" | tr / _)
    cat "$file" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; };;
erase) read -r name; rm "$dir/$(echo "$name" | tr / _)";;
esac
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "docker-credential-test"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return path


def config(directory: Path, **settings: object) -> AuthFiles:
    path = directory / "config.json"
    path.write_text(json.dumps(settings))
    return AuthFiles([path])


@pytest.mark.trio
@pytest.mark.usefixtures("program")
async def test_a_program_keeps_and_forgets_a_login() -> None:
    await credential_programs.store("test", "r.example", "ada", "s3cret")
    assert await credential_programs.get("test", "r.example") == ("ada", "s3cret")

    await credential_programs.erase("test", "r.example")
    assert await credential_programs.get("test", "r.example") is None


@pytest.mark.trio
@pytest.mark.usefixtures("program")
async def test_a_program_is_asked_for_its_registries(tmp_path: Path) -> None:
    await credential_programs.store("test", "r.example", "ada", "s3cret")
    await credential_programs.store("test", "https://index.docker.io/v1/", "<token>", "refresh")
    only_one = config(tmp_path, credHelpers={"r.example": "test"})
    for_all = AuthFiles([tmp_path / "all.json"])
    (tmp_path / "all.json").write_text('{"credsStore": "test"}')

    assert await only_one.find("r.example", "app") == Password("ada", "s3cret")
    assert await only_one.find("docker.io", "library/app") is None
    assert await for_all.find("r.example", "app") == Password("ada", "s3cret")
    assert await for_all.find("docker.io", "library/app") == IdentityToken("refresh")
    assert await for_all.find("other.example", "app") is None


@pytest.mark.trio
async def test_an_empty_answer_is_no_login(program: Path, tmp_path: Path) -> None:
    answer = '{"serverurl":"r.example","username":"","SECRET":""}'
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")  # noqa: ASYNC240

    assert await config(tmp_path, credsStore="test").find("r.example", "app") is None


@pytest.mark.trio
async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    files = config(tmp_path, credsStore="nowhere")

    with pytest.raises(Refused, match="docker-credential-nowhere"):
        await files.find("r.example", "app")


@pytest.mark.trio
@pytest.mark.parametrize("name", ["../evil", "a b", "-x"])
async def test_a_name_cannot_lead_to_another_program(name: str) -> None:
    with pytest.raises(Refused, match="not the name"):
        await credential_programs.get(name, "r.example")


@pytest.mark.trio
@pytest.mark.parametrize(
    "action", ["echo no JSON", "echo '{}'", "echo locked >&2; exit 1", "exit 3"]
)
async def test_a_program_that_fails_is_an_error(program: Path, action: str) -> None:
    program.write_text(f"#!/bin/sh\n{action}\n")  # noqa: ASYNC240

    with pytest.raises(Refused) as refused:
        await credential_programs.get("test", "r.example")
    assert refused.value.filename == "docker-credential-test"
