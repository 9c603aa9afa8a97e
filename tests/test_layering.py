"""The house's rule: a package imports only from rows below its own, one module does one noun."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE = Path(__file__).parents[1] / "overlayfs_py"
_MODULES = sorted(_PACKAGE.rglob("*.py"))
_LONGEST_LINES = 500

# Top first. Packages of one row know nothing of each other.
_ROWS = (
    {"cli"},
    {"backends", "api"},
    {"builds", "advice"},
    {"containers", "transfer"},
    {"mounts", "warm"},
    {"drivers", "registry"},
    {"store"},
    {"wire", "union"},
    {"packs"},
    {"layers", "tars", "image", "dockerfile"},
    {"syscalls"},
    {"errors", "link_walk", "durations"},
    {"terminal_text", "late_import", "named_tuple"},
)
_ROW_OF = {package: row for row, packages in enumerate(_ROWS) for package in packages}

_TRIO_ROWS = range(_ROW_OF["drivers"] + 1)


class Import(NamedTuple):
    """One name that a module imports, and where."""

    module: str
    line: int


def _name(path: Path) -> str:
    return path.relative_to(_PACKAGE).as_posix()


def _row(path: Path) -> int:
    package = path.relative_to(_PACKAGE).parts[0].removesuffix(".py")
    # What stands beside the packages (__main__, __init__) is the command line's.
    return _ROW_OF.get(package, 0)


def _imports(path: Path) -> Iterator[Import]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.Import(names=names):
                yield from (Import(alias.name, node.lineno) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, f"{_name(path)}:{node.lineno}: a relative import"
                yield from (Import(f"{module}.{alias.name}", node.lineno) for alias in names)
            case ast.Call(
                func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(module))]
            ):
                yield Import(module, node.lineno)


def _own_package(imported: str) -> str | None:
    parts = imported.split(".")
    found = parts[0] == "overlayfs_py" and len(parts) > 1 and parts[1] in _ROW_OF
    return parts[1] if found else None


@pytest.mark.parametrize("path", _MODULES, ids=_name)
def test_a_package_imports_only_from_rows_below_its_own(path: Path) -> None:
    own = path.relative_to(_PACKAGE).parts[0].removesuffix(".py")

    upward = [
        imported
        for imported in _imports(path)
        if (package := _own_package(imported.module)) is not None
        and package != own
        and _ROW_OF[package] <= _row(path)
        and own in _ROW_OF
    ]

    assert not upward


def test_every_package_has_its_row() -> None:
    packages = {path.parent.name for path in _PACKAGE.glob("*/__init__.py")}

    assert packages <= _ROW_OF.keys()


def _users_of(*modules: str) -> set[str]:
    return {
        _name(path)
        for path in _MODULES
        for imported in _imports(path)
        if imported.module.split(".")[0] in modules
    }


def test_only_the_pyfuse3_driver_imports_pyfuse3() -> None:
    users = _users_of("pyfuse3", "_pyfuse3")

    assert {name for name in users if not name.startswith("drivers/pyfuse3_")} == set()


def test_only_two_modules_know_grpc_and_its_messages() -> None:
    assert _users_of("grpc") == {"backends/snapshot_service.py"}
    assert _users_of("google") == {
        "backends/snapshot_service.py",
        "backends/snapshot_messages.py",
    }


def test_only_syscalls_import_ctypes() -> None:
    users = _users_of("ctypes", "cffi")

    assert {name for name in users if not name.startswith("syscalls/")} == set()


def test_trio_is_not_known_below_the_drivers() -> None:
    below = {_name(path) for path in _MODULES if _row(path) not in _TRIO_ROWS}

    assert _users_of("trio", "anyio", "asyncio") & below == set()


def _reads_environment(path: Path) -> bool:
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    return any(
        (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.alias) and node.name in names)
        for node in ast.walk(ast.parse(path.read_bytes()))
    )


def test_only_the_command_line_reads_the_environment() -> None:
    readers = {_name(path) for path in _MODULES if _reads_environment(path)}

    # A program's environment is where the API is called from what it is to the command line.
    allowed = ("cli/", "api/environment.py")
    assert {name for name in readers if not name.startswith(allowed)} == set()


@pytest.mark.parametrize("path", _MODULES, ids=_name)
def test_a_module_reads_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= _LONGEST_LINES
