"""Words of docker's that say something of output, names, volumes and sizes."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.life.users import AS_ROOT
from tests.system.unprivileged import USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.life.conftest import Engine


@AS_ROOT
def test_names_and_facts(engine: Engine) -> None:
    options = ("--dns=192.0.2.1", "--dns-search=a.example", "--dns-search", "b.example")
    options += ("--dns-option=ndots:2", "--dns-opt=rotate", "--annotation", "a.b/c=d=e")
    options += ("--network=none", "--network-alias=web", "--network-alias", "w3", "-h", "box")

    shown = engine(
        "run", "--name", "one", *options, "small:1", "cat", "/etc/resolv.conf", "/etc/hosts"
    )

    lines = shown.splitlines()
    assert lines[:3] == [
        "nameserver 192.0.2.1",
        "search a.example b.example",
        "options ndots:2 rotate",
    ]
    words = {line.split()[0] for line in lines[3:] if line}
    assert not words & {"nameserver", "search", "domain", "options"}
    assert lines[-1] == "127.0.0.1\tbox web w3"
    (found,) = json.loads(engine("inspect", "one"))
    host = found["HostConfig"]
    assert host["DnsSearch"] == ["a.example", "b.example"]
    assert host["DnsOptions"] == ["ndots:2", "rotate"]
    assert host["Annotations"] == {"a.b/c": "d=e"}
    assert host["LogConfig"]["Type"] == "json-file"
    assert found["NetworkSettings"]["Networks"]["none"]["Aliases"] == ["web", "w3"]


@AS_ROOT
def test_an_oci_runtime_gets_the_annotations(engine: Engine) -> None:
    fact = ("--annotation", "own.fact=told")
    ident = engine("run", "-d", "--runtime=crun", *fact, "small:1", "sleep", "1000").strip()

    config = json.loads((engine.containers / ident / "bundle/config.json").read_text())

    assert config["annotations"] == {"own.fact": "told"}


@AS_ROOT
def test_output_that_is_not_kept(engine: Engine) -> None:
    line = "echo out; echo err >&2"
    done = engine.attempt(
        "run", "--name", "one", "--log-driver", "none", "small:1", "sh", "-c", line
    )

    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    reason = "one: its output is not kept (--log-driver none)"
    assert engine.refusal("logs", "one") == (1, reason)
    ident = engine("ps", "-aq", "--no-trunc").strip()
    assert not (engine.containers / ident / "output.json").exists()


@AS_ROOT
def test_streams_that_are_asked_for(engine: Engine) -> None:
    line = "echo out; echo err >&2; cat"

    def streams(*options: str) -> tuple[str, str]:
        words = ("run", "--rm", *options, "small:1", "sh", "-c", line)
        done = engine.attempt(*words, typed="typed\n")
        assert done.returncode == 0
        return done.stdout, done.stderr

    assert streams("-a", "stdout") == ("out\n", "")
    assert streams("-a", "STDERR") == ("", "err\n")
    assert streams("-i", "--attach=stdin", "-a=stdout") == ("out\ntyped\n", "")
    # With neither output docker prints the ID.
    shown, said = streams("-i", "-a", "stdin")
    assert (len(shown), said) == (65, "")


@AS_ROOT
def test_lines_with_details(engine: Engine) -> None:
    engine("run", "--name", "one", "small:1", "echo", "said")

    assert engine("logs", "--details", "one") == " said\n"
    assert engine("logs", "--details", "-t", "one").split("Z ", 1)[1] == " said\n"


@pytest.fixture
def place(engine: Engine) -> Iterator[Path]:
    """A directory of the user's on the host."""
    with tempfile.TemporaryDirectory(prefix="overlayfs-volume-") as name:
        Path(name).chmod(0o755)
        if engine.is_user:
            os.chown(name, USER, USER)
        yield Path(name)


def test_a_volume_that_is_a_directory_of_the_host(engine: Engine, place: Path) -> None:
    bound = ("-o", "type=none", "-o", "o=bind", "-o", f"device={place}")
    engine("volume", "create", *bound, "own")

    # Empty as yet, it takes what the image has, as docker's does.
    assert engine("run", "--rm", "-v", "own:/home", "small:1", "cat", "/home/data/kept") == "kept\n"
    engine("run", "--rm", "-v", "own:/v", "small:1", "sh", "-c", "rm -r /v/data; echo x > /v/new")

    assert [path.name for path in place.iterdir()] == ["new"]
    (found,) = json.loads(engine("volume", "inspect", "own"))
    assert found["Mountpoint"] == str(place)
    assert found["Options"] == {"type": "none", "o": "bind", "device": str(place)}
    engine("volume", "rm", "own")
    assert (place / "new").read_text() == "x\n"

    engine("volume", "create", *bound[:2], "-o", "o=bind,ro", *bound[4:], "own")
    done = engine.attempt("run", "--rm", "-v", "own:/v", "small:1", "touch", "/v/other")
    assert "Read-only file system" in done.stderr
    (place / "new").unlink()
    place.rmdir()
    assert engine.refusal("run", "--rm", "-v", "own:/v", "small:1", "true") == (
        125,
        f"{place}: No such file or directory",
    )
    place.mkdir()


@AS_ROOT
def test_sizes_count_what_snapshots_hold(engine: Engine) -> None:
    fill = "dd if=/dev/zero bs=1k count=3000 2>/dev/null of="
    engine("run", "--name", "one", "small:1", "sh", "-c", f"{fill}/one")
    engine("snapshot", "one", "first")
    engine("branch", "one", "two")
    engine("run", "-d", "--name", "three", "small:1", "sleep", "1000")

    form = ("ps", "-a", "--size", "--format", "{{.Names}} {{.Size}}")
    sizes = dict(line.split(maxsplit=1) for line in engine(*form).splitlines())
    assert sizes["one"].startswith("3.0")
    assert sizes["two"].startswith("3.0")
    # The snapshot's room comes back with the last of the two that have it, once.
    assert "reclaimed space: 3.0" in engine("container", "prune", "-f")


@AS_ROOT
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--log-driver", "syslog"], "--log-driver: syslog: json-file or none"),
        (["--log-opt", "max-size=1m"], "No such option '--log-opt'"),
        (["--dns-search", "a b"], "--dns-search: a b: not a domain"),
        (["--dns-option", "a b"], "--dns-option: 'a b': not one word"),
        (["--network-alias", "web"], "--network-alias: web: not with the host's network"),
        (["--annotation", "fact"], "--annotation: fact: not of the form K=V"),
        (["-a", "out"], "--attach: out: stdin, stdout or stderr"),
        (["-d", "-a", "stdout"], "--attach: conflicts with --detach"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(
    engine: Engine, words: list[str], reason: str
) -> None:
    code, said = engine.refusal("run", *words, "small:1", "true")

    assert (code, said[: len(reason)]) == (125, reason)


@AS_ROOT
@pytest.mark.parametrize(
    "options",
    [["type=nfs", "o=addr=1.2.3.4", "device=:/x"], ["type=none", "o=bind"], ["size=1g"], ["o"]],
)
def test_other_volumes_are_refused(engine: Engine, options: list[str]) -> None:
    code, said = engine.refusal("volume", "create", *(f"--opt={each}" for each in options), "own")

    assert code == 1
    assert said.startswith(f"--opt: {options[0]}")
    assert engine("volume", "ls", "-q") == ""
