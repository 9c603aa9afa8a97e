"""Caches that go to a directory and come from it: what is wrong with one, and who may trust it."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import TYPE_CHECKING, NamedTuple

import pytest

# Loaded here, once: each build is a fork of this process.
from overlayfs_py.builds import build, cache_export, stage, variables  # noqa: F401
from overlayfs_py.cli import build_caches, build_inputs, commands, image_cat  # noqa: F401
from overlayfs_py.cli.errors import ending
from tests.support.cache_layout import CacheLayout
from tests.support.oci_layout import digest, layer_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cache_layout import Json

_TWO_STAGES = """\
FROM scratch AS build
COPY source /source
FROM scratch
COPY --from=build /source /result
COPY app /app
"""


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str


def run(*words: object) -> Done:
    """Run the command in a fork of this process."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
                argv = [str(word) for word in words]
                code = ending("overlayfs-py", lambda: commands.run(argv))
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out.seek(0)
        err.seek(0)
        return Done(code, out.read().decode(), err.read().decode())


class Machine:
    """A store and a context."""

    def __init__(self, directory: Path) -> None:
        self.context = directory / "context"
        self.context.mkdir()
        self._stores = directory / "stores"
        self._stores.mkdir()
        self.cache = directory / "cache"

    def write(self, name: str, text: str) -> None:
        (self.context / name).write_text(text)

    def attempt(self, store: str, *options: str) -> Done:
        return run("build", "--root", self._stores / store, *options, self.context)

    def build(self, store: str, *options: str) -> list[Json]:
        """What a build told."""
        done = self.attempt(store, "-t", "app", "--json", *options)
        assert done.code == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def result(self, store: str, path: str) -> str:
        done = run("image", "cat", "--root", self._stores / store, "app", path)
        assert done.code == 0, done.stderr
        return done.stdout

    @property
    def to(self) -> str:
        return f"--cache-to=type=local,dest={self.cache}"

    @property
    def source(self) -> str:
        return f"--cache-from=type=local,src={self.cache}"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.write("Dockerfile", _TWO_STAGES)
    made.write("source", "1\n")
    made.write("app", "1\n")
    return made


def outcomes(told: list[Json]) -> list[str]:
    """What became of each step."""
    return [
        f"{each['event']} {each['instruction']}"
        for each in told
        if each["event"] in {"cached", "begun"} and each["step"] > 1
    ]


def notices(told: list[Json]) -> list[str]:
    return [each["text"] for each in told if each["event"] in {"notice", "begun-anew"}]


_ALL_CACHED = [
    "cached COPY source /source",
    "cached COPY --from=build /source /result",
    "cached COPY app /app",
]


def test_min_has_the_image_s_layers_and_max_all(machine: Machine) -> None:
    machine.build("a", machine.to)
    least = CacheLayout(machine.cache)
    assert (len(least.config["steps"]), len(least.config["layers"])) == (3, 2)

    told = machine.build("b", machine.source)
    assert sorted(outcomes(told)) == sorted(_ALL_CACHED)
    (came,) = [each for each in told if each["event"] == "cache-fetch"]
    assert came["layers"] == 2

    # Nothing of the stage is there to build on.
    machine.write(
        "Dockerfile", _TWO_STAGES.replace("FROM scratch\n", "COPY app /b\nFROM scratch\n")
    )
    told = machine.build("c", machine.source)
    assert "mode=min" in notices(told)[0]
    assert "begun COPY source /source" in outcomes(told)
    machine.build("c", f"{machine.to},mode=max")
    assert len(CacheLayout(machine.cache).config["layers"]) == 4
    assert sorted(outcomes(machine.build("d", machine.source))) == sorted(
        [*_ALL_CACHED, "cached COPY app /b"]
    )


def test_what_is_there_is_not_written_again_and_what_is_old_goes(machine: Machine) -> None:
    machine.build("a", machine.to)
    blobs = machine.cache / "blobs/sha256"
    before = {path: path.stat().st_mtime_ns for path in blobs.iterdir()}

    (out,) = [each for each in machine.build("a", machine.to) if each["event"] == "cache-export"]
    assert out["bytes"] == 0
    assert {path: path.stat().st_mtime_ns for path in blobs.iterdir()} == before

    machine.write("app", "2\n")
    machine.build("a", machine.to)
    layout = CacheLayout(machine.cache)
    manifest = layout.manifest
    known = {manifest["config"]["digest"], *(each["digest"] for each in manifest["layers"])}
    there = {f"sha256:{path.name}" for path in blobs.iterdir()}
    assert known < there
    assert len(there) == len(known) + 1  # the manifest itself

    # Another tag's stay.
    machine.write("app", "3\n")
    machine.build("a", f"{machine.to},tag=other")
    assert there < {f"sha256:{path.name}" for path in blobs.iterdir()}


def test_a_miss_is_explained_by_what_was_imported(machine: Machine) -> None:
    machine.build("a", machine.to)
    machine.write("app", "2\n")

    (missed,) = [each for each in machine.build("b", machine.source) if each["event"] == "begun"]

    assert missed["why"].startswith("app: content (compared with the build of 20")
    assert missed["why"].endswith(f" imported from {machine.cache})")
    assert missed["cache"] == str(machine.cache)


def test_a_cache_that_cannot_be_used_is_told_of(machine: Machine) -> None:
    def why(*options: str) -> str:
        told = machine.build("a", "--no-cache", *options)
        (notice,) = notices(told)
        assert notice.startswith("cache of ")
        return notice.partition(" is not used: ")[2]

    nowhere = f"{machine.cache}/index.json: No such file or directory"
    assert why(machine.source) == nowhere
    assert "Connection refused" in why("--cache-from=127.0.0.1:1/x", "--tls-verify=false")
    machine.build("a", machine.to)
    assert "has the tag v2" in why(f"{machine.source},tag=v2")

    layout = CacheLayout(machine.cache)
    layout.rewrite(lambda _, config: config.update(version=2))
    assert why(machine.source) == "a build cache of version 2, not 1"
    layout.rewrite(lambda manifest, _: manifest["config"].update(mediaType="text/plain"))
    assert "'text/plain', and no application/vnd.overlayfs-py.build-cache" in why(machine.source)
    (machine.cache / "index.json").write_text("{")
    assert "index" in why(machine.source) or "manifest" in why(machine.source)
    (machine.cache / "index.json").unlink()
    (machine.cache / "index.json").symlink_to("/dev/zero")  # of the layout's own root
    assert why(machine.source) == nowhere


@pytest.mark.parametrize("kind", ["other bytes", "another layer", "gone"])
def test_a_layer_that_is_not_what_is_said_is_made_anew(machine: Machine, kind: str) -> None:
    def damage(manifest: Json, config: Json) -> None:
        (layer,) = (each["layer"] for each in config["steps"] if "--from" in each["instruction"])
        at = config["layers"].index(layer)
        blob = layout.blob(manifest["layers"][at]["digest"])
        match kind:
            case "other bytes":  # of the same layer: a time in gzip's header
                raw = blob.read_bytes()
                blob.write_bytes(raw[:4] + b"?" + raw[5:])
            case "another layer":
                manifest["layers"][at] = manifest["layers"][at - 1]
            case _:
                blob.unlink()

    machine.build("a", f"{machine.to},mode=max")
    layout = CacheLayout(machine.cache)
    layout.rewrite(damage)

    told = machine.build("b", machine.source)

    (notice,) = notices(told)
    assert notice.endswith("begun anew without them")
    assert sum(each.startswith("begun COPY --from") for each in outcomes(told)) == 1
    assert machine.result("b", "/result") == "1\n"


def _swap(manifest: Json, config: Json, layout: CacheLayout) -> None:
    """Let the last step be said to have made another layer."""
    lie = layer_of({"app": b"of whoever wrote it\n"})
    diff_id = digest(lie.tar)
    old = config["steps"][-1]["layer"]
    config["steps"][-1] |= {"layer": diff_id, "tarSize": len(lie.tar)}
    at = config["layers"].index(old)
    config["layers"][at] = diff_id
    blob = layout.put(lie.blob)
    manifest["layers"][at] |= {"digest": blob, "size": len(lie.blob)}


def test_who_may_write_a_cache_chooses_layers_for_builds_that_name_it(machine: Machine) -> None:
    machine.write("Dockerfile", "FROM scratch\nCOPY app /app\n")
    machine.build("a", machine.to)
    layout = CacheLayout(machine.cache)
    layout.rewrite(lambda manifest, config: _swap(manifest, config, layout))

    machine.build("b", machine.source)
    assert machine.result("b", "/app") == "of whoever wrote it\n"
    # For no other build, and not where this store knows better.
    assert outcomes(machine.build("b")) == ["begun COPY app /app"]
    assert machine.result("b", "/app") == "1\n"
    assert outcomes(machine.build("b", machine.source)) == ["cached COPY app /app"]
    assert machine.result("b", "/app") == "1\n"
    assert outcomes(machine.build("c", machine.source, "--no-cache")) == ["begun COPY app /app"]


def test_a_record_decides_for_the_step_that_it_shows(machine: Machine) -> None:
    """What a person reads in a record is what its key is of."""

    def lie(_: Json, config: Json) -> None:
        for step in config["steps"]:
            step["parts"] = [[name, f"{value}?"] for name, value in step["parts"]]

    machine.build("a", machine.to)
    layout = CacheLayout(machine.cache)
    layout.rewrite(lie)

    assert not any(
        each.startswith("cached") for each in outcomes(machine.build("b", machine.source))
    )


def test_what_cannot_be_exported_fails_the_build_unless_that_is_allowed(machine: Machine) -> None:
    machine.cache.write_text("a file")

    done = machine.attempt("a", "-t", "app", machine.to)

    last = done.stderr.splitlines()[-1]
    assert done.code == 1
    assert last.startswith(f"overlayfs-py: cache to {machine.cache}: {machine.cache}/")
    assert last.endswith("(the image is built; ignore-error=true)")
    assert machine.result("a", "/app") == "1\n"
    assert len(notices(machine.build("a", f"{machine.to},ignore-error=true"))) == 1


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("--cache-to=type=gha", "type=gha is not offered: GitHub gives access"),
        ("--cache-from=type=s3,bucket=x", "type=s3 is not offered: there is no S3 client here"),
        ("--cache-to=type=azblob", "type=azblob is not offered"),
        ("--cache-to=type=inline", "type=inline is not offered: it would hold"),
        ("--cache-to=type=local", "dest= is needed"),
        ("--cache-from=type=registry", "ref= is needed"),
        ("--cache-to=type=registry,ref=x,mode=all", "mode is min or max"),
        ("--cache-to=type=registry,ref=x,compression=zstd", "compression is always gzip here"),
        ("--cache-to=type=registry,ref=x,cache=1", "no key 'cache'"),
        ("--cache-to=mode=max", "type= is needed"),
    ],
)
def test_other_words_are_refused(machine: Machine, option: str, why: str) -> None:
    done = machine.attempt("a", option)

    (line,) = done.stderr.splitlines()
    assert why in line
    assert done.code != 0
