"""Who we are to a registry: what auth files and credential programs of podman and docker say.

Sources: containers-auth.json(5); Docker's documentation of `docker login`, "Credential stores".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from overlayfs_py.registry import credential_programs
from overlayfs_py.registry.auth_file import read_auth_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from overlayfs_py.registry.auth_file import AuthFile


@dataclass(frozen=True, slots=True)
class Password:
    """A user and what proves it."""

    user: str
    secret: str

    def __repr__(self) -> str:
        return f"Password({self.user!r}, ...)"  # tracebacks and logs show it


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """What a token server gave in place of a password (OAuth2's refresh token)."""

    token: str

    def __repr__(self) -> str:
        return "IdentityToken(...)"


Credentials = Password | IdentityToken


class CredentialSource(Protocol):
    """Where credentials come from."""

    async def find(self, domain: str, path: str) -> Credentials | None:
        """Return the credentials for a repository, `domain/path`; None to come as nobody."""


@dataclass(frozen=True, slots=True)
class Anonymous:
    """No credentials."""

    async def find(self, domain: str, path: str) -> Credentials | None:
        return None


@dataclass(frozen=True, slots=True)
class Given:
    """Credentials typed by the user for one registry."""

    domain: str
    credentials: Credentials

    async def find(self, domain: str, path: str) -> Credentials | None:
        return self.credentials if domain == self.domain else None


@dataclass(frozen=True, slots=True)
class AuthFiles:
    """The auth files, in the order in which they are asked; one that does not exist has nothing."""

    paths: Sequence[Path]

    async def find(self, domain: str, path: str) -> Credentials | None:
        for file_path in self.paths:
            found = await _find_in(read_auth_file(file_path), domain, path)
            if found is not None:
                return found
        return None


async def _find_in(file: AuthFile, domain: str, path: str) -> Credentials | None:
    program = file.program_for(domain)
    if program is not None:
        for name in file.names_of(domain):
            found = await credential_programs.get(program, name)
            if found is not None:
                return _from_program(*found)
    entry = file.entry_for(domain, path)
    if entry is None:
        return None
    if entry.identity_token:
        return IdentityToken(entry.identity_token)
    return Password(entry.user, entry.secret) if entry.user else None


def _from_program(user: str, secret: str) -> Credentials | None:
    if not user and not secret:
        return None  # how some programs say that they have none
    # docker-credential-helpers: this user says that the secret is an identity token.
    return IdentityToken(secret) if user == "<token>" else Password(user, secret)
