"""Keeping and forgetting a login: in the auth file, or with the program that the file names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.registry import auth_file, credential_programs

if TYPE_CHECKING:
    from pathlib import Path


async def keep_login(path: Path, name: str, user: str, secret: str) -> None:
    """Keep a login for `name`, a host or a host and a path."""
    file = auth_file.read_auth_file(path)
    program = file.program_for(name)
    if program is None:
        auth_file.write_login(path, name, user, secret)
    else:
        await credential_programs.store(program, file.names_of(name)[0], user, secret)


async def forget_login(path: Path, name: str) -> bool:
    """Forget the login for `name`; whether there was one."""
    file = auth_file.read_auth_file(path)
    was_there = auth_file.remove_login(path, name)
    program = file.program_for(name)
    if program is not None:
        for known in file.names_of(name):
            if await credential_programs.get(program, known) is not None:
                await credential_programs.erase(program, known)
                was_there = True
    return was_there
