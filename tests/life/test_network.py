"""`--network`: whose devices, addresses and names a container has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.life.conftest import Engine

_DEVICES = "cut -s -d: -f1 /proc/net/dev"


def test_none_is_loopback_alone(engine: Engine) -> None:
    shown = engine(
        *("run", "--rm", "--network", "none", "small:1", "sh", "-c"),
        f"{_DEVICES}; ls /sys/class/net; cat /sys/class/net/lo/flags; cat /proc/net/fib_trie",
    ).split()

    assert shown[:3] == ["lo", "lo", "0x9"]  # IFF_UP, IFF_LOOPBACK
    assert "127.0.0.1" in shown
    assert "169.254.95.2" not in shown


def test_host_is_the_hosts(engine: Engine) -> None:
    shown = engine("run", "--rm", "--network=host", "small:1", "sh", "-c", _DEVICES)

    with open("/proc/net/dev") as file:
        assert set(shown.split()) == {line.split(":")[0].strip() for line in file if ":" in line}


def test_sys_of_an_own_network_cannot_be_changed(engine: Engine) -> None:
    script = "echo 1500 > /sys/class/net/lo/mtu; test -e /sys/kernel && ls /sys/fs"
    done = engine.attempt("run", "--rm", "--network=none", "small:1", "sh", "-c", script)

    assert "Read-only file system" in done.stderr
    assert "cgroup" in done.stdout


def test_hosts_names_the_container_and_not_the_hosts_neighbours(engine: Engine) -> None:
    own = engine("run", "--rm", "--net=none", "-h", "box", "small:1", "cat", "/etc/hosts")
    hosts = engine("run", "--rm", "-h", "box", "small:1", "cat", "/etc/hosts")

    assert own.splitlines()[0] == "127.0.0.1\tlocalhost"
    assert own.splitlines()[-1] == "127.0.0.1\tbox"
    with open("/etc/hosts") as file:
        assert hosts == file.read().rstrip("\n") + "\n127.0.0.1\tbox\n"


def test_a_container_keeps_its_network_over_its_starts(engine: Engine) -> None:
    engine("run", "--name", "one", "--network", "none", "small:1", "sh", "-c", _DEVICES)

    assert engine("start", "-a", "one").split() == ["lo"]
    assert engine("ps", "-a", "--format", "{{.Networks}}") == "none\n"


@pytest.mark.parametrize("network", ["nosuch", "", "container:x"])
def test_an_unknown_network_is_refused_by_name(engine: Engine, network: str) -> None:
    code, said = engine.refusal("run", "--network", network, "small:1", "true")

    assert code == 125
    assert said.startswith(f"--network: {network}: there is no such network")
