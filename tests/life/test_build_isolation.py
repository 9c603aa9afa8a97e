"""`build --isolation chroot`: layers as those of a RUN in namespaces, without a mount."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.life.conftest import make_engine
from tests.life.test_builds import Project
from tests.system.processes import processes_naming, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHANGES = r"""FROM small:1
RUN busybox mkdir -p /d/e && echo a > /d/a && ln /d/a /d/b && ln -s a /d/l && \
    busybox mkfifo /d/f && busybox chmod 2755 /d/e && busybox chown 33:33 /d/a && \
    busybox chmod 1777 /tmp
RUN rm /etc/group && busybox chmod 600 /etc/passwd && \
    busybox mv /usr/share/doc /usr/share/moved && \
    touch -r /home/data/kept /stamp && echo KEPT > /home/data/kept && \
    touch -r /stamp /home/data/kept && echo more >> /d/b && touch /d/touched; rm /stamp; \
    (sleep 8600417; echo late > /late) & true
COPY --chown=33 given /given
WORKDIR /work
RUN echo lost > /etc/hosts; echo lost > /dev/x; echo lost > /proc/x; cat /dev/null && \
    dd if=/dev/zero of=/dev/full bs=1 count=1 2> /full; umask > umask; pwd > pwd; id > id
RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t --mount=type=secret,id=s \
    --mount=type=bind,source=given,target=/b/file --mount=type=bind,target=/all \
    cat /run/secrets/s /b/file /all/given > seen && echo x > /c/x && echo x > /t/x
RUN <<E
#!/bin/sh
echo program > program
E
USER web
RUN id > /tmp/id && echo "$HOME" > /tmp/home && ! echo no > /no
"""


@pytest.fixture(scope="module")
def project(small_root: Path) -> Iterator[Project]:
    """Root's alone: nobody else may change a root directory."""
    directory = Path(tempfile.mkdtemp(prefix="overlayfs-life-"))
    with make_engine(directory, small_root, is_user=False) as engine:
        (directory / "context").mkdir()
        yield Project(engine, directory / "context")
        staging = directory / "data/overlayfs-py/staging"
        assert [*staging.iterdir()] == []
        assert not processes_naming(str(directory))


def layers_of(project: Project, *options: str) -> list[tuple[dict[str, tuple[object, ...]], str]]:
    """What each layer of a build holds, but for times, and the digest of all it is."""
    archive = project.directory.parent / "built.tar"
    project.build("-o", f"type=oci,dest={archive}", *options, SOURCE_DATE_EPOCH="1000000000")
    with tarfile.open(archive) as tar:

        def blob(digest: str) -> bytes:
            file = tar.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
            assert file is not None
            return file.read()

        index = tar.extractfile("index.json")
        assert index is not None
        manifest = json.loads(blob(json.loads(index.read())["manifests"][0]["digest"]))
        found = [blob(layer["digest"]) for layer in manifest["layers"]]
    archive.unlink()
    return [(dict(_members(data)), hashlib.sha256(data).hexdigest()) for data in found]


def _members(data: bytes) -> Iterator[tuple[str, tuple[object, ...]]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as layer:
        for member in layer:
            file = layer.extractfile(member) if member.isreg() else None
            content = hashlib.sha256(file.read()).hexdigest() if file else member.linkname
            xattrs = {n: v for n, v in member.pax_headers.items() if n.startswith("SCHILY")}
            owner = (member.uid, member.gid)
            assert member.mtime % 1 == 0, member.name  # as in every layer of docker's
            yield member.name, (member.type, oct(member.mode), *owner, content, str(xattrs))


def test_each_layer_is_the_same(project: Project) -> None:
    project.write("Dockerfile", _CHANGES)
    project.write("given", "given\n")
    (project.directory / "secret").write_text("secret\n")
    secret = ("--secret", f"id=s,src={project.directory}/secret")

    ours = layers_of(project, "--isolation", "chroot", *secret)
    usual = layers_of(project, *secret)

    assert ours == usual
    assert any(name.endswith(".wh.group") for name in ours[2][0])
    assert not any("late" in name for layer, _ in ours for name in layer)
    assert not processes_naming("8600417")


_CACHING = r"""FROM small:1
ARG N
RUN --mount=type=cache,target=/a/c,id=kept,uid=33 echo $N >> /a/c/log; \
    busybox cat /a/c/log > /seen; busybox stat -c %u /a/c >> /seen; \
    busybox test $N != 2 || exit 1; \
    busybox test $N != 3 || { rm -r /a/c && busybox ln -s /etc /a/c; } ; \
    busybox test $N != 4 || { busybox mv /a /b && busybox ln -s /etc /a; }
"""


def test_cache_mounts_outlive_a_build(project: Project) -> None:
    """Also a failed one; and no command leads anything out of its tree by a link."""
    project.write("Dockerfile", _CACHING)

    done = [
        project.attempt("--isolation", "chroot", "--build-arg", f"N={n}").returncode for n in "1234"
    ]
    project.build("-t", "seen:1", "--build-arg", "N=5")

    assert done == [0, 1, 0, 0]
    assert project.engine("run", "--rm", "seen:1", "cat", "/seen") == "1\n2\n5\n33\n"


_FORBIDDEN = "unshare,setns,mount,umount2,pivot_root,open_tree,move_mount,mount_setattr,fsopen"


def test_neither_namespaces_nor_mounts_are_needed(project: Project) -> None:
    project.write("Dockerfile", "FROM small:1\nRUN echo traced > /traced\n")
    # As a seccomp filter has it; `clone` is asked for no namespace either.
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={_FORBIDDEN}:error=EPERM"]

    def attempt(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*strace, *project.engine.argv("build", *options, project.directory)],
            env=project.engine.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    refused, made = attempt(), attempt("--isolation", "chroot")

    assert made.returncode == 0, made.stderr
    assert refused.returncode == 1
    (line,) = (x for x in refused.stderr.splitlines() if x.startswith("overlayfs-py: "))
    assert "RUN: nothing can be mounted here" in line
    assert line.endswith("--isolation chroot does without")


def test_what_it_cannot_do_is_said_in_a_line(project: Project) -> None:
    def refusal(dockerfile: str, *options: str) -> str:
        project.write("Dockerfile", f"FROM small:1\n{dockerfile}\n")
        done = project.attempt("--isolation", "chroot", *options)
        assert done.returncode
        line: str = next(x for x in done.stderr.splitlines() if x.startswith("overlayfs-py: "))
        return line

    assert refusal("RUN --network=none true").endswith("cannot take the network away")
    assert "/proc" in refusal("RUN --mount=type=tmpfs,target=/proc/x true")
    assert ".wh.x" in refusal("RUN echo x > /.wh.x")
    assert "exit code: 3" in refusal("RUN exit 3")
    assert "--keep-failed" in refusal("RUN exit 3", "--keep-failed")


def test_a_killed_build_leaves_no_process(project: Project) -> None:
    project.write("Dockerfile", "FROM small:1\nRUN (sleep 8600418 &) ; sleep 8600419\n")
    argv = project.engine.argv("build", "--isolation", "chroot", project.directory)
    build = subprocess.Popen(
        argv, env=project.engine.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wait_until(lambda: processes_naming("8600419"), "the command")
    build.kill()
    build.communicate()

    wait_until(
        lambda: not processes_naming("8600418") and not processes_naming("8600419"),
        "the end of the command",
    )
    wait_until(lambda: not processes_naming(str(project.engine.directory)), "all it has started")
    project.engine("store", "prune")
