"""The options of `run` and `create`, and what they ask for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar

import click

from overlayfs_py.backends.option_values import OptionError
from overlayfs_py.cli.arguments import driver_option
from overlayfs_py.cli.store_arguments import IMAGE, root_option
from overlayfs_py.late_import import late_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from overlayfs_py.containers.creation import Asked
    from overlayfs_py.store.containers import ContainerMount, PublishedPort

_Command = TypeVar("_Command", bound="Callable[..., object]")
_ONLY_IN = (
    "-p: neither pasta nor slirp4netns is installed (Debian package passt): as with --network none,"
    " the container reaches nothing outside"
)
_HOSTNAME = late_pattern(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")

_OPTIONS = (
    click.option("--name", metavar="NAME", help="What it is called.  [default: made up]"),
    click.option("-e", "--env", "variables", multiple=True, metavar="K[=V]",
                 help="Set an environment variable; without V to the caller's value."),
    click.option("--env-file", "variable_files", multiple=True, metavar="FILE",
                 type=click.Path(path_type=Path), help="Set the variables that FILE has."),
    click.option("-v", "--volume", "volumes", multiple=True, metavar="[NAME|HOST:]PATH[:ro]",
                 help="Show a named volume, or something of the host, at PATH."),
    click.option("--mount", "mounts", multiple=True, metavar="type=...,src=...,dst=...",
                 help="The same in docker's long form: volume, bind or tmpfs."),
    click.option("--volumes-from", "volumes_from", multiple=True, metavar="CONTAINER[:ro]",
                 help="Show what another container has of volumes and of the host."),
    click.option("--tmpfs", "tmpfs", multiple=True, metavar="PATH[:OPTIONS]",
                 help="An empty directory in memory at PATH."),
    click.option("-w", "--workdir", "directory", metavar="DIR", help="Start in DIR (inside)."),
    click.option("-u", "--user", metavar="USER[:GROUP]", help="Run as this user of the image."),
    click.option("--entrypoint", metavar="PROGRAM", help="Run this instead of the image's."),
    click.option("-h", "--hostname", metavar="NAME", help="The host name inside."),
    click.option("-l", "--label", "labels", multiple=True, metavar="K[=V]", help="Note a fact."),
    click.option("--label-file", "label_files", multiple=True, metavar="FILE",
                 type=click.Path(path_type=Path), help="Note the facts that FILE has."),
    click.option("--network", "--net", "network", metavar="host|none|private",
                 help="The host's, loopback alone, or its own.  [default: host; private with -p]"),
    click.option("-p", "--publish", "published", multiple=True,
                 metavar="[IP:][PORT]:INSIDE[/udp]",
                 help="Let a port of the host lead to one inside."),
    click.option("--expose", "exposed", multiple=True, metavar="PORT[/udp]",
                 help="A port more that the image exposes."),
    click.option("-P", "--publish-all", is_flag=True,
                 help="Do so for each that the image exposes."),
    click.option("-t", "--tty", is_flag=True, help="Give it a terminal."),
    click.option("-i", "--interactive", is_flag=True, help="Keep its stdin open."),
    click.option("--init", is_flag=True, help="A first process that reaps orphans."),
    click.option("--read-only", is_flag=True, help="Nothing but volumes can be written to."),
    click.option("--privileged", is_flag=True, help="Give root all its rights."),
    click.option("--cap-add", "cap_add", multiple=True, metavar="NAME",
                 help="Let root have a capability more; ALL: each there is."),
    click.option("--cap-drop", "cap_drop", multiple=True, metavar="NAME",
                 help="Take one away; ALL: each that is not added."),
    click.option("--security-opt", "security", multiple=True, metavar="WORD[=VALUE]",
                 help="no-new-privileges[=BOOL]: whether set-user-ID programs give no rights (as by"
                 " default). seccomp=unconfined|FILE: filter no system calls, or as FILE says."),
    click.option("--device", "devices", multiple=True, metavar="HOST[:PLACE]",
                 help="Give it a device of the host, or a directory of them, below /dev."),
    click.option("--group-add", "groups", multiple=True, metavar="GROUP",
                 help="A group of the image, or a number, more."),
    click.option("--ipc", metavar="private|none|host",
                 help="Shared memory and queues: its own, without /dev/shm, the host's."),
    click.option("--pid", metavar="private", help="Its processes are its own."),
    click.option("--uts", metavar="private|host", help="The host name: its own, or the host's."),
    click.option("--userns", metavar="host", help="Whose ids it has."),
    click.option("--cgroupns", metavar="private|host",
                 help="Whether it sees cgroups from its own on.  [default: host]"),
    click.option("--sysctl", "sysctls", multiple=True, metavar="NAME=VALUE",
                 help="A value of its network's or its IPC namespace."),
    click.option("--oom-score-adj", "oom_score", type=int, metavar="N",
                 help="End it sooner, or with less than 0 later, when memory runs out."),
    click.option("--ulimit", "ulimits", multiple=True, metavar="NAME=SOFT[:HARD]",
                 help="A limit of setrlimit(2)."),
    click.option("-m", "--memory", "memory", metavar="BYTES",
                 help="What its processes may use of memory; with k, m or g."),
    click.option("--memory-swap", "memory_swap", metavar="BYTES",
                 help="Of memory and swap; -1: as much swap as there is.  [default: twice -m]"),
    click.option("--cpus", metavar="N", help="So many processors' time."),
    click.option("--pids-limit", "pids", type=int, metavar="N",
                 help="So many processes and threads."),
    click.option("--shm-size", "shm_size", metavar="BYTES", default="64m", show_default=True,
                 help="What /dev/shm may hold; with k, m or g."),
    click.option("--upper-limit", metavar="BYTES",
                 help="What its files may take beside the image's and volumes; with k, m or g."),
    click.option("--add-host", "extra_hosts", multiple=True, metavar="NAME:ADDRESS",
                 help="A line more in /etc/hosts."),
    click.option("--dns", multiple=True, metavar="ADDRESS",
                 help="Ask this server for names."),
    click.option("--dns-search", multiple=True, metavar="DOMAIN",
                 help="Look for short names in it; `.`: in none."),
    click.option("--dns-option", "--dns-opt", "dns_options", multiple=True, metavar="OPTION",
                 help="An option of resolv.conf(5), as ndots:2."),
    click.option("--network-alias", "--net-alias", "aliases", multiple=True, metavar="NAME",
                 help="A name more that it has for itself."),
    click.option("--health-cmd", metavar="LINE", help="A shell line that says whether it works."),
    click.option("--health-interval", metavar="TIME", help="How often.  [default: 30s]"),
    click.option("--health-timeout", metavar="TIME", help="How long at most.  [default: 30s]"),
    click.option("--health-retries", metavar="N", type=int, default=0,
                 help="So many failures in a row make it unhealthy.  [default: 3]"),
    click.option("--health-start-period", metavar="TIME", help="Failures before do not count."),
    click.option("--health-start-interval", metavar="TIME", help="How often until then."),
    click.option("--no-healthcheck", is_flag=True, help="Leave the image's out."),
    click.option("--trace", metavar="FILE", type=click.Path(path_type=Path),
                 help="When it has ended, write to FILE what it has used of its image."),
    click.option("--log-driver", metavar="json-file|none", default="json-file", show_default=True,
                 help="Whether its output is kept, for `logs`."),
    click.option("--annotation", "annotations", multiple=True, metavar="K=V",
                 help="A fact for an OCI runtime."),
    click.option("--restart", metavar="POLICY", default="no", show_default=True,
                 help="no, always, unless-stopped or on-failure[:N]."),
    click.option("--runtime", metavar="NAME|PATH",
                 help="Have an OCI runtime start it, as crun or runc.  [default: embedded]"),
    click.option("--rm", "auto_remove", is_flag=True, help="Remove it when it ends."),
    click.option("--stop-signal", metavar="SIGNAL", help="What `stop` sends."),
    click.option("--stop-timeout", metavar="SECONDS", type=int, help="What `stop` waits."),
    click.option("--cidfile", type=click.Path(path_type=Path), metavar="FILE",
                 help="Write the ID to FILE, which must not be there."),
    click.option("--pull", "when_to_pull", type=click.Choice(["missing", "always", "never"]),
                 default="missing", show_default=True, help="When to bring the image."),
    click.option("--platform", default="", metavar="OS/ARCH",
                 help="Bring the image for it; refuse one for another."),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing of bringing the image."),
    click.option("--disable-content-trust", "_trust", is_flag=True,
                 help="Accepted for docker; no effect."),
    driver_option,
    root_option,
    click.argument("image", type=IMAGE),
    click.argument("words", metavar="[CMD...]", nargs=-1, type=click.UNPROCESSED),
)  # fmt: skip

# All from the image on is the command's, dashes too.
SETTINGS = {"allow_interspersed_args": False, "help_option_names": ["--help"]}


def container_options(command: _Command) -> _Command:
    """Give a command the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class CreateOptions(TypedDict):
    """What click passes of the options that `run` and `create` share."""

    name: str | None
    variables: tuple[str, ...]
    variable_files: tuple[Path, ...]
    volumes: tuple[str, ...]
    mounts: tuple[str, ...]
    tmpfs: tuple[str, ...]
    directory: str | None
    user: str | None
    entrypoint: str | None
    hostname: str | None
    labels: tuple[str, ...]
    label_files: tuple[Path, ...]
    network: str | None
    published: tuple[str, ...]
    publish_all: bool
    tty: bool
    interactive: bool
    init: bool
    read_only: bool
    privileged: bool
    cap_add: tuple[str, ...]
    cap_drop: tuple[str, ...]
    security: tuple[str, ...]
    devices: tuple[str, ...]
    groups: tuple[str, ...]
    ipc: str | None
    pid: str | None
    uts: str | None
    userns: str | None
    cgroupns: str | None
    sysctls: tuple[str, ...]
    oom_score: int | None
    exposed: tuple[str, ...]
    volumes_from: tuple[str, ...]
    ulimits: tuple[str, ...]
    memory: str | None
    memory_swap: str | None
    cpus: str | None
    pids: int | None
    shm_size: str
    upper_limit: str | None
    trace: Path | None
    extra_hosts: tuple[str, ...]
    dns: tuple[str, ...]
    dns_search: tuple[str, ...]
    dns_options: tuple[str, ...]
    aliases: tuple[str, ...]
    log_driver: str
    annotations: tuple[str, ...]
    health_cmd: str | None
    health_interval: str | None
    health_timeout: str | None
    health_retries: int
    health_start_period: str | None
    health_start_interval: str | None
    no_healthcheck: bool
    restart: str
    runtime: str | None
    auto_remove: bool
    stop_signal: str | None
    stop_timeout: int | None
    cidfile: Path | None
    when_to_pull: str
    platform: str
    quiet: bool
    _trust: bool
    driver: str


def asked_of(image: str, words: tuple[str, ...], options: CreateOptions) -> Asked:
    """What the options ask for.

    Raises:
        OptionError: one makes no sense, or contradicts another.
        OSError: a file that one names cannot be read.
    """
    from overlayfs_py.cli import (
        health_arguments,
        isolation_arguments,
        mount_arguments,
        name_arguments,
        output_arguments,
        rights_arguments,
    )
    from overlayfs_py.containers.creation import Asked

    _require_consistent(options)
    network = _network(options)
    modes = isolation_arguments.modes(
        ipc=options["ipc"],
        pid=options["pid"],
        uts=options["uts"],
        userns=options["userns"],
        cgroupns=options["cgroupns"],
        hostname=options["hostname"],
    )
    memory = rights_arguments.memory_bytes(options["memory"])
    security = rights_arguments.security(options["security"])
    return Asked(
        image,
        words,
        name=options["name"],
        entrypoint=options["entrypoint"],
        environment=tuple(variables_of(options["variable_files"], options["variables"])),
        user=options["user"],
        directory=options["directory"],
        hostname=options["hostname"],
        labels=tuple(_labels(options["label_files"], options["labels"])),
        healthcheck=health_arguments.healthcheck(
            options["health_cmd"],
            {
                "interval": options["health_interval"],
                "timeout": options["health_timeout"],
                "start_period": options["health_start_period"],
                "start_interval": options["health_start_interval"],
            },
            options["health_retries"],
            none=options["no_healthcheck"],
        ),
        no_healthcheck=options["no_healthcheck"],
        network=network,
        ports=tuple(port for text in options["published"] for port in _published(text)),
        publish_all=options["publish_all"],
        tty=options["tty"],
        stdin_open=options["interactive"],
        stop_signal=options["stop_signal"],
        stop_timeout_s=options["stop_timeout"],
        mounts=_mounts(
            [
                *map(mount_arguments.parse_volume, options["volumes"]),
                *map(mount_arguments.parse_mount, options["mounts"]),
                *map(mount_arguments.parse_tmpfs, options["tmpfs"]),
            ]
        ),
        read_only=options["read_only"],
        privileged=options["privileged"],
        new_privileges=security.new_privileges,
        seccomp=security.seccomp,
        cap_add=rights_arguments.capabilities("--cap-add", options["cap_add"]),
        cap_drop=rights_arguments.capabilities("--cap-drop", options["cap_drop"]),
        devices=isolation_arguments.devices(options["devices"]),
        groups=isolation_arguments.groups(options["groups"]),
        exposed=isolation_arguments.ports(options["exposed"]),
        volumes_from=isolation_arguments.volumes_from(options["volumes_from"]),
        ipc=modes.ipc,
        uts=modes.uts,
        cgroupns=modes.cgroupns,
        sysctls=isolation_arguments.sysctls(options["sysctls"], network=network, ipc=modes.ipc),
        oom_score=isolation_arguments.oom_score(options["oom_score"]),
        ulimits=rights_arguments.limits(options["ulimits"]),
        memory_bytes=memory,
        memory_swap_bytes=rights_arguments.memory_swap_bytes(options["memory_swap"], memory),
        nano_cpus=rights_arguments.nano_cpus(options["cpus"]),
        pids=rights_arguments.most_pids(options["pids"]),
        shm_bytes=rights_arguments.size_bytes("--shm-size", options["shm_size"]),
        trace="" if options["trace"] is None else str(options["trace"].absolute()),
        upper_bytes=_upper_bytes(options["upper_limit"]),
        extra_hosts=name_arguments.hosts(options["extra_hosts"], network),
        dns=name_arguments.servers(options["dns"]),
        dns_search=name_arguments.domains(options["dns_search"]),
        dns_options=name_arguments.resolver_options(options["dns_options"]),
        aliases=name_arguments.aliases(options["aliases"], network),
        log_driver=output_arguments.log_driver(options["log_driver"]),
        annotations=output_arguments.facts(options["annotations"]),
        init=options["init"],
        driver=options["driver"],
        restart=options["restart"],
        runtime=rights_arguments.runtime(options["runtime"]),
        auto_remove=options["auto_remove"],
    )


def _upper_bytes(text: str | None) -> int:
    from overlayfs_py.cli import rights_arguments

    return 0 if text is None else rights_arguments.size_bytes("--upper-limit", text)


def _require_consistent(options: CreateOptions) -> None:
    from overlayfs_py.containers.restarts import RestartPolicy, When

    try:
        policy = RestartPolicy.parse(options["restart"])
    except ValueError as error:
        raise OptionError("--restart", f"{options['restart']}: {error}") from None
    if options["auto_remove"] and policy.when is not When.NEVER:
        raise OptionError("--restart", "conflicts with --rm")
    hostname = options["hostname"]
    if hostname is not None and _HOSTNAME.fullmatch(hostname) is None:
        raise OptionError("--hostname", f"{hostname!r}: 1 to 64 letters, digits, dots and dashes")


def _network(options: CreateOptions) -> str:
    text = options["network"]
    if text is None and not options["published"] and not options["publish_all"]:
        return "host"
    from overlayfs_py.containers.network import Mode, mode_for_ports, parse_mode

    if text is None:
        mode = mode_for_ports()
        if mode is Mode.NONE:
            click.echo(f"overlayfs-py: {_ONLY_IN}", err=True)
        return mode.value
    try:
        return parse_mode(text).value
    except ValueError as error:
        raise OptionError("--network", f"{text}: {error}") from None


def _published(text: str) -> list[PublishedPort]:
    from overlayfs_py.containers import published_ports

    try:
        return published_ports.parse(text)
    except ValueError as error:
        raise OptionError("-p", f"{text}: {error}") from None


def _mounts(found: list[ContainerMount]) -> tuple[ContainerMount, ...]:
    targets = [mount.target.rstrip("/") for mount in found]
    for target in targets:
        if targets.count(target) > 1:
            raise OptionError("-v", f"{target}: two mounts at one place")
    return tuple(found)


def variables_of(files: Sequence[Path], variables: Sequence[str]) -> Iterator[str]:
    """Yield the variables that `--env-file` and `-e` set, K=V; the last of a name counts."""
    given = [("--env-file", line) for file in files for line in _lines(file)]
    given += [("-e", variable) for variable in variables]
    for option, variable in given:
        name, equals, _ = variable.partition("=")
        if not name:
            raise OptionError(option, f"{variable}: not of the form K=V or K")
        if equals:
            yield variable
        elif name in os.environ:
            yield f"{name}={os.environ[name]}"


def _lines(file: Path) -> Iterator[str]:
    for line in file.read_text(errors="surrogateescape").removeprefix("\ufeff").splitlines():
        text = line.lstrip()
        if text and not text.startswith("#"):
            yield text


def _labels(files: Sequence[Path], labels: Sequence[str]) -> Iterator[tuple[str, str]]:
    for file in files:
        yield from map(_label, _lines(file))
    yield from map(_label, labels)


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise OptionError("--label", f"{text}: not of the form K=V or K")
    return name, value
