"""Secrets: in arguments, in the environment, in layers. What is in a layer stays there."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from overlayfs_py.advice.findings import Found, Rule, Severity
from overlayfs_py.dockerfile.instructions import Arg, Copy, CopyingInstruction, Env, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.advice.view import View
    from overlayfs_py.dockerfile.instructions import Instruction

_SECRET = re.compile(
    r"(?:_|^)(?:API_?KEY|AUTH|CREDENTIALS?|KEY|PASSWORD|PASSPHRASE|PWORD|PASSWD|SECRETS?|TOKEN)(?:_|$)",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    r"(?:_|^)(?:PUBLIC|FILE|PATH|VERSION|URL|URI|NAME|LENGTH|SIZE|TYPE|ENABLED|EXPIR\w*)(?:_|$)",
    re.IGNORECASE,
)
# What secrets look like wherever they stand.
VALUES = {
    "an access key of AWS": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token of GitHub": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}"),
    "a token of GitLab": re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),
    "a token of Slack": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "a token of npm": re.compile(r"\bnpm_[A-Za-z0-9]{36}"),
    "a key of Google": re.compile(r"\bAIza[0-9A-Za-z_-]{35}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a password in a URL": re.compile(
        r"\b[a-z][a-z0-9+.-]{0,20}://[^\s:/@$]+:[^\s:/@$]+@", re.IGNORECASE
    ),
}
_FILES = re.compile(
    r"(^|/)(id_(rsa|dsa|ecdsa|ed25519)|\.env(\.(local|prod\w*))?|\.npmrc|\.pypirc|\.netrc|"
    r"\.git-credentials|\.htpasswd|\.aws(/.*)?|\.ssh(/.*)?|\.kube(/.*)?|.*\.(pem|p12|pfx|key|keystore|jks)|"
    r"credentials(\.json)?|service[-_]account.*\.json|secrets?\.(json|ya?ml|txt|env))$",
    re.IGNORECASE,
)
_LONGEST_NAME = 300
_MOUNT = "RUN --mount=type=secret,id={name},env={name} ..."


def names_a_secret(name: str) -> bool:
    """Whether a variable of that name is likely to have a secret as its value."""
    return bool(_SECRET.search(name)) and not _HARMLESS.search(name)


def _named(view: View) -> Iterator[Found]:
    for arg in view.dockerfile.arguments:
        yield from _named_in(arg)
    for stage in view.stages:
        for each in stage.stage.instructions:
            yield from _named_in(each)


def _named_in(instruction: Instruction) -> Iterator[Found]:
    if isinstance(instruction, Arg):
        names = [argument.name for argument in instruction.arguments]
        cost = "its value is in the history of the image, for all that have the image"
    elif isinstance(instruction, Env):
        names = [pair.name for pair in instruction.pairs if pair.value]
        cost = "its value is in the config of the image, for all that have the image"
    else:
        return
    for name in names:
        if names_a_secret(name):
            yield Found(
                instruction.position,
                f"{instruction.NAME} {name} looks like a secret",
                cost=cost,
                rewrite=_MOUNT.format(name=name),
                last_line=instruction.last_line,
            )


def _written(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for each in (stage.stage, *stage.stage.instructions):
            texts = [each.source]
            texts += [heredoc.content for heredoc in getattr(each, "heredocs", ())]
            texts += [heredoc.content for heredoc in getattr(each, "files", ())]
            for what, pattern in VALUES.items():
                if any(pattern.search(text) for text in texts):
                    yield Found(
                        each.position,
                        f"{what} stands here",
                        cost="it is in the history and in the layer, in every copy of the image",
                        rewrite=_MOUNT.format(name="TOKEN") + ", and a new secret: this one is out",
                        last_line=each.last_line,
                    )


def _files(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for copy in stage.all(CopyingInstruction):
            if isinstance(copy, Copy) and copy.origin:
                continue
            for source in copy.sources:
                if _FILES.search(source.rstrip("/")[-_LONGEST_NAME:]) and not source.endswith(
                    (".pub", ".example")
                ):
                    name = posixpath.basename(source.rstrip("/"))
                    yield Found(
                        copy.position,
                        f"{source} looks like a secret",
                        cost="it is in this layer, even if a later one removes it"
                        if stage.kept
                        else "it is in the build cache, and in what copies this stage",
                        rewrite=f"RUN --mount=type=secret,id={name},target={copy.destination} ...",
                        last_line=copy.last_line,
                    )


def _used_argument(view: View) -> Iterator[Found]:
    for stage in view.stages:
        secrets = {
            argument.name
            for arg in stage.all(Arg)
            for argument in arg.arguments
            if names_a_secret(argument.name)
        }
        for run in stage.all(Run):
            text = run.script.text if run.command.shell else run.command.text
            for name in sorted(secrets):
                written = re.search(rf"\$\{{?{re.escape(name)}\b[^|;&\n]{{0,500}}>", text)
                if written is not None and stage.kept:
                    yield Found(
                        run.position,
                        f"the value of {name} is written to a file",
                        cost="it is in this layer, even if a later one removes it",
                        rewrite=_MOUNT.format(name=name),
                        last_line=run.last_line,
                    )


RULES = (
    Rule(
        "SecretsUsedInArgOrEnv",
        Severity.WARNING,
        "an ARG or ENV with the name of a secret",
        _named,
        ("DL3064",),
    ),
    Rule("SecretInText", Severity.ERROR, "a secret in the Dockerfile", _written),
    Rule("SecretFile", Severity.WARNING, "COPY of a file with the name of a secret", _files),
    Rule(
        "SecretInLayer",
        Severity.WARNING,
        "a secret argument that a RUN writes to a file",
        _used_argument,
    ),
)
