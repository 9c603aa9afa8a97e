"""A build of 35 steps, each on the mount of all before it, and work on a container that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.engine import Engine

_STEPS = 35
_LONG_S = 400  # half a minute where nothing else runs
# Step N makes N, appends to a file of all layers, deletes what step N - 2 made, and moves the one
# directory on: a name is whited out, made again, and found through as many redirects as steps.
_STEP = """RUN set -e; echo {n} > /made/{n}; echo {n} >> /log; rm -f /made/{before}; \
mv /place{last} /place{n}; echo {n} > /place{n}/last; \
rm -rf /again; mkdir /again; echo {n} > /again/{n}
"""


def containerfile() -> str:
    """The steps, above the smallest root."""
    head = "FROM scratch\nADD root.tar /\nRUN mkdir /made /place0; echo kept > /place0/first\n"
    steps = [_STEP.format(n=n, before=n - 2, last=n - 1) for n in range(1, _STEPS - 1)]
    return head + "".join(steps)


_LOOK = "set -e; ls /made; ls /again; ls -d /place*; cat /place*/first /place*/last; cat /log"


def expected() -> list[str]:
    last = _STEPS - 2
    made = sorted([str(last - 1), str(last)])
    log = [str(n) for n in range(1, last + 1)]
    return [*made, str(last), f"/place{last}", "kept", str(last), *log]


@pytest.fixture
def context(scratch: Path, root_tar: Path) -> Path:
    directory = scratch / "context"
    directory.mkdir()
    root_tar.rename(directory / "root.tar")
    (directory / "Containerfile").write_text(containerfile())
    return directory


def test_many_steps_each_on_the_mount_of_those_before(engine: Engine, context: Path) -> None:
    build = ["build", "--layers", "--isolation=chroot", "--tag"]
    engine("podman", *build, "long", context, timeout=_LONG_S)
    seen = engine("podman", "run", "--rm", "long", "sh", "-c", _LOOK)
    with (context / "Containerfile").open("a") as file:
        file.write("RUN echo more >> /log\n")
    again = engine("buildah", *build, "longer", context, timeout=_LONG_S)
    longer = engine("podman", "run", "--rm", "longer", "sh", "-c", _LOOK)

    assert seen.splitlines() == expected()
    assert again.count("Using cache") >= _STEPS - 1
    assert longer.splitlines() == [*expected(), "more"]
    engine("podman", "rmi", "--all", "--force")
    assert engine.mounts() == []
    assert engine.layers() == []


def test_a_running_container_is_compared_and_committed(engine: Engine, root_tar: Path) -> None:
    engine("podman", "import", root_tar, "base")
    work = "echo new > /etc/new; rm -r /usr/share/doc; echo more >> /home/data/kept"
    engine("podman", "run", "--detach", "--name", "one", "base", "sh", "-c", "sleep 1000")
    engine("podman", "exec", "one", "sh", "-c", work)

    changes = set(engine("podman", "diff", "one").splitlines())
    engine("podman", "commit", "one", "second")
    engine("podman", "exec", "one", "sh", "-c", "echo later > /etc/new; cat /home/data/kept")
    look = "cat /etc/new /home/data/kept; ls /usr/share"
    committed = engine("podman", "run", "--rm", "second", "sh", "-c", look)
    running = engine("podman", "exec", "one", "cat", "/etc/new")

    assert changes >= {"A /etc/new", "D /usr/share/doc", "C /home/data/kept"}
    assert committed.splitlines() == ["new", "kept", "more"]
    assert running == "later"
    engine("podman", "rm", "--force", "--time=0", "one")
    engine("podman", "rmi", "--all", "--force")
    assert engine.mounts() == []
