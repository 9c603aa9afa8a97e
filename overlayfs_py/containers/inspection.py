"""What `inspect` says of a container: docker's keys.

Source: moby, api/types/container (InspectResponse).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.containers import output_log
from overlayfs_py.containers.rights import Limit
from overlayfs_py.containers.state import HealthState, Status
from overlayfs_py.image.inspection import DRIVER
from overlayfs_py.image.times import rfc3339
from overlayfs_py.store.containers import MountKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.containers.state import State
    from overlayfs_py.image.go_json import Json
    from overlayfs_py.store.containers import ContainerMount, ContainerRecord

_NEVER = "0001-01-01T00:00:00Z"
_RUNNING = (Status.RUNNING, Status.PAUSED, Status.RESTARTING)


def inspect_container(
    record: ContainerRecord,
    state: State,
    directory: Path,
    volume_data: Callable[[str], Path],
) -> dict[str, Json]:
    """Return what there is to say of a container, as JSON."""
    names = directory / "files/names"
    keeps_nothing = record.log_driver == output_log.NONE
    return {
        "Id": record.id,
        "Created": rfc3339(record.created_ns),
        "Path": record.words[0],
        "Args": list(record.words[1:]),
        "State": _state(state),
        "Image": record.image_id,
        "ResolvConfPath": str(names / "resolv.conf"),
        "HostnamePath": str(names / "hostname"),
        "HostsPath": str(names / "hosts"),
        "LogPath": "" if keeps_nothing else str(directory / output_log.FILE),
        "Name": f"/{record.name}",
        "RestartCount": state.restarts,
        "Driver": DRIVER,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": _host_config(record),
        "GraphDriver": {
            "Data": {"UpperDir": str(directory / "upper"), "WorkDir": str(directory / "work")},
            "Name": DRIVER,
        },
        "Mounts": [
            _mount(mount, volume_data)
            for mount in record.mounts
            if mount.kind is not MountKind.TMPFS
        ],
        "Config": _config(record),
        "NetworkSettings": _network(record, state),
    }


def _state(state: State) -> dict[str, Json]:
    health: dict[str, Json] = {}
    if state.health is not HealthState.NONE:
        health["Health"] = {
            "Status": state.health.value,
            "FailingStreak": state.failing_streak,
            "Log": [],
        }
    return {
        "Status": state.status.value,
        "Running": state.status in _RUNNING,
        "Paused": state.status is Status.PAUSED,
        "Restarting": state.status is Status.RESTARTING,
        "OOMKilled": state.out_of_memory,
        "Dead": False,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": _time(state.started_ns),
        "FinishedAt": _time(state.finished_ns),
        **health,
    }


def _time(time_ns: int) -> str:
    return rfc3339(time_ns) if time_ns else _NEVER


def _mount(mount: ContainerMount, volume_data: Callable[[str], Path]) -> dict[str, Json]:
    common: dict[str, Json] = {
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": "ro" if mount.read_only else "",
        "RW": not mount.read_only,
        "Propagation": "" if mount.kind is MountKind.VOLUME else "rprivate",
    }
    if mount.kind is not MountKind.VOLUME:
        return {"Type": "bind", **common}
    path = str(volume_data(mount.source))
    return {
        "Type": "volume",
        "Name": mount.source,
        **common,
        "Source": path,
        "Driver": "local",
    }


def _config(record: ContainerRecord) -> dict[str, Json]:
    check = record.healthcheck
    health: dict[str, Json] = {}
    if check is not None:
        health["Healthcheck"] = {
            "Test": list(check.test),
            "Interval": check.interval_ns,
            "Timeout": check.timeout_ns,
            "StartPeriod": check.start_period_ns,
            "Retries": check.retries,
        }
    return {
        "Hostname": record.hostname,
        "Domainname": "",
        "User": record.user,
        "AttachStdin": record.stdin_open,
        "AttachStdout": True,
        "AttachStderr": True,
        "ExposedPorts": {text: {} for text in sorted(_exposed(record))},
        "Tty": record.tty,
        "OpenStdin": record.stdin_open,
        "StdinOnce": record.stdin_open,
        "Env": list(record.environment),
        "Cmd": list(record.command),
        **health,
        "Image": record.image,
        "Volumes": {m.target: {} for m in record.mounts if m.kind is MountKind.VOLUME},
        "WorkingDir": record.directory,
        "Entrypoint": list(record.entrypoint) or None,
        "Labels": dict(sorted(record.labels.items())),
        "StopSignal": record.stop_signal,
        "StopTimeout": record.stop_timeout_s,
    }


def _exposed(record: ContainerRecord) -> set[str]:
    with_protocol = (text if "/" in text else f"{text}/tcp" for text in record.exposed)
    return {*with_protocol, *(f"{port.container_port}/{port.protocol}" for port in record.ports)}


def _device(text: str) -> dict[str, Json]:
    source, _, place = text.partition(":")
    return {"PathOnHost": source, "PathInContainer": place, "CgroupPermissions": "rwm"}


def _host_config(record: ContainerRecord) -> dict[str, Json]:
    when, _, most = record.restart.partition(":")
    return {
        "Binds": [_bind(m) for m in record.mounts if m.kind is not MountKind.TMPFS] or None,
        "NetworkMode": record.network,
        "PortBindings": {
            f"{port.container_port}/{port.protocol}": [
                {"HostIp": port.host_ip, "HostPort": str(port.host_port or "")}
            ]
            for port in record.ports
        },
        "LogConfig": {"Type": record.log_driver, "Config": {}},
        "RestartPolicy": {"Name": when, "MaximumRetryCount": int(most or 0)},
        "AutoRemove": record.auto_remove,
        "CapAdd": list(record.cap_add) or None,
        "CapDrop": list(record.cap_drop) or None,
        "Annotations": dict(sorted(record.annotations.items())) or None,
        "Dns": list(record.dns),
        "DnsOptions": list(record.dns_options),
        "DnsSearch": list(record.dns_search),
        "ExtraHosts": list(record.extra_hosts) or None,
        "Privileged": record.privileged,
        "ReadonlyRootfs": record.read_only,
        "SecurityOpt": _security(record) or None,
        "Ulimits": [_limit(text) for text in record.ulimits] or None,
        "Tmpfs": {m.target: m.options for m in record.mounts if m.kind is MountKind.TMPFS},
        "ShmSize": record.shm_bytes,
        "Devices": [_device(text) for text in record.devices] or None,
        "GroupAdd": list(record.groups) or None,
        "IpcMode": record.ipc,
        "UTSMode": "host" if record.uts == "host" else "",
        "CgroupnsMode": record.cgroupns,
        "Sysctls": dict(text.partition("=")[::2] for text in record.sysctls) or None,
        "OomScoreAdj": record.oom_score,
        "StorageOpt": {"size": str(record.upper_bytes)} if record.upper_bytes else None,
        "Runtime": record.runtime or DRIVER,
        "Memory": record.memory_bytes,
        "MemorySwap": record.memory_swap_bytes or 2 * record.memory_bytes,
        "NanoCpus": record.nano_cpus,
        "PidsLimit": record.pids or None,
        "Init": record.init,
    }


def _security(record: ContainerRecord) -> list[Json]:
    filtered = [f"seccomp={record.seccomp}"] if record.seccomp else []
    return [*([] if record.new_privileges else ["no-new-privileges"]), *filtered]


def _limit(text: str) -> dict[str, Json]:
    limit = Limit.parse(text)
    return {"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard}


def _bind(mount: ContainerMount) -> str:
    return f"{mount.source}:{mount.target}{':ro' if mount.read_only else ''}"


def _network(record: ContainerRecord, state: State) -> dict[str, Json]:
    ports: dict[str, list[Json]] = {}
    for text in state.ports:  # as bound: ADDRESS:PORT->PORT/tcp
        outside, _, inside = text.partition("->")
        address, _, number = outside.rpartition(":")
        ports.setdefault(inside, []).append({"HostIp": address.strip("[]"), "HostPort": number})
    return {
        "Ports": dict(ports.items()),
        "IPAddress": "",
        "Gateway": "",
        "MacAddress": "",
        "Networks": {
            record.network: {
                "Aliases": list(record.aliases) or None,
                "IPAddress": "",
                "Gateway": "",
                "MacAddress": "",
            }
        },
    }
