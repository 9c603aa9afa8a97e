"""FROM: which image, and how stages are named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from overlayfs_py.advice.findings import Found, Rule, Severity
from overlayfs_py.advice.view import SCRATCH
from overlayfs_py.dockerfile.automatic import PLATFORM_ARGUMENTS
from overlayfs_py.dockerfile.errors import DockerfileError, did_you_mean
from overlayfs_py.dockerfile.expanding import expand_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.advice.view import StageView, View

_RESERVED = ("context", SCRATCH)
_TAG = re.compile(r":(?P<tag>[^/:@]+)(@|$)")
_ARCHITECTURES = ("amd64", "arm64", "arm", "386", "riscv64", "ppc64le", "s390x", "linux", "windows")


def _images(view: View) -> Iterator[tuple[StageView, str]]:
    """Stages that are built on an image, and its name."""
    for stage in view.stages:
        if stage.parent is None and stage.base and stage.base != SCRATCH:
            yield stage, stage.base


def _untagged(view: View) -> Iterator[Found]:
    for stage, image in _images(view):
        if "@" not in image and _TAG.search(image) is None:
            yield Found(
                stage.stage.position,
                f"{image} without a tag is whatever its owner calls latest",
                cost="another image from the same Dockerfile",
                rewrite=_from(stage, f"{stage.stage.base}:TAG"),
            )


def _latest(view: View) -> Iterator[Found]:
    for stage, image in _images(view):
        tag = _TAG.search(image)
        if tag is not None and tag["tag"] == "latest" and "@" not in image:
            yield Found(
                stage.stage.position,
                f"{image} is another image every few weeks",
                cost="another image from the same Dockerfile",
                rewrite=_from(stage, re.sub(":latest$", ":TAG", stage.stage.base)),
            )


def _from(stage: StageView, base: str) -> str:
    return stage.stage.source.replace(stage.stage.base, base, 1)


def _duplicate(view: View) -> Iterator[Found]:
    seen: dict[str, int] = {}
    for stage in view.stages:
        name = stage.stage.name
        if name is not None and name in seen:
            yield Found(
                stage.stage.position,
                f"line {seen[name]} names a stage {name} too",
                cost="what copies from it takes the last one before it",
                rewrite=_from_as(stage, f"{name}2"),
            )
        if name is not None:
            seen[name] = stage.stage.position.line


def _from_as(stage: StageView, name: str) -> str:
    return f"{stage.stage.keyword} {stage.stage.base} {stage.stage.as_word} {name}"


def _reserved(view: View) -> Iterator[Found]:
    for stage in view.stages:
        if stage.stage.name in _RESERVED:
            yield Found(
                stage.stage.position,
                f"{stage.stage.name} means something else already",
                rewrite=_from_as(stage, f"my-{stage.stage.name}"),
            )


def _name_case(view: View) -> Iterator[Found]:
    for stage in view.stages:
        if stage.stage.written_name != stage.stage.written_name.lower():
            yield Found(
                stage.stage.position,
                f"the stage {stage.stage.written_name} goes by {stage.stage.name}",
                rewrite=_from_as(stage, stage.stage.name or ""),
            )


def _as_case(view: View) -> Iterator[Found]:
    for stage in view.stages:
        keyword, word = stage.stage.keyword, stage.stage.as_word
        wanted = word.lower() if keyword.islower() else word.upper() if keyword.isupper() else word
        if word != wanted:
            yield Found(
                stage.stage.position,
                f"{keyword} and {word} are written in different cases",
                rewrite=stage.stage.source.replace(f" {word} ", f" {wanted} ", 1),
            )


def _case(view: View) -> Iterator[Found]:
    instructions = [*view.dockerfile.arguments]
    keywords = [each.keyword for each in instructions]
    everything = [
        each for stage in view.stages for each in (stage.stage, *stage.stage.instructions)
    ]
    keywords += [each.keyword for each in everything]
    lower = sum(keyword.islower() for keyword in keywords)
    upper = sum(keyword.isupper() for keyword in keywords)
    for each in (*instructions, *everything):
        wanted = each.keyword.lower() if lower > upper else each.keyword.upper()
        if each.keyword != wanted:
            yield Found(
                each.position,
                f"{each.keyword} is written in another case than most instructions",
                rewrite=each.source.replace(each.keyword, wanted, 1)[:200],
            )


def _constant_platform(view: View) -> Iterator[Found]:
    for stage in view.stages:
        platform, name = stage.stage.platform, stage.stage.name or ""
        if platform and "$" not in platform:
            parts = [part for part in platform.split("/") if part in _ARCHITECTURES]
            if not any(part in name for part in parts):
                yield Found(
                    stage.stage.position,
                    f"--platform={platform} is the same whatever is built for",
                    cost="on other machines the image is emulated, or does not start",
                    rewrite=stage.stage.source.replace(platform, "$BUILDPLATFORM", 1)
                    if not stage.kept
                    else stage.stage.source.replace(f"--platform={platform} ", "", 1),
                )


def _redundant_platform(view: View) -> Iterator[Found]:
    for stage in view.stages:
        if stage.stage.platform in ("$TARGETPLATFORM", "${TARGETPLATFORM}"):
            yield Found(
                stage.stage.position,
                f"--platform={stage.stage.platform} is what it is without it",
                rewrite=stage.stage.source.replace(f"--platform={stage.stage.platform} ", "", 1),
            )


def _undefined_in_from(view: View) -> Iterator[Found]:
    declared = [argument.name for arg in view.dockerfile.arguments for argument in arg.arguments]
    for stage in view.stages:
        for word in (stage.stage.base, stage.stage.platform):
            try:
                missing = expand_at(stage.stage, word, view.arguments, view.escape).missing
            except DockerfileError:
                continue
            for name in sorted(missing.difference(declared, PLATFORM_ARGUMENTS)):
                yield Found(
                    stage.stage.position,
                    f"no ARG before the first FROM declares {name}{did_you_mean(name, declared)}",
                    cost="it is empty",
                    rewrite=f"ARG {name}=... above the first FROM",
                )


def _empty_default(view: View) -> Iterator[Found]:
    for stage in view.stages:
        try:
            base = expand_at(stage.stage, stage.stage.base, view.arguments, view.escape)
        except DockerfileError:
            continue
        if (not base.text or base.text.endswith((":", "@"))) and (base.missing or base.used):
            yield Found(
                stage.stage.position,
                f"{stage.stage.base} is no image unless --build-arg gives a value",
                cost="a build without it fails",
                rewrite=f"ARG {min(base.missing | base.used)}=DEFAULT above the first FROM",
            )


RULES = (
    Rule("UntaggedBase", Severity.WARNING, "FROM without a tag", _untagged, ("DL3006",)),
    Rule("LatestBase", Severity.WARNING, "FROM with the tag latest", _latest, ("DL3007",)),
    Rule("DuplicateStageName", Severity.WARNING, "two stages of a name", _duplicate, ("DL3024",)),
    Rule(
        "ReservedStageName",
        Severity.WARNING,
        "a stage called scratch or context",
        _reserved,
        ("DL3063",),
    ),
    Rule("StageNameCasing", Severity.STYLE, "a stage's name with capitals", _name_case),
    Rule("FromAsCasing", Severity.STYLE, "FROM and AS in different cases", _as_case),
    Rule("ConsistentInstructionCasing", Severity.STYLE, "instructions in different cases", _case),
    Rule(
        "FromPlatformFlagConstDisallowed",
        Severity.WARNING,
        "FROM with a --platform that never changes",
        _constant_platform,
        ("DL3029",),
    ),
    Rule(
        "RedundantTargetPlatform",
        Severity.STYLE,
        "FROM with the --platform that it has anyway",
        _redundant_platform,
        ("DL3065",),
    ),
    Rule(
        "UndefinedArgInFrom",
        Severity.WARNING,
        "FROM with an argument that is not declared",
        _undefined_in_from,
    ),
    Rule(
        "InvalidDefaultArgInFrom",
        Severity.INFO,
        "FROM with an argument whose default makes no image",
        _empty_default,
    ),
)
