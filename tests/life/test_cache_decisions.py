"""Which steps an edit has made anew: the cases of `scripts/compare-cache`, by ours alone.

Those whose steps all follow the first that is made are asked for with `--dry-run`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.builds import build as _building  # noqa: F401 - before the forks, once
from overlayfs_py.cli import build, build_inputs, build_progress, commands  # noqa: F401 - so are these
from overlayfs_py.cli.main import main
from tests.builds.cache_builds import Ours, Project, letters, there
from tests.builds.cache_cases import CASES, STAGES, Case
from tests.builds.comparing import URL

if TYPE_CHECKING:
    from collections.abc import Iterator

_DRY = ("--dry-run",)


def _groups() -> list[list[Case]]:
    """Cases that begin with the same build; what is really built again comes last.

    Those of several stages are too many of those for here, and those of URLs need a server.
    """
    found: dict[object, list[Case]] = defaultdict(list)
    for case in CASES:
        if case.dockerfile != STAGES and URL not in case.dockerfile:
            found[case.dockerfile, case.options].append(case)
    return [sorted(group, key=_is_built) for group in found.values()]


def _is_built(case: Case) -> bool:
    return "MH" in case.ours


class _Forked(Ours):
    """The command in a fork of this process: most builds take less than to start Python."""

    def build(self, project: Project, options: tuple[str, ...]) -> str:
        with tempfile.TemporaryFile() as out:
            words = ["build", "--progress=plain", "-t", "made", *there(project, options)]
            pid = os.fork()
            if not pid:
                os.environ.update(self.environment)
                # Not pytest's, of which this process has a copy.
                sys.stdout = sys.stderr = os.fdopen(os.dup(out.fileno()), "w", 1)
                sys.argv = ["overlayfs-py", *words, str(project.directory)]
                try:
                    main()
                except SystemExit as ended:
                    os._exit(int(ended.code or 0))
                finally:
                    os._exit(99)
            _, status = os.waitpid(pid, 0)
            out.seek(0)
            text = out.read().decode()
        assert os.waitstatus_to_exitcode(status) == 0, text
        return letters(text.splitlines())


@pytest.fixture(scope="module")
def ours(small_root: Path) -> Iterator[_Forked]:
    directory = Path(tempfile.mkdtemp(prefix="overlayfs-decisions-"))
    yield _Forked(directory, small_root)
    shutil.rmtree(directory)


@pytest.mark.parametrize("group", _groups(), ids=lambda group: group[0].what)
def test_what_is_made_anew(ours: _Forked, group: list[Case]) -> None:
    first = Project(ours.scratch / f"{id(group)}", "", "")
    first.begin(group[0])
    ours.build(first, group[0].options)

    found = {}
    for at, case in enumerate(group):
        project = first.copied(f"{id(group)}-{at}")
        project.edit(case)
        options = case.options if case.then is None else case.then
        found[case.what] = ours.build(project, options if _is_built(case) else (*options, *_DRY))

    assert found == {case.what: case.ours for case in group}
