"""Git repositories as contexts and as sources of ADD, by the git program where it is installed.

No hook of a repository runs. Source: moby/buildkit, frontend/dockerfile/dfgitutil and source/git.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from overlayfs_py.builds.failures import BadContext, SourceNotFound
from overlayfs_py.late_import import late_pattern

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path

_SCHEMES = late_pattern(r"(?:git|ssh|https?|file)://", re.ASCII)
_SCP = late_pattern(r"[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:(?!//)", re.ASCII)
_HOSTS_KNOWN = ("github.com/", "gitlab.com/", "bitbucket.org/")
_FULL_COMMIT = late_pattern(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SAFE_REF = late_pattern(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]*", re.ASCII)
_LONGEST_FETCH_S = 1800
_SETTINGS = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "protocol.ext.allow=never",
    "-c",
    "core.autocrlf=false",
    "-c",
    "core.symlinks=true",
    "-c",
    "advice.detachedHead=false",
    "-c",
    "init.defaultBranch=main",
)


class Repository(Struct, frozen=True):
    """Where a repository is, and what of it is meant."""

    remote: str
    ref: str = ""  # a branch, a tag or a commit; empty: the remote's own choice
    directory: str = ""  # below the repository's root

    def __str__(self) -> str:
        return self.remote


def parse_repository(text: str) -> Repository | None:
    """Return the repository that a source or context names, None if it names something else.

    The forms are docker's: `https://HOST/PATH.git`, `git@HOST:PATH`, `ssh://`, `git://` and
    `file://` URLs, each maybe with `#REF` and `:DIRECTORY` behind.
    """
    remote, _, fragment = text.partition("#")
    ref, _, directory = fragment.partition(":")
    if remote.startswith(_HOSTS_KNOWN):
        return Repository(f"https://{remote}", ref, directory)
    scheme = _SCHEMES.match(remote)
    if scheme is None:
        if _SCP.match(remote) is None:
            return None
    elif scheme[0] in {"http://", "https://"} and not remote.endswith(".git"):
        return None
    return Repository(remote, ref, directory)


def is_bare(path: bytes) -> bool:
    """Whether a directory of the host is a repository without a tree: only git can show its files.

    One with a tree is a directory like any other, `.git` and all, as docker has it.
    """
    return all(os.path.lexists(os.path.join(path, name)) for name in (b"HEAD", b"objects", b"refs"))


def check_out(
    repository: Repository,
    target: Path,
    environment: Mapping[str, str],
    *,
    keep_git_dir: bool = False,
    checksum: str = "",
) -> Path:
    """Put a repository's files into an empty directory; returns the one that is meant.

    All files have the time of their commit, and modes that do not depend on the umask.

    Args:
        repository: which one.
        target: an empty directory, which the caller removes.
        environment: the user's, which says how git reaches it.
        keep_git_dir: leave `.git` there.
        checksum: the commit that it must be, or its first digits.

    Raises:
        BadContext: git is not installed, or cannot get it.
        SourceNotFound: it does not have the directory.
    """
    git = _Git(repository, target, environment)
    if repository.ref and _SAFE_REF.fullmatch(repository.ref) is None:
        raise BadContext(str(repository), f"{repository.ref!r} cannot be a branch, tag or commit")
    git.run("init", "--quiet")
    git.run("remote", "add", "origin", "--", repository.remote)
    git.fetch()
    commit = git.run("rev-parse", "FETCH_HEAD^{commit}").strip()
    if checksum and not commit.startswith(checksum):
        raise BadContext(str(repository), f"commit {commit}, expected {checksum}")
    git.run("checkout", "--quiet", "--force", "--detach", commit)
    git.run("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
    time_ns = int(git.run("show", "--no-patch", "--format=%ct", commit)) * 1_000_000_000
    if not keep_git_dir:
        _remove_git(os.fsencode(target))
    _set_times(os.fsencode(target), time_ns)
    return _subdirectory(repository, target)


class _Git:
    def __init__(
        self, repository: Repository, target: Path, environment: Mapping[str, str]
    ) -> None:
        import shutil

        program = shutil.which("git", path=environment.get("PATH", os.defpath))
        if program is None:
            why = "a git repository needs the git program, which is not installed"
            raise BadContext(str(repository), why)
        self._words = [program, *_SETTINGS, "-C", os.fspath(target)]
        self._repository = repository
        # Never asks on the terminal; a repository that includes others reads none of the host.
        self._environment = {**environment, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CONFIG_COUNT"):
            self._environment.pop(name, None)

    def run(self, *words: str) -> str:
        done = self._run(*words)
        if done.returncode:
            raise BadContext(str(self._repository), _reason(done.stderr))
        return done.stdout.decode(errors="replace")

    def fetch(self) -> None:
        """Fetch one commit; some servers give single commits only by their branches."""
        ref = self._repository.ref or "HEAD"
        shallow = self._run("fetch", "--quiet", "--depth=1", "origin", ref)
        if not shallow.returncode:
            return
        if not _FULL_COMMIT.fullmatch(ref):
            raise BadContext(str(self._repository), _reason(shallow.stderr))
        self.run("fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*")
        self.run("fetch", "--quiet", ".", ref)

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        import subprocess

        try:
            return subprocess.run(
                [*self._words, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=self._environment,
                umask=0o022,
                timeout=_LONGEST_FETCH_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            why = f"git took more than {_LONGEST_FETCH_S} s"
            raise BadContext(str(self._repository), why) from None


def _reason(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").strip().splitlines()
    told = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines[-1:]
    return f"git: {told[0]}" if told else "git failed"


def _remove_git(root: bytes) -> None:
    """Remove `.git` of the repository, and the files of that name that its submodules have."""
    import shutil

    shutil.rmtree(os.path.join(root, b".git"))
    for directory, names, files in os.walk(root):
        if b".git" in files:
            os.unlink(os.path.join(directory, b".git"))
        if b".git" in names:
            names.remove(b".git")


def _set_times(root: bytes, time_ns: int) -> None:
    for directory, names, files in os.walk(root, topdown=False):
        for name in (*files, *names):  # a link to a directory is among its names
            path = os.path.join(directory, name)
            os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)
    os.utime(root, ns=(time_ns, time_ns))


def _subdirectory(repository: Repository, target: Path) -> Path:
    here = os.path.realpath(target)
    found = os.path.realpath(os.path.join(here, repository.directory.lstrip("/")))
    if os.path.commonpath([here, found]) != here or not os.path.isdir(found):
        raise SourceNotFound(str(repository), f"it has no directory {repository.directory}")
    return target.__class__(found)
