"""What of the host a container may share, as `run` and `create` take it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from overlayfs_py.backends.option_values import OptionError
from overlayfs_py.cli import isolation_arguments, mount_arguments

if TYPE_CHECKING:
    from collections.abc import Callable


def modes(**options: str) -> isolation_arguments.Modes:
    names = ("ipc", "pid", "uts", "userns", "cgroupns", "hostname")
    return isolation_arguments.modes(**{name: options.get(name) for name in names})


def sysctl(text: str) -> tuple[str, ...]:
    return isolation_arguments.sysctls([text], network="none", ipc="private")


@pytest.mark.parametrize(
    ("option", "ask", "word"),
    [
        ("--pid", lambda word: modes(pid=word), "host"),
        ("--pid", lambda word: modes(pid=word), "container:web"),
        ("--ipc", lambda word: modes(ipc=word), "container:web"),
        ("--uts", lambda word: modes(uts=word), "nosuch"),
        ("--uts", lambda word: modes(uts=word, hostname="web"), "host"),
        ("--userns", lambda word: modes(userns=word), "keep-id"),
        ("--cgroupns", lambda word: modes(cgroupns=word), "nosuch"),
        ("--sysctl", sysctl, "vm.swappiness=1"),
        ("--sysctl", sysctl, "kernel.msgmax"),
        ("--sysctl", sysctl, "net/../kernel/core_pattern=x"),
        ("--sysctl", sysctl, "net./../kernel=x"),
        ("--group-add", lambda word: isolation_arguments.groups([word]), "keep-groups"),
        ("--device", lambda word: isolation_arguments.devices([word]), "/dev/nosuch"),
        ("--device", lambda word: isolation_arguments.devices([word]), "/etc/passwd:/dev/x"),
        ("--device", lambda word: isolation_arguments.devices([word]), "/dev/null:/etc/x"),
        ("--device", lambda word: isolation_arguments.devices([word]), "/dev/null:/dev/../x"),
        ("--device", lambda word: isolation_arguments.devices([word]), "/dev/null:/dev/x:r"),
        ("--device", lambda word: isolation_arguments.devices([word]), "vendor.com/class=name"),
        ("--expose", lambda word: isolation_arguments.ports([word]), "web"),
        ("--volumes-from", lambda word: isolation_arguments.volumes_from([word]), "web:nosuch"),
        ("--oom-score-adj", lambda word: isolation_arguments.oom_score(int(word)), "2000"),
        ("--tmpfs", mount_arguments.parse_tmpfs, "/x:nosuch"),
        ("--tmpfs", mount_arguments.parse_tmpfs, "/x:mode=999"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(
    option: str, ask: Callable[[str], object], word: str
) -> None:
    with pytest.raises(OptionError) as caught:
        ask(word)

    assert option in str(caught.value)
    assert word.split(":")[0].split("/..")[0] in str(caught.value)


def test_what_is_the_hosts_takes_its_namespace() -> None:
    with pytest.raises(OptionError, match="network"):
        isolation_arguments.sysctls(["net.ipv4.ip_forward=1"], network="host", ipc="private")
    with pytest.raises(OptionError, match="ipc"):
        isolation_arguments.sysctls(["kernel.sem=1"], network="none", ipc="host")


def test_words_that_name_what_is_so_anyway() -> None:
    asked = modes(ipc="shareable", pid="private", uts="", userns="host")

    assert asked == isolation_arguments.Modes()
