"""Builds in a container that may mount nothing: what can be built there, and what is said if not.

`pytest -rP tests/system/test_builds_in_containers.py` shows all of it.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.life.conftest import make_small_root
from tests.system.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.engine import Engine
    from tests.system.processes import Word

_CHECKOUT = Path(__file__).parents[2]
_BASE = "FROM scratch\nADD root.tar /\n"
_COPIES = _BASE + "COPY a /a\nADD --chmod=600 a /b/\nWORKDIR /c\nENV X=1\nCMD cat /a\n"
_RUNS = _BASE + "RUN echo x > /made && chown 33:33 /made; sleep 8600420 & cat /dev/null\n"
_USER = "setpriv --reuid=65534 --regid=65534 --clear-groups"
_END = "--- {name} ended with {status}"
_STEPS = {
    "doctor": "overlayfs-py doctor",
    "chroot": "overlayfs-py build --isolation chroot -t made runs",
    "files": "overlayfs-py image files -l made /made",
    "left": "grep -l '860042[0]' /proc/[0-9]*/cmdline",
    "namespaces": "overlayfs-py build --no-cache runs",
    "no devices": (
        "setpriv --bounding-set=-mknod overlayfs-py build --no-cache --isolation chroot runs"
    ),
    "user's files": f"{_USER} overlayfs-py build --root user copies",
    "user's command": f"{_USER} overlayfs-py build --root user runs",
    "user's chroot": f"{_USER} overlayfs-py build --root user --isolation chroot runs",
}


@pytest.fixture
def container(engine: Engine, scratch: Path) -> Iterator[list[Word]]:
    """What runs `sh -c SCRIPT` in a container whose programs and Python are this machine's."""
    root = scratch / "container"
    for name in ("usr", "etc", "tmp", "proc", "sys", "dev"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("passwd", "group", "ld.so.cache"):
        shutil.copy(f"/etc/{name}", root / "etc")
    place = scratch / "place"
    small = make_small_root(scratch / "small")
    for name, text in {"copies": _COPIES, "runs": _RUNS}.items():
        (place / name).mkdir(parents=True)
        (place / name / "Dockerfile").write_text(text)
        (place / name / "a").write_text("a\n")
        run(["tar", "-C", small, "-cf", place / name / "root.tar", "."])
    run(["chmod", "--recursive", "a+rwX", place])
    tar = scratch / "container.tar"
    run(["tar", "--create", "--file", tar, "--directory", root, "."])
    engine("podman", "import", tar, "builder")
    shared = [word for path in ("/usr", _CHECKOUT) for word in ("--volume", f"{path}:{path}:ro")]
    yield ["podman", "run", "--rm", "--pids-limit=-1", *shared, f"--volume={place}:/place"]
    engine("podman", "rmi", "--all", "--force")


def _script() -> str:
    path = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    lines = [
        f"cd /place; export PATH={path} HOME=/place/home PYTHONDONTWRITEBYTECODE=1; exec 2>&1",
    ]
    for name, step in _STEPS.items():
        lines += [step, f'echo "{_END.format(name=name, status="$?")}"']
    return "\n".join(lines)


def test_a_container_with_docker_s_rights(engine: Engine, container: list[Word]) -> None:
    output = engine(*container, "builder", "sh", "-c", _script()) + "\n"
    print(output)
    said = {
        name: (text, int(status))
        for text, name, status in re.findall(
            r"(.*?)--- ([\w' ]+) ended with (\d+)\n", output, re.DOTALL
        )
    }

    assert said.keys() == _STEPS.keys()
    assert "RUN of a build runs with --isolation chroot only" in said["doctor"][0]
    assert said["chroot"][1] == 0
    assert re.match(r"-rw-r--r-- +33:33 +2 ", said["files"][0])
    assert said["left"] == ("", 1)
    assert said["user's files"][1] == 0
    for name, words in {
        "namespaces": "--isolation chroot does without",
        "no devices": "root lacks MKNOD here: give the container --cap-add MKNOD",
        "user's command": "run the container as root",
        "user's chroot": "run the container as root",
    }.items():
        text, status = said[name]
        (line,) = (each for each in text.splitlines() if each.startswith("overlayfs-py: "))
        assert status == 1
        assert line.endswith(words)
