"""The commands on containers and volumes that docs/CLI.md shows, each run on a real store."""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.life.users import AS_ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.life.conftest import Engine

_PAGE = Path(__file__).parents[2] / "docs/CLI.md"
_SECTIONS = ("run, create", "snapshot, restore", "diff", "commit", "export", "cp", "volume")

# In this order. After an arrow: all that a line prints, in words.
_SESSION = """
run --name one -v data:/data -e A=1 small:1 sh -c 'echo $A > /data/file; echo x > /made' =>
diff one => A /data A /made
commit -m words -c 'CMD ["cat", "/made"]' one second:1
run --rm second:1 => x
export -o HERE/all.tar one =>
cp one:/made HERE/made =>
cp -a HERE/made one:/again =>
snapshot one first => first
snapshot ls -q one => first
branch --from first one two
restore one first => one
snapshot rm one first => first
start -a two =>
volume create --label k=v more => more
volume ls -q => data more
volume inspect -f '{{.Name}}' more => more
volume rm more => more
create --name web small:1 sh -c 'echo up; while :; do sleep 0.05; done'
start web => web
exec -w /etc -e B=2 web sh -c 'pwd; echo $B' => /etc 2
exec web touch /changed =>
port web =>
logs --tail 1 web => up
top web
top --requests --interval 0.1 --json web
stats --no-stream web
pause web => web
unpause web => web
rename web www =>
restart -t 0 www => www
trace --slim slim:1 www
reset www => www
exec www sh -c 'test -e /changed || echo gone' => gone
branch --start www copy
kill -s KILL copy => copy
wait copy => 137
stop -t 0 www => www
run -di --rm --name late small:1 sh -c 'read x; echo got $x'
attach late => got typed
ps -a --format '{{.Names}}' => copy www two one
rm -v two copy => two copy
container prune -f --filter label=nosuch => Total reclaimed space: 0B
rm -f www one => www one
volume prune -af
volume ls -q =>
"""


@AS_ROOT
def test_what_the_page_shows_is_done(engine: Engine) -> None:
    here = Path(tempfile.mkdtemp(prefix="overlayfs-session-"))
    for line in _SESSION.strip().splitlines():
        typed, arrow, expected = line.replace("HERE", str(here)).partition(" =>")
        done = engine.attempt(*shlex.split(typed), typed="typed\n")

        assert (done.returncode, done.stderr) in ((0, ""), (0, done.stderr * ("slim" in line))), (
            line
        )
        if arrow:
            assert done.stdout.split() == expected.split(), line
    assert (here / "made").read_text() == "x\n"
    shutil.rmtree(here)
    engine("rmi", "second:1", "slim:1")


def test_none_that_the_page_shows_is_left_out() -> None:
    ran = [line for line in _SESSION.splitlines() if line]
    shown = set(_shown())
    left_out = {
        command
        for command in shown
        if not any(line.split()[: len(command.split())] == command.split() for line in ran)
    }

    assert {"run", "container prune", "unpause", "snapshot rm", "volume create"} <= shown
    assert left_out == set()


def _shown() -> Iterator[str]:
    """The commands in the first block of each section."""
    for section in _PAGE.read_text().split("\n## overlayfs-py ")[1:]:
        title, _, text = section.partition("\n\n")
        if not title.startswith(_SECTIONS):
            continue
        block = text.partition("\n\n")[0]
        for column in re.split(r"\s{3,}", block.strip()):
            names = re.match(r"(?:overlayfs-py )?([a-z]+(?:, [a-z]+)*(?: [a-z]+)?)", column)
            assert names is not None, column
            yield from names[1].split(", ")
