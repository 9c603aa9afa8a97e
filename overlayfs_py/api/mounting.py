"""An image as a directory, for as long as a `with` block runs."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.api.programs import Companion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from overlayfs_py.store.store import Store


class MountedImage:
    """An image's root directory, until `close`, the end of a `with` block, or of the program.

    A process beside the program serves it. With `writable` changes are possible; they are thrown
    away by `reset` and at the end. The image cannot be deleted meanwhile. Set-user-ID bits and
    devices have no effect.

    Root is needed, or fusermount3, which lets an ordinary user mount: then the user owns all files.

    Raises:
        OverlayError: there is no such image, or it cannot be mounted.
    """

    def __init__(
        self, store: Store, name: str, *, writable: bool = False, driver: str = "auto"
    ) -> None:
        self._companion = Companion("overlayfs_py.api.mount_server")
        request: dict[str, object] = {
            "store": str(store.root),
            "image": name,
            "writable": writable,
            "driver": driver,
            "below": tempfile.gettempdir(),
        }
        try:
            self.path = Path(str(self._companion.ask(request)["path"]))
        except BaseException:
            self._companion.close()
            raise

    def reset(self) -> None:
        """Go back to the image as it is, at the same path.

        What is open there, and a working directory there, are of the old state, and can be read no
        more.
        """
        self._companion.ask({})

    def close(self) -> None:
        """Unmount it and remove all that was written. May be called again."""
        self._companion.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<MountedImage {self.path}>"


@contextmanager
def mounted(
    store: Store, name: str, *, writable: bool = False, driver: str = "auto"
) -> Iterator[Path]:
    """Give the root directory of an image; all else as `MountedImage`."""
    with MountedImage(store, name, writable=writable, driver=driver) as image:
        yield image.path
