"""What a container shares with the host or with another, and what it has of its own."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.life.conftest import Engine


_OPTIONS = {
    "--ipc=none": ("test -e /dev/shm || echo none", "none"),
    "--uts=private": ("true", ""),
    "--oom-score-adj=300": ("cat /proc/self/oom_score_adj", "300"),
    "--sysctl=kernel.msgmax=9000": ("cat /proc/sys/kernel/msgmax", "9000"),
    "--network=none": ("true", ""),
    "--sysctl=net.ipv4.ip_default_ttl=33": ("cat /proc/sys/net/ipv4/ip_default_ttl", "33"),
    "--tmpfs=/x:size=1m,mode=700": ("stat -c %a /x; df /x | grep -c 1024", "700 1"),
    "--tmpfs=/y:exec": ("grep -c ' /y .*noexec' /proc/mounts", "0"),
    "--tmpfs=/z": ("grep -c ' /z .*nosuid,nodev,noexec' /proc/mounts", "1"),
    "-v=/dev/shm:/dev/own": ("test -d /dev/own && grep -c own /proc/mounts", "1"),
    "--cgroupns=private": ("grep -vc ':/$' /proc/self/cgroup", "0"),
    "--device=/dev/zero:/dev/below/here": ("head -c 3 /dev/below/here | wc -c", "3"),
    "--device=/dev/full:rwm": ("stat -c %t:%T /dev/below/here /dev/full", "1:5 1:7"),
}


def test_options_do_what_they_say(engine: Engine) -> None:
    options = [word.replace("-v=", "-v") for word in _OPTIONS]
    script = "; ".join(line for line, _ in _OPTIONS.values())

    done = engine.attempt("run", "--name", "web", *options, "small:1", "sh", "-c", script)

    assert done.stderr == ""
    assert done.stdout.split() == [word for _, shown in _OPTIONS.values() for word in shown.split()]
    host = json.loads(engine("inspect", "web"))[0]["HostConfig"]
    assert host["Devices"][0]["PathOnHost"] == "/dev/zero"
    assert host["Devices"][0]["PathInContainer"] == "/dev/below/here"
    assert host["Sysctls"]["kernel.msgmax"] == "9000"


def test_groups_besides_the_users_own(engine: Engine) -> None:
    options = ("--rm", "--group-add=disk", "--group-add=77")

    done = engine.attempt("run", *options, "small:1", "grep", "Groups", "/proc/self/status")

    if engine.is_user:  # who has no subordinate ids here
        assert done.returncode == 125
        assert "--group-add: Operation not permitted: the container has no such ids" in done.stderr
    else:
        assert done.stdout.split() == ["Groups:", "0", "6", "77"]
    assert engine.refusal("run", "--rm", "--group-add=nosuch", "small:1", "true") == (
        125,
        "group nosuch: not in the image's /etc/group",
    )


@pytest.mark.parametrize("mode", ["host", "private"])
def test_namespaces_of_the_host(engine: Engine, mode: str) -> None:
    own = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("ipc", "uts")]
    options = ("--rm", "--ipc", mode, "--uts", mode)
    line = "readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts"

    shown = engine("run", *options, "small:1", "sh", "-c", line).split()

    assert [found == host for found, host in zip(shown, own, strict=True)] == [mode == "host"] * 2


def test_volumes_of_another_container(engine: Engine) -> None:
    exposed = ("--expose", "8000-8001", "--expose=53/udp")
    engine("create", *exposed, "--name", "first", "-v", "/data", "-v", "/tmp:/host:ro", "small:1")

    engine("run", "--name", "second", "--volumes-from", "first", "small:1", "touch", "/data/there")
    code, said = engine.refusal("run", "--rm", "--volumes-from", "nosuch", "small:1", "true")
    assert (code, "nosuch" in said) == (125, True)
    done = engine.attempt(
        "run", "--rm", "--volumes-from=first:ro", "small:1", "sh", "-c", "ls /data; touch /data/x"
    )
    assert done.stdout == "there\n"
    assert "Read-only file system" in done.stderr
    config = json.loads(engine("inspect", "first"))[0]["Config"]
    assert set(config["ExposedPorts"]) == {"8000-8001/tcp", "53/udp"}
    # The volume was made for the first one, and another has it still.
    engine("rm", "-v", "first")
    assert engine("run", "--rm", "--volumes-from", "second", "small:1", "ls", "/data") == "there\n"
