"""Builds of one project before and after an edit, by ours and by BuildKit: what was made anew."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.builds.comparing import URL, for_buildctl, make_files, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.builds.cache_cases import Case

_MOVE = "MOVE"
_STEP = re.compile(r"#(\d+) (\[(?:[\w.-]+ )*(\d+)/\d+\]) (?!FROM )")
_COMMAND = re.compile(r"^(RUN|   ) (.*)(echo|cat|wc|ls) ", re.MULTILINE)


class Project:
    """A context that nothing else was built of: its files and its Dockerfile have a salt."""

    def __init__(self, directory: Path, url: str, salt: str) -> None:
        self.directory = directory
        self._url = url
        self._salt = salt

    def begin(self, case: Case) -> None:
        """Make the context as it is before the edit."""
        make_files(self.directory, self._salt)
        (self.directory / ".dockerignore").write_text("*.md\n.dockerignore\nDockerfile\n")
        (self.directory / "secret").write_text("secret")
        self._write(case.dockerfile)

    def copied(self, name: str) -> Project:
        """Return an equal one beside it."""
        directory = self.directory.with_name(name)
        shutil.copytree(self.directory, directory, symlinks=True)
        return Project(directory, self._url, self._salt)

    def edit(self, case: Case) -> None:
        """Edit it."""
        if case.edit == _MOVE:
            self.directory = self.copied(f"{self.directory.name}-moved").directory
        elif case.edit:
            done = run("bash", "-ec", case.edit, cwd=self.directory)
            assert done.returncode == 0, done.stderr
        if case.after:
            self._write(case.after)

    def _write(self, text: str) -> None:
        text = text.replace(URL, f"{self._url}/{self.directory.name}")
        # No step is another case's: its first command has the salt in it.
        text = _COMMAND.sub(rf"\1 \2: {self._salt}; \3 ", text)
        (self.directory / "Dockerfile").write_text(text)


def letters(lines: list[str]) -> str:
    """A letter for each step but FROM, in the order of the Dockerfile, of lines of progress."""
    places: dict[str, tuple[int, str, int]] = {}
    made: dict[str, str] = {}
    for line in lines:
        if step := _STEP.match(line):
            stage = step[2].rpartition(" ")[0]
            order = [place[1] for place in places.values()]
            first = order.index(stage) if stage in order else len(order)
            places.setdefault(step[1], (first, stage, int(step[3])))
        else:
            number, _, rest = line.removeprefix("#").partition(" ")
            if rest.startswith("CACHED"):
                made.setdefault(number, "H")
            elif rest.startswith(("not cached", "DONE")):
                made.setdefault(number, "M")
    found = {
        place: made.get(number, "?") for number, place in sorted(places.items(), key=_by_place)
    }
    return "".join(
        found.values()
    )  # what BuildKit downloads has the place of the step that wants it


def _by_place(item: tuple[str, tuple[int, str, int]]) -> tuple[str, int]:
    # `[build 2/3]` before `[stage-1 2/3]`, whichever ran first.
    return item[1][1], item[1][2]


class Ours:
    """`overlayfs-py` with a store of its own."""

    def __init__(self, scratch: Path, root: Path) -> None:
        self.scratch = scratch
        self._program = Path(sys.executable).parent / "overlayfs-py"
        self.environment = {**os.environ, "XDG_DATA_HOME": str(scratch / "data")}
        tar = scratch / "base.tar"
        run("tar", "-C", root, "-cf", tar, ".")
        for name, change in (("base", "LABEL a=1"), ("relabelled", "LABEL a=2")):
            self._run("import", "-c", 'CMD ["sh"]', "-c", change, tar, name)
        (scratch / "more").mkdir()
        (scratch / "more/Dockerfile").write_text("FROM base\nCOPY Dockerfile /more\n")
        self._run("build", "-t", "other", scratch / "more")
        for name in ("base", "relabelled", "other"):
            self._run("save", "--format", "oci-dir", "-o", scratch / f"{name}.oci", name)

    def _run(self, *words: object) -> list[str]:
        done = run(self._program, *words, env=self.environment)
        assert done.returncode == 0, done.stderr.decode()
        return done.stderr.decode().splitlines()

    def build(self, project: Project, options: tuple[str, ...]) -> str:
        """Build; returns a letter for each step."""
        options = tuple(there(project, options))
        return letters(self._run("build", "-t", "made", *options, project.directory))


class BuildKit:
    """A buildkitd that knows the images of `Ours`."""

    def __init__(self, scratch: Path, program: str, address: str) -> None:
        self._words = [program, "--addr", address, "build", "--progress=plain"]
        self._words += ["--frontend", "dockerfile.v0"]
        self._words += ["--output", f"type=oci,dest={scratch / 'kit.tar'}"]
        for name in ("base", "relabelled", "other"):
            layout = scratch / f"{name}.oci"
            digest = json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"]
            self._words += ["--oci-layout", f"{name}={layout}"]
            self._words += ["--opt", f"context:{name}=oci-layout://{name}@{digest}"]

    def build(self, project: Project, options: tuple[str, ...]) -> str:
        """Build; returns a letter for each step."""
        place = project.directory
        words = [*self._words, "--local", f"context={place}", "--local", f"dockerfile={place}"]
        done = run(*words, *for_buildctl(tuple(there(project, options)), place))
        assert done.returncode == 0, done.stderr.decode()
        return letters(done.stderr.decode().splitlines())


def there(project: Project, options: tuple[str, ...]) -> Iterator[str]:
    """Options whose files are the context's."""
    for option in options:
        option = option.replace("src=", f"src={project.directory}/")
        yield option.replace("more=", f"more={project.directory}/")
