"""`--network` and `-p`: whose devices, addresses and names a container has; what leads into it."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import namespaces
from tests.life.users import AS_ROOT
from tests.system.processes import attempt, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.life.conftest import Engine

_DEVICES = "cut -s -d: -f1 /proc/net/dev"


def test_none_is_loopback_alone(engine: Engine) -> None:
    shown = engine(
        *("run", "--rm", "--network", "none", "small:1", "sh", "-c"),
        f"{_DEVICES}; ls /sys/class/net; cat /sys/class/net/lo/flags; cat /proc/net/fib_trie",
    ).split()

    assert shown[:3] == ["lo", "lo", "0x9"]  # IFF_UP, IFF_LOOPBACK
    assert "127.0.0.1" in shown
    assert "169.254.95.2" not in shown


def test_host_is_the_hosts(engine: Engine) -> None:
    shown = engine("run", "--rm", "--network=host", "small:1", "sh", "-c", _DEVICES)

    with open("/proc/net/dev") as file:
        assert set(shown.split()) == {line.split(":")[0].strip() for line in file if ":" in line}


def test_sys_of_an_own_network_cannot_be_changed(engine: Engine) -> None:
    script = "echo 1500 > /sys/class/net/lo/mtu; test -e /sys/kernel && ls /sys/fs"
    done = engine.attempt("run", "--rm", "--network=none", "small:1", "sh", "-c", script)

    assert "Read-only file system" in done.stderr
    assert "cgroup" in done.stdout


@AS_ROOT
def test_hosts_names_the_container_and_not_the_hosts_neighbours(engine: Engine) -> None:
    own = engine("run", "--rm", "--net=none", "-h", "box", "small:1", "cat", "/etc/hosts")
    hosts = engine("run", "--rm", "-h", "box", "small:1", "cat", "/etc/hosts")

    assert own.splitlines()[0] == "127.0.0.1\tlocalhost"
    assert own.splitlines()[-1] == "127.0.0.1\tbox"
    with open("/etc/hosts") as file:
        assert hosts == file.read().rstrip("\n") + "\n127.0.0.1\tbox\n"


def test_a_container_keeps_its_network_over_its_starts(engine: Engine) -> None:
    engine("run", "--name", "one", "--network", "none", "small:1", "sh", "-c", _DEVICES)

    assert engine("start", "-a", "one").split() == ["lo"]
    assert engine("ps", "-a", "--format", "{{.Networks}}") == "none\n"


@AS_ROOT
@pytest.mark.parametrize("network", ["nosuch", "", "container:x"])
def test_an_unknown_network_is_refused_by_name(engine: Engine, network: str) -> None:
    code, said = engine.refusal("run", "--network", network, "small:1", "true")

    assert code == 125
    assert said.startswith(f"--network: {network}: there is no such network")


class Published:
    """A container without a command that does anything; the test is the server in it."""

    def __init__(self, engine: Engine, *options: str, network: str = "none") -> None:
        self.engine = engine
        self.ident = engine(
            *("run", "-d", "--network", network, *options, "small:1", "sleep", "1000")
        ).strip()

    @property
    def state(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(
            (self.engine.containers / self.ident / "state.json").read_bytes()
        )
        return found

    def address(self, port: str = "80") -> tuple[str, int]:
        host, _, number = self.engine("port", self.ident, port).strip().rpartition(":")
        return host.strip("[]"), int(number)

    def listen(self, kind: socket.SocketKind = socket.SOCK_STREAM, port: int = 80) -> socket.socket:
        """A server's socket in the container's network."""
        made: list[socket.socket] = []

        def make() -> None:
            fd = os.open(f"/proc/{self.state['pid']}/ns/net", os.O_RDONLY)
            namespaces.setns(fd, namespaces.CLONE_NEWNET)
            os.close(fd)
            made.append(socket.socket(socket.AF_INET, kind))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        sock = made[0]
        sock.settimeout(10)
        sock.bind(("0.0.0.0", port))
        if kind == socket.SOCK_STREAM:
            sock.listen(500)
        return sock


def _connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=10)


def _read_all(sock: socket.socket) -> bytes:
    data = bytearray()
    while piece := sock.recv(1 << 16):
        data += piece
    return bytes(data)


def test_a_port_that_the_kernel_chose_leads_into_the_container(engine: Engine) -> None:
    container = Published(engine, "-p", "127.0.0.1::80")

    with container.listen() as server, _connect(container.address()) as client:
        inner, peer = server.accept()
        with inner:
            inner.settimeout(10)
            client.sendall(b"question")
            assert inner.recv(100) == b"question"
            inner.sendall(b"answer")
            assert client.recv(100) == b"answer"
    host, port = container.address()
    assert (host, peer[0]) == ("127.0.0.1", "169.254.95.1")
    assert engine("ps", "--format", "{{.Ports}}") == f"127.0.0.1:{port}->80/tcp\n"
    assert engine("port", container.ident) == f"80/tcp -> 127.0.0.1:{port}\n"


@AS_ROOT
def test_without_an_address_a_port_is_bound_for_both_protocols_of_the_internet(
    engine: Engine,
) -> None:
    container = Published(engine, "-p", "80")
    lines = engine("port", container.ident, "80").splitlines()
    ports = {line.rpartition(":")[2] for line in lines}

    assert {line.rpartition(":")[0] for line in lines} == {"0.0.0.0", "[::]"}
    assert len(ports) == 1
    with container.listen() as server:
        for host in ("127.0.0.1", "::1"):
            with _connect((host, int(next(iter(ports))))) as client:
                inner, _ = server.accept()
                with inner:
                    inner.sendall(host.encode())
                assert client.recv(100) == host.encode()


def test_what_is_started_in_a_container_has_its_network(engine: Engine) -> None:
    container = Published(engine, "-p", "127.0.0.1::80")

    assert engine("exec", container.ident, "sh", "-c", _DEVICES).split() == ["lo"]


def test_a_command_that_is_started_again_has_its_ports(engine: Engine) -> None:
    container = Published(engine, "--restart=always", "-p", "127.0.0.1::80")
    address, pid = container.address(), container.state["pid"]
    os.kill(int(str(pid)), signal.SIGKILL)

    wait_until(lambda: container.state["pid"] not in (0, pid), "another start")
    with container.listen() as server, _connect(address):
        server.accept()[0].close()
    assert container.address() == address


@AS_ROOT
def test_each_direction_ends_by_itself(engine: Engine) -> None:
    container = Published(engine, "-p", "127.0.0.1::80")
    sent = os.urandom(3_000_000)

    with container.listen() as server, _connect(container.address()) as client:
        inner, _ = server.accept()
        with inner:
            inner.settimeout(10)
            sender = threading.Thread(
                target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR))
            )
            sender.start()
            assert _read_all(inner) == sent
            sender.join()
            inner.sendall(b"got it")
        assert _read_all(client) == b"got it"


def _send_until_told_to_wait(sock: socket.socket) -> int:
    sent = 0
    while sent < 1 << 28:
        try:
            sent += sock.send(bytes(1 << 16))
        except TimeoutError:
            break
    return sent


@AS_ROOT
def test_a_slow_reader_makes_its_writer_wait(engine: Engine) -> None:
    container = Published(engine, "-p", "127.0.0.1::80")

    with container.listen() as server, _connect(container.address()) as client:
        inner, _ = server.accept()
        with inner:
            inner.settimeout(10)
            client.settimeout(0.3)
            sent = _send_until_told_to_wait(client)
            assert sent < 1 << 28
            client.shutdown(socket.SHUT_WR)
            assert len(_read_all(inner)) == sent


@AS_ROOT
def test_many_connections_at_once(engine: Engine) -> None:
    container = Published(engine, "-p", "127.0.0.1::80")

    with container.listen() as server:
        clients = [_connect(container.address()) for _ in range(1)]
        address = clients[0].getpeername()
        clients += [_connect(address) for _ in range(299)]
        inners = [server.accept()[0] for _ in clients]
        for number, client in enumerate(clients):
            client.sendall(b"%d." % number)
            client.shutdown(socket.SHUT_WR)
        assert {int(_read_all(inner).rstrip(b".")) for inner in inners} == set(range(300))
        for sock in (*clients, *inners):
            sock.close()


@AS_ROOT
def test_a_port_without_a_server_is_reset(engine: Engine) -> None:
    container = Published(engine, "-p", "127.0.0.1::80")

    def reads() -> bytes:
        with _connect(address) as client:
            return client.recv(1)

    address = container.address()
    with pytest.raises(ConnectionResetError):
        reads()


@AS_ROOT
def test_a_failed_connection_is_reset_at_its_other_end(engine: Engine) -> None:
    container = Published(engine, "-p", "127.0.0.1::80")

    with container.listen() as server, _connect(container.address()) as client:
        inner, _ = server.accept()
        inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        inner.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


@AS_ROOT
def test_datagrams_are_answered_from_where_they_were_sent(engine: Engine) -> None:
    container = Published(engine, "-p", ":53/udp")
    _, port = engine("port", container.ident, "53/udp").splitlines()[0].rsplit(":", 1)

    with container.listen(socket.SOCK_DGRAM, 53) as server:
        for host in ("127.0.0.1", "127.0.0.9", "::1"):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(10)
                client.connect((host, int(port)))
                for word in (b"one", b"two"):
                    client.send(word)
                    data, flow = server.recvfrom(100)
                    server.sendto(data.upper(), flow)
                    assert client.recv(100) == word.upper()


def test_a_port_in_use_is_named(engine: Engine) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        code, said = engine.refusal(
            *("run", "--name", "one", "--network=none", "-p", f"127.0.0.1:{port}:80", "small:1")
        )

    assert (code, said) == (125, f"port 127.0.0.1:{port}/tcp: Address already in use")
    assert engine("ps", "-a", "--format", "{{.Names}} {{.Status}}") == "one Created\n"


@AS_ROOT
def test_of_a_range_the_first_free_port_is_taken(engine: Engine) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        container = Published(engine, "-p", f"127.0.0.1:{port}-{port + 9}:80")

        assert port < container.address()[1] <= port + 9


@AS_ROOT
def test_every_port_that_the_image_exposes(engine: Engine) -> None:
    archive = engine.directory / "small.tar"
    engine("import", "-c", "EXPOSE 80 53/udp", archive, "exposing:1")
    engine("run", "-d", "--name", "one", "--net=none", "-P", "exposing:1", "sleep", "1000")

    lines = engine("port", "one").splitlines()
    assert [line.partition(" -> ")[0] for line in lines] == ["53/udp"] * 2 + ["80/tcp"] * 2
    assert {line.partition(" -> ")[2].rpartition(":")[0] for line in lines} == {"0.0.0.0", "[::]"}
    engine("rm", "-f", "one")
    engine("rmi", "exposing:1")


@AS_ROOT
def test_with_the_hosts_network_nothing_is_published(engine: Engine) -> None:
    done = engine.attempt("run", "--rm", "--network=host", "-p", "80:80", "small:1", "true")

    assert done.returncode == 0
    assert done.stderr == "overlayfs-py: -p has no effect with the host's network\n"


@AS_ROOT
@pytest.mark.parametrize(
    ("port", "reason"),
    [
        ("80:0", "a container has no port 0"),
        ("1-2:1-3", "the ranges are not of one length"),
        ("80/sctp", "sctp: only tcp and udp can be published"),
        ("65536", "65536: no port, nor a range of ports"),
        ("300.0.0.1:1:1", "'300.0.0.1' does not appear to be an IPv4 or IPv6 address"),
        ("web", "not of the form"),
    ],
)
def test_a_port_that_means_nothing_is_refused(engine: Engine, port: str, reason: str) -> None:
    code, said = engine.refusal("run", "--net=none", "-p", port, "small:1", "true")

    assert code == 125
    assert said.startswith(f"-p: {port}: {reason}")


def test_ports_are_published_again_at_each_start(engine: Engine) -> None:
    container = Published(engine, "-p", "127.0.0.1::80")
    engine("stop", "-t", "0", container.ident)

    assert engine.refusal("port", container.ident, "80")[0] == 1
    assert engine("port", container.ident) == ""
    engine("start", container.ident)
    with container.listen() as server, _connect(container.address()):
        server.accept()[0].close()


def _children(pid: int) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            yield int(path.parent.name)


def _network_of(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def _forwarder(container: Published) -> int:
    """The monitor's child in the container's network that is not its first process."""
    monitor, first = int(str(container.state["monitor_pid"])), int(str(container.state["pid"]))
    found = [
        pid for pid in _children(monitor) if pid != first and _network_of(pid) == _network_of(first)
    ]
    return found[0] if found else 0


def test_clients_wait_while_a_killed_forwarder_is_replaced(engine: Engine) -> None:
    container = Published(engine, "-p", "127.0.0.1::80")
    killed = _forwarder(container)
    os.kill(killed, signal.SIGKILL)

    with container.listen() as server, _connect(container.address()):
        server.accept()[0].close()
    assert _forwarder(container) not in (0, killed)


def test_nothing_is_left_of_a_killed_monitor(engine: Engine) -> None:
    container = Published(engine, "-p", "127.0.0.1::80")
    host, port = container.address()
    monitor = int(str(container.state["monitor_pid"]))
    children = list(_children(monitor))
    os.kill(monitor, signal.SIGKILL)

    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "its children")
    with closing(socket.create_server((host, port))):
        assert engine("ps", "-a", "--format", "{{.State}} {{.Ports}}") == "exited \n"


@pytest.fixture
def tunnels() -> Iterator[None]:
    """Let everybody make a network device in a namespace of his own, as udev does."""
    device = Path("/dev/net/tun")
    mode = stat.S_IMODE(device.stat().st_mode)
    device.chmod(0o666)
    yield
    device.chmod(mode)


_SEEN = f"{_DEVICES}; cut -f2,3 /proc/net/route; cat /etc/resolv.conf /etc/hosts"


@pytest.mark.usefixtures("tunnels")
@pytest.mark.parametrize("network", ["private", "bridge"])
def test_private_has_a_device_a_route_and_a_name_server(engine: Engine, network: str) -> None:
    words = engine("run", "--rm", "--network", network, "small:1", "sh", "-c", _SEEN).split()

    assert len(set(words[: words.index("Destination")])) == 2
    assert words[words.index("Gateway") + 1] == "00000000"  # the default route
    assert words[words.index("nameserver") + 1] in ("169.254.95.3", "10.0.2.3")
    assert "169.254.95.2" in words


@pytest.mark.usefixtures("tunnels")
def test_private_publishes_ports_and_leaves_nothing(engine: Engine) -> None:
    container = Published(engine, "-p", "127.0.0.1::80", network="private")

    with container.listen() as server, _connect(container.address()) as client:
        inner, _ = server.accept()
        with inner:
            client.sendall(b"question")
            assert inner.recv(100) == b"question"
    monitor = int(str(container.state["monitor_pid"]))
    kin = _descendants(monitor)
    assert len(kin) > len(list(_children(monitor)))
    assert engine("ps", "--format", "{{.Networks}}") == "private\n"
    os.kill(monitor, signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in kin), "all its processes")


@pytest.mark.usefixtures("tunnels")
def test_a_killed_connection_is_made_again(engine: Engine) -> None:
    container = Published(engine, network="private")
    routes = Path(f"/proc/{container.state['pid']}/net/route")
    before = routes.read_text()
    first = int(str(container.state["pid"]))
    outside = [
        pid
        for pid in _children(int(str(container.state["monitor_pid"])))
        if pid != first and list(_children(pid))
    ]
    for pid in _descendants(outside[0]):
        os.kill(pid, signal.SIGKILL)

    wait_until(lambda: routes.read_text() != before, "the end of the connection")
    wait_until(lambda: routes.read_text() == before, "another one")


@AS_ROOT
@pytest.mark.usefixtures("tunnels")
def test_a_published_port_without_a_network_means_private(engine: Engine) -> None:
    engine("create", "--name", "one", "-p", "80", "small:1")

    assert engine("ps", "-a", "--format", "{{.Networks}}") == "private\n"


def _without(engine: Engine, programs: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run where some programs are not: in a mount namespace in which no one may execute them."""
    hide = f'for name in {programs}; do mount --bind /dev/null /usr/bin/$name; done; exec "$@"'
    argv = ["unshare", "--mount", "sh", "-ec", hide, "sh", *engine.argv(*words)]
    return attempt(argv, env=engine.environment)


@pytest.mark.usefixtures("tunnels")
def test_slirp4netns_does_where_pasta_is_not(engine: Engine) -> None:
    words = ("run", "--rm", "--network", "private", "small:1", "sh", "-c", _SEEN)
    done = _without(engine, "pasta", *words)

    assert "nameserver 10.0.2.3" in done.stdout, done.stderr
    assert "tap0" in done.stdout


def test_without_either_it_is_said_what_to_install(engine: Engine) -> None:
    words = ("run", "--rm", "--network", "private", "small:1", "true")
    done = _without(engine, "pasta slirp4netns", *words)

    assert done.returncode == 125
    assert done.stderr == (
        "overlayfs-py: --network private: needs pasta or slirp4netns: install the Debian package"
        " passt or slirp4netns\n"
    )


def test_without_either_a_published_port_leads_in_and_nothing_out(engine: Engine) -> None:
    words = ("run", "--rm", "-p", "80", "small:1", "sh", "-c", _DEVICES)
    done = _without(engine, "pasta slirp4netns", *words)

    assert (done.returncode, done.stdout.split()) == (0, ["lo"])
    assert "the container reaches nothing outside" in done.stderr


def _descendants(pid: int) -> list[int]:
    own = list(_children(pid))
    return own + [each for child in own for each in _descendants(child)]
