"""Running a container for as long as a program wants."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.api import environment
from overlayfs_py.api.container import started, words_of
from overlayfs_py.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from overlayfs_py.api.container import Container


def run(
    image: str,
    command: str | Sequence[str] = (),
    *,
    env: Mapping[str, str] | None = None,
    volumes: Mapping[str | os.PathLike[str], str] | None = None,
    tmpfs: Sequence[str] = (),
    network: str | None = None,
    ports: Sequence[int] = (),
    name: str | None = None,
    user: str | None = None,
    workdir: str | None = None,
    entrypoint: str | None = None,
    hostname: str | None = None,
    labels: Mapping[str, str] | None = None,
    read_only: bool = False,
    privileged: bool = False,
    init: bool = False,
    upper_limit: int | str | None = None,
    pull: str = "missing",
    options: Sequence[str] = (),
    store: Store | str | os.PathLike[str] | None = None,
) -> Container:
    """Make and start a container, as `overlayfs-py run -d` does.

    It is removed, with all that it wrote, at the end of the `with` block, by `remove`, or when
    this program ends, even by SIGKILL.

    Args:
        image: its name; brought from its registry as `pull` says: missing, always or never.
        command: words, or a line for `/bin/sh -c`. Without one, the image's own is run.
        env: environment variables.
        volumes: what is seen where: a path of the host, or a volume's name, and the path inside,
            to which `:ro` may be added. A path is relative where it begins with a dot.
        tmpfs: paths at which there is an empty directory in memory.
        network: host, none or private; private where there are `ports`, else host.
        ports: TCP ports of the container, to each of which a free one of 127.0.0.1 leads:
            `Container.port` says which.
        name: what the container is called; made up without it.
        user: as whom it runs, a user of the image, `USER[:GROUP]`.
        workdir: where it starts, inside.
        entrypoint: a program instead of the image's.
        hostname: the host name inside.
        labels: facts to note.
        read_only: nothing but volumes can be written to.
        privileged: root inside has all its rights.
        init: a first process that reaps orphans comes before the command.
        upper_limit: bytes that its files may take beside the image's and volumes: a number, or a
            text as `2g`.
        pull: see image.
        options: more options of the command line.
        store: a store or its path; the user's own without one.

    Raises:
        OverlayError: it cannot be made or started.
    """
    opened = store if isinstance(store, Store) else Store.open(store or environment.default_root())
    arguments = [
        *(f"--env={key}={value}" for key, value in (env or {}).items()),
        *(f"--volume={_source(source)}:{target}" for source, target in (volumes or {}).items()),
        *(f"--tmpfs={path}" for path in tmpfs),
        *(f"--label={key}={value}" for key, value in (labels or {}).items()),
        *_given("network", network),
        *(f"--publish=127.0.0.1::{port}" for port in ports),
        *_given("name", name),
        *_given("user", user),
        *_given("workdir", workdir),
        *_given("entrypoint", entrypoint),
        *_given("hostname", hostname),
        *(["--read-only"] if read_only else []),
        *(["--privileged"] if privileged else []),
        *(["--init"] if init else []),
        *_given("upper-limit", None if upper_limit is None else str(upper_limit)),
        f"--pull={pull}",
        *options,
        "--",
        image,
        *words_of(command),
    ]
    root = str(opened.root)
    return started(opened, [root, "run", "-d", *arguments])


def _source(source: str | os.PathLike[str]) -> str:
    text = os.fspath(source)
    is_path = not isinstance(source, str) or text.startswith(".")
    return str(Path(text).absolute()) if is_path else text


def _given(option: str, value: str | None) -> list[str]:
    return [] if value is None else [f"--{option}={value}"]
