"""auth.json and config.json: reading them, and putting a login in or taking it out.

What else a file holds stays as it is: docker keeps its whole configuration there.
"""

from __future__ import annotations

import base64
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from overlayfs_py.image.go_decoding import decode_json
from overlayfs_py.registry.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

HUB = "docker.io"
# What docker's own files call the Hub.
_HUB_KEY = "https://index.docker.io/v1/"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_LARGEST_BYTES = 8 << 20

Form = TypeVar("Form")


@dataclass(frozen=True, slots=True)
class Entry:
    """One login."""

    user: str
    secret: str = field(repr=False)
    identity_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class AuthFile:
    """What a file says."""

    path: Path
    entries: Mapping[str, Entry] = field(default_factory=dict)  # by host, or host and path
    programs: Mapping[str, str] = field(default_factory=dict)  # credHelpers, by host
    default_program: str | None = None  # credsStore

    def entry_for(self, domain: str, path: str) -> Entry | None:
        """Return the entry whose key names the most of `domain/path`."""
        name = f"{domain}/{path}" if path else domain
        while name != domain:
            if name in self.entries:
                return self.entries[name]
            name = name.rpartition("/")[0]
        return self.entries.get(domain)

    def program_for(self, domain: str) -> str | None:
        return self.programs.get(domain, self.default_program)

    def names_of(self, domain: str) -> tuple[str, ...]:
        """What programs may know a registry by."""
        return (_HUB_KEY, domain) if domain == HUB else (domain, f"https://{domain}")


class _EntryForm(msgspec.Struct, rename="lower"):
    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identity_token: str | None = msgspec.field(default=None, name="identitytoken")


class _FileForm(msgspec.Struct):
    auths: dict[str, _EntryForm | None] | None = None
    programs: dict[str, str] | None = msgspec.field(default=None, name="credHelpers")
    default_program: str | None = msgspec.field(default=None, name="credsStore")


def read_auth_file(path: Path) -> AuthFile:
    """Return what the file says; a missing or empty one says nothing.

    Raises:
        Refused: it is not such a file.
        OSError: it cannot be read.
    """
    raw = _read(path)
    if not raw.strip():
        return AuthFile(path)
    form = _decode(path, raw, _FileForm)
    entries = {
        normal_name(name): _entry(path, name, entry)
        for name, entry in (form.auths or {}).items()
        if entry is not None
    }
    programs = {normal_name(name): value for name, value in (form.programs or {}).items() if value}
    return AuthFile(path, entries, programs, form.default_program or None)


def write_login(path: Path, name: str, user: str, secret: str) -> None:
    """Put a login into the file, which only its owner can read then; the old one is replaced."""
    auth = base64.b64encode(f"{user}:{secret}".encode()).decode()
    auths = _others(path, name)
    auths[name] = {"auth": auth}
    _write_auths(path, auths)


def remove_login(path: Path, name: str) -> bool:
    """Take the login for `name` out; whether there was one."""
    before = _auths(path)
    after = _others(path, name)
    if len(after) != len(before):
        _write_auths(path, after)
    return len(after) != len(before)


def remove_all_logins(path: Path) -> bool:
    """Take all logins out; whether there was one."""
    had_some = bool(_auths(path))
    if had_some:
        _write_auths(path, {})
    return had_some


def normal_name(key: str) -> str:
    """Return the host, or host and path, that a key means: docker writes URLs."""
    is_url = "://" in key
    name = key.partition("://")[2] if is_url else key
    host, slash, path = name.partition("/")
    if path.strip("/") in {"v1", "v2"}:
        slash = path = ""
    host = HUB if host in _HUB_NAMES else host
    return host + (slash + path).rstrip("/")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return b""


def _decode(path: Path, raw: bytes, form: type[Form]) -> Form:
    try:
        return decode_json(raw, form)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refused(str(path), f"not a file of credentials: {error}") from error


def _entry(path: Path, name: str, form: _EntryForm) -> Entry:
    user, secret = form.username or "", form.password or ""
    if form.auth:
        user, secret = _split(path, name, form.auth)
    return Entry(user, secret, form.identity_token or "")


def _split(path: Path, name: str, auth: str) -> tuple[str, str]:
    try:
        # Go's decoder passes over line ends (encoding/base64): some tools wrap at 76 columns.
        unwrapped = auth.replace("\r", "").replace("\n", "")
        text = base64.b64decode(unwrapped, validate=True).decode()
    except ValueError as error:  # binascii's and Unicode's are ValueErrors
        raise Refused(str(path), f"the entry for {name} is not base64 of text") from error
    user, _, secret = text.partition(":")
    return user, secret.rstrip("\0")  # docker pads with NUL


def _auths(path: Path) -> dict[str, object]:
    return dict(_decode(path, _read(path).strip() or b"{}", _Auths).auths or {})


class _Auths(msgspec.Struct):
    auths: dict[str, object] | None = None


def _others(path: Path, name: str) -> dict[str, object]:
    """The entries that do not mean `name`."""
    return {key: entry for key, entry in _auths(path).items() if normal_name(key) != name}


def _write_auths(path: Path, auths: dict[str, object]) -> None:
    read = _decode(path, _read(path).strip() or b"{}", dict[str, object])
    document = {key: value for key, value in read.items() if key.casefold() != "auths"}
    document["auths"] = auths
    text = msgspec.json.format(msgspec.json.encode(document), indent=4) + b"\n"
    # A symlink stays one: people keep these files elsewhere.
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _replace(target, text)


def _replace(path: Path, text: bytes) -> None:
    """Put a file in place whole; it is readable by its owner alone from the first byte on."""
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    try:
        with open(fd, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
