"""buildah with our program as `mount_program`: builds, working containers, direct mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.engine import Engine

# The last two steps see what the ones before did: files of three layers in one directory, a name
# deleted and made again, a directory moved out of a lower layer.
CONTAINERFILE = """
FROM scratch
ADD root.tar /
COPY file /file
RUN echo more >> /file && rm /home/data/kept && grep ' / ' /proc/mounts | cut -d ' ' -f 3 > /kind
RUN mkdir /moved && mv /usr/share/doc /moved && echo back > /home/data/kept
"""

IDS = ["--userns-uid-map=0:100000:5000", "--userns-gid-map=0:100000:5000"]


def build(engine: Engine, root_tar: Path) -> str:
    context = root_tar.parent / "context"
    context.mkdir()
    root_tar.rename(context / "root.tar")
    (context / "file").write_text("data\n")
    (context / "Containerfile").write_text(CONTAINERFILE)
    engine("buildah", "build", "--layers", "--tag", "built", context)
    return "built"


def said_inside(engine: Engine, container: str, steps: str) -> list[str]:
    """Return the lines that a shell in the container prints, by way of a file there.

    buildah 1.28 relays the output of what it runs in a chroot, and on a busy machine was seen to
    return 0 without any of it, where `ls` was the last step and had something to list.
    """
    engine("buildah", "run", container, "--", "sh", "-c", f"( {steps} ) > /said")
    said = engine("cat", f"{engine('buildah', 'mount', container)}/said")
    engine("buildah", "umount", container)
    return said.splitlines()


def assert_nothing_is_left(engine: Engine) -> None:
    engine("buildah", "rm", "--all")
    engine("buildah", "rmi", "--all", "--force")

    assert engine("buildah", "images", "--all", "--quiet") == ""
    assert engine.mounts() == []
    assert engine.layers() == []


def test_a_build_from_nothing_runs_on_our_mounts(
    engine: Engine, root_tar: Path, mount_program: Path
) -> None:
    container = engine("buildah", "from", build(engine, root_tar))

    look = "cat /file /home/data/kept /kind; ls /moved/doc /usr/share"
    seen = said_inside(engine, container, look)

    expected = ["data", "more", "back", f"fuse.{mount_program.name}", "/moved/doc:", "readme"]
    assert seen[:6] == expected
    assert "doc" not in seen[6:]
    assert_nothing_is_left(engine)


def test_work_through_a_mount_is_in_the_commit(engine: Engine, root_tar: Path) -> None:
    container = engine("buildah", "from", build(engine, root_tar))
    target = engine("buildah", "mount", container)
    engine("sh", "-c", f"cd {target} && echo host > written && rm file && mv home house")
    engine("buildah", "umount", container)
    engine("buildah", "copy", container, root_tar.parent / "context/file", "/copied")
    engine("buildah", "commit", "--rm", container, "second")

    second = engine("buildah", "from", "second")
    look = "cat /written /copied /house/data/kept; ls -d /file /home 2>&1 | grep -c 'No such'"
    seen = said_inside(engine, second, look)

    assert seen == ["host", "data", "back", "2"]
    assert_nothing_is_left(engine)


def test_a_user_namespace_owns_its_root(engine: Engine, root_tar: Path) -> None:
    container = engine("buildah", "from", *IDS, build(engine, root_tar))
    look = "touch /new; chown 5:6 /new; stat -c '%u:%g %n' /new /etc /home/data/kept"
    seen = said_inside(engine, container, look)

    assert seen == ["5:6 /new", "0:0 /etc", "0:0 /home/data/kept"]
    assert_nothing_is_left(engine)
