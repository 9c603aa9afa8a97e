"""`reset`: a running container's files become its image's again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.life.test_life import facts, start, wait_for_output
from tests.life.users import AS_ROOT
from tests.system.processes import wait_until

if TYPE_CHECKING:
    from tests.life.conftest import Engine

# A server: it has a file open and appends to it, and says what it sees when it gets a signal.
_SERVER = """
mkdir -p /srv/data; echo first > /srv/data/table; rm /etc/group; echo changed >> /etc/passwd
echo kept > /v/file
exec 5>>/srv/data/table
look() {
    echo "sees $(ls /srv) $(wc -l < /etc/passwd) $(ls /etc/group)" \\
        "$(cat /v/file) $(ls -d /made/for/it)"
    (echo more >&5) 2>/dev/null && echo written || echo stale
    echo looked
}
trap look USR1
echo ready
while :; do sleep 0.05; done
"""


def _look(engine: Engine, name: str, count: int) -> list[str]:
    engine("kill", "-s", "USR1", name)
    wait_until(lambda: engine("logs", name).count("looked") == count, "the server to look")
    return engine("logs", name).splitlines()[-3:-1]


def test_a_server_goes_on_with_the_images_files(engine: Engine) -> None:
    start(engine, "db", _SERVER, "-v", "talk:/v", "--tmpfs", "/scratch", "-w", "/made/for/it")
    wait_for_output(engine, "db", "ready")
    assert _look(engine, "db", 1) == ["sees data 3  kept /made/for/it", "written"]
    pid = facts(engine, "db")["pid"]

    assert engine("reset", "db") == "db\n"

    assert _look(engine, "db", 2) == ["sees  2 /etc/group kept /made/for/it", "stale"]
    assert facts(engine, "db")["pid"] == pid
    points = Path(f"/proc/{pid}/mountinfo").read_text()
    assert " /scratch " in points
    assert " /etc/hosts " in points
    engine("reset", "db")
    assert _look(engine, "db", 3) == ["sees  2 /etc/group kept /made/for/it", "stale"]
    engine("stop", "-t", "0", "db")

    # What came after it stays, over a new start too.
    directory = engine.containers / engine("ps", "-aq", "--no-trunc").strip()
    assert not (directory / "upper/srv").exists()
    assert (directory / "upper/made/for/it").is_dir()
    assert "next" not in os.listdir(directory)


@AS_ROOT
def test_what_is_written_after_it_is_kept(engine: Engine) -> None:
    script = "[ -e /two ] && exec cat /two; touch /one; echo ready; until [ ! -e /one ]; do :; done"
    # It ends as soon as its files have gone: before the answer is there, often.
    start(engine, "one", script + "; echo second > /two")
    wait_for_output(engine, "one", "ready")

    engine("reset", "one")

    assert engine("wait", "one") == "0\n"
    assert engine("start", "-a", "one") == "second\n"


@AS_ROOT
def test_what_cannot_be_reset(engine: Engine) -> None:
    engine("create", "--name", "one", "small:1", "true")
    assert engine.refusal("reset", "one") == (1, "one: the container is not running")
    assert engine.refusal("reset", "nowhere")[0] == 1


@AS_ROOT
def test_many_at_once(engine: Engine) -> None:
    start(engine, "one", "echo ready; while :; do echo x > /f; mkdir -p /d; rm -r /d; done")
    wait_for_output(engine, "one", "ready")
    for _ in range(10):
        engine("reset", "one")
    ident = engine("ps", "-q", "--no-trunc").strip()
    wait_until(
        lambda: not [name for name in os.listdir(engine.containers / ident) if "gone" in name],
        "what was thrown away to be removed",
    )
