"""Two unions for containers: ours, and kernel overlayfs on our read-only mount of the packs.

As root and as root of a user namespace, in turns: milliseconds of wall time, medians, what the
daemon takes of memory, and what each shows otherwise than a filesystem that was never a union.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.processes import processes_naming, run
from tests.system.unprivileged import (
    ROOT_AND_SUBORDINATES,
    USER,
    device_for_everybody,
    in_user_namespace,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_CHECKOUT = Path(__file__).parents[2]
_PROGRAM = Path(sys.executable).parent / "overlayfs-py"
_IMAGE = "unions:1"
_FILES = 5000  # of the tree that is unpacked and removed

# On a mounted union, one after the other.
_WORK = {
    "find": "find {root} -xdev > /dev/null",
    "find again": "find {root} -xdev > /dev/null",
    "read /usr/share": "tar -C {root}/usr/share -cf - . | cat > /dev/null",
    "read it again": "tar -C {root}/usr/share -cf - . | cat > /dev/null",
    "untar": "mkdir {root}/new && tar -C {root}/new -xf {tar}",
    "rm -r of that": "rm -r {root}/new",
    "chmod -R of /etc": "chmod -R g+w {root}/etc",
    "append to 200 of its files": "find {root}/usr/share/doc -type f | sort | head -200"
    " | while read f; do echo x >> $f; done",
    "rm -r /usr/share/doc": "rm -r {root}/usr/share/doc",
}


def mount(way: str, home: Path) -> tuple[Path, ...]:
    """Mount the image at `home`/root; returns what there is to unmount, the last first."""
    root, lower = home / "root", home / "lower"
    upper = f"upperdir={home}/upper,workdir={home}/work"
    for path in (root, lower, home / "upper", home / "work"):
        path.mkdir()
    (home / "upper").chmod(0o755)
    if way == "ours":
        run([_PROGRAM, "mount", "-o", f"lowerdir=image={_IMAGE},{upper}",
             "-o", "metacopy=on,volatile,suid,dev", root])  # fmt: skip
        return (root,)
    run([_PROGRAM, "image", "mount", "-o", "suid,dev", _IMAGE, lower])
    # What needs file handles and is not allowed, the kernel leaves out by itself.
    own = "userxattr" if _in_namespace() else "metacopy=on,redirect_dir=on"
    own += ",index=on,xino=on"
    options = f"lowerdir={lower},{upper},{own},volatile"
    run(["mount", "-t", "overlay", "overlay", "-o", options, root])
    return (root, lower)


def _in_namespace() -> bool:
    return Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]


def measured(way: str, home: Path, tar: Path) -> dict[str, float]:
    """What one round takes: a fresh mount, and all the work on it."""
    found = {}
    began = time.perf_counter()
    mounted = mount(way, home)
    os.listdir(mounted[0])
    found["mount until the first ls"] = (time.perf_counter() - began) * 1000
    for name, line in _WORK.items():
        began = time.perf_counter()
        run(["sh", "-c", line.format(root=mounted[0], tar=tar)], timeout=300)
        found[name] = (time.perf_counter() - began) * 1000
    found["the daemon's memory, MiB"] = _memory_kib(home) / 1024
    for path in mounted:
        run(["umount", path])
    return found


def _memory_kib(home: Path) -> int:
    total = 0
    for pid in processes_naming(str(home)):
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    return total


# What a program may notice.


def _appended(path: Path) -> None:
    with path.open("a") as file:
        file.write("x")


def _number_stays(root: Path) -> bool:
    path = root / "etc/passwd"
    before = path.stat().st_ino
    _appended(path)
    return path.stat().st_ino == before


def _number_stays_listed(root: Path) -> bool:
    with os.scandir(root / "etc") as entries:
        return all(each.inode() == each.stat(follow_symlinks=False).st_ino for each in entries)


def _one_device(root: Path) -> bool:
    return (root / "etc/group").stat().st_dev == (root / "etc").stat().st_dev


def _links_stay(root: Path) -> bool:
    _appended(root / "twins/one")
    return (root / "twins/two").read_text().endswith("x")


def _reader_sees(root: Path) -> bool:
    with (root / "etc/hosts.own").open() as file:
        _appended(root / "etc/hosts.own")
        return file.read().endswith("x")


def _directories_move(root: Path) -> bool:
    try:
        (root / "usr/lib").rename(root / "usr/other")
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    (root / "usr/other").rename(root / "usr/lib")
    return True


def _own_marks(root: Path) -> bool:
    """Whether `user.` attributes of the image's files can be set."""
    os.setxattr(root / "etc/shells", "user.own", b"1")
    return os.getxattr(root / "etc/shells", "user.own") == b"1"


_FACTS: dict[str, Callable[[Path], bool]] = {
    "an inode number stays over copy-up": _number_stays,
    "readdir and stat agree on numbers": _number_stays_listed,
    "one st_dev for files and directories": _one_device,
    "a hard link stays one over copy-up": _links_stay,
    "who reads sees what is written after": _reader_sees,
    "a directory of the image is renamed": _directories_move,
    "user xattrs on the image's files": _own_marks,
}


def facts(way: str, home: Path) -> dict[str, object]:
    """What holds on a fresh mount."""
    mounted = mount(way, home)
    found: dict[str, object] = {}
    for name, holds in _FACTS.items():
        try:
            found[name] = holds(mounted[0])
        except OSError as error:
            found[name] = errno.errorcode[error.errno or 0]
    for path in mounted:
        run(["umount", path])
    return found


def inner(home: Path, rounds: int) -> None:
    """Measure both ways as this user; prints JSON."""
    ways = ("ours", "kernel on ours")
    times: dict[str, dict[str, list[float]]] = {way: {} for way in ways}
    seen: dict[str, dict[str, object]] = {}
    for at in range(rounds + 1):
        for way in ways:
            place = Path(tempfile.mkdtemp(dir=home))
            if at == rounds:
                seen[way] = facts(way, place)
            else:
                for name, took in measured(way, place, home / "tree.tar").items():
                    times[way].setdefault(name, []).append(took)
            shutil.rmtree(place)
    medians = {
        way: {name: statistics.median(each) for name, each in found.items()}
        for way, found in times.items()
    }
    print(json.dumps({"times": medians, "facts": seen}))


def make_image(home: Path, environment: dict[str, str], root: Path) -> None:
    """Import a Debian root, with files for the facts."""
    (root / "twins").mkdir()
    (root / "twins/one").write_text("one\n")
    (root / "twins/two").hardlink_to(root / "twins/one")
    (root / "etc/hosts.own").write_text("own\n")
    tar = home / "root.tar"
    run(["tar", "-C", root, "--numeric-owner", "--exclude=./dev/*", "-cf", tar, "."], timeout=300)
    run([_PROGRAM, "import", tar, _IMAGE], env=environment, timeout=300)
    tar.unlink()


def _make_tree(home: Path) -> None:
    tree = home / "tree"
    for at in range(_FILES):
        directory = tree / str(at // 50)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / str(at)).write_bytes(b"x" * (at % 40 * 100))
    run(["tar", "-C", tree, "-cf", home / "tree.tar", "."])
    shutil.rmtree(tree)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--below", type=Path, help="where the uppers lie: a directory on a disk")
    parser.add_argument("--inner", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.inner is not None:
        inner(chosen.inner, chosen.rounds)
        return
    home = Path(tempfile.mkdtemp(prefix="overlayfs-unions-", dir=chosen.below))
    home.chmod(0o755)
    layers = run([_CHECKOUT / "scripts/debian-root"], timeout=900).strip().split(":")
    words = ["-m", "scripts.benchmarks.unions", "--rounds", str(chosen.rounds), "--inner"]
    try:
        for who in ("root", "user"):
            own = home / who
            own.mkdir()
            root = home / "debian"
            for layer in reversed(layers):
                run(["cp", "-a", f"{layer}/.", root])
            environment = {**os.environ, "XDG_DATA_HOME": str(own / "data"), "HOME": str(own)}
            make_image(home, environment, root)
            shutil.rmtree(root)
            _make_tree(own)
            if who == "root":
                told = run([sys.executable, *words, own], env=environment, timeout=3000)
            else:
                run(["chown", "-R", f"{USER}:{USER}", own])
                argv = ["env", f"XDG_DATA_HOME={own}/data", f"HOME={own}", f"TMPDIR={own}"]
                argv += [f"PYTHONPATH={_CHECKOUT}", sys.executable, *words, str(own)]
                with device_for_everybody():
                    told = in_user_namespace(argv, ROOT_AND_SUBORDINATES, timeout=3000)
            show(who, json.loads(told))
    finally:
        shutil.rmtree(home)


def show(who: str, found: dict[str, dict[str, dict[str, object]]]) -> None:
    """Print what one user has measured."""
    ours, kernel = found["times"].values()
    print(f"{who:38} {'ours':>9} {'kernel':>9} {'ratio':>6}")
    for name, took in ours.items():
        other = kernel[name]
        assert isinstance(took, float)
        assert isinstance(other, float)
        print(f"  {name:36} {took:9.1f} {other:9.1f} {took / other if other else 0:6.2f}")
    for name, holds in found["facts"]["ours"].items():
        print(f"  {name:36} {holds!s:>9} {found['facts']['kernel on ours'][name]!s:>9}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
