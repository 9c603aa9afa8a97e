"""Logging in, for us and for podman's and skopeo's users; what pulls then may do."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import bcrypt
import pytest
import trustme

from tests.support.docker_registry import DockerRegistry, docker_registry
from tests.support.oci_layout import write_layout
from tests.system.processes import run
from tests.transfer.registries import PROGRAM, Ours
from tests.transfer.test_pull import BASE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, SECRET = "ada", "correct horse"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A registry with TLS by a private authority, which wants a login."""
    directory = tmp_path_factory.mktemp("guarded")
    htpasswd = directory / "htpasswd"
    htpasswd.write_bytes(USER.encode() + b":" + bcrypt.hashpw(SECRET.encode(), bcrypt.gensalt(4)))
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    issued.private_key_pem.write_to_path(directory / "key.pem")
    authority.cert_pem.write_to_path(directory / "ca.crt")
    with docker_registry(
        directory / "registry",
        auth={"htpasswd": {"realm": "r", "path": str(htpasswd)}},
        tls={"certificate": str(directory / "cert.pem"), "key": str(directory / "key.pem")},
    ) as running:
        yield running


@pytest.fixture
def certificates(guarded: DockerRegistry) -> Path:
    return guarded.directory.parent


def login(
    ours: Ours, guarded: DockerRegistry, secret: str = SECRET
) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, "login", "-u", USER, "--password-stdin"]
    return subprocess.run(
        [*command, "--cert-dir", guarded.directory.parent, guarded.domain],
        env=ours.environment,
        input=f"{secret}\n",
        capture_output=True,
        text=True,
    )


def auth_file(ours: Ours) -> Path:
    return ours.home / "run/containers/auth.json"


def test_after_a_login_pulls_and_pushes_go(
    ours: Ours, guarded: DockerRegistry, certificates: Path, tmp_path: Path
) -> None:
    write_layout(tmp_path / "oci", [BASE])
    assert login(ours, guarded).stdout == "Login Succeeded!\n"
    command = ["skopeo", "--insecure-policy", "copy", "--dest-cert-dir", certificates]
    name = f"{guarded.domain}/team/app:1"
    where = ["--authfile", auth_file(ours), f"oci:{tmp_path / 'oci'}:latest", f"docker://{name}"]
    run([*command, *where])

    options = ("--root", ours.root, "--cert-dir", certificates)
    ours("pull", *options, name)
    ours("push", *options, name, f"{guarded.domain}/team/app:2")

    assert ours("login", "--get-login", guarded.domain) == f"{USER}\n"
    ours("logout", guarded.domain)
    done = ours.attempt("pull", *options, name)
    assert done.returncode == 41
    repository = name.removesuffix(":1")
    assert done.stderr == f"overlayfs-py: {repository}: {guarded.domain} wants a login\n"


def test_a_wrong_login_is_not_kept(ours: Ours, guarded: DockerRegistry) -> None:
    done = login(ours, guarded, "wrong")

    assert done.returncode == 41
    assert done.stderr.count("\n") == 1
    assert "wrong" not in done.stderr
    assert not auth_file(ours).exists()


def test_the_file_is_for_its_owner_alone(ours: Ours, guarded: DockerRegistry) -> None:
    login(ours, guarded)

    assert auth_file(ours).stat().st_mode & 0o777 == 0o600
    assert json.loads(auth_file(ours).read_text())["auths"].keys() == {guarded.domain}


def test_a_private_authority_needs_to_be_named(ours: Ours, guarded: DockerRegistry) -> None:
    done = ours.attempt("login", "-u", USER, "-p", SECRET, guarded.domain)

    assert done.returncode == 42
    assert "certificate not trusted" in done.stderr
    done = ours.attempt("login", "-u", USER, "-p", SECRET, "--tls-verify=false", guarded.domain)
    assert done.returncode == 0


def test_certs_d_is_read(ours: Ours, guarded: DockerRegistry, certificates: Path) -> None:
    directory = ours.home / ".config/containers/certs.d" / guarded.domain
    directory.mkdir(parents=True)
    (directory / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())

    assert ours("login", "-u", USER, "-p", SECRET, guarded.domain) == "Login Succeeded!\n"


def test_logging_out_says_what_it_found(ours: Ours, guarded: DockerRegistry) -> None:
    none = ours.attempt("logout", guarded.domain)
    assert (none.returncode, none.stderr) == (1, f"overlayfs-py: {guarded.domain}: not logged in\n")

    docker = ours.home / ".docker/config.json"
    docker.parent.mkdir()
    docker.write_text(json.dumps({"auths": {guarded.domain: {"auth": "YTpi"}}}))
    kept = ours.attempt("logout", guarded.domain)
    assert kept.returncode == 1
    assert str(docker) in kept.stderr

    login(ours, guarded)
    assert ours("logout", guarded.domain) == f"Removed login credentials for {guarded.domain}\n"
    login(ours, guarded)
    assert ours("logout", "--all") == "Removed login credentials for all registries\n"
    assert json.loads(auth_file(ours).read_text())["auths"] == {}


def test_who_cannot_be_asked_has_to_say(ours: Ours) -> None:
    done = ours.attempt("login", "registry.invalid")

    assert done.returncode == 2
    assert "no username" in done.stderr
