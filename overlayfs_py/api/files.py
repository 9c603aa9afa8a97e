"""Files of a container that runs, as its own processes see them.

A process of ours enters the container's mount namespace for each call, and has its root for root:
no symbolic link leads out, and the image needs no program.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from overlayfs_py.api.programs import argv, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_INSIDE = "overlayfs_py.containers.inside"


class ContainerPath:
    """A path in a container, with those methods of `pathlib.Path` that tests need.

    What is wrong with a file is the OSError that `pathlib` raises, FileNotFoundError for example.
    """

    def __init__(self, first_process: Callable[[], int], path: str = "/") -> None:
        self._first_process = first_process
        self._path = PurePosixPath("/", path)

    def __truediv__(self, name: str | os.PathLike[str]) -> ContainerPath:
        # "/etc" means the container's, whatever it is joined to.
        return ContainerPath(self._first_process, str(self._path / name))

    def __str__(self) -> str:
        return str(self._path)

    def __repr__(self) -> str:
        return f"ContainerPath({str(self._path)!r})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ContainerPath)
            and self._path == other._path
            and self._first_process == other._first_process
        )

    def __hash__(self) -> int:
        return hash(self._path)

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def parent(self) -> ContainerPath:
        return ContainerPath(self._first_process, str(self._path.parent))

    def read_bytes(self) -> bytes:
        return self._call("read")[1]

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        """Write a file; a new one is the container's root's, with mode 0644."""
        self._call("write", data)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        self.write_bytes(text.encode(encoding))

    def iterdir(self) -> Iterator[ContainerPath]:
        names = self._call("list")[0]
        assert isinstance(names, list)
        return (self / name for name in names)

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        try:
            self._call("mkdir")
        except FileNotFoundError:
            if not parents or self.parent == self:
                raise
            self.parent.mkdir(parents=True, exist_ok=True)
            self.mkdir(exist_ok=exist_ok)
        except FileExistsError:
            if not exist_ok or not self.is_dir():
                raise

    def unlink(self, *, missing_ok: bool = False) -> None:
        try:
            self._call("unlink")
        except FileNotFoundError:
            if not missing_ok:
                raise

    def stat(self) -> os.stat_result:
        values = self._call("stat")[0]
        assert isinstance(values, list)
        return os.stat_result(values)

    def exists(self) -> bool:
        return self._kind() is not None

    def is_file(self) -> bool:
        return self._kind() == "file"

    def is_dir(self) -> bool:
        return self._kind() == "directory"

    def _kind(self) -> object:
        return self._call("kind")[0]

    def _call(self, what: str, data: bytes = b"") -> tuple[object, bytes]:
        """Do something at this path; returns the answer and the bytes after it."""
        done = subprocess.run(
            argv(_INSIDE, [str(self._first_process()), what, str(self._path)]),
            check=False,
            input=data,
            capture_output=True,
        )
        if done.returncode:
            raise failure(done.stderr, done.returncode)
        head, _, rest = done.stdout.partition(b"\n")
        answer: dict[str, object] = json.loads(head)
        if "errno" in answer:
            number = int(str(answer["errno"]))
            raise OSError(number, os.strerror(number), str(self._path))
        return answer["value"], rest
