"""`--upper-limit`: what a container's files may take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.life.test_life import start, wait_for_output
from tests.life.users import AS_ROOT

if TYPE_CHECKING:
    from tests.life.conftest import Engine

_FILL = "head -c 3m /dev/zero > /big && echo written || echo full"
_LEFT = "df -k / | (read -r; read -r _ all used left _; echo $all)"


def test_a_container_has_a_disk_of_that_size(engine: Engine) -> None:
    script = f"{_LEFT}; {_FILL}; rm /big; head -c 1m /dev/zero > /big && echo fits"
    done = engine.attempt(
        "run", "--upper-limit", "2m", "--name", "one", "small:1", "sh", "-c", script
    )

    assert (done.returncode, done.stdout.splitlines()) == (0, ["2048", "full", "fits"])
    # It is counted anew at the next start, and kept to.
    assert engine("start", "-a", "one").splitlines() == ["2048", "full", "fits"]
    size = "{{.HostConfig.StorageOpt.size}}"
    assert engine("inspect", "-f", size, "one") == f"{2 << 20}\n"


@AS_ROOT
def test_a_reset_gives_all_of_it_back(engine: Engine) -> None:
    wait = "until [ -e /go ]; do sleep 0.05; done"
    start(engine, "one", f"{_FILL}; {wait}; {_FILL}", "--upper-limit", "4m", "-v", "talk:/v")
    wait_for_output(engine, "one", "written")

    engine("reset", "one")
    engine("exec", "one", "touch", "/go")

    assert engine("wait", "one") == "0\n"
    assert engine("logs", "one").splitlines() == ["written", "written"]


def test_volumes_and_chroot(engine: Engine) -> None:
    fill = "head -c 3m /dev/zero >"
    script = f"{fill} /v/big && echo in the volume; {fill} /big || echo no more"
    limit = ("--upper-limit", "2m")
    ran = engine.attempt("run", "--rm", *limit, "-v", "data:/v", "small:1", "sh", "-c", script)
    assert ran.stdout.splitlines() == ["in the volume", "no more"]
    changed = engine.attempt("chroot", *limit, "small:1", "--", "sh", "-c", f"{fill} /big")
    assert changed.returncode == 1


@AS_ROOT
def test_what_is_no_size_is_refused(engine: Engine) -> None:
    words = "much: not a size as 67108864, 64m or 1g"
    for command, code in (("run", 125), ("create", 125), ("chroot", 2)):
        refused = engine.refusal(command, "--upper-limit", "much", "small:1")
        assert refused == (code, f"--upper-limit: {words}")
    mount = ("mount", "-o", "lowerdir=/usr", "--upper-limit")
    assert engine.refusal(*mount, "much", "/mnt") == (2, f"upper_limit: {words}")
    assert engine.refusal(*mount, "1g", "/mnt")[0] == 2
