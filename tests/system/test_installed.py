"""The wheel, installed somewhere else: what works without pyfuse3, which needs a compiler."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.system.processes import attempt, run

_CHECKOUT = Path(__file__).parents[2]
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def _needed(distribution: str, seen: set[str]) -> set[str]:
    """What a distribution needs, and what that needs, as far as it is here."""
    for requirement in metadata.requires(distribution) or ():
        found = _NAME.match(requirement)
        assert found is not None
        name = found[0].lower()
        if "extra ==" in requirement or name in seen or name == "pyfuse3":
            continue
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of another Python version
        seen.add(name)
        _needed(name, seen)
    return seen


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with all that we need but pyfuse3."""
    directory = tmp_path_factory.mktemp("installed")
    environment = directory / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", environment])
    (packages,) = environment.glob("lib/python*/site-packages")
    for name in _needed("overlayfs-py", set()):
        files = metadata.distribution(name).files or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            link = packages / top
            if not link.exists():
                link.symlink_to(metadata.distribution(name).locate_file(top))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", directory, _CHECKOUT]
    run([*pip, *build])
    (wheel,) = directory.glob("*.whl")
    run([*pip, "--python", environment, "install", "--no-deps", "--no-index", wheel])
    return environment / "bin"


def test_the_direct_driver_needs_no_pyfuse3(installed: Path, tmp_path: Path) -> None:
    for name in ("layer", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    (tmp_path / "layer/file").write_text("x\n")
    options = "lowerdir=layer,upperdir=upper,workdir=work"

    run([installed / "overlayfs-py", "mount", "-o", options, "merged"], cwd=tmp_path)
    shown = (tmp_path / "merged/file").read_text()
    (tmp_path / "merged/made").write_text("y\n")
    run([installed / "overlayfs-py", "umount", "merged"], cwd=tmp_path)

    assert shown == "x\n"
    assert (tmp_path / "upper/made").read_text() == "y\n"


def test_the_other_driver_says_in_a_line_what_to_install(installed: Path, tmp_path: Path) -> None:
    mount = [
        installed / "overlayfs-py",
        "mount",
        "--driver",
        "pyfuse3",
        "-o",
        f"lowerdir={tmp_path}",
    ]
    done = attempt([*mount, tmp_path])
    advice = run([installed / "overlayfs-py", "doctor"])

    assert done.returncode == 1
    assert re.fullmatch(r"overlayfs-py: driver pyfuse3: .*\n", done.stderr)
    for text in (done.stderr, advice):
        assert "apt-get install gcc libc6-dev libfuse3-dev pkg-config python3-dev" in text
        assert "pip install pyfuse3" in text


def test_the_engines_program_is_there(installed: Path) -> None:
    told = subprocess.check_output([installed / "fuse-overlayfs-py", "--version"], text=True)

    assert told.startswith("fuse-overlayfs-py: version ")


def test_the_read_me_has_what_an_installation_needs() -> None:
    text = (_CHECKOUT / "README.md").read_text()

    assert "sudo apt-get install gcc libc6-dev libfuse3-dev pkg-config python3-dev" in text
    assert "pip install" in text
