"""Sessions with kernels that are old, broken or in a hurry, played by the other end of a socket."""

from __future__ import annotations

import errno
import os
import struct
import threading
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overlayfs_py.layers.reader import DescriptorReader
from overlayfs_py.union.core import Union
from overlayfs_py.wire.protocol import InitFlag, Opcode, OpenFlag
from overlayfs_py.wire.requests import HEADER_SIZE
from tests.drivers.fake_kernel import session
from tests.drivers.serving import Stack, with_driver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENTRY_SIZE = 128
OPENED = struct.pack("=QII", 0, OpenFlag.KEEP_CACHE, 0)
ATTRIBUTES_SIZE = 104
NEVER_SENT = 4095  # an opcode of no protocol


@pytest.fixture
def stack(scratch: Path) -> Stack:
    with_driver.set("direct")
    return Stack(scratch)


@pytest.fixture
def union(stack: Stack) -> Iterator[Union]:
    (stack.lower / "file").write_text("content")
    opened = Union(stack.spec)
    yield opened
    opened.close()


def node_in(entry: bytes) -> int:
    return int(struct.unpack_from("=Q", entry)[0])


def setattr_body(*, valid: int, mode: int = 0) -> bytes:
    return struct.pack("=IIQQQQQQIIIIIIII", valid, *[0] * 10, mode, *[0] * 4)


# Kernels of several ages


@pytest.mark.trio
@pytest.mark.parametrize("minor", [27, 31, 36, 39, 45, 60])
async def test_a_kernel_of_any_age_is_served(union: Union, minor: int) -> None:
    async with session(union) as kernel:
        begun = await kernel.begin(minor)
        found = await kernel.ask(Opcode.LOOKUP, b"file\0")
        node = node_in(found.payload)
        read = struct.pack("=QQIIQII", 0, 0, 4096, 0, 0, 0, 0)
        data = await kernel.ask(Opcode.READ, read, node=node)
        attributes = await kernel.ask(Opcode.GETATTR, bytes(16), node=node)

    assert struct.unpack_from("=II", begun.payload) == (7, min(minor, 45))
    assert data.payload == b"content"
    assert len(attributes.payload) == ATTRIBUTES_SIZE


@pytest.mark.trio
async def test_a_kernel_that_must_open_directories_may_do_so(union: Union) -> None:
    """Linux before 5.1 takes ENOSYS to OPENDIR for an error; to OPEN, for what it means."""
    before = InitFlag.NO_OPEN_SUPPORT | InitFlag.ASYNC_READ
    async with session(union) as kernel:
        await kernel.begin(27, before)
        directory = await kernel.ask(Opcode.OPENDIR, bytes(8))
        closed = await kernel.ask(Opcode.RELEASEDIR, bytes(24))
        node = node_in((await kernel.ask(Opcode.LOOKUP, b"file\0")).payload)
        file = await kernel.ask(Opcode.OPEN, bytes(8), node=node)

    assert (directory.number, directory.payload) == (0, OPENED)
    assert (closed.number, closed.payload) == (0, b"")
    assert file.number == errno.ENOSYS


@pytest.mark.trio
@pytest.mark.parametrize(
    ("flags", "head"),
    [(0, struct.pack("=II", 5, 0)), (InitFlag.SETXATTR_EXT, struct.pack("=IIII", 5, 0, 0, 0))],
)
async def test_setxattr_has_the_layout_that_was_agreed_on(
    union: Union, stack: Stack, flags: int, head: bytes
) -> None:
    async with session(union) as kernel:
        await kernel.begin(33, flags)
        node = node_in((await kernel.ask(Opcode.LOOKUP, b"file\0")).payload)
        done = await kernel.ask(Opcode.SETXATTR, head + b"user.x\0value", node=node)

    assert done.number == 0
    assert os.getxattr(stack.upper / "file", "user.x") == b"value"


@pytest.mark.trio
async def test_a_kernel_of_another_major_asks_again(union: Union) -> None:
    async with session(union) as kernel:
        first = await kernel.ask(Opcode.INIT, struct.pack("=IIII48x", 8, 0, 0, 0))
        await kernel.begin()
        found = await kernel.ask(Opcode.LOOKUP, b"file\0")

    assert struct.unpack_from("=II", first.payload) == (7, 45)
    assert len(found.payload) == ENTRY_SIZE


@pytest.mark.trio
async def test_a_kernel_too_old_ends_the_session(union: Union) -> None:
    async with session(union) as kernel:
        kernel.send(Opcode.INIT, struct.pack("=IIII48x", 7, 26, 0, 0))
        broken = await kernel.wait_for_the_end()

    assert "7.27 is the oldest" in str(broken)


# Messages that are none, and many of them


@pytest.mark.trio
@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"short",
        bytes(HEADER_SIZE),  # says that it is 0 bytes long
        struct.pack("=IIQQIIIHH", 41, Opcode.GETATTR, 2, 1, 0, 0, 0, 0, 0),
        struct.pack("=IIQQIIIHH", 44, Opcode.LOOKUP, 2, 1, 0, 0, 0, 0, 0) + b"name",  # no end
        struct.pack("=IIQQIIIHH", 44, Opcode.WRITE, 2, 1, 0, 0, 0, 0, 0) + b"none",
    ],
    ids=["end of file", "no header", "no length", "wrong length", "no name", "no data"],
)
async def test_a_message_that_is_none_ends_the_session(union: Union, message: bytes) -> None:
    async with session(union) as kernel:
        await kernel.begin()
        if message:
            kernel.send_raw(message)
        else:
            kernel.close()
        broken = await kernel.wait_for_the_end()

    assert broken is not None


@pytest.mark.trio
async def test_what_is_not_known_is_refused_for_good(union: Union) -> None:
    async with session(union) as kernel:
        await kernel.begin()
        answers = [await kernel.ask(opcode, bytes(64)) for opcode in (NEVER_SENT, Opcode.GETLK)]

    assert [answer.number for answer in answers] == [errno.ENOSYS] * 2


@pytest.mark.trio
async def test_a_burst_is_answered_in_order(union: Union) -> None:
    async with session(union) as kernel:
        await kernel.begin()
        sent = [kernel.send(Opcode.GETATTR, bytes(16)) for _ in range(100)]
        answered = [(await kernel.receive()).unique for _ in sent]

    assert answered == sent


@pytest.mark.trio
async def test_an_endless_burst_lets_other_tasks_run(union: Union) -> None:
    """Signals and finished threads are heard in the middle of it."""
    async with session(union) as kernel:
        await kernel.begin()
        sent = [kernel.send(Opcode.GETATTR, bytes(16)) for _ in range(100)]
        first = await kernel.receive()  # this task runs
        answered = sum(1 for _ in iter(kernel.receive_nowait, None))
        for _ in range(len(sent) - 1 - answered):
            await kernel.receive()

    assert first.unique == sent[0]
    assert answered < len(sent) - 1


messages = st.builds(
    lambda opcode, node, body: (
        struct.pack("=IIQQIIIHH", HEADER_SIZE + len(body), opcode, 7, node, 0, 0, 0, 0, 0) + body
    ),
    st.sampled_from([*Opcode, NEVER_SENT]),
    st.sampled_from([0, 1, 2, 1 << 48, (1 << 64) - 1]),
    # No slash: the kernel looks names up one by one, and a name is taken at its word.
    st.binary(max_size=200).map(lambda body: body.replace(b"/", b"")),
)
SILENT = {
    struct.pack("=I", opcode) for opcode in (Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT)
}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.one_of(messages, st.binary(min_size=1, max_size=300)))
def test_any_bytes_are_answered_or_end_the_session(
    union: Union, caplog: pytest.LogCaptureFixture, message: bytes
) -> None:
    async def send() -> bool:
        async with session(union) as kernel:
            await kernel.begin()
            kernel.send_raw(message)
            if message[4:8] in SILENT:
                kernel.send(Opcode.GETATTR, bytes(16))
            return await kernel.answers_or_ends()

    with caplog.at_level("CRITICAL"):  # what is absurd may be logged as a bug
        assert trio.run(send)


# Memory


@pytest.mark.trio
async def test_what_is_forgotten_takes_its_listing_along(union: Union, stack: Stack) -> None:
    (stack.lower / "dir").mkdir()
    (stack.lower / "dir" / "below").touch()
    everything = struct.pack("=QQIIQII", 0, 0, 4096, 0, 0, 0, 0)
    async with session(union) as kernel:
        await kernel.begin()
        node = node_in((await kernel.ask(Opcode.LOOKUP, b"dir\0")).payload)
        await kernel.ask(Opcode.LOOKUP, b"dir\0")
        await kernel.ask(Opcode.READDIR, everything, node=node)
        assert kernel.server is not None
        listings = kernel.server._operations._listings
        kernel.send(Opcode.FORGET, struct.pack("=Q", 1), node=node)
        again = await kernel.ask(Opcode.READDIR, everything, node=node)
        kept_while_known = node in listings
        kernel.send(Opcode.BATCH_FORGET, struct.pack("=IIQQ", 1, 0, node, 1))
        gone = await kernel.ask(Opcode.READDIR, everything, node=node)

    assert again.number == 0
    assert kept_while_known
    assert gone.number == errno.ESTALE
    assert node not in listings
    assert union.known_nodes() == 1


# Interrupts


class HeldTransfer:
    """Copy-ups that wait until the test lets them go."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.go_on = threading.Event()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldTransfer]:
    control = HeldTransfer()
    copy = DescriptorReader.copy_to

    def copy_when_told(
        reader: DescriptorReader, target_fd: int, size: int, *, syncs_soon: bool = False
    ) -> None:
        control.started.set()
        assert control.go_on.wait(20)
        copy(reader, target_fd, size, syncs_soon=syncs_soon)

    monkeypatch.setattr(DescriptorReader, "copy_to", copy_when_told)
    yield control
    control.go_on.set()


CHMOD = setattr_body(valid=1, mode=0o100600)


@pytest.mark.trio
async def test_an_interrupt_of_one_who_lives_on_changes_nothing(
    union: Union, stack: Stack, held: HeldTransfer
) -> None:
    async with session(union) as kernel:
        await kernel.begin()
        node = node_in((await kernel.ask(Opcode.LOOKUP, b"file\0")).payload)
        changing = kernel.send(Opcode.SETATTR, CHMOD, node=node, pid=os.getpid())
        kernel.interrupt(changing)
        other = await kernel.ask(Opcode.GETATTR, bytes(16))
        held.go_on.set()
        changed = await kernel.receive()

    assert other.number == 0
    assert (changed.unique, changed.number) == (changing, 0)
    assert (stack.upper / "file").stat().st_mode & 0o777 == 0o600


@pytest.mark.trio
async def test_interrupts_of_what_is_answered_or_unknown_are_ignored(union: Union) -> None:
    async with session(union) as kernel:
        await kernel.begin()
        answered = (await kernel.ask(Opcode.GETATTR, bytes(16))).unique
        kernel.interrupt(answered)
        kernel.interrupt(answered + 1000)
        after = await kernel.ask(Opcode.GETATTR, bytes(16))

    assert after.number == 0


@pytest.mark.trio
async def test_a_node_that_is_copied_up_is_kept_though_the_kernel_forgot_it(
    union: Union, stack: Stack, held: HeldTransfer
) -> None:
    """The kernel may, once it has the answer to a killed caller."""
    async with session(union) as kernel:
        await kernel.begin()
        node = node_in((await kernel.ask(Opcode.LOOKUP, b"file\0")).payload)
        changing = kernel.send(Opcode.SETATTR, CHMOD, node=node)
        assert await trio.to_thread.run_sync(held.started.wait, 10)
        kernel.send(Opcode.FORGET, struct.pack("=Q", 1), node=node)
        forgotten = await kernel.ask(Opcode.GETATTR, bytes(16), node=node)
        held.go_on.set()
        changed = await kernel.receive()

    assert forgotten.number == 0
    assert (changed.unique, changed.number) == (changing, 0)
    assert (stack.upper / "file").read_text() == "content"
    assert union.known_nodes() == 1
