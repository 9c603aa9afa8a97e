"""Commands in RUN that do something else than is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.advice.findings import Found, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.advice.view import RunView, View

_POINTLESS = {
    **dict.fromkeys(("ssh", "service", "systemctl"), "nothing runs in a build but this RUN"),
    **dict.fromkeys(("vim", "nano", "less", "top"), "nobody sits at a terminal in a build"),
    **dict.fromkeys(("ps", "free", "kill", "killall"), "no process outlives its RUN"),
    **dict.fromkeys(("shutdown", "reboot", "ifconfig"), "a build is no machine"),
    "mount": "a mount ends with its RUN",
}


def _all_runs(view: View) -> Iterator[RunView]:
    for stage in view.stages:
        yield from stage.runs


def _cd(view: View) -> Iterator[Found]:
    for run in _all_runs(view):
        commands = run.commands
        if len(commands) == 1 and commands[0].command.program == "cd":
            directory = " ".join(commands[0].command.arguments)
            yield Found(
                commands[0].position,
                f"cd {directory} ends with its RUN",
                cost="what follows runs elsewhere",
                rewrite=f"WORKDIR {directory}",
            )


def _sudo(view: View) -> Iterator[Found]:
    for run in _all_runs(view):
        for placed in run.commands:
            if {"sudo", "doas"} & set(placed.command.prefixes):
                yield Found(
                    placed.position,
                    "sudo in a build, which runs as root until USER says otherwise",
                    cost="a program with root's rights in the image",
                    rewrite="USER root before the RUN, and the other USER after it",
                )
                break


def _pointless(view: View) -> Iterator[Found]:
    for run in _all_runs(view):
        for placed in run.of(*_POINTLESS):
            program = placed.command.program
            yield Found(
                placed.position,
                f"{program} in a build: {_POINTLESS[program]}",
                rewrite="without it",
            )


def _pipes(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for run in stage.runs:
            if not run.run.command.shell or stage.pipes_fail(run.run):
                continue
            piped = [each for each in run.commands if each.command.pipes]
            if not piped or "pipefail" in run.text:
                continue
            # What only prints cannot fail.
            if all(each.command.program in ("echo", "printf", "yes", "cat") for each in piped):
                continue
            yield Found(
                piped[0].position,
                f"{piped[0].command.program} may fail, and the pipe does not",
                cost="a broken layer that is cached",
                rewrite='SHELL ["/bin/bash", "-o", "pipefail", "-c"] before it',
            )


def _two_clients(view: View) -> Iterator[Found]:
    for stage in view.kept:
        used = {
            placed.command.program: placed
            for run in stage.runs
            for placed in run.of("curl", "wget")
        }
        if len(used) == 2:
            last = max(used.values(), key=lambda placed: placed.position)
            yield Found(
                last.position,
                "curl and wget are both used",
                cost="two programs for one job in the image",
                rewrite="one of them",
            )


def _progress(view: View) -> Iterator[Found]:
    for run in _all_runs(view):
        for placed in run.of("wget"):
            quiet = ("-q", "--quiet", "-nv", "--no-verbose", "--progress", "-o", "--output-file")
            if not placed.command.has(*quiet) and "-nv" not in placed.command.words:
                yield Found(
                    placed.position,
                    "wget writes a line for every 50 kB",
                    cost="a log that hides what matters",
                    rewrite="wget -nv",
                )


def _shell_link(view: View) -> Iterator[Found]:
    for run in _all_runs(view):
        for placed in run.of("ln"):
            if "/bin/sh" in placed.command.arguments[1:]:
                yield Found(
                    placed.position,
                    "another /bin/sh for everything in the image",
                    rewrite='SHELL ["/bin/bash", "-c"]',
                )


RULES = (
    Rule("DirectoryOfOneRun", Severity.WARNING, "a RUN of nothing but cd", _cd, ("DL3003",)),
    Rule("Sudo", Severity.WARNING, "sudo in a RUN", _sudo, ("DL3004",)),
    Rule(
        "PointlessCommand",
        Severity.INFO,
        "a command with no point in a build",
        _pointless,
        ("DL3001",),
    ),
    Rule("PipeHidesFailure", Severity.WARNING, "a pipe without pipefail", _pipes, ("DL4006",)),
    Rule("TwoClients", Severity.STYLE, "curl and wget", _two_clients, ("DL4001",)),
    Rule(
        "DownloadProgress", Severity.STYLE, "wget that shows its progress", _progress, ("DL3047",)
    ),
    Rule("ShellLink", Severity.WARNING, "another /bin/sh", _shell_link, ("DL4005",)),
)
