"""Builds killed at random moments, run into a full disk, and two at once; the next one is right.

`scripts/verify-build-kills` does it as often as you like.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.syscalls import mounts
from tests.life.conftest import Engine, make_engine, make_small_root
from tests.life.kills import processes_of
from tests.system.mount_table import mounts_below
from tests.system.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOM = "size=64m"
_NEEDED_BYTES = 6 << 20  # that a build writes, and a little more
_EPOCH = "SOURCE_DATE_EPOCH=1000000000"
WAYS = ("kill", "interrupt", "two", "kill one of two", "full", "kill when full")

_DOCKERFILE = """\
FROM small:1 AS made
ARG SOURCE_DATE_EPOCH
COPY random /r/
RUN --mount=type=cache,target=/cache,id=kills cat /r/random > /twice; echo x >> /cache/log
RUN rm /r/random; mkdir /d; for i in 1 2 3 4 5 6 7 8; do echo $i > /d/$i; done
FROM small:1
ARG SOURCE_DATE_EPOCH
ADD files.tar /files/
COPY --from=made /d /d
RUN --mount=from=made,target=/made dd if=/made/twice of=/part bs=1024 count=500
COPY <<EOF /text
text
EOF
RUN cp /part /again; rm /part
"""


class Killing:
    """Rounds of one engine: builds are under way, something ends them, all is right again."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self._engine = engine
        self._random = random.Random(seed)
        self._context = engine.directory / "context"
        self._filler = engine.directory / "filler"
        self._make_context()
        self.seen: Counter[str] = Counter()
        began = time.monotonic()
        self._expected = self._build_now()
        self._longest_s = 1.2 * (time.monotonic() - began)  # some kills come after a build's end

    def _make_context(self) -> None:
        self._context.mkdir()
        self._context.chmod(0o755)
        (self._context / "Dockerfile").write_text(_DOCKERFILE)
        (self._context / "random").write_bytes(self._random.randbytes(1 << 20))
        files = self._context / "files"
        files.mkdir()
        for at in range(50):
            (files / f"{at}").write_bytes(self._random.randbytes(10_000))
        words = ["tar", "--mtime=@0", "--sort=name", "-cf", self._context / "files.tar", "."]
        subprocess.run(words, cwd=files, check=True)

    def round(self, way: str = "") -> None:
        """Do one; AssertionError where something is left, or wrong."""
        way = way or self._random.choice(WAYS)
        if self._random.random() < 0.6:
            self._engine("builder", "prune", "-af")
        begun = [self._begin() for _ in range(2 if "two" in way else 1)]
        if "full" in way:
            time.sleep(self._random.uniform(0, self._longest_s / 2))
            self._fill()
        role = self._end_one(way, begun)
        said = [process.communicate(timeout=60)[1] for process in begun]
        codes = [process.returncode for process in begun]
        self.seen[f"{way}: {role}{'' if any(codes) else ', which were built'}"] += 1
        self._filler.unlink(missing_ok=True)
        try:
            self._require_words(way, codes, said)
            self._require_sound()
        except BaseException as error:
            error.add_note(f"after {way}: {role}; {codes} {said}")
            raise

    def _begin(self) -> subprocess.Popen[str]:
        words = ["build", "-t", "kills:1", "--build-arg", _EPOCH]
        words += self._random.choice([[], [], ["--no-cache"], ["--jobs", "1"]])
        argv = self._engine.argv(*words, self._context)
        pipe = subprocess.PIPE
        return subprocess.Popen(
            argv, env=self._engine.environment, stdout=pipe, stderr=pipe, text=True
        )

    def _fill(self) -> None:
        """Leave a random number of bytes; a build may find room for all that it writes."""
        state = os.statvfs(self._engine.directory)
        room = state.f_bavail * state.f_frsize - self._random.randrange(_NEEDED_BYTES)
        with self._filler.open("wb") as file, suppress(OSError):  # which the build has taken
            os.posix_fallocate(file.fileno(), 0, max(1, room))

    def _end_one(self, way: str, begun: list[subprocess.Popen[str]]) -> str:
        if way in {"two", "full"}:
            return "nothing"
        time.sleep(self._random.uniform(0, self._longest_s))
        if way == "interrupt":
            begun[0].send_signal(self._random.choice([signal.SIGINT, signal.SIGTERM]))
            return "command"
        ours = processes_of(self._engine)
        if not ours:
            return "nothing"
        pid = self._random.choice(ours)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return "command" if pid in {process.pid for process in begun} else "another process"

    @staticmethod
    def _require_words(way: str, codes: list[int], said: list[str]) -> None:
        """Whoever was not killed says in a line what there was; two at once are both right."""
        assert not any("Traceback" in text for text in said)
        if way == "two":
            assert codes == [0, 0]
        if way == "full" and codes[0]:
            assert any("No space left on device" in text for text in said)

    def _require_sound(self) -> None:
        engine = self._engine
        wait_until(lambda: not processes_of(engine), "our processes", seconds=20)
        assert mounts_below(engine.directory) == []
        assert engine("store", "fsck").strip() in ("", "nothing is wrong")
        assert self._build_now() == self._expected
        engine("store", "prune")
        assert engine("store", "fsck").strip() in ("", "nothing is wrong")
        assert self._build_now() == self._expected
        for place in ("data/overlayfs-py/staging", "tmp"):
            assert os.listdir(engine.directory / place) == [], place
        assert engine("run", "--rm", "kills:1", "cat", "/text", "/d/8") == "text\n8\n"

    def _build_now(self) -> str:
        words = ["build", "-q", "-t", "kills:1", "--build-arg", _EPOCH, self._context]
        return self._engine(*words).strip()


@contextmanager
def small_engine(root: Path, *, is_user: bool) -> Iterator[Engine]:
    """An engine with a small filesystem of its own."""
    place = Path(tempfile.mkdtemp(prefix="overlayfs-build-kills-"))
    mounts.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, _ROOM.encode())
    try:
        place.chmod(0o755)
        directory = place / "engine"
        directory.mkdir()
        with make_engine(directory, root, is_user=is_user) as engine:
            yield engine
    finally:
        mounts.umount(os.fsencode(place), mounts.MNT_DETACH)
        place.rmdir()


def main() -> None:
    """Kill, and say how often what happened."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--user", action="store_true", help="as an ordinary user")
    chosen = parser.parse_args()
    began = time.monotonic()
    root = make_small_root(Path(tempfile.mkdtemp(prefix="overlayfs-root-")) / "root")
    with small_engine(root, is_user=chosen.user) as engine:
        killing = Killing(engine, chosen.seed)
        for at in range(chosen.rounds):
            try:
                killing.round()
            except BaseException as error:
                error.add_note(f"in round {at} of seed {chosen.seed}")
                raise
    shutil.rmtree(root.parent)
    for what, count in sorted(killing.seen.items()):
        print(f"{count:5} {what}")
    print(f"{chosen.rounds} rounds in {time.monotonic() - began:.0f} s; each next build was right")


if __name__ == "__main__":
    main()
