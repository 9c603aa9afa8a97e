"""What an image should not have: secrets, in layers, the config and the history; loose modes."""

from __future__ import annotations

import re
import stat
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.advice.findings import Severity
from overlayfs_py.advice.image_findings import Advice, instruction, largest_first
from overlayfs_py.advice.secret_rules import VALUES, names_a_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.advice.image_facts import FileFact, ImageFacts
    from overlayfs_py.advice.image_stack import ImageStack

_LOOKED_AT_BYTES = 64 * 1024  # of one file: secrets are small
# Keys that everybody has: tests, examples and documentation of packages.
_PUBLIC = re.compile(rb"(?:^|/)(?:tests?|testing|testdata|fixtures|examples?|docs?|man)/|\.pub$")
_MOUNT = "RUN --mount=type=secret,id=...; a secret that was in an image is out: make a new one"


class _Kind(NamedTuple):
    """Files that hold a secret: by name, and by what stands in them."""

    what: str
    paths: re.Pattern[bytes]
    content: re.Pattern[bytes]


_KINDS = (
    _Kind(
        "a private key",
        re.compile(
            rb"(?:^|/)id_(?:rsa|dsa|ecdsa|ed25519)$|\.(?:pem|key)$|(?:^|/)ssh_host_\w+_key$"
        ),
        re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    ),
    _Kind(
        "a file of variables with a secret",
        re.compile(rb"(?:^|/)\.env(?:\.(?!example$|sample$|template$|dist$)[^/]*)?$"),
        re.compile(
            rb"^[ \t]*(?:export )?\w*(?:SECRET|TOKEN|PASSWORD|PASSWD|API_?KEY)\w*="
            rb"[\"']?[^\s\"'$<]{6,}",
            re.IGNORECASE | re.MULTILINE,
        ),
    ),
    _Kind(
        "a login of npm",
        re.compile(rb"(?:^|/)\.npmrc$"),
        re.compile(rb"_(?:authToken|auth|password)\s*=\s*[^\s$]{8,}"),
    ),
    _Kind(
        "a login of PyPI",
        re.compile(rb"(?:^|/)\.pypirc$"),
        re.compile(rb"password\s*[=:]\s*\S{6,}"),
    ),
    _Kind("a login", re.compile(rb"(?:^|/)\.netrc$"), re.compile(rb"password\s+\S+")),
    _Kind(
        "a login of git",
        re.compile(rb"(?:^|/)\.git-credentials$"),
        re.compile(rb"://[^\s:/]+:[^\s@]+@"),
    ),
    _Kind(
        "a login of registries",
        re.compile(rb"(?:^|/)\.docker/config\.json$|(?:^|/)\.dockercfg$"),
        re.compile(rb'"(?:auth|identitytoken)"\s*:\s*"[^"]{8,}"'),
    ),
    _Kind(
        "a login of AWS",
        re.compile(rb"(?:^|/)\.aws/credentials$"),
        re.compile(rb"aws_secret_access_key\s*=\s*\S{20,}"),
    ),
    _Kind(
        "a login of Kubernetes",
        re.compile(rb"(?:^|/)\.kube/config$"),
        re.compile(rb"(?:client-key-data|token|password)\s*:\s*\S{8,}"),
    ),
    _Kind(
        "a login of Google",
        re.compile(rb"(?:^|/)[^/]*(?:credentials|service[-_]account)[^/]*\.json$"),
        re.compile(rb'"private_key"\s*:\s*"-----BEGIN'),
    ),
    _Kind(
        "hashes of passwords",
        re.compile(rb"(?:^|/)\.htpasswd$"),
        re.compile(rb"^[^:\s]+:\$?\S{8,}", re.MULTILINE),
    ),
)
_REPOSITORY = re.compile(rb"^(?:.*/)?\.git/HEAD$")


def secrets(facts: ImageFacts, stack: ImageStack) -> Iterator[Advice]:
    """Secrets in files of any layer; one that a later layer deletes is still in its own."""
    hidden_by = {(each.fact.at, each.fact.path): each.by for each in stack.hidden}
    for layer in facts.layers:
        for fact in layer.files:
            if fact.is_regular and fact.size and not _PUBLIC.search(fact.path):
                what = _secret_in(facts, fact)
                if what is not None:
                    yield _told(fact, what, hidden_by.get((fact.at, fact.path)))


def _secret_in(facts: ImageFacts, fact: FileFact) -> str | None:
    if _REPOSITORY.match(fact.path):
        return "a repository of git, with all that ever was in it"
    for kind in _KINDS:
        if kind.paths.search(fact.path) and kind.content.search(
            facts.beginning(fact, _LOOKED_AT_BYTES)
        ):
            return kind.what
    return None


def _told(fact: FileFact, what: str, by: int | None) -> Advice:
    still = "" if by is None else f"; layer {by} only hides it"
    is_repository = what.startswith("a repository")
    return Advice(
        "RepositoryInLayer" if is_repository else "SecretInLayer",
        Severity.WARNING if is_repository else Severity.ERROR,
        f"{what} in layer {fact.at}{still}",
        fact.at,
        (fact.path.removesuffix(b"/HEAD") if is_repository else fact.path,),
        ".dockerignore: **/.git" if is_repository else _MOUNT,
    )


def told_secrets(facts: ImageFacts) -> Iterator[Advice]:
    """Secrets in the history, and in the environment and labels of the config."""
    for layer in facts.config.history:
        for what, pattern in VALUES.items():
            if pattern.search(layer.created_by):
                text = instruction(layer.created_by)
                yield Advice(
                    "SecretInHistory",
                    Severity.ERROR,
                    f"{what} in the history: {_masked(pattern, text)}",
                    rewrite=_MOUNT,
                )
    for variable in facts.config.run.env or ():
        name, _, value = variable.partition("=")
        if value and (names_a_secret(name) or any(each.search(value) for each in VALUES.values())):
            message = f"the variable {name} of the config looks like a secret"
            yield Advice("SecretInConfig", Severity.ERROR, message, rewrite=_MOUNT)


def _masked(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub("***", text)


def modes(facts: ImageFacts, stack: ImageStack) -> Iterator[Advice]:
    """Files with set-id bits, and what everybody may write to."""
    set_id: dict[int, list[FileFact]] = defaultdict(list)
    writable: dict[int, list[FileFact]] = defaultdict(list)
    for fact in stack.visible():
        if fact.is_regular and fact.mode & (stat.S_ISUID | stat.S_ISGID):
            set_id[fact.at].append(fact)
        if _is_open_to_all(fact):
            writable[fact.at].append(fact)
    for at, files in sorted(set_id.items()):
        yield Advice(
            "SetUserId",
            Severity.INFO,
            f"{_programs(len(files))} with set-user-ID or set-group-ID in layer {at}",
            at,
            largest_first(files),
            "RUN chmod ug-s FILE, where nobody needs it",
        )
    for at, files in sorted(writable.items()):
        yield Advice(
            "WorldWritable",
            Severity.WARNING,
            f"everybody may write to {_things(len(files))} of layer {at}",
            at,
            largest_first(files),
            "chmod o-w, or o+t for a directory that all share",
        )


def _programs(count: int) -> str:
    return "1 program" if count == 1 else f"{count} programs"


def _things(count: int) -> str:
    return "a file or directory" if count == 1 else f"{count} files and directories"


def _is_open_to_all(fact: FileFact) -> bool:
    if not fact.mode & stat.S_IWOTH:
        return False
    return fact.is_regular or (fact.is_directory and not fact.mode & stat.S_ISVTX)
