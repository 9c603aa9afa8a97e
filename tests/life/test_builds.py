"""`overlayfs-py build`: what it makes, what it need not make again, and why."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import processes_naming, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.life.conftest import Engine


class Project:
    """A context, and the builds of it."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine = engine
        self.directory = directory

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def attempt(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.engine.argv("build", *options, self.directory),
            env={**self.engine.environment, "PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    def build(self, *options: str, **environment: str) -> list[str]:
        """The lines that a build shows."""
        done = self.attempt(*options, **environment)
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()

    def image(self, *options: str, **environment: str) -> str:
        """The ID of what a build makes."""
        done = self.attempt("-q", *options, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def project(engine: Engine) -> Iterator[Project]:
    # Not in pytest's own directory, which others may not enter.
    directory = engine.directory / "project/context"
    directory.mkdir(parents=True)
    yield Project(engine, directory)
    shutil.rmtree(directory.parent)


def outcomes(lines: list[str]) -> dict[str, str]:
    """What became of each step, by its place and instruction."""
    names: dict[str, str] = {}
    found: dict[str, str] = {}
    for line in lines:
        number, _, rest = line.partition(" ")
        if rest.startswith("["):
            names[number] = rest
        elif rest == "CACHED" or rest.startswith("not cached: "):
            found[names[number]] = rest
    return found


SEEDS = """\
FROM small:1
RUN echo made > /made && mkdir -p /opt/x
WORKDIR /app
COPY app.py data ./
ENV MODE=test
RUN cat app.py > seen; echo "$MODE" >> seen
CMD ["cat", "/made", "seen"]
"""


def test_steps_are_made_once(project: Project, engine: Engine) -> None:
    project.write("Dockerfile", SEEDS)
    project.write("app.py", "print(1)\n")
    project.write("data/x", "x\n")
    engine("builder", "prune", "--all", "--force")  # what other tests have built

    first = project.build("-t", "seed:1")
    ident = engine("images", "-q", "--no-trunc", "seed:1")
    again = outcomes(project.build("-t", "seed:1"))

    assert set(outcomes(first).values()) == {"not cached: nothing like it was built before"}
    assert set(again.values()) == {"CACHED"}
    assert list(again) == [
        "[2/5] RUN echo made > /made && mkdir -p /opt/x",
        "[3/5] WORKDIR /app",
        "[4/5] COPY app.py data ./",
        '[5/5] RUN cat app.py > seen; echo "$MODE" >> seen',
    ]
    assert engine("images", "-q", "--no-trunc", "seed:1") == ident
    assert engine("run", "--rm", "seed:1") == "made\nprint(1)\ntest\n"
    history = engine("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "seed:1")
    assert history.splitlines()[:6] == [
        'CMD ["cat" "/made" "seen"]|buildkit.dockerfile.v0',
        'RUN /bin/sh -c cat app.py > seen; echo "$MODE" >> seen # buildkit|buildkit.dockerfile.v0',
        "ENV MODE=test|buildkit.dockerfile.v0",
        "COPY app.py data ./ # buildkit|buildkit.dockerfile.v0",
        "WORKDIR /app|buildkit.dockerfile.v0",
        "RUN /bin/sh -c echo made > /made && mkdir -p /opt/x # buildkit|buildkit.dockerfile.v0",
    ]


def edited(project: Project, *options: str) -> list[str]:
    """What became of the steps that are not in the cache, and of the first one after them."""
    found = outcomes(project.build("-t", "edit:1", *options)).values()
    return [each.removeprefix("not cached: ") for each in found if each != "CACHED"]


def test_a_miss_says_what_differs(project: Project) -> None:
    dockerfile = (
        "FROM small:1\nARG USED=1\nENV A=1\nRUN echo $USED > /used\nARG LATER\n"
        "COPY --chown=33 app /app/\nRUN true\n"
    )
    project.write("Dockerfile", dockerfile)
    project.write("app/main.py", "1\n")
    project.write("app/notes.md", "1\n")
    project.write(".dockerignore", "**/*.md\n")
    project.build("-t", "edit:1")
    main = project.directory / "app/main.py"

    os.utime(main, (1, 1))
    assert edited(project) == []
    project.write("app/notes.md", "2\n")  # which is ignored
    assert edited(project, "--build-arg", "UNUSED=1") == []
    assert edited(project, "--build-arg", "USED=2")[:2] == [
        "arguments USED is 2, was 1",
        "it follows [2/4]",
    ]
    # What stands on it has the same files: only RUN knows of the argument.
    assert edited(project, "--build-arg", "LATER=1") == ["arguments LATER is 1, was none"]
    main.chmod(0o755)
    assert edited(project) == ["app/main.py: mode 755, was 644", "it follows [3/4]"]
    project.write("app/main.py", "22\n")
    assert edited(project) == ["app/main.py: content", "it follows [3/4]"]
    project.write("app/new.py", "")
    assert edited(project)[0] == "app/new.py: new"
    project.write("Dockerfile", dockerfile.replace("RUN true", "RUN true && true"))
    assert edited(project) == ["command is /bin/sh -c true && true, was /bin/sh -c true"]
    project.write("Dockerfile", dockerfile.replace("A=1", "A=2"))
    assert edited(project)[0] == "environment A is 2, was 1"
    assert edited(project, "--no-cache") == ["--no-cache"] * 3


def test_a_command_that_fails_ends_the_build(project: Project) -> None:
    project.write("Dockerfile", "FROM small:1\nRUN echo before\nRUN echo last words; exit 3\n")

    done = project.attempt()

    assert done.returncode == 1
    *_, where, last, line = ["", *done.stderr.splitlines()]
    assert where == "------"
    assert "last words" in done.stderr.splitlines()
    assert line == "  RUN echo last words; exit 3"
    assert last == (
        f"overlayfs-py: {project.directory}/Dockerfile:3:1: process "
        '"/bin/sh -c echo last words; exit 3" did not complete successfully: exit code: 3'
    )


STAGES = """\
FROM small:1 AS unused
RUN exit 1
FROM small:1 AS build
RUN --mount=type=cache,target=/cache echo more >> /cache/log && cat /cache/log > /log
RUN mkdir /out && echo built > /out/a && ln -s a /out/b
FROM scratch AS files
COPY --from=build /out /
FROM small:1
RUN --mount=type=bind,from=files,target=/mnt/f --mount=type=tmpfs,target=/scratch \\
    --mount=type=secret,id=token,target=/run/token --mount=type=secret,id=token,env=TOKEN \\
    --mount=type=bind,source=go.mod,target=go.mod <<EOF
cat /mnt/f/b /run/token go.mod > /seen
echo "$TOKEN" >> /seen
echo lost > /scratch/lost
! echo lost > /mnt/f/a
EOF
RUN <<EOF
#!/bin/cat
program
EOF
COPY <<one <<"two" /docs/
1 $PATH
one
2 $PATH
two
RUN --network=none wc -l < /proc/net/dev > /devices && \
    busybox grep Seccomp: /proc/self/status >> /devices
"""


def test_stages_mounts_and_heredocs(project: Project, engine: Engine) -> None:
    project.write("Dockerfile", STAGES)
    project.write("go.mod", "module\n")
    project.write("../token", "secret")
    options = ("-t", "stages:1", "--secret", f"id=token,src={project.directory.parent}/token")

    project.build(*options)
    again = outcomes(project.build(*options))

    assert set(again.values()) == {"CACHED"}
    assert not any("unused" in name for name in again)
    listing = engine("image", "files", "stages:1").splitlines()
    added = {line.split()[-1] for line in listing} - {
        line.split()[-1] for line in engine("image", "files", "small:1").splitlines()
    }
    assert added == {"/seen", "/docs", "/docs/one", "/docs/two", "/devices"}
    assert engine("run", "--rm", "stages:1", "cat", "/seen", "/devices") == (
        "built\nsecretmodule\nsecret\n3\nSeccomp:\t2\n"
    )
    log = ["run", "--rm", "log:1", "cat", "/log"]
    project.build("--target", "build", "--no-cache=build", "-t", "log:1")
    assert engine(*log) == "more\nmore\n"


TWINS = """FROM small:1 AS one
RUN head -c 16 /dev/urandom > /random
FROM small:1 AS two
RUN head -c 16 /dev/urandom > /random
FROM small:1
COPY --from=one /random /1
COPY --from=two /random /2
"""


def test_a_step_that_another_stage_is_making_is_waited_for(project: Project) -> None:
    project.write("Dockerfile", TWINS)

    made = outcomes(project.build("--jobs", "3"))

    twins = sorted(told for name, told in made.items() if "RUN head" in name)
    assert twins == ["CACHED", "not cached: nothing like it was built before"]


def test_a_command_after_large_files_of_another_stage(project: Project, engine: Engine) -> None:
    """An ordinary user enters a namespace for it, in which a process has to be alone."""
    project.write(
        "Dockerfile",
        "FROM scratch AS files\nCOPY large /\nFROM small:1\nCOPY --from=files /large /\n"
        "RUN wc -c < /large > /size\n",
    )
    (project.directory / "large").write_bytes(os.urandom(3 << 20))

    project.build("-t", "large:1")

    assert engine("run", "--rm", "large:1", "cat", "/size") == f"{3 << 20}\n"


SAME = """\
FROM small:1
ARG SOURCE_DATE_EPOCH
WORKDIR /w
COPY . .
COPY <<EOF /text
here
EOF
RUN mkdir new && echo x > new/file && touch -d '2001-01-01 00:00:00' new/old && rm one
"""


def test_the_same_input_gives_the_same_image(project: Project, engine: Engine) -> None:
    project.write("Dockerfile", SAME)
    project.write("one", "1\n")
    project.write("two/three", "3\n")
    epoch = ("--build-arg", "SOURCE_DATE_EPOCH=1000000000", "--no-cache")

    first = project.image(*epoch)
    shutil.copytree(project.directory, project.directory.with_name("elsewhere"))
    project.directory = project.directory.with_name("elsewhere")
    for path in project.directory.rglob("*"):
        os.utime(path, (2_000_000_000, 2_000_000_000))
    umask = os.umask(0o077)
    try:
        second = project.image(*epoch)
    finally:
        os.umask(umask)

    assert first == second
    layers = engine("inspect", "--format", "{{json .RootFS.Layers}}", first)
    LAYERS.append(layers)
    assert LAYERS[0] == layers  # as root and as an ordinary user
    assert engine("inspect", "--format", "{{.Created}}", first) == "2001-09-09T01:46:40Z\n"


LAYERS: list[str] = []


def test_a_build_that_is_killed_leaves_nothing(project: Project, engine: Engine) -> None:
    project.write("Dockerfile", "FROM small:1\nRUN echo first > /first\nRUN echo begun; sleep 60\n")
    for number in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen(
            engine.argv("build", project.directory),
            env=engine.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert any("begun" in line.split() for line in process.stderr)
        process.send_signal(number)
        process.wait(20)
        process.stderr.close()
        wait_until(lambda: not processes_naming(str(engine.directory)), "all that it started")

        engine("store", "prune")  # what is left of one that was killed is rubbish
        assert engine("store", "fsck") == "nothing is wrong\n"
        project.write("Dockerfile", "FROM small:1\nRUN echo first > /first\nRUN echo other\n")
        assert next(iter(outcomes(project.build()).values())) == "CACHED"
        project.write(
            "Dockerfile", "FROM small:1\nRUN echo first > /first\nRUN echo begun; sleep 61\n"
        )


def test_the_cache_is_pruned(project: Project, engine: Engine) -> None:
    project.write(
        "Dockerfile", "FROM small:1\nRUN --mount=type=cache,target=/c,id=mine touch /c/x\n"
    )
    project.build("-t", "kept:1")
    steps = engine("builder", "df")
    assert "RUN --mount=type=cache" in steps
    assert "cache mount mine" in steps

    engine("builder", "prune", "-f")
    assert "RUN --mount=type=cache" in engine("builder", "df")  # an image has its layer
    engine("builder", "prune", "-af")

    assert engine("builder", "df").splitlines()[1:] == []
    assert engine("store", "fsck") == "nothing is wrong\n"
    assert set(outcomes(project.build("-t", "kept:1")).values()) == {
        "not cached: nothing like it was built before"
    }


def test_failed_files_are_kept(project: Project, engine: Engine) -> None:
    project.write("Dockerfile", "FROM small:1\nRUN echo clue > /clue; exit 7\n")

    done = project.attempt("--keep-failed")

    (line,) = [each for each in done.stderr.splitlines() if each.startswith("its files are kept")]
    words = line.partition("overlayfs-py ")[2].split()
    assert engine(*words, "cat", "/clue") == "clue\n"
    engine("builder", "prune", "-f")
    assert not Path(words[2]).exists()
