"""A new container's record: an image's own values, and what the user wants otherwise."""

from __future__ import annotations

import re
import signal
import time
from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.containers.made_up_names import made_up_name
from overlayfs_py.errors import Failure, OverlayError
from overlayfs_py.late_import import late_pattern
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.store import containers, volumes
from overlayfs_py.store.containers import (
    NAME,
    ContainerMount,
    ContainerRecord,
    Health,
    MountKind,
    PublishedPort,
)
from overlayfs_py.store.failures import InUse

if TYPE_CHECKING:
    from overlayfs_py.image.config import Healthcheck, RunConfig
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store

_MOST_TRIES = 20  # of made-up names; a guess: with a thousand containers one in two is free
_DEFAULT_SIGNAL = "SIGTERM"
_WHAT_A_NAME_IS = "a name is at least two letters, digits, dots, dashes or underscores"
_LONE_SURROGATE = late_pattern("[\ud800-\udfff]")


class CannotCreate(OverlayError):
    """A container that cannot be made as it was asked for."""

    exit_code = 125

    def __init__(self, what: str, why: str) -> None:
        super().__init__(None, why, what)


class Asked(NamedTuple):
    """What the user says; None and empty values leave it to the image, or to docker's default."""

    image: str  # as it was named
    words: tuple[str, ...] = ()
    name: str | None = None
    entrypoint: str | None = None  # empty: none
    environment: tuple[str, ...] = ()  # K=V
    user: str | None = None
    directory: str | None = None
    hostname: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    tty: bool = False
    stdin_open: bool = False
    stop_signal: str | None = None
    stop_timeout_s: int | None = None
    healthcheck: Health | None = None
    no_healthcheck: bool = False
    network: str = "host"
    ports: tuple[PublishedPort, ...] = ()
    publish_all: bool = False  # those that the image exposes, too
    mounts: tuple[ContainerMount, ...] = ()  # a volume without a name gets one
    read_only: bool = False
    privileged: bool = False
    new_privileges: bool = False
    seccomp: str = ""
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    volumes_from: tuple[tuple[str, bool], ...] = ()  # containers, and whether to read only
    ipc: str = "private"
    uts: str = "private"
    cgroupns: str = "host"
    sysctls: tuple[str, ...] = ()
    oom_score: int = 0
    extra_hosts: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    ulimits: tuple[str, ...] = ()
    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    nano_cpus: int = 0
    pids: int = 0
    shm_bytes: int = 64 << 20
    upper_bytes: int = 0
    init: bool = False
    runtime: str = ""
    driver: str = "auto"
    trace: str = ""
    log_driver: str = "json-file"
    annotations: tuple[tuple[str, str], ...] = ()
    restart: str = "no"
    auto_remove: bool = False


def create(store: Store, image: StoredImage, asked: Asked) -> ContainerRecord:
    """Make a container, and the volumes that it needs.

    Raises:
        CannotCreate: something that was asked for, or that the image says, cannot be.
        InUse: another container has the name.
        NotInStore: the image has gone.
    """
    if asked.name is not None:
        require_name(asked.name)
    record = _record(image, asked)
    shared = _with_others_mounts(store, record.mounts, asked.volumes_from)
    mounts = _with_image_volumes(shared, image.config.run.volumes or ())
    record = structs.replace(record, mounts=tuple(with_volume(store, mount) for mount in mounts))
    return _with_free_name(store, record, asked.name)


def require_name(name: str) -> None:
    """Refuse what is no name of a container."""
    if NAME.fullmatch(name) is None:
        raise CannotCreate(name, _WHAT_A_NAME_IS)


def rename(store: Store, record: ContainerRecord, name: str) -> None:
    """Give a container another name.

    Raises:
        Failure: it is no name.
        InUse: another container has it.
    """
    if NAME.fullmatch(name) is None:
        raise Failure(f"{name}: {_WHAT_A_NAME_IS}")
    store.containers.replace(structs.replace(record, name=name))


def _with_free_name(store: Store, record: ContainerRecord, name: str | None) -> ContainerRecord:
    for tries_left in reversed(range(_MOST_TRIES)):
        named = structs.replace(record, name=name or made_up_name())
        try:
            store.containers.create(named)
        except InUse:
            if name is not None or not tries_left:
                raise
        else:
            return named
    raise AssertionError("the last try raises")


def _record(image: StoredImage, asked: Asked) -> ContainerRecord:
    run = image.config.run
    ident = containers.new_id()
    entrypoint, command = _words(asked, run)
    wants_user = asked.user is not None
    if asked.directory and not asked.directory.startswith("/"):
        raise Failure(f"-w: {asked.directory}: not an absolute path")
    directory = asked.directory or _clean(asked.image, "working directory", run.working_dir)
    return ContainerRecord(
        id=ident,
        name="",
        created_ns=time.time_ns(),
        image=asked.image,
        image_id=image.image_id,
        manifest=image.manifest.digest,
        diff_ids=tuple(image.config.diff_ids),
        entrypoint=entrypoint,
        command=command,
        environment=_environment(asked, run),
        user=asked.user if asked.user is not None else _clean(asked.image, "user", run.user),
        user_is_wish=not wants_user,
        directory=directory or "/",
        directory_is_made=True,
        hostname=asked.hostname or ident[:12],
        labels={**(run.labels or {}), **dict(asked.labels)},
        tty=asked.tty,
        stdin_open=asked.stdin_open,
        stop_signal=_stop_signal(asked, run),
        stop_timeout_s=10 if asked.stop_timeout_s is None else asked.stop_timeout_s,
        healthcheck=_health(asked, run.healthcheck),
        network=asked.network,
        ports=_ports(asked, run),
        mounts=asked.mounts,
        read_only=asked.read_only,
        privileged=asked.privileged,
        new_privileges=asked.new_privileges,
        seccomp=asked.seccomp,
        cap_add=asked.cap_add,
        cap_drop=asked.cap_drop,
        devices=asked.devices,
        groups=asked.groups,
        exposed=(*(run.exposed_ports or ()), *asked.exposed),
        ipc=asked.ipc,
        uts=asked.uts,
        cgroupns=asked.cgroupns,
        sysctls=asked.sysctls,
        oom_score=asked.oom_score,
        extra_hosts=asked.extra_hosts,
        aliases=asked.aliases,
        dns=asked.dns,
        dns_search=asked.dns_search,
        dns_options=asked.dns_options,
        ulimits=asked.ulimits,
        memory_bytes=asked.memory_bytes,
        memory_swap_bytes=asked.memory_swap_bytes,
        nano_cpus=asked.nano_cpus,
        pids=asked.pids,
        shm_bytes=asked.shm_bytes,
        upper_bytes=asked.upper_bytes,
        trace=asked.trace,
        log_driver=asked.log_driver,
        annotations=dict(asked.annotations),
        init=asked.init,
        runtime=asked.runtime,
        driver=asked.driver,
        restart=asked.restart,
        auto_remove=asked.auto_remove,
    )


def _words(asked: Asked, run: RunConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The entrypoint and the command, as docker puts them together."""
    for word in asked.words:
        _require_no_nul(asked.image, "command", word)
    if asked.entrypoint is not None:
        return ((asked.entrypoint,) if asked.entrypoint else ()), _some(asked, asked.words)
    entrypoint = tuple(_clean(asked.image, "entrypoint", word) for word in run.entrypoint or ())
    entrypoint = () if entrypoint == ("",) else entrypoint  # as docker takes it
    command = asked.words or tuple(_clean(asked.image, "command", word) for word in run.cmd or ())
    return entrypoint, command if entrypoint else _some(asked, command)


def _some(asked: Asked, words: tuple[str, ...]) -> tuple[str, ...]:
    if not words and not asked.entrypoint:
        raise CannotCreate(asked.image, "no command: the image has none, and none is given")
    return words


def _environment(asked: Asked, run: RunConfig) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for entry in run.env or ():
        name, equals, value = _clean(asked.image, "environment", entry).partition("=")
        if name and equals:  # docker and containerd leave others out
            found[name] = value
    for entry in asked.environment:
        name, _, value = entry.partition("=")
        _require_no_nul(asked.image, "environment", entry)
        found[name] = value
    return tuple(f"{name}={value}" for name, value in found.items())


def _ports(asked: Asked, run: RunConfig) -> tuple[PublishedPort, ...]:
    if not asked.publish_all:
        return asked.ports
    from overlayfs_py.containers import published_ports  # seldom needed, and slow to load

    try:
        exposed = published_ports.of_exposed(
            (*(run.exposed_ports or ()), *asked.exposed), asked.ports
        )
        return (*asked.ports, *exposed)
    except ValueError as error:
        raise CannotCreate(asked.image, f"the image's exposed ports: {error}") from None


def _stop_signal(asked: Asked, run: RunConfig) -> str:
    wanted = asked.stop_signal or run.stop_signal or _DEFAULT_SIGNAL
    try:
        return parse_signal(wanted).name
    except ValueError:
        raise CannotCreate(asked.image, f"{wanted}: there is no such signal to stop with") from None


def parse_signal(text: str) -> signal.Signals:
    """Return the signal that `TERM`, `SIGTERM`, `term` or `15` means.

    Raises:
        ValueError: there is none.
    """
    if text.isascii() and text.isdigit() and len(text) < 4:
        return signal.Signals(int(text))
    name = text.upper().removeprefix("SIG")
    offset = re.fullmatch(r"RTMIN(?:\+([0-9]{1,2}))?", name)
    if offset is not None:
        return signal.Signals(signal.SIGRTMIN + int(offset[1] or 0))
    try:
        return signal.Signals[f"SIG{name}"]
    except KeyError:
        raise ValueError(text) from None


def _health(asked: Asked, images: Healthcheck | None) -> Health | None:
    if asked.no_healthcheck:
        return None
    if asked.healthcheck is not None and asked.healthcheck.test:
        return asked.healthcheck
    if images is None or not images.test or images.test[0] == "NONE":
        return None
    own = asked.healthcheck or Health(test=())
    return Health(
        test=images.test,
        interval_ns=own.interval_ns or images.interval_ns,
        timeout_ns=own.timeout_ns or images.timeout_ns,
        start_period_ns=own.start_period_ns or images.start_period_ns,
        start_interval_ns=own.start_interval_ns or images.start_interval_ns,
        retries=own.retries or images.retries,
    )


def _with_others_mounts(
    store: Store, mounts: tuple[ContainerMount, ...], others: tuple[tuple[str, bool], ...]
) -> tuple[ContainerMount, ...]:
    """The mounts that were asked for, and those of other containers at other places."""
    found = {mount.target.rstrip("/"): mount for mount in mounts}
    for name, read_only in others:
        for mount in store.containers.get(name).mounts:
            if mount.kind is not MountKind.TMPFS:
                shared = structs.replace(
                    mount, anonymous=False, read_only=mount.read_only or read_only
                )
                found.setdefault(mount.target.rstrip("/"), shared)
    return tuple(found.values())


def _with_image_volumes(
    mounts: tuple[ContainerMount, ...], paths: tuple[str, ...]
) -> list[ContainerMount]:
    """The mounts that were asked for, and an anonymous volume for each other one of the image."""
    taken = {mount.target.rstrip("/") for mount in mounts}
    own = [path for path in paths if path.startswith("/") and path.rstrip("/") not in taken]
    return [*mounts, *(ContainerMount(kind=MountKind.VOLUME, target=path) for path in own)]


def with_volume(store: Store, mount: ContainerMount) -> ContainerMount:
    """Return a mount whose volume is there; one without a name gets an anonymous one."""
    if mount.kind is not MountKind.VOLUME:
        return mount
    if mount.source:
        store.volumes.create(mount.source)
        return mount
    name = volumes.new_name()
    store.volumes.create(name, anonymous=True)
    return structs.replace(mount, source=name, anonymous=True)


def _clean(image: str, what: str, text: str) -> str:
    _require_no_nul(image, f"image's {what}", text)
    # Half of a surrogate pair is what JSON can say and no text holds: Go takes it for this too.
    return _LONE_SURROGATE.sub("\ufffd", text)


def _require_no_nul(image: str, what: str, text: str) -> None:
    if "\0" in text:
        raise CannotCreate(image, f"the {what} holds a NUL character")
