"""A RUN step where nothing can be mounted: its command runs in a copy of the files, by chroot(2).

Plan: all that the layers show is written into a scratch directory, exactly. The command runs there
as root of the container that the build runs in, less its rights beyond docker's. What has been
touched afterwards is compared with the layers, and makes the layer. A process between, which
adopts what the command leaves behind, ends that before.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from overlayfs_py.builds import step_process, tree_stamps
from overlayfs_py.builds.failures import BuildFailure
from overlayfs_py.builds.private_tree import PrivateTree
from overlayfs_py.builds.run_mounts import FileMount, MountPoints, TreeMount
from overlayfs_py.builds.run_process import HOSTNAME, take_no_input
from overlayfs_py.builds.step_layer import add_step_layer
from overlayfs_py.builds.step_process import RunResult
from overlayfs_py.builds.tree_changes import TreeFiles
from overlayfs_py.containers import (
    capabilities,
    chroot_needs,
    name_files,
    orphans,
    process,
    signals,
)
from overlayfs_py.containers.image_files import ImageFiles, shown
from overlayfs_py.containers.name_files import Names
from overlayfs_py.containers.rights import Rights
from overlayfs_py.errors import ReservedName
from overlayfs_py.layers.marks import is_reserved
from overlayfs_py.mounts import children
from overlayfs_py.syscalls import capabilities as capability_calls

if TYPE_CHECKING:
    from collections.abc import Collection

    from overlayfs_py.builds.run_mounts import RunMount
    from overlayfs_py.builds.run_process import RunSpec
    from overlayfs_py.builds.tree_stamps import Stamps
    from overlayfs_py.containers.image_files import Path
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.mounts.children import Report
    from overlayfs_py.store.additions import Addition

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def run(spec: RunSpec, addition: Addition) -> RunResult:
    """Run a command, its output going to this process's own, and make a layer of its changes.

    The calling process must have one thread, and be root.

    Raises:
        Failure: something else than the command failed; nothing is left behind.
    """
    chroot_needs.require(spec.scratch_base)
    if not spec.has_network:
        raise BuildFailure("--network=none", "--isolation chroot cannot take the network away")
    return step_process.run(spec.scratch_base, lambda scratch: _do(spec, addition, scratch))


def _do(spec: RunSpec, addition: Addition, scratch: bytes) -> RunResult:
    root, files = os.path.join(scratch, b"root"), os.path.join(scratch, b"files")
    old_caches = os.path.join(scratch, b"caches")
    for path in (root, files, old_caches):
        os.mkdir(path, 0o700)
    bottom = name_files.write(files, HOSTNAME, Names(is_hosts_own=False))
    with ImageFiles(spec.layers, below=[bottom]) as image:
        points = MountPoints(image, bottom)
        mounts = {points.prepare(m.target, is_file=_is_file(m)): m for m in spec.mounts}
    with ImageFiles(spec.layers, below=[bottom]) as before:
        tree = PrivateTree(root, before, os.path.join(files, b"names"))
        tree.make(mounts)
        stamps = tree_stamps.read(root)
        tells = tree_stamps.settle(scratch, stamps)
        status = _run_command(spec, root)
        if status:
            tree.give_back(old_caches)
            return RunResult(status, None)
        now = tree_stamps.read(root)
        _require_names(now, tree.covered)
        touched = tree_stamps.touched(stamps, now) if tells else None
        with TreeFiles(before, root, touched, tree.covered) as changed:
            layer = _commit(changed, spec, addition)
        tree.give_back(old_caches)  # which changes the tree
        return RunResult(0, layer)


def _is_file(mount: RunMount) -> bool:
    return isinstance(mount, FileMount) or (isinstance(mount, TreeMount) and mount.source != b"/")


def _require_names(stamps: Stamps, covered: Collection[Path]) -> None:
    """Refuse what a mount would have refused at once."""
    for path, names in stamps.items():
        for name in filter(is_reserved, names):
            if not any(path[:end] in covered for end in range(1, len(path) + 1)):
                raise ReservedName(shown((*path, name)))


def _commit(changed: TreeFiles, spec: RunSpec, addition: Addition) -> Digest:
    return add_step_layer(addition, changed, spec.latest_ns).diff_id


def _run_command(spec: RunSpec, root: bytes) -> int:
    """Return the command's exit status, 128 + n if signal n ended it.

    Nothing of it runs any more.
    """
    take_no_input()
    mask = signals.block()
    own_fd = os.pidfd_open(os.getpid())

    def be_reaper(report: Report) -> int:
        children.die_with(own_fd, signal.SIGTERM)
        orphans.adopt()
        pid = os.fork()
        if not pid:
            _become(spec, root, mask, report)
        report.close()
        try:
            return _until_end(pid)
        finally:
            orphans.end_all()

    child = children.start(be_reaper)
    os.close(own_fd)
    child.word()
    return child.wait()


def _become(spec: RunSpec, root: bytes, mask: set[int], report: Report) -> NoReturn:
    assert report.fd is not None
    os.setsid()
    os.chroot(root)
    os.chdir("/")
    # Nothing that leads out, and no module from inside.
    children.close_all_but(report.fd)
    sys.path.clear()
    account = spec.process.account()
    spec.process.directory.enter()
    held = frozenset(capability_calls.held())
    rights = Rights(capabilities.kept((), ()) & held)
    rights.take()
    process.become(spec.process, rights, account, None, mask, report)


def _until_end(pid: int) -> int:
    while True:
        number = signal.sigwaitinfo(signals.watched()).si_signo
        if number in _ENDING:
            return 128 + number
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            if ended[0] == pid:
                return children.shell_status(ended[1])
