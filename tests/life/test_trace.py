"""`trace`: what a container has used of its image, and an image of that alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.life.test_life import start, wait_for_output
from tests.life.users import AS_ROOT
from tests.system.processes import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.life.conftest import Engine


@pytest.fixture
def image(engine: Engine, small_root: Path, tmp_path: Path) -> str:
    """`parts:1`: the small one, with files, links and a program that uses some of them."""
    root = tmp_path / "root"
    run(["cp", "-a", small_root, root])
    (root / "lib").mkdir(exist_ok=True)
    (root / "lib/used").write_text("used\n")
    (root / "lib/same").hardlink_to(root / "lib/used")
    (root / "lib/looked").write_text("looked\n")
    (root / "lib/never").write_bytes(b"never" * 100_000)
    (root / "l").symlink_to("lib")
    (root / "lib/link").symlink_to("used")
    (root / "main").write_text(
        "#!/bin/sh\ncat /l/link /lib/same\n"
        "[ -e /lib/looked ] && echo more; set -- /lib/*; echo $#\n"
    )
    (root / "main").chmod(0o755)
    archive = engine.directory / "tmp/parts.tar"
    run(["tar", "-C", root, "-cf", archive, "."])
    archive.chmod(0o644)
    engine("import", "-c", 'CMD ["/main"]', "-c", "ENV WORD=kept", archive, "parts:1")
    archive.unlink()
    return "parts:1"


_SAID = ["used", "used", "more"]


def test_an_image_of_what_was_used_runs_the_same(engine: Engine, image: str) -> None:
    told = engine.directory / "tmp/used.json"
    assert engine("run", "--name", "one", "--trace", told, image).splitlines()[:3] == _SAID
    written = [json.loads(line) for line in told.read_text().splitlines()]

    lines = engine("trace", "one").splitlines()
    named = ("--of", image, "--slim", "parts:told")
    ident = engine.attempt("trace", told, *named).stdout
    told.unlink()
    kinds = {path: kinds for kinds, path in (line.split() for line in lines)}
    assert kinds["/main"] == "look,read"
    assert kinds["/lib/used"] == "look,read"
    assert kinds["/lib/link"] == kinds["/l"] == "link,look"
    assert kinds["/lib"] == "list,look"
    assert kinds["/lib/looked"] == "look"
    assert "/lib/never" not in kinds
    paths = [line.split()[1] for line in lines]
    assert paths.index("/main") < paths.index("/lib/used") < paths.index("/lib/looked")
    assert {each["path"] for each in written} >= set(paths)
    assert all(each["exact"] for each in written)

    made = engine.attempt("trace", "one", "--slim", "parts:slim")
    assert made.returncode == 0
    before, after = (int(word) for word in made.stderr.split() if word.isdigit())
    assert after < before - 500_000
    facts = ("inspect", "-f", "{{.RootFS.Layers}}")
    assert engine(*facts, ident.strip()) == engine(*facts, "parts:slim")
    assert engine("run", "--rm", "parts:slim").splitlines() == [*_SAID, "4"]
    words = ("run", "--rm", "parts:slim", "sh", "-c", "echo $WORD; stat -c %h /lib/used")
    assert engine(*words).splitlines() == ["kept", "2"]
    words = ("run", "--rm", "parts:slim", "sh", "-c", "[ -e /lib/never ]")
    assert engine.attempt(*words).returncode == 1


@AS_ROOT
def test_one_that_was_not_told_to_takes_what_was_listed(engine: Engine, image: str) -> None:
    script = "/main; echo done; exec sleep 1000"
    engine("run", "-d", "--name", "one", image, "sh", "-c", script)
    wait_for_output(engine, "one", "done")
    assert "look,read  /lib/used" in engine("trace", "one").splitlines()
    first = json.loads(engine("trace", "--json", "one").splitlines()[0])
    assert set(first) == {"path", "kinds", "exact"}

    made = engine.attempt("trace", "one", "--slim", "parts:slim")

    assert (made.returncode, "listed directories" in made.stderr) == (0, True)
    assert engine("run", "--rm", "parts:slim").splitlines()[:3] == _SAID
    engine("kill", "one")
    engine("wait", "one")
    # It is known after the end, too.
    assert "look,read  /lib/used" in engine("trace", "one").splitlines()


@AS_ROOT
def test_what_cannot_be_traced_is_refused(engine: Engine) -> None:
    engine("create", "--name", "one", "small:1")
    assert engine("trace", "one") == ""
    assert engine.refusal("trace", "one", "--slim", "x:1") == (
        1,
        "one: it has used nothing of its image yet",
    )
    assert engine.refusal("trace", "none") == (1, "none: no such container")
    assert engine.refusal("trace", "/usr") == (1, "/usr: no mount of ours is there")
    assert engine.refusal("trace", "--slim", "x:1", "/usr")[0] == 1
    assert engine.refusal("trace", "--slim", "x:1", "/etc/passwd") == (
        1,
        "--slim: /etc/passwd: --of IMAGE has to say what it is of",
    )
    code, said = engine.refusal("run", "--trace", "/none/there", "small:1", "true")
    assert (code, said) == (125, "/none/there: No such file or directory")


def test_requests_are_counted_by_process(engine: Engine) -> None:
    script = "while :; do echo x > /file; rm /file; done"
    start(engine, "one", script)

    counted = json.loads(engine("top", "--requests", "--json", "--interval", "0.3", "one"))
    table = engine("top", "--requests", "--interval", "0.3", "one").splitlines()

    assert any(each["name"] == "sh" and each["requests"].get("write") for each in counted)
    assert table[0].split() == ["PID", "COMMAND", "TOTAL", "REQUESTS"]
    assert any(row.split()[1] == "sh" for row in table[1:])
    engine("kill", "one")
    engine("wait", "one")
    said = engine.refusal("top", "--requests", "one")
    assert said == (1, "one: its filesystem is not mounted")
