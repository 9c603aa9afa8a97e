"""Edits of a project, and which of its steps the cache has afterwards: ours, and BuildKit's.

Each case is a Dockerfile that is built, an edit, and a second build. `ours` has a letter for each
step of that one: H, the cache has it; M, it is made. `theirs` is BuildKit 0.34's where it is
otherwise, and `why` ours is not. `scripts/compare-cache` builds them by both.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A build, an edit and a build again."""

    what: str
    dockerfile: str
    ours: str
    edit: str = ""  # commands of a shell, in the context
    after: str = ""  # the Dockerfile of the second build, if it is another one
    options: tuple[str, ...] = ()
    then: tuple[str, ...] | None = None  # options of the second build, if they are others
    theirs: str = ""
    why: str = ""


FILES = """\
FROM base
COPY dir /dir
COPY a.txt b.txt /f/
RUN cat /f/a.txt > /seen
"""
CONTEXT = """\
FROM base
COPY . /ctx/
RUN ls /ctx > /ls
"""
RUNS = """\
FROM base
ARG EARLY=1
ENV A=1 B=2
LABEL x=1 y=2
RUN echo one > /one
COPY a.txt /a
ARG LATE=1
RUN echo two > /two
"""
COMMAND = """\
FROM base
COPY a.txt /a
RUN echo > /x
"""
MOUNTS = """\
FROM base
RUN --mount=type=bind,source=dir,target=/m --mount=type=cache,id=c1,target=/c \\
    --mount=type=secret,id=s,target=/s --mount=type=tmpfs,target=/t,size=1m echo x > /x
"""
STAGES = """\
FROM base AS build
COPY a.txt /in
RUN wc -l < /in > /out
FROM base
COPY --from=build /out /out
RUN cat /out > /seen
"""
HEREDOCS = """\
FROM base
ENV V=1
RUN <<EOF
echo body > /body
EOF
COPY <<EOF /text
text
EOF
"""
LINKED = """\
FROM base
COPY --link a.txt /a
COPY --link b.txt /b
"""
_SECRET = ("--secret", "id=s,src=secret")
_XATTR = "python3 -c \"import os; os.setxattr('a.txt', 'user.x', b'1')\""
_SAME_LAYERS = "what is in the layer is the same, and that is what a key has"

CASES = (
    # Files.
    Case("nothing", FILES, "HHH"),
    Case("times", FILES, "HHH", "touch -d 2001-01-01 a.txt dir dir/one.txt"),
    Case("content", FILES, "HMM", "echo more >> a.txt"),
    Case(
        "content of the same size and time",
        FILES,
        "HMM",
        "printf 'X' | dd of=a.txt conv=notrunc 2> dd; rm dd; touch -d 2001-01-01 a.txt",
    ),
    Case("a mode", FILES, "HMM", "chmod 600 a.txt"),
    Case(
        "a mode of a directory",
        FILES,
        "MMM",
        "chmod 700 dir/sub",
        theirs="HHH",
        why="the image would have the old mode",
    ),
    Case("an owner", FILES, "HHH", "chown 33:33 a.txt dir"),
    Case("a name", FILES, "MMM", "mv dir/one.txt dir/uno.txt"),
    Case("a new file", FILES, "MMM", "touch dir/new"),
    Case("a new directory", FILES, "MMM", "mkdir dir/new"),
    Case("a file that is gone", FILES, "MMM", "rm dir/two"),
    Case("a file that no step takes", FILES, "HHH", "echo x > elsewhere; echo x >> readme.md"),
    Case("where a link leads", FILES, "MMM", "ln -sfn one.txt dir/link"),
    Case("a directory becomes a file", FILES, "MMM", "rm -r dir/sub && touch dir/sub"),
    Case("an equal file in its place", FILES, "HHH", "cp a.txt n && mv n a.txt"),
    Case(
        "a directory written anew, in another order",
        FILES,
        "HHH",
        "mkdir n && (cd dir && ls -r | xargs -I{} cp -a {} ../n/) && rm -r dir && mv n dir",
    ),
    Case("an xattr", FILES, "HMM", _XATTR, theirs="HHH", why="xattrs of a context are kept"),
    Case(
        "two equal files become one",
        "FROM base\nCOPY dir /d\n",
        "M",
        "cp -p dir/one.txt dir/z && ln -f dir/one.txt dir/z",
    ),
    Case("the same context elsewhere", FILES, "HHH", "MOVE"),
    # What is left out.
    Case("what .dockerignore hides", CONTEXT, "HH", "echo x >> readme.md"),
    Case("a rule that hides nothing", CONTEXT, "HH", "echo '*.nothing' >> .dockerignore"),
    Case("a rule that hides a file", CONTEXT, "MM", "echo a.txt >> .dockerignore"),
    Case("a rule that shows a file again", CONTEXT, "MM", "echo '!readme.md' >> .dockerignore"),
    Case(
        "what --exclude leaves out",
        "FROM base\nCOPY --exclude=*.md dir /d\n",
        "H",
        "echo x >> dir/notes.md",
    ),
    Case("a pattern matches one more", "FROM base\nCOPY *.txt /g/\n", "M", "touch c.txt"),
    Case("a pattern does not match one more", "FROM base\nCOPY *.txt /g/\n", "H", "touch c.md"),
    Case(
        "a file that a pattern matches has another name",
        "FROM base\nCOPY *.txt /g/\n",
        "M",
        "mv a.txt z.txt",
    ),
    # The Dockerfile's text.
    Case("a comment", FILES, "HHH", after=FILES.replace("COPY a", "# said\nCOPY a")),
    Case(
        "spaces and letters of an instruction",
        FILES,
        "HHH",
        after=FILES.replace("COPY a.txt b.txt", "copy   a.txt   b.txt"),
    ),
    Case("spaces in a command", FILES, "HHM", after=FILES.replace("cat /f", "cat  /f")),
    Case(
        "a line that is continued",
        FILES,
        "HHH",
        after=FILES.replace("cat /f/a.txt >", "cat /f/a.txt \\\n>"),
    ),
    Case("the escape character", FILES, "HHH", after=f"# escape=`\n{FILES}"),
    Case("--label", FILES, "HHH", then=("--label", "x=y")),
    # Config.
    Case("a label", RUNS, "HHH", after=RUNS.replace("RUN echo one", "LABEL a=1\nRUN echo one")),
    Case("the order of labels", RUNS, "HHH", after=RUNS.replace("x=1 y=2", "y=2 x=1")),
    Case(
        "what only containers mind",
        RUNS,
        "HHH",
        after=RUNS.replace(
            "RUN echo one",
            'CMD x\nENTRYPOINT ["y"]\nEXPOSE 80\nVOLUME /v\nHEALTHCHECK CMD z\n'
            "STOPSIGNAL INT\nMAINTAINER me\nRUN echo one",
        ),
    ),
    Case(
        "a variable's value",
        RUNS,
        "MMM",
        after=RUNS.replace("A=1", "A=9"),
    ),
    Case(
        "the order of variables",
        RUNS,
        "MMM",
        after=RUNS.replace("A=1 B=2", "B=2 A=1"),
    ),
    Case(
        "a variable below a step",
        RUNS,
        "HHM",
        after=RUNS.replace("RUN echo two", "ENV C=3\nRUN echo two"),
    ),
    Case(
        "a variable that COPY does not name",
        "FROM base\nENV A=1\nCOPY a.txt /a\n",
        "H",
        after="FROM base\nENV A=2\nCOPY a.txt /a\n",
    ),
    Case(
        "a word in a variable's place",
        "FROM base\nENV D=/x\nCOPY a.txt $D\n",
        "H",
        after="FROM base\nENV D=/y\nCOPY a.txt /x\n",
    ),
    Case("USER", COMMAND, "HM", after=COMMAND.replace("\n", "\nUSER root\n", 1)),
    Case("SHELL", COMMAND, "HM", after=COMMAND.replace("\n", '\nSHELL ["/bin/sh", "-ec"]\n', 1)),
    Case("WORKDIR", COMMAND, "MMM", after=COMMAND.replace("\n", "\nWORKDIR /v\n", 1)),
    Case("an argument that no ARG asks for", RUNS, "HHH", then=("--build-arg", "NOT=1")),
    Case("an argument that is its default", RUNS, "HHH", then=("--build-arg", "EARLY=1")),
    Case(
        "an argument above a RUN that does not name it",
        RUNS,
        "MMM",
        then=("--build-arg", "EARLY=2"),
    ),
    Case("an argument below a step", RUNS, "HHM", then=("--build-arg", "LATE=2")),
    Case(
        "a default that is not used",
        RUNS,
        "HHH",
        after=RUNS.replace("LATE=1", "LATE=7"),
        options=("--build-arg", "LATE=2"),
    ),
    Case(
        "an argument that COPY names",
        "FROM base\nARG D=/x\nCOPY a.txt $D\n",
        "M",
        then=("--build-arg", "D=/y"),
    ),
    Case(
        "an argument that COPY does not name",
        "FROM base\nARG D=/x\nCOPY a.txt /a\n",
        "H",
        then=("--build-arg", "D=/y"),
    ),
    Case("a proxy", RUNS, "HHH", then=("--build-arg", "HTTP_PROXY=http://p:1")),
    Case(
        "SOURCE_DATE_EPOCH",
        "FROM base\nCOPY a.txt /a\n",
        "M",
        then=("--build-arg", "SOURCE_DATE_EPOCH=1"),
        theirs="H",
        why="times are clamped in the layer itself, not where it is exported",
    ),
    # Commands.
    Case("a command", RUNS, "MMM", after=RUNS.replace("echo one", "echo uno")),
    Case(
        "a command that changes nothing",
        "FROM base\nRUN cat /etc/passwd\nCOPY a.txt /a\n",
        "MH",
        after="FROM base\nRUN cat  /etc/passwd\nCOPY a.txt /a\n",
        theirs="MM",
        why=_SAME_LAYERS,
    ),
    Case(
        "a command with the same result, made later",
        RUNS,
        "MMM",
        after=RUNS.replace("RUN echo one", "RUN echo  one"),
    ),
    Case(
        "the same command in words",
        COMMAND,
        "HH",
        after=COMMAND.replace("echo > /x", '["/bin/sh", "-c", "echo > /x"]'),
    ),
    Case("--network", COMMAND, "HM", after=COMMAND.replace("RUN", "RUN --network=none")),
    Case(
        "the body of a heredoc", HEREDOCS, "MM", after=HEREDOCS.replace("echo body", "echo other")
    ),
    Case(
        "the end word of a heredoc, which is the file's name",
        HEREDOCS,
        "HM",
        after=HEREDOCS.replace("EOF", "END"),
    ),
    Case("a file that is a heredoc", HEREDOCS, "HM", after=HEREDOCS.replace("\ntext", "\nother")),
    # Mounts.
    Case("a file of a bind mount", MOUNTS, "M", "echo x >> dir/one.txt", options=_SECRET),
    Case("a file beside a bind mount", MOUNTS, "H", "echo x >> a.txt", options=_SECRET),
    Case("what a secret holds", MOUNTS, "H", "echo other > secret", options=_SECRET),
    Case("a secret that is not given", MOUNTS, "H", options=_SECRET, then=()),
    Case(
        "a secret's name",
        MOUNTS,
        "H",
        after=MOUNTS.replace("id=s", "id=other"),
        options=_SECRET,
        theirs="M",
        why="what a secret is called outside does not show inside",
    ),
    Case(
        "a secret's place",
        MOUNTS,
        "M",
        after=MOUNTS.replace("target=/s", "target=/z"),
        options=_SECRET,
    ),
    Case(
        "a cache mount's name",
        MOUNTS,
        "H",
        after=MOUNTS.replace("id=c1", "id=c2"),
        options=_SECRET,
    ),
    Case(
        "a cache mount's place",
        MOUNTS,
        "M",
        after=MOUNTS.replace("target=/c", "target=/k"),
        options=_SECRET,
    ),
    Case(
        "a tmpfs mount's size",
        MOUNTS,
        "M",
        after=MOUNTS.replace("size=1m", "size=2m"),
        options=_SECRET,
    ),
    Case(
        "a bind mount that may be written to",
        MOUNTS,
        "M",
        after=MOUNTS.replace("source=dir,", "source=dir,rw,"),
        options=_SECRET,
    ),
    # Stages and bases.
    Case(
        "a base of another name and config, with the same layers",
        FILES,
        "HHH",
        after=FILES.replace("FROM base", "FROM relabelled"),
        theirs="MMM",
        why="a key has the base's content",
    ),
    Case("a base with other layers", FILES, "MMM", after=FILES.replace("FROM base", "FROM other")),
    Case(
        "a stage's name",
        STAGES,
        "HHHH",
        after=STAGES.replace("AS build", "AS made").replace("=build", "=made"),
    ),
    Case(
        "a stage that is made anew with the same result",
        STAGES,
        "MMHH",
        "echo another > a.txt",
    ),
    Case("a stage that is made anew with another result", STAGES, "MMMM", "echo more >> a.txt"),
    Case(
        "a stage that nothing takes from",
        STAGES,
        "HHHH",
        after=f"FROM base AS unused\nRUN exit 1\n{STAGES}",
    ),
    Case("--target", STAGES, "HH", then=("--target", "build")),
    Case("--no-cache", FILES, "MMM", then=("--no-cache",)),
    Case("--no-cache of a stage", STAGES, "MMHH", then=("--no-cache=build",)),
    Case(
        "--platform where nothing runs",
        "FROM scratch\nCOPY a.txt /a\n",
        "H",
        then=("--platform", "linux/arm64"),
    ),
    Case(
        "a file of a --build-context",
        "FROM base\nCOPY --from=more three /t\n",
        "M",
        "echo x >> dir2/three",
        options=("--build-context", "more=dir2"),
    ),
    Case(
        "a file that is not taken of a --build-context",
        "FROM base\nCOPY --from=more three /t\n",
        "H",
        "touch dir2/new",
        options=("--build-context", "more=dir2"),
    ),
    # Copies.
    Case(
        "a step below that --link does not mind",
        LINKED,
        "MH",
        "echo x >> a.txt",
        theirs="MM",
        why="it makes the layer anew, of the same files",
    ),
    Case(
        "the order of two copies with --link",
        LINKED,
        "HH",
        after="FROM base\nCOPY --link b.txt /b\nCOPY --link a.txt /a\n",
        theirs="MM",
        why="it makes the layers anew, of the same files",
    ),
    Case(
        "the order of two copies",
        FILES,
        "MMM",
        after="FROM base\nCOPY a.txt b.txt /f/\nCOPY dir /dir\nRUN cat /f/a.txt > /seen\n",
    ),
    Case(
        "a mode that --chmod sets",
        "FROM base\nCOPY --chmod=644 a.txt /a\n",
        "H",
        "chmod 600 a.txt",
        theirs="M",
        why="what --chmod sets does not show",
    ),
    Case(
        "--chmod",
        "FROM base\nCOPY --chmod=644 a.txt /a\n",
        "M",
        after="FROM base\nCOPY --chmod=640 a.txt /a\n",
    ),
    Case(
        "--chown",
        "FROM base\nCOPY --chown=1:1 a.txt /a\n",
        "M",
        after="FROM base\nCOPY --chown=2:1 a.txt /a\n",
    ),
    Case("the place", "FROM base\nCOPY a.txt /a\n", "M", after="FROM base\nCOPY a.txt /b\n"),
    Case(
        "ADD in COPY's place", "FROM base\nCOPY a.txt /a\n", "M", after="FROM base\nADD a.txt /a\n"
    ),
    Case("what a URL gives", "FROM base\nADD @URL@/a.txt /a\n", "M", "echo x >> a.txt"),
    Case(
        "when a URL's file was changed",
        "FROM base\nADD @URL@/a.txt /a\n",
        "H",
        "touch -d 2001-01-01 a.txt",
    ),
    Case("nothing of a URL", "FROM base\nADD @URL@/a.txt /a\n", "H"),
    Case(
        "an archive packed anew",
        "FROM base\nADD archive.tar /a/\n",
        "M",
        "mkdir n && tar xf archive.tar -C n && tar cf archive.tar -C n . && rm -r n",
    ),
)
