"""`overlayfs-py` with one command more, `probe`, which tells what it is in, or ends in some way.

All that comes before the command is the real entry point's.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import select
import signal
import socket
import sys
import time
from pathlib import Path

from overlayfs_py.cli import main

_run = main._run
_STATUS = ("Uid", "Gid", "Groups", "Umask", "SigBlk", "SigIgn", "SigCgt", "CapEff", "NoNewPrivs")


def probe() -> None:
    if sys.argv[1:2] != ["probe"]:
        _run()
    what, *words = sys.argv[2:]
    globals()[f"_{what}"](*words)
    sys.stdout.flush()


def _limited() -> None:
    import resource

    print(resource.getrlimit(resource.RLIMIT_CORE))


def _state(*_: str) -> None:
    """Everything that a command could find out, but numbers that no two processes share."""
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file)
    with open("/proc/self/comm") as file:
        name = file.read()
    with open("/proc/self/cmdline", "rb") as file:
        shown = file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="surrogateescape")
    import resource

    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    found = {
        "status": {key: status[key] for key in _STATUS},
        "name": name,
        "shown": shown,
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "flags": repr(sys.flags),
        "path": sys.path,
        "main": sys.modules["__main__"].__file__,
        "cwd": os.getcwd(),
        "environ": list(os.environ.items()),
        "libc's": repr(libc.getenv(b"PROBED")),
        "descriptors": sorted(set(os.listdir("/proc/self/fd")) - {"3"}),
        "files": [os.readlink(f"/proc/self/fd/{fd}").split(":[")[0] for fd in (0, 1, 2)],
        "streams": [_stream(each) for each in (sys.stdin, sys.stdout, sys.stderr)],
        "limits": [resource.getrlimit(each) for each in range(16)],
        "handlers": [repr(signal.getsignal(each)).split(" at ")[0] for each in range(1, 65)],
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "cgroup": Path("/proc/self/cgroup").read_text(),
        "threads": os.listdir("/proc/self/task") == [str(os.getpid())],
    }
    print(json.dumps(found, indent=1))


def _stream(stream: object) -> list[object]:
    names = ("name", "mode", "encoding", "errors", "newlines", "line_buffering", "write_through")
    return [*(getattr(stream, name) for name in names), stream.seekable(), stream.buffer.raw.name]


def _random() -> None:
    print(random.random(), os.urandom(8).hex())


def _end(code: str) -> None:
    print("ends")
    sys.exit(int(code))


def _die(number: str) -> None:
    if int(number) != signal.SIGKILL:
        signal.signal(int(number), signal.SIG_DFL)
    os.kill(os.getpid(), int(number))
    time.sleep(60)


def _copy() -> None:
    while data := os.read(0, 1 << 16):
        os.write(1, data)


def _close() -> None:
    print("closes", flush=True)
    os.close(0)
    os.close(1)
    time.sleep(60)


def _flood() -> None:
    os.write(2, b"begins\n")
    while True:
        sys.stdout.write("y" * 4096)


def _wait(file: str) -> None:
    """Tell who this is, and of each signal that comes; leave a child of another session behind."""
    left = os.fork()
    if not left:
        os.setsid()
        os.closerange(0, 3)
        time.sleep(60)

    def tell(number: int, _: object) -> None:
        # Not by a stream of Python's, in whose middle the signal may have come.
        os.write(1, f"{signal.Signals(number).name}\n".encode())
        if number == signal.SIGTERM:
            os.kill(left, signal.SIGKILL)
            sys.exit(9)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGCONT):
        signal.signal(number, tell)
    with open(file + "~", "w") as out:
        json.dump([os.getpid(), left], out)
    os.rename(file + "~", file)
    print("waits", flush=True)
    for _ in range(600):
        time.sleep(0.1)


def hasty(path: str) -> None:
    """Order a command without a word of the answer, as if before it; tell what comes then."""
    from overlayfs_py.warm import client

    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    secret_fd = os.memfd_create("secret")
    os.write(secret_fd, bytes(client.SECRET_BYTES))
    templates = Path(f"/proc/{client.peer_of(sock)[0]}/fd/{client.SECRET_FD}").read_bytes()
    numbers = [b"%d" % fd for fd in (sock.fileno(), secret_fd)]
    facts = (client.own_facts(), client.interpreter())
    words = client.packed([os.fsencode(sys.argv[0]), b"probe", b"end", b"0"])
    pairs = client.packed([b"%b=%b" % pair for pair in os.environb.items()])
    order = client.packed([bytes(client.WORD_BYTES), words, pairs])
    sock.sendall(client.packed([client.RUN, templates, *numbers, *facts]))
    select.select([sock], [], [], 30)  # or both would come in one piece, which is refused as well
    socket.send_fds(sock, [order], [0, 1, 2])
    said = b""
    while more := sock.recv(1 << 16):
        said += more
    os.write(1, said[:1] + said[-1:])


if __name__ == "__main__":
    if sys.argv[1:2] == ["hasty"]:
        hasty(sys.argv[2])
    else:
        main._run = probe
        main.main()
