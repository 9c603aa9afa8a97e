"""Where temporary directories go: found without a trace."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.cli.temporary import temporary_directory

if TYPE_CHECKING:
    from pathlib import Path

_NEVER_NS = 10**18


def test_it_is_found_without_a_file_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between its making and its removal would leave it."""
    monkeypatch.setenv("TMPDIR", os.fspath(tmp_path))
    os.utime(tmp_path, ns=(_NEVER_NS, _NEVER_NS))

    assert temporary_directory() == os.fsencode(tmp_path)
    assert tmp_path.stat().st_mtime_ns == _NEVER_NS


def test_a_relative_one_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", "below")

    assert temporary_directory() == os.fsencode(tmp_path / "below")


@pytest.mark.parametrize("name", ["", "missing", "file"])
def test_what_is_no_directory_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMPDIR", os.fspath(tmp_path / name) if name else "")

    assert temporary_directory() == b"/tmp"
