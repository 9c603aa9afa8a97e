"""Package managers: what they leave in a layer, and how they are called in a build."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.advice.findings import Found, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.advice.view import Placed, RunView, StageView, View

_APT = ("apt-get", "apt")
_RPM = ("yum", "dnf", "microdnf", "tdnf")
_INSTALLS = ("install", "add", "in", "groupinstall", "localinstall", "reinstall", "upgrade")
_LISTS = "/var/lib/apt/lists"
_ARCHIVES = "/var/cache/apt"
_YES = ("-y", "--yes", "--assume-yes", "--assumeyes", "-n", "--non-interactive", "--noconfirm")
_UPGRADES = {
    **dict.fromkeys(_APT, ("upgrade", "dist-upgrade", "full-upgrade")),
    **dict.fromkeys(_RPM, ("update", "upgrade", "distro-sync")),
    "apk": ("upgrade",),
    "zypper": ("update", "up", "dist-upgrade", "dup", "patch"),
}
_REMOVALS = ("del", "remove", "purge", "autoremove", "erase")
_PIP = re.compile(r"pip[0-9.]*")


class _Cache(NamedTuple):
    """What a package manager keeps, and how to get rid of it."""

    programs: tuple[str, ...]
    actions: tuple[str, ...]
    paths: tuple[str, ...]  # where it is; a mount or `rm` there is enough
    cleaning: str  # what is to be appended
    cost: str


_CACHES = {
    "ApkCacheLeftBehind": _Cache(
        ("apk",), ("add",), ("/var/cache/apk", "/etc/apk/cache"), "", "an index of about 2 MB"
    ),
    "YumCacheLeftBehind": _Cache(
        ("yum",),
        _INSTALLS,
        ("/var/cache/yum", "/var/cache/dnf"),
        "yum clean all",
        "metadata and packages, often over 100 MB",
    ),
    "DnfCacheLeftBehind": _Cache(
        ("dnf", "microdnf", "tdnf"),
        _INSTALLS,
        ("/var/cache/dnf", "/var/cache/yum", "/var/cache/libdnf5", "/var/cache/tdnf"),
        "dnf clean all",
        "metadata and packages, often over 100 MB",
    ),
    "ZypperCacheLeftBehind": _Cache(
        ("zypper",), ("install", "in"), ("/var/cache/zypp",), "zypper clean --all", "often 50 MB"
    ),
    "YarnCacheLeftBehind": _Cache(
        ("yarn",),
        ("install", "add", ""),
        ("/usr/local/share/.cache", "/root/.yarn", "/root/.cache/yarn", "/home"),
        "yarn cache clean",
        "every package a second time",
    ),
    "NpmCacheLeftBehind": _Cache(
        ("npm",),
        ("install", "i", "ci", "add"),
        ("/root/.npm", "/home", "/tmp"),
        "npm cache clean --force",
        "every package a second time, as an archive",
    ),
}


def _caches(name: str) -> Rule:
    cache = _CACHES[name]
    codes = {
        "ApkCacheLeftBehind": ("DL3019",),
        "YumCacheLeftBehind": ("DL3032",),
        "DnfCacheLeftBehind": ("DL3040",),
        "ZypperCacheLeftBehind": ("DL3036",),
        "YarnCacheLeftBehind": ("DL3060",),
    }
    return Rule(
        name,
        Severity.WARNING,
        f"{cache.programs[0]} leaves its cache in the layer",
        lambda view: _cache_left(view, cache),
        codes.get(name, ()),
    )


def _cache_left(view: View, cache: _Cache) -> Iterator[Found]:
    for run in _kept_runs(view):
        for placed in run.of(*cache.programs):
            command = placed.command
            if command.action not in cache.actions or _is_cleaned(run, cache, placed):
                continue
            program = command.program
            if program == "apk":
                rewrite = run.run.source.replace("apk add", "apk add --no-cache", 1)
            else:
                cleaning = cache.cleaning.replace("dnf", program)
                rewrite = _appended(run, cleaning)
            yield Found(
                placed.position,
                f"{program} {command.action} leaves its cache in the layer".replace("  ", " "),
                cost=cache.cost,
                rewrite=rewrite,
                last_line=run.run.last_line,
            )
            break


def _is_cleaned(run: RunView, cache: _Cache, placed: Placed) -> bool:
    if run.keeps_out(*cache.paths) or run.removes(*cache.paths):
        return True
    if placed.command.has("--no-cache") and placed.command.program == "apk":
        return True
    if cache.programs[0] in ("npm", "yarn"):
        elsewhere = any(name in run.values for name in ("npm_config_cache", "YARN_CACHE_FOLDER"))
        cleans = any("cache" in each.command.words for each in run.of(*cache.programs))
        return elsewhere or cleans or placed.command.has("--cache", "--cache-folder")
    # On newer systems yum is dnf. What is cleaned before an install is full again after it.
    alike = ("dnf", "yum") if placed.command.program in ("dnf", "yum") else ()
    after = run.commands[run.commands.index(placed) + 1 :]
    return any(
        each.command.action in ("clean", "cc")
        and each.command.program in (placed.command.program, *alike)
        for each in after
    )


def _kept_runs(view: View) -> Iterator[RunView]:
    """RUNs whose layers are the image's: what lies in other stages costs the image nothing."""
    for stage in view.kept:
        yield from stage.runs


def _appended(run: RunView, command: str) -> str:
    """The RUN with one more command at its end."""
    if run.run.heredocs or not run.run.command.shell:
        return f"RUN ... && {command}"
    return f"{run.run.source.rstrip()} && {command}"


def _apt_lists(view: View) -> Iterator[Found]:
    for run in _kept_runs(view):
        for placed in run.of(*_APT):
            if placed.command.action != "update" or run.removes(_LISTS, "/var/lib/apt"):
                continue
            if run.keeps_out(_LISTS):
                yield from _apt_archives(run, placed)
                break
            yield Found(
                placed.position,
                f"{placed.command.program} update leaves the package lists in the layer",
                cost="about 20 MB on Debian, 45 MB on Ubuntu",
                rewrite=_appended(run, f"rm -rf {_LISTS}/*"),
                last_line=run.run.last_line,
            )
            break


def _apt_archives(run: RunView, placed: Placed) -> Iterator[Found]:
    """Packages that stay because the images' own rule to remove them was removed."""
    if run.keeps_out(_ARCHIVES) or run.removes(_ARCHIVES):
        return
    for earlier in run.stage.runs:
        if earlier.removes("/etc/apt/apt.conf.d/docker-clean"):
            yield Found(
                placed.position,
                f"without docker-clean the downloaded packages stay in {_ARCHIVES}",
                cost="every package a second time",
                rewrite=f"RUN --mount=type=cache,target={_ARCHIVES},sharing=locked ...",
                last_line=run.run.last_line,
            )
        if earlier is run or earlier.removes("/etc/apt/apt.conf.d/docker-clean"):
            return


def _apt_update_alone(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for run in stage.runs:
            updates = [each for each in run.of(*_APT) if each.command.action == "update"]
            if updates and not any(run.does(program, "install") for program in _APT):
                yield Found(
                    updates[0].position,
                    "apt-get update in a RUN of its own: an install below takes the lists of the"
                    " day on which this was cached",
                    cost="installs that fail, or old packages, once the lists are some days old",
                    rewrite=f"RUN apt-get update && apt-get install -y ... && rm -rf {_LISTS}/*",
                )


def _apt_without_recommends(view: View) -> Iterator[Found]:
    for stage in view.kept:
        for run in stage.runs:
            for placed in _installs(run, _APT):
                if placed.command.has("--no-install-recommends") or _recommends_off(stage):
                    continue
                if any("Install-Recommends" in word for word in placed.command.words):
                    continue
                yield Found(
                    placed.position,
                    f"{placed.command.program} install takes recommended packages too",
                    cost="what nobody asked for, often more than the packages themselves",
                    rewrite=run.run.source.replace("install", "install --no-install-recommends", 1),
                    last_line=run.run.last_line,
                )


def _recommends_off(stage: StageView) -> bool:
    return any("Install-Recommends" in run.text and "apt.conf" in run.text for run in stage.runs)


def _installs(run: RunView, programs: tuple[str, ...]) -> Iterator[Placed]:
    for placed in run.of(*programs):
        if placed.command.action in ("install", "in"):
            yield placed


def _asks(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for run in stage.runs:
            for placed in _installs(run, (*_APT, *_RPM, "zypper")):
                command = placed.command
                if command.has(*_YES, "-qq", "--force-yes") or command.program == "tdnf":
                    continue
                if any("Assume-Yes" in each or "assumeyes" in each for each in command.words):
                    continue
                if command.after == "|" and any(each.command.pipes for each in run.of("yes")):
                    continue
                yield Found(
                    placed.position,
                    f"{command.program} install asks, and nobody answers in a build",
                    cost="the build fails",
                    rewrite=run.run.source.replace("install", "install -y", 1)
                    if command.program != "zypper"
                    else run.run.source.replace("zypper", "zypper -n", 1),
                    last_line=run.run.last_line,
                )


def _removed_later(view: View) -> Iterator[Found]:
    for stage in view.kept:
        installed: dict[str, int] = {}
        for run in stage.runs:
            for placed in run.of("apk", *_APT, *_RPM):
                command = placed.command
                if command.action not in _REMOVALS:
                    continue
                names = _operands(command.words[command.words.index(command.action) + 1 :])
                known = [name for name in names if name in installed]
                if known:
                    yield Found(
                        placed.position,
                        f"{known[0]} was installed in line {installed[known[0]]}, and stays in that"
                        " layer",
                        cost="the packages are in the image, though no container sees them",
                        rewrite="install, use and remove them in one RUN, or a stage of its own",
                    )
            for name in _installed_names(run):
                installed[name] = run.run.position.line


def _installed_names(run: RunView) -> Iterator[str]:
    for placed in run.of("apk", *_APT, *_RPM):
        words = placed.command.words
        if placed.command.action in _INSTALLS:
            yield from _operands(words[words.index(placed.command.action) + 1 :])
            for mark, name in itertools.pairwise(words):
                if mark in ("--virtual", "-t"):
                    yield name


def _upgrades(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for run in stage.runs:
            for placed in run.of(*_UPGRADES):
                command = placed.command
                named = len(command.arguments) > 1
                if command.action in _UPGRADES[command.program] and not named:
                    yield Found(
                        placed.position,
                        f"{command.program} {command.action} makes another image each day",
                        cost="the base's files a second time, in this layer",
                        rewrite="a newer base image in FROM",
                    )


def _apt_for_people(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for run in stage.runs:
            for placed in run.of("apt"):
                yield Found(
                    placed.position,
                    "apt is for people: its output and options may change",
                    rewrite=run.run.source.replace("apt ", "apt-get ", 1),
                )
                break


def _pip_cache(view: View) -> Iterator[Found]:
    for stage in view.kept:
        for run in stage.runs:
            if run.keeps_out("/root/.cache", "/root/.cache/pip"):
                continue
            if run.removes("/root/.cache", "~/.cache", "$HOME/.cache"):
                continue
            for placed in run.commands:
                command = placed.command
                words = _pip_words(command.words)
                if not words or words[:1] != ["install"] or command.has("--no-cache-dir"):
                    continue
                if run.is_set("PIP_NO_CACHE_DIR", command):
                    continue
                yield Found(
                    placed.position,
                    "pip install leaves the downloaded packages in the layer",
                    cost="every wheel a second time",
                    rewrite=run.run.source.replace("install", "install --no-cache-dir", 1),
                    last_line=run.run.last_line,
                )


def _pip_words(words: list[str]) -> list[str]:
    """The words of a pip command that are no flags, without `pip` or `python -m pip`."""
    if words and _PIP.fullmatch(words[0].rpartition("/")[2]):
        rest = words[1:]
    elif len(words) > 3 and words[1] == "-m" and _PIP.fullmatch(words[2]):
        rest = words[3:]
    else:
        return []
    return [word for word in rest if not word.startswith("-")]


def _unpinned(view: View) -> Iterator[Found]:
    for stage in view.kept:
        for run in stage.runs:
            for placed in run.commands:
                for name in _unpinned_names(placed.command.words, placed.command.program):
                    yield Found(
                        placed.position,
                        f"{name} in whatever version there is on the day of the build",
                        cost="another image from the same Dockerfile",
                        rewrite=f"{name}{_PINS.get(placed.command.program, '==VERSION')}",
                    )
                    break


_PINS = {
    **dict.fromkeys((*_APT, "apk", "zypper"), "=VERSION"),
    **dict.fromkeys(_RPM, "-VERSION"),
    **dict.fromkeys(("npm", "yarn"), "@VERSION"),
    "gem": ":VERSION",
}
_WITH_VALUES = ("-r", "-c", "-e", "-t", "-i", "-f", "-b", "--repository", "-X", "--virtual")


def _unpinned_names(words: list[str], program: str) -> list[str]:
    pip = _pip_words(words)
    if pip:
        names = _operands(words[words.index("install") + 1 :]) if pip[0] == "install" else []
        return [name for name in names if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._\[\]-]*", name)]
    if program in (*_APT, "apk", *_RPM, "zypper", "npm", "gem") and len(words) > 1:
        action = next((word for word in words[1:] if not word.startswith("-")), "")
        if action not in ("install", "add", "in", "i"):
            return []
        names = _operands(words[words.index(action) + 1 :])
        mark = {"npm": "@", "gem": ":"}.get(program, "=")
        return [
            name
            for name in names
            if mark not in name.lstrip("@")
            and not re.search(r"[$/]|\.(deb|rpm|apk|tgz)$", name)
            and not (program in _RPM and re.search(r"-[0-9]", name))
        ]
    return []


def _operands(words: list[str]) -> list[str]:
    found, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in _WITH_VALUES:
            skip = True
        elif not word.startswith("-"):
            found.append(word)
    return found


RULES = (
    Rule(
        "AptListsLeftBehind",
        Severity.WARNING,
        "apt-get update without removing the package lists in the same RUN",
        _apt_lists,
        ("DL3009",),
    ),
    Rule(
        "AptUpdateAlone",
        Severity.WARNING,
        "apt-get update and install in different RUNs",
        _apt_update_alone,
    ),
    Rule(
        "AptRecommends",
        Severity.INFO,
        "apt-get install without --no-install-recommends",
        _apt_without_recommends,
        ("DL3015",),
    ),
    Rule(
        "InstallAsks",
        Severity.WARNING,
        "a package manager that asks for confirmation",
        _asks,
        ("DL3014", "DL3030", "DL3034", "DL3038"),
    ),
    Rule(
        "UpgradeInBuild",
        Severity.INFO,
        "an upgrade of all packages in a build",
        _upgrades,
        ("DL3005", "DL3017", "DL3031", "DL3035", "DL3039"),
    ),
    Rule(
        "PackageRemovedLater",
        Severity.WARNING,
        "a package that one layer brings and another one removes",
        _removed_later,
    ),
    Rule("AptForPeople", Severity.INFO, "apt instead of apt-get", _apt_for_people, ("DL3027",)),
    *map(_caches, _CACHES),
    Rule(
        "PipCacheLeftBehind",
        Severity.WARNING,
        "pip install without --no-cache-dir",
        _pip_cache,
        ("DL3042",),
    ),
    Rule(
        "UnpinnedPackage",
        Severity.STYLE,
        "a package without a version",
        _unpinned,
        ("DL3008", "DL3013", "DL3016", "DL3018", "DL3028", "DL3033", "DL3037", "DL3041"),
    ),
)
