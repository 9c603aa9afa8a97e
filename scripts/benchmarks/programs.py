"""Workloads made of programs that run inside."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from scripts.benchmarks.processes import require, run, run_tolerantly
from scripts.benchmarks.workload import Family

if TYPE_CHECKING:
    from scripts.benchmarks.session import Session

FAMILY = Family()
_PACKAGE = "bench.deb"
_REPEATED = 'i=0; while [ $i -lt "$1" ]; do chroot "$2" sh -c "true; id"; i=$((i + 1)); done'


@FAMILY.add("chroot", "chroot sh -c 'true; id'")
def chroot(session: Session) -> None:
    repeat_chroot(session, "chroot sh -c 'true; id'")


def repeat_chroot(session: Session, case: str) -> None:
    """Measure starting a shell and a program inside, many times."""
    runs = session.scale.chroots
    with session.timed(case, runs):
        printed = run(["sh", "-c", _REPEATED, "sh", str(runs), session.root])
    right = printed.count(b"uid=0(root)")
    require(right == runs, f"{right} of {runs} runs printed what id prints")


@FAMILY.add("dpkg", "dpkg -i in a chroot")
def dpkg(session: Session) -> None:
    files = session.scale.packaged
    shutil.copyfile(session.stacks.package(files), session.root / _PACKAGE)
    with session.timed("dpkg -i in a chroot", files):
        # It warns that the machine has no debconf front end.
        run_tolerantly(["chroot", session.root, "dpkg", "-i", f"/{_PACKAGE}"])
    status = run(["chroot", session.root, "dpkg-query", "-W", "-f", "${Status}", "bench"])
    require(status == b"install ok installed", f"dpkg says {status!r}")
    installed = len(list((session.root / "usr/share/bench").iterdir()))
    require(installed == files, f"{installed} of {files} files are installed")
