"""A Dockerfile's text becomes stages of typed instructions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from overlayfs_py.dockerfile.errors import DockerfileError
from overlayfs_py.dockerfile.instructions import (
    Add,
    Argument,
    Cmd,
    CommandLine,
    Copy,
    Entrypoint,
    Env,
    Healthcheck,
    Onbuild,
    Pair,
    Run,
    Script,
    Shell,
)
from overlayfs_py.dockerfile.parsing import parse, parse_trigger

if TYPE_CHECKING:
    from overlayfs_py.dockerfile.instructions import Dockerfile, Instruction


def _parsed(text: str) -> Dockerfile:
    return parse(text.encode(), "Dockerfile")


def _one(text: str) -> Instruction:
    (stage,) = _parsed(f"FROM scratch\n{text}").stages
    (found,) = stage.instructions
    return found


def test_stages_have_names_bases_and_platforms() -> None:
    first, second = _parsed(
        "ARG TAG=12 EMPTY\nFROM --platform=$BUILDPLATFORM debian:$TAG AS Build\nFROM build\n"
    ).stages

    assert (first.base, first.platform, first.name) == ("debian:$TAG", "$BUILDPLATFORM", "build")
    assert (second.base, second.platform, second.name) == ("build", "", None)


def test_arguments_before_the_first_stage_are_apart() -> None:
    (arg,) = _parsed("ARG TAG=12 EMPTY= NONE\nFROM debian:$TAG\n").arguments

    assert arg.arguments == (Argument("TAG", "12"), Argument("EMPTY", ""), Argument("NONE"))


def test_a_run_has_its_mounts_and_network() -> None:
    run = _one("RUN --mount=type=cache,target=/c --network=none --mount=from=a,target=/b make")

    assert isinstance(run, Run)
    assert run.command == CommandLine(("make",), shell=True)
    assert run.network == "none"
    assert [(mount.text, mount.origin) for mount in run.mounts] == [
        ("type=cache,target=/c", None),
        ("from=a,target=/b", "a"),
    ]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("CMD a  b ", CommandLine(("a  b",), shell=True)),
        ('CMD ["a", "b c"]', CommandLine(("a", "b c"), shell=False)),
        ("CMD []", CommandLine((), shell=False)),
        ("CMD ['a']", CommandLine(("['a']",), shell=True)),
        ('CMD ["a"] more', CommandLine(('["a"] more',), shell=True)),
        (r'CMD ["\ud83d\ude00", "\ud83d"]', CommandLine(("😀", "\ufffd"), shell=False)),
    ],
)
def test_a_command_is_a_list_or_for_the_shell(text: str, command: CommandLine) -> None:
    for name, kind in (("CMD", Cmd), ("ENTRYPOINT", Entrypoint)):
        found = _one(text.replace("CMD", name))

        assert isinstance(found, kind)
        assert found.command == command


def test_a_heredoc_without_command_is_the_script() -> None:
    run = _one("RUN <<EOF\necho 1\n  echo 2\nEOF\n")

    assert isinstance(run, Run)
    assert run.script == Script("echo 1\n  echo 2\n")
    assert run.last_line == 5


def test_a_heredoc_that_begins_with_a_shebang_is_a_program() -> None:
    run = _one("RUN <<-'run.py'\n\t#!/usr/bin/python3\n\tprint(1)\n\trun.py\n")

    assert isinstance(run, Run)
    assert run.script.file is not None
    assert run.script.file.name == "run.py"
    assert run.script.file.body == "#!/usr/bin/python3\nprint(1)\n"


def test_heredocs_beside_a_command_are_the_shells() -> None:
    run = _one("RUN cat <<A - <<-B 3<<C\n1\nA\n\t2\nB\n3\nC\n")

    assert isinstance(run, Run)
    assert run.script == Script("cat <<A - <<-B 3<<C\n1\nA\n\t2\nB\n3\nC")
    assert [heredoc.mark.descriptor for heredoc in run.heredocs] == [0, 0, 3]


def test_a_copy_makes_files_of_heredocs() -> None:
    copy = _one('COPY --chmod=755 <<a.txt c <<-"b" /d/\n$v\na.txt\n\t$v\n\tb\n')

    assert isinstance(copy, Copy)
    assert copy.sources == ("c",)
    assert [(file.name, file.body, file.mark.expand) for file in copy.files] == [
        ("a.txt", "$v\n", True),
        ("b", "$v\n", False),
    ]


def test_flags_of_copy_and_add() -> None:
    copy = _one("COPY --from=b --link --parents=false --exclude=a --exclude=b* --chown=1:2 a b /")
    add = _one("ADD --checksum=sha256:0 --keep-git-dir --unpack=false https://a/b c")

    assert isinstance(copy, Copy)
    assert (copy.origin, copy.link, copy.parents, copy.chown) == ("b", True, False, "1:2")
    assert copy.exclude == ("a", "b*")
    assert copy.sources == ("a", "b")
    assert isinstance(add, Add)
    assert (add.checksum, add.keep_git_dir, add.unpack) == ("sha256:0", True, False)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        (
            "ENV a=1 b='x y' c=\"$a\" d=\\ e",
            (("a", "1"), ("b", "'x y'"), ("c", '"$a"'), ("d", "\\ e")),
        ),
        ("ENV a  1 2 'x'", (("a", "1 2 'x'"),)),
        ("ENV a b=c", (("a", "b=c"),)),
        ('ENV a=\'x\\\' b="y\\" z"', (("a", "'x\\'"), ("b", '"y\\" z"'))),
    ],
)
def test_both_forms_of_env(text: str, pairs: tuple[tuple[str, str], ...]) -> None:
    env = _one(text)

    assert isinstance(env, Env)
    assert env.pairs == tuple(Pair(*pair, old_form=len(pairs) == 1) for pair in pairs)


def test_a_health_check_has_times() -> None:
    check = _one("HEALTHCHECK --interval=1m30s --start-interval=5s --retries=3 CMD curl localhost")

    assert isinstance(check, Healthcheck)
    assert check.test == ("CMD-SHELL", "curl localhost")
    assert (check.interval_ns, check.start_interval_ns, check.retries) == (90 * 10**9, 5 * 10**9, 3)


def test_onbuild_keeps_the_text_and_its_heredoc() -> None:
    onbuild = _one("ONBUILD  RUN <<EOF\nid\nEOF\n")

    assert isinstance(onbuild, Onbuild)
    assert onbuild.expression == "RUN <<EOF\nid\nEOF"
    run = parse_trigger(onbuild.expression, "debian:12")
    assert isinstance(run, Run)
    assert run.script == Script("id\n")


def test_lines_go_on_and_comments_inside_are_none_of_it() -> None:
    stage = _parsed("FROM a\nRUN x \\  \n # no\n\n  y \\\nz\n# Z is\nARG Z\n").stages[0]
    run, arg = stage.instructions

    assert run.source == "RUN x   y z"
    assert (run.position.line, run.last_line, run.empty_lines) == (2, 6, (4,))
    assert arg.comments == ("Z is",)


def test_an_escape_directive_changes_escapes() -> None:
    found = _parsed("# syntax=docker/dockerfile:1\n#escape = `\nFROM a\nRUN dir c:\\ `\n z\n")

    assert found.directives.syntax == "docker/dockerfile:1"
    assert found.stages[0].instructions[0].source == "RUN dir c:\\  z"


def test_a_byte_order_mark_and_carriage_returns() -> None:
    found = parse(b'\xef\xbb\xbfFROM a\r\nRUN a \\\r\n b\r\nSHELL ["a"]\r\n', "D")
    run, shell = found.stages[0].instructions

    assert run.source == "RUN a  b"
    assert isinstance(shell, Shell)


def test_bytes_that_are_not_utf8_stay_in_heredocs_and_comments() -> None:
    found = parse(b"# \xe9\nFROM a\nCOPY <<f /\n\xe9\nf\n", "D")
    copy = found.stages[0].instructions[0]

    assert isinstance(copy, Copy)
    assert copy.files[0].content.encode("utf-8", "surrogateescape") == b"\xe9\n"


def test_errors_show_the_line_and_the_place() -> None:
    with pytest.raises(DockerfileError) as raised:
        _parsed("FROM a\nRUN true \\\n  && true\nCOPY --form=b \\\n  c d\n")

    assert str(raised.value) == (
        "Dockerfile:4:6: unknown flag '--form' of COPY, did you mean --from?"
    )
    assert raised.value.details == ("  COPY --form=b \\", "       ^")
