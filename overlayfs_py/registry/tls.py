"""Whom to believe over TLS: the system's authorities and those of certs.d directories.

A certs.d directory has one directory per registry, named `host[:port]`, with `*.crt` (authorities)
and pairs of `*.cert` and `*.key` (who we are).
Source: containers-certs.d(5); Docker's documentation has the same under /etc/docker/certs.d.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overlayfs_py.registry.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files that count for one registry."""

    authorities: tuple[Path, ...] = ()
    identities: tuple[tuple[Path, Path], ...] = ()  # certificate and key


def find_tls_files(directories: tuple[Path, ...]) -> TlsFiles:
    """Return what the directories of one registry hold; those that do not exist hold nothing.

    Raises:
        Refused: a certificate without its key.
    """
    authorities = tuple(path for d in directories for path in sorted(d.glob("*.crt")))
    certificates = [path for d in directories for path in sorted(d.glob("*.cert"))]
    for certificate in certificates:
        if not certificate.with_suffix(".key").is_file():
            raise Refused(str(certificate), "its key is missing: a .key file of the same name")
    return TlsFiles(authorities, tuple((path, path.with_suffix(".key")) for path in certificates))


def make_context(files: TlsFiles, *, verify: bool) -> ssl.SSLContext:
    """Return what a connection is made with.

    Raises:
        Refused: a file is no certificate.
    """
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for path in files.authorities:
        with _naming(path):
            context.load_verify_locations(path)
    for certificate, key in files.identities:
        with _naming(certificate):
            # An encrypted key would ask on the terminal otherwise.
            context.load_cert_chain(certificate, key, password=lambda: b"")
    return context


class _naming:
    """Say which file it was."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, ssl.SSLError):
            raise Refused(str(self._path), f"not usable for TLS: {error.reason}") from error
