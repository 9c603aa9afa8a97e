"""Our instructions in the shape in which buildkit_oracle.go tells BuildKit's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from overlayfs_py.dockerfile import instructions as of
from overlayfs_py.dockerfile.expanding import resolve_mounts
from overlayfs_py.dockerfile.mounts import CacheMount, Mount, SecretMount, TmpfsMount

if TYPE_CHECKING:
    from collections.abc import Iterable

    from overlayfs_py.dockerfile.heredocs import Heredoc

# The same as in buildkit_oracle.go.
VALUES = {
    "A": "abcabc",
    "B": "",
    "C": "a/b*c",
    "D": "x y  z",
    "E": "\"q'",
    "F": "\\n$A",
    "LONG": "foo/bar/baz.tar.gz",
    "é": "ü",
    "9": "n",
}
PATHS = [
    *("a", "b", "c", "foo", "a/b", "a/b/c", "foo/a", "foo/a/b/c", "b/foo/c", ".a", "a.b", "x", "é"),
    *("a/foo/b/foo/c", "^a", "a^b", "abc", "foo/.git/x", "a+b", "(a)", "{a}", "a$", "1", "a1"),
    *("b/a/c", "#a", "!a", "[a]", "a/x/b", "aa/bb/cc/dd"),
]
_KINDS = {
    of.Run: "RunCommand",
    of.Healthcheck: "HealthCheckCommand",
    of.StopSignal: "StopSignalCommand",
}


def described(dockerfile: of.Dockerfile) -> object:
    """All instructions of a Dockerfile, each stage before its own."""
    found: list[object] = [_command(arg) for arg in dockerfile.arguments]
    for stage in dockerfile.stages:
        fields = {"name": stage.name, "base": stage.base, "platform": stage.platform}
        found.append({"kind": "Stage", "fields": fields})
        found += map(_command, stage.instructions)
    return pruned(json.loads(json.dumps(found)))


def pruned(value: object) -> object:
    """`value` without what is empty in it, however deep."""
    if isinstance(value, list):
        return [pruned(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: pruned(field)
        for name, field in value.items()
        if field not in (None, "", False, 0, [])
    }


def _command(instruction: of.Instruction) -> dict[str, object]:
    kind = type(instruction)
    found: dict[str, object] = {
        "kind": _KINDS.get(kind, f"{kind.__name__}Command"),
        "code": instruction.source,
        "lines": [instruction.position.line, instruction.last_line],
        "fields": _fields(instruction),
    }
    if isinstance(instruction, of.Run):
        found["network"] = instruction.network.removeprefix("default")
        found["mounts"] = [_mount(mount) for mount in resolve_mounts(instruction, {})[0]]
    return found


def _fields(instruction: of.Instruction) -> dict[str, object]:
    match instruction:
        case of.Run() | of.Cmd() | of.Entrypoint():
            files = [
                {"Name": each.name, "Data": each.content, "Chomp": each.mark.strip_tabs}
                for each in getattr(instruction, "heredocs", ())
            ]
            command = instruction.command
            return {"CmdLine": list(command.words), "Files": files, "PrependShell": command.shell}
        case of.Copy():
            return _copying(instruction) | {
                "From": instruction.origin,
                "Parents": instruction.parents,
            }
        case of.Add():
            return _copying(instruction) | {
                "Checksum": instruction.checksum,
                "KeepGitDir": instruction.keep_git_dir,
                "Unpack": instruction.unpack,
            }
        case of.Env():
            return {"Env": _pairs(instruction.pairs)}
        case of.Label():
            return {"Labels": _pairs(instruction.pairs)}
        case of.Arg():
            arguments = [
                {"Key": each.name, "Value": each.default} for each in instruction.arguments
            ]
            return {"Args": arguments}
        case of.Healthcheck():
            return {"Health": _health(instruction)}
    return _single(instruction)


def _single(instruction: of.Instruction) -> dict[str, object]:
    match instruction:
        case of.Workdir(path=path):
            return {"Path": path}
        case of.User(user=user):
            return {"User": user}
        case of.Expose(ports=ports):
            return {"Ports": list(ports)}
        case of.Volume(paths=paths):
            return {"Volumes": list(paths)}
        case of.Shell(words=words):
            return {"Shell": list(words)}
        case of.StopSignal(signal=signal):
            return {"Signal": signal}
        case of.Maintainer(author=author):
            return {"Maintainer": author}
        case of.Onbuild(expression=expression):
            return {"Expression": expression}
    raise AssertionError(instruction)


def _copying(instruction: of.CopyingInstruction) -> dict[str, object]:
    return {
        "DestPath": instruction.destination,
        "SourcePaths": list(instruction.sources),
        "SourceContents": _contents(instruction.files),
        "Chown": instruction.chown,
        "Chmod": instruction.chmod,
        "Link": instruction.link,
        "ExcludePatterns": list(instruction.exclude),
    }


def _contents(files: Iterable[Heredoc]) -> list[dict[str, object]]:
    return [
        # JSON has no bytes: the oracle shows U+FFFD for what is not UTF-8.
        {
            "Path": file.name,
            "Data": file.body.encode("utf-8", "surrogateescape").decode(errors="replace"),
            "Expand": file.mark.expand,
        }
        for file in files
    ]


def _pairs(pairs: Iterable[of.Pair]) -> list[dict[str, object]]:
    return [{"Key": each.name, "Value": each.value, "NoDelim": each.old_form} for each in pairs]


def _health(check: of.Healthcheck) -> dict[str, object]:
    return {
        "Test": list(check.test),
        "Interval": check.interval_ns,
        "Timeout": check.timeout_ns,
        "StartPeriod": check.start_period_ns,
        "StartInterval": check.start_interval_ns,
        "Retries": check.retries,
    }


def _mount(mount: Mount) -> dict[str, object]:
    """A mount as BuildKit has parsed it, with what it fills in later left out."""
    kind = type(mount).__name__.removesuffix("Mount").lower()
    found: dict[str, object] = {"Type": kind, "Target": mount.target}
    if isinstance(mount, SecretMount):
        return found | {
            "CacheID": mount.id,
            "Env": mount.env,
            "Required": mount.required,
            "Mode": mount.mode,
            "UID": mount.uid,
            "GID": mount.gid,
        }
    found["ReadOnly"] = mount.read_only
    if isinstance(mount, TmpfsMount):
        return found | {"SizeLimit": mount.size}
    found |= {"From": mount.origin, "Source": mount.source}
    if isinstance(mount, CacheMount):
        found |= {"CacheID": mount.id, "CacheSharing": mount.sharing}
        found |= {"Mode": mount.mode, "UID": mount.uid, "GID": mount.gid}
    return found
