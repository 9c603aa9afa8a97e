"""Images that try to get out: nothing on the host is made, changed or read for them.

As root, whose containers could: each is run in the embedded way and by each OCI runtime.
"""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.life.users import AS_ROOT
from tests.system.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.life.conftest import Engine

_WAYS = ("embedded", "crun", "runc")
_SECRET = "what only the host knows"
# Names of an image, and where they lead: HOST is a directory of the host.
_IMAGES = {
    "dev": {"dev": "HOST"},
    "proc": {"proc": "up/up/host", "up": "..", "host": "HOST"},
    "sys": {"sys": "one", "one": "two", "two": "../../../..HOST"},
    "etc": {"etc": "HOST", "root": "HOST"},
    "places": {
        "run": "HOST",
        "data": "../../../../../../../../..HOST",
        "dev/null": "HOST/secret",
        "dev/console": "HOST/secret",
        "dev/pts": "HOST",
        "dev/shm": "HOST",
        "etc/hosts": "HOST/secret",
        "etc/hostname": "/proc/1/root/HOST/new",
        "etc/resolv.conf": "/proc/self/fd/4/../../HOST/new",
        "etc/group": "HOST/passwd",
    },
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a container must not reach."""
    directory = tmp_path_factory.mktemp("host")
    (directory / "secret").write_text(_SECRET)
    (directory / "passwd").write_text("evil:x:0:0:evil:/:/bin/sh\n")
    return directory


@pytest.fixture
def images(_engine: Engine, host: Path, small_root: Path) -> Mapping[str, str]:
    """The hostile images, by what is hostile in them; made once."""
    if _engine.attempt("image", "inspect", "hostile-dev:1").returncode:
        for name, links in _IMAGES.items():
            archive = _engine.directory / f"{name}.tar"
            run(["tar", "-C", small_root, *_left_out(links), "-cf", archive, "."])
            _add(archive, {link: to.replace("HOST", str(host)) for link, to in links.items()})
            _engine("import", "-c", 'CMD ["sh"]', archive, f"hostile-{name}:1")
            archive.unlink()
    return {name: f"hostile-{name}:1" for name in _IMAGES}


@pytest.fixture(autouse=True)
def _untouched(host: Path) -> Iterator[None]:
    before = seen(host)
    yield
    assert seen(host) == before


def seen(directory: Path) -> dict[str, tuple[bytes, int, int, int]]:
    """All that a change of the directory would change, and its content."""
    found = {}
    for path in (directory, *sorted(directory.rglob("*"))):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[path.name] = (content, status.st_ctime_ns, status.st_mode, status.st_nlink)
    return found


def _left_out(links: Mapping[str, str]) -> Iterator[str]:
    return (f"--exclude=./{name}" for name in links)


def _add(archive: Path, links: Mapping[str, str]) -> None:
    with tarfile.open(archive, "a") as tar:
        for name, target in links.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry, io.BytesIO())


@AS_ROOT
@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
def test_a_link_for_a_system_mount(
    engine: Engine, images: Mapping[str, str], name: str, way: str
) -> None:
    assert engine.refusal("run", "--rm", "--runtime", way, images[name], "true") == (
        125,
        f"/{name}: cannot be set up in the container: Not a directory",
    )


@AS_ROOT
@pytest.mark.parametrize("way", _WAYS)
def test_links_for_tables_of_users(engine: Engine, images: Mapping[str, str], way: str) -> None:
    options = ("run", "--rm", "--runtime", way)

    code, said = engine.refusal(*options, "-u", "evil", images["etc"], "true")
    assert (code, said) == (125, "user evil: not in the image's /etc/passwd")
    done = engine.attempt(*options, images["etc"], "sh", "-c", "cat /etc/secret /etc/* $HOME/*")
    assert _SECRET not in done.stdout + done.stderr


@AS_ROOT
@pytest.mark.parametrize("way", _WAYS)
def test_links_where_something_is_put(
    engine: Engine, images: Mapping[str, str], host: Path, way: str
) -> None:
    options = ["--tmpfs", "/run/in/memory", "-v", "data:/data/deep", "-v", "/bin/true:/run/file"]
    options += ["--group-add", "77", "-w", "/run/made/here"]
    script = (
        f"echo x >/dev/null; echo x >/dev/shm/x; echo x >/data/deep/x; echo x >{host}/secret;"
        f"cat /run/secret {host}/secret /dev/console /etc/hosts /etc/hostname"
    )

    done = engine.attempt(
        "run", "--rm", "--runtime", way, *options, images["places"], "sh", "-c", script
    )

    assert _SECRET not in done.stdout + done.stderr
    assert done.returncode in (0, 1, 125), done.stderr


@AS_ROOT
@pytest.mark.parametrize(
    ("way", "number"),
    # 9 is the directory that the monitor's socket is in, 7 and 8 what runc had left open.
    [("embedded", 9), ("embedded", 8), ("crun", 7), ("crun", 8), ("runc", 7), ("runc", 8)],
)
def test_a_working_directory_that_is_a_descriptor(
    engine: Engine, host: Path, way: str, number: int
) -> None:
    """CVE-2024-21626: a descriptor of the host's, left open."""
    up = "../" * 12
    script = f"cat {up}{host}/secret {up}proc/1/root{host}/secret; ls {up}"

    done = engine.attempt(
        *("run", "--rm", "--runtime", way, "-w", f"/proc/self/fd/{number}"),
        *("small:1", "sh", "-c", script),
    )

    assert _SECRET not in done.stdout + done.stderr


@AS_ROOT
@pytest.mark.parametrize("way", _WAYS)
def test_what_exec_leaves_open(engine: Engine, host: Path, way: str) -> None:
    engine("run", "-d", "--name", "web", "--runtime", way, "small:1", "sleep", "1000")
    look = f"for d in /proc/*/fd/* /proc/*/cwd /proc/*/root; do cat $d/../../..{host}/secret; done"

    done = engine.attempt("exec", "web", "sh", "-c", look)

    assert _SECRET not in done.stdout
    shown = engine("exec", "web", "sh", "-c", "ls -l /proc/self/fd /proc/1/fd")
    assert str(engine.directory) not in shown


@AS_ROOT
@pytest.mark.parametrize("way", _WAYS)
def test_hostile_tables(engine: Engine, way: str) -> None:
    table = engine.directory / "passwd"
    table.write_text(
        "evil:x:4294967296:0::/:/bin/sh\nlow:x:-1:0::/:/bin/sh\n"
        + "long:x:0:0::/:/bin/sh" * 1000
        + "\nlast:x:5:6::/nowhere:/bin/sh\n"
    )
    options = ("run", "--rm", "--runtime", way, "-v", f"{table}:/etc/passwd:ro")

    assert engine.refusal(*options, "-u", "evil", "small:1", "true")[0] == 125
    shown = engine(*options, "-u", "last", "small:1", "sh", "-c", "id -u; id -g; echo $HOME")
    assert shown.split() == ["5", "6", "/nowhere"]
    code, said = engine.refusal(
        "run", "--rm", "--runtime", way, "-u", "5000000000", "small:1", "id"
    )
    assert code == 125
    assert "5000000000" in said
