"""/etc/resolv.conf, /etc/hosts and /etc/hostname of a container: names resolve as on the host.

Plan: an image need not have these files, and neither its layers nor an upper get them. So the files
lie in the scratch directory, as does a layer with empty ones, which comes below all others: what is
there is there to be covered. So are its /dev, /proc and /sys.
Source: moby, daemon/container_operations_unix.go, and what `docker run --network=host` writes.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import mounts

_NAMES = (b"hostname", b"hosts", b"resolv.conf")
_SYSTEM_MOUNTS = (b"dev", b"proc", b"sys")
_LARGEST = 1 << 20  # a guess, far above what is found
_LOCALHOST = b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
# moby, libnetwork/etchosts: of every container with a network of its own.
_ALONE = _LOCALHOST + (
    b"fe00::\tip6-localnet\nff00::\tip6-mcastprefix\n"
    b"ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)


class Names(NamedTuple):
    """What names mean in a container's network."""

    is_hosts_own: bool = True  # the host's file, as the network is the host's
    address: str = "127.0.0.1"  # what the container's own name means
    resolver: str = ""  # instead of the host's name servers
    more: tuple[str, ...] = ()  # lines of /etc/hosts: NAME:ADDRESS
    aliases: tuple[str, ...] = ()  # names more of the container's own
    servers: tuple[str, ...] = ()  # instead of all other name servers
    domains: tuple[str, ...] = ()  # instead of those that short names are looked for in
    options: tuple[str, ...] = ()  # instead of the resolver's other options


_OF_HOST = Names()


class NameFile(NamedTuple):
    """One of them, not mounted yet."""

    place: bytes
    clone_fd: int

    def show(self) -> None:
        """Cover the image's; to be called where / is the container's. What is no file stays."""
        target = os.path.realpath(self.place)
        if os.path.isfile(target):
            mounts.move_mount(self.clone_fd, target)
        os.close(self.clone_fd)


def write(scratch: bytes, hostname: str, known: Names = _OF_HOST) -> bytes:
    """Write the files below a scratch directory, and return the layer that has their places."""
    layer, names = os.path.join(scratch, b"places"), os.path.join(scratch, b"names")
    os.makedirs(os.path.join(layer, b"etc"), 0o755)
    os.mkdir(names)
    # Of an image that lacks these, the upper need not have them: nobody changed anything.
    mounted = [os.path.join(layer, name) for name in _SYSTEM_MOUNTS]
    for path in mounted:
        os.mkdir(path)
    for path in (layer, os.path.join(layer, b"etc"), *mounted):
        os.chmod(path, 0o755)
    own = os.fsencode(hostname)
    all_names = os.fsencode(" ".join((hostname, *known.aliases)))
    contents = {
        b"hostname": own + b"\n",
        b"hosts": _hosts(known)
        + os.fsencode(known.address)
        + b"\t"
        + all_names
        + b"\n"
        + _more(known),
        b"resolv.conf": _resolv(known),
    }
    for name, content in contents.items():
        _write(os.path.join(layer, b"etc", name), b"")
        _write(os.path.join(names, name), content)
    return layer


def prepare(scratch: bytes) -> list[NameFile]:
    """Return the files as mounts, before the host goes out of sight; none before Linux 5.2."""
    found = []
    with suppress(OSError):
        for name in _NAMES:
            source = os.path.join(scratch, b"names", name)
            found.append(NameFile(b"/etc/" + name, mounts.open_tree_clone(source)))
    return found


def _hosts(asked: Names) -> bytes:
    """The host's, as the network is; where it has none, names of this machine alone."""
    if not asked.is_hosts_own:
        return _ALONE
    found = _content(b"/etc/hosts")
    return found if found.endswith(b"\n") or not found else found + b"\n"


def _more(known: Names) -> bytes:
    pairs = (text.partition(":")[::2] for text in known.more)
    return b"".join(os.fsencode(f"{address}\t{name}\n") for name, address in pairs)


def _resolv(known: Names) -> bytes:
    """The host's, with other name servers if those are asked for, or cannot be reached."""
    found = _content(b"/etc/resolv.conf")
    servers = known.servers or ((known.resolver,) if known.resolver else ())
    own = [f"nameserver {each}" for each in servers]
    replaced = {b"nameserver"} if servers else set()
    if known.domains:
        own += [f"search {' '.join(known.domains)}"] if known.domains != (".",) else []
        replaced |= {b"search", b"domain"}
    if known.options:
        own += [f"options {' '.join(known.options)}"]
        replaced |= {b"options"}
    if not replaced:
        return found
    kept = [line for line in found.splitlines() if (line.split() or [b""])[0] not in replaced]
    return b"\n".join((*map(os.fsencode, own), *kept, b""))


def _content(path: bytes) -> bytes:
    default = _LOCALHOST if path.endswith(b"hosts") else b""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return default
    with open(fd, "rb") as file:
        return file.read(_LARGEST) if stat.S_ISREG(os.fstat(fd).st_mode) else default


def _write(path: bytes, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with open(fd, "wb") as file:
        file.write(content)
        os.fchmod(fd, 0o644)
