"""Variables of the environment that are read once, when a program starts or loads a library."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KINDS = "PYTHON*, LD_*, GLIBC_*, MALLOC_*, OPENSSL_*, LC_*, LANG, LANGUAGE, TZ and their like"
# Python's, the loader's, libc's and libcrypto's.
_FIXED = (b"PYTHON", b"LD_", b"GLIBC_", b"MALLOC_", b"OPENSSL_", b"LC_", b"COVERAGE_", b"COV_")
_FIXED_NAMES = frozenset(
    {
        *(b"LANG", b"LANGUAGE", b"LOCPATH", b"NLSPATH", b"GCONV_PATH", b"TZ", b"TZDIR"),
        *(b"RES_OPTIONS", b"LOCALDOMAIN", b"HOSTALIASES", b"RESOLV_HOST_CONF"),
    }
)


def fixed(environment: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Those that cannot be changed any more in a process that runs."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_FIXED) or name in _FIXED_NAMES
    }


def pairs(environment: Iterable[bytes]) -> dict[bytes, bytes]:
    """What each name stands for, of words NAME=VALUE."""
    parts = (pair.partition(b"=") for pair in environment)
    return {name: value for name, _, value in parts}
