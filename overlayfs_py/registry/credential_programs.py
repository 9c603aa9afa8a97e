"""Programs that keep credentials: `docker-credential-NAME get|store|erase`.

Source: docker-credential-helpers, README, "Usage".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import trio

from overlayfs_py.image.go_decoding import decode_json
from overlayfs_py.registry.errors import Refused

if TYPE_CHECKING:
    import subprocess

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOTHING = "credentials not found"  # how every program's answer begins that has none
# Somebody may have to unlock a keyring.
_LONGEST_S = 120


class _Found(msgspec.Struct):
    user: str = msgspec.field(name="Username")
    secret: str = msgspec.field(name="Secret")


async def get(name: str, server: str) -> tuple[str, str] | None:
    """Return user and secret; None where the program has none for this server.

    Raises:
        Refused: the program is not there, fails, or answers nonsense.
    """
    done = await _run(name, "get", server.encode())
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace")
        if said.strip().lower().startswith(_NOTHING):
            return None
        raise Refused(_program(name), said or f"ended with {done.returncode}")
    try:
        found = decode_json(done.stdout, _Found)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refused(_program(name), f"its answer makes no sense: {error}") from error
    return found.user, found.secret


async def store(name: str, server: str, user: str, secret: str) -> None:
    """Have the program keep a login."""
    document = {"ServerURL": server, "Username": user, "Secret": secret}
    await _require(name, "store", msgspec.json.encode(document))


async def erase(name: str, server: str) -> None:
    """Have the program forget a login."""
    await _require(name, "erase", server.encode())


async def _require(name: str, action: str, given: bytes) -> None:
    done = await _run(name, action, given)
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise Refused(_program(name), said or f"{action} ended with {done.returncode}")


async def _run(name: str, action: str, given: bytes) -> subprocess.CompletedProcess[bytes]:
    if _NAME.fullmatch(name) is None:
        raise Refused(name, "not the name of a credential program")
    try:
        with trio.fail_after(_LONGEST_S):
            return await trio.run_process(
                [_program(name), action],
                stdin=given,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
    except trio.TooSlowError as error:
        raise Refused(_program(name), f"no answer in {_LONGEST_S} s") from error
    except FileNotFoundError as error:
        raise Refused(
            _program(name), "an auth file names this program, which is not there"
        ) from error


def _program(name: str) -> str:
    return f"docker-credential-{name}"
