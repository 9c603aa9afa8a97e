"""podman and buildah with a storage of their own and the mount program under test.

Plan: everything that the engines keep lies below one directory, and they run in a mount namespace
of their own. So a test neither sees nor touches the machine's containers, and what it leaves
mounted goes with the namespace. The namespace also lacks the `unified` cgroup tree: crun refuses a
machine that mounts it beside cgroup v1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.mount_table import Mount, mounts_below
from tests.system.processes import Word, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BUSYBOX = Path("/bin/busybox")
APPLETS = [
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "echo",
    "env",
    "grep",
    "id",
    "ln",
    "ls",
    "mkdir",
    "mv",
    "rm",
    "sh",
    "sleep",
    "stat",
    "touch",
    "true",
]

HOLD_NAMESPACE = "umount /sys/fs/cgroup/unified 2>/dev/null; echo ready; read end"

# `volatile` in builds and a mount program in every mount are containers/storage's doing; what is
# here only keeps networks, cgroups and journald out of the way. The hard limit of open files is
# the most that root has without CAP_SYS_RESOURCE.
CONTAINERS_CONF = """
    [containers]
    cgroups = "disabled"
    netns = "host"
    ipcns = "host"
    utsns = "host"
    default_ulimits = ["nofile=1024:20000", "nproc=1000:1000"]
    [engine]
    cgroup_manager = "cgroupfs"
    events_logger = "file"
    lock_type = "file"
    runtime = "crun"
    tmp_dir = "{home}/tmp"
"""

# The roots stand here and not in `--root`: that option makes podman forget the mount program.
STORAGE_CONF = """
    [storage]
    driver = "overlay"
    graphroot = "{home}/graph"
    runroot = "{home}/run"
    [storage.options.overlay]
    mount_program = "{program}"
"""

REGISTRIES_CONF = "unqualified-search-registries = []\n"


def make_root_filesystem(root: Path) -> None:
    """Lay out the smallest root that a container runs in: a static busybox and a little data."""
    for directory in ("bin", "etc", "tmp", "proc", "sys", "dev", "home/data", "usr/share/doc"):
        (root / directory).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (root / "home/data/kept").write_text("kept\n")
    (root / "usr/share/doc/readme").write_text("documentation\n")


def mount_namespace() -> Iterator[int]:
    """Keep a mount namespace alive and give the pid of the process that holds it."""
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", HOLD_NAMESPACE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:  # closing its stdin ends it
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        yield holder.pid


@dataclass(frozen=True, slots=True)
class Engine:
    """One private container storage, driven by real commands."""

    home: Path
    namespace: int  # pid of the process that holds the mount namespace

    @classmethod
    def set_up(cls, home: Path, namespace: int, program: Path) -> Engine:
        home.mkdir()
        for name, text in (
            ("storage.conf", STORAGE_CONF.format(home=home, program=program)),
            ("containers.conf", CONTAINERS_CONF.format(home=home)),
            ("registries.conf", REGISTRIES_CONF),
        ):
            (home / name).write_text(textwrap.dedent(text))
        return cls(home, namespace)

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "PATH": os.defpath,
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "CONTAINERS_CONF": str(self.home / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.home / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.home / "registries.conf"),
            "BUILDAH_ISOLATION": "chroot",
        }

    def __call__(self, *argv: Word, timeout: float = 60) -> str:
        """Run an engine's command inside the namespace and return its stdout, stripped."""
        enter = ["nsenter", f"--mount=/proc/{self.namespace}/ns/mnt"]
        return run([*enter, *argv], env=self.environment, timeout=timeout).strip()

    def mounts(self) -> list[Mount]:
        return mounts_below(self.home, pid=self.namespace)

    def layers(self) -> list[Path]:
        """Return the layer directories in the storage."""
        overlay = self.home / "graph/overlay"
        return [entry for entry in overlay.iterdir() if (entry / "diff").is_dir()]
