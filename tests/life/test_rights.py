"""What a container may do, use and look up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.life.users import AS_ROOT

if TYPE_CHECKING:
    from tests.life.conftest import Engine

_STATUS = "while read a b; do echo $a $b; done </proc/self/status"
_NET_ADMIN, _CHOWN, _NET_RAW = 1 << 12, 1 << 0, 1 << 13


def status(engine: Engine, *options: str) -> dict[str, str]:
    shown = engine("run", "--rm", *options, "small:1", "sh", "-c", _STATUS)
    return dict(line.split(maxsplit=1) for line in shown.splitlines() if " " in line)


@pytest.mark.parametrize(
    ("options", "there", "gone"),
    [
        ([], _CHOWN | _NET_RAW, _NET_ADMIN),
        (["--cap-add", "net_admin"], _CHOWN | _NET_ADMIN, 0),
        (["--cap-drop", "CAP_NET_RAW"], _CHOWN, _NET_RAW),
        (["--cap-drop", "all", "--cap-add=CHOWN"], _CHOWN, _NET_RAW | _NET_ADMIN),
        (["--cap-add=ALL", "--cap-drop=CHOWN"], _NET_ADMIN | _NET_RAW, _CHOWN),
    ],
)
def test_capabilities(engine: Engine, options: list[str], there: int, gone: int) -> None:
    found = status(engine, *options)

    for name in ("CapEff:", "CapBnd:"):
        assert int(found[name], 16) & there == there
        assert not int(found[name], 16) & gone


@pytest.mark.parametrize(
    ("options", "forbids"),
    [
        ([], "1"),
        (["--security-opt", "no-new-privileges"], "1"),
        (["--security-opt", "no-new-privileges:true"], "1"),
        (["--security-opt", "no-new-privileges=false"], "0"),
        (["--privileged"], "0"),
    ],
)
def test_programs_give_no_rights_unless_asked(
    engine: Engine, options: list[str], forbids: str
) -> None:
    assert status(engine, *options)["NoNewPrivs:"] == forbids


def test_exec_has_the_same(engine: Engine) -> None:
    options = ("--cap-drop", "ALL", "--ulimit", "nofile=100:200")
    engine("run", "-d", "--name", "web", *options, "small:1", "sh", "-c", "sleep 1000")

    shown = engine("exec", "web", "sh", "-c", f"ulimit -n; {_STATUS}")

    assert shown.startswith("100\n")
    assert "CapEff: 0000000000000000" in shown
    assert "NoNewPrivs: 1" in shown
    host = json.loads(engine("inspect", "web"))[0]["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 100, "Hard": 200}]


_OWN_PROFILE = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
}


@pytest.mark.parametrize("privileges", ["true", "false"])
def test_system_calls_are_filtered(engine: Engine, privileges: str) -> None:
    profile = engine.directory / "profile.json"
    profile.write_text(json.dumps(_OWN_PROFILE))
    options = ("--security-opt", f"no-new-privileges={privileges}")
    script = "mkdir /x; busybox unshare -U true && echo parted; grep Seccomp: /proc/self/status"

    def said(*security: str) -> tuple[str, str]:
        made = engine.attempt("run", "--rm", *options, *security, "small:1", "sh", "-c", script)
        return made.stderr, " ".join(made.stdout.split())

    own = ("--security-opt", f"seccomp={profile}")
    no_namespace = "unshare: unshare(0x10000000): Operation not permitted\n"
    no_directory = "mkdir: can't create directory '/x': No space left on device\n"
    assert said() == (no_namespace, "Seccomp: 2")
    assert said(*own) == (no_directory, "parted Seccomp: 2")
    assert said("--security-opt", "seccomp=unconfined") == ("", "parted Seccomp: 0")
    assert said("--privileged") == ("", "parted Seccomp: 0")
    assert said("--privileged", *own) == (no_directory, "parted Seccomp: 2")


def test_what_runs_later_is_filtered_too(engine: Engine) -> None:
    engine("run", "-d", "--name", "web", "--init", "small:1", "sleep", "1000")

    for options in ([], ["--privileged"]):
        shown = engine("exec", *options, "web", "cat", "/proc/self/status", "/proc/1/status")
        assert shown.count("Seccomp:\t2\n") == 2


@AS_ROOT
def test_limits_and_shared_memory(engine: Engine) -> None:
    options = ("--ulimit", "nofile=100:200", "--ulimit", "core=0", "--shm-size", "1m")
    script = "ulimit -n; ulimit -Hn; ulimit -c; dd if=/dev/zero of=/dev/shm/x bs=1k count=2k"

    done = engine.attempt("run", "--rm", *options, "small:1", "sh", "-c", script)

    assert done.stdout.split() == ["100", "200", "0"]
    assert "No space left" in done.stderr


@AS_ROOT
def test_names_of_ones_own(engine: Engine) -> None:
    options = ("--add-host", "db:10.0.0.7", "--add-host=me:host-gateway", "--dns", "192.0.2.1")

    shown = engine("run", "--rm", *options, "small:1", "cat", "/etc/hosts", "/etc/resolv.conf")

    assert "10.0.0.7\tdb\n" in shown
    assert "127.0.0.1\tme\n" in shown
    assert [line for line in shown.splitlines() if line.startswith("nameserver")] == [
        "nameserver 192.0.2.1"
    ]


@AS_ROOT
@pytest.mark.parametrize(
    "words",
    [
        ["--cap-add", "NOSUCH"],
        ["--cap-drop", "CAP_"],
        ["--security-opt", "seccomp=/etc/passwd"],
        ["--security-opt", "apparmor=docker-default"],
        ["--security-opt", "label=type:spc_t"],
        ["--security-opt", "nosuch=1"],
        ["--security-opt", "seccomp="],
        ["--ulimit", "nosuch=1"],
        ["--ulimit", "nofile=2:1"],
        ["--shm-size", "much"],
        ["--add-host", "db"],
        ["--add-host", "db:nowhere"],
        ["--dns", "example.org"],
    ],
)
def test_what_makes_no_sense_is_refused_by_name(engine: Engine, words: list[str]) -> None:
    code, said = engine.refusal("run", "--rm", *words, "small:1", "true")

    assert code in (2, 125)
    assert words[0] in said
