"""What is agreed on with kernels of several ages."""

from __future__ import annotations

import struct

import pytest

from overlayfs_py.wire.errors import WireError
from overlayfs_py.wire.protocol import InitFlag, Opcode
from overlayfs_py.wire.requests import Init
from overlayfs_py.wire.session import LATCHES, Wishes, harmless, negotiate

EVERYTHING = (1 << 42) - 1
HARMFUL = InitFlag.ASYNC_DIO | InitFlag.ATOMIC_O_TRUNC


def answered(payload: bytes) -> tuple[int, ...]:
    assert len(payload) == 64  # struct fuse_init_out
    return struct.unpack("=IIIIHHIIHHIIH22x", payload)


def test_a_new_kernel_gets_all_that_is_wanted() -> None:
    agreement = negotiate(Init(7, 45, 131072, EVERYTHING), Wishes())
    major, minor, _, flags, background, _, max_write, gran, pages, _, _, _, _ = answered(
        agreement.payload
    )
    assert (major, minor, gran) == (7, 45, 1)
    assert (max_write, pages) == (1 << 20, 256)
    assert background > 0
    wanted = InitFlag.HANDLE_KILLPRIV_V2 | InitFlag.CACHE_SYMLINKS | InitFlag.DONT_MASK
    assert flags & wanted == wanted
    session = agreement.session
    assert session is not None
    assert session.flags & InitFlag.NO_OPEN_SUPPORT
    assert session.features.setxattr_ext


@pytest.mark.parametrize("wishes", [Wishes(), Wishes(writeback=True), Wishes(passthrough=True)])
def test_what_costs_data_is_never_agreed_on(wishes) -> None:
    agreement = negotiate(Init(7, 45, 131072, EVERYTHING), wishes)
    assert not answered(agreement.payload)[3] & HARMFUL


def test_an_offer_loses_what_costs_data_and_nothing_else() -> None:
    header = struct.pack("=IIQQIIIHH", 40 + 64, Opcode.INIT, 2, 0, 0, 0, 0, 0, 0)
    rest = bytes(range(48))
    offer = header + struct.pack("=IIII", 7, 45, 131072, 0xFFFFFFFF) + rest

    for foreign_changes, harmful in ((True, HARMFUL), (False, HARMFUL | InitFlag.AUTO_INVAL_DATA)):
        kept = struct.pack("=IIII", 7, 45, 131072, 0xFFFFFFFF & ~int(harmful))
        assert harmless(offer, foreign_changes=foreign_changes) == header + kept + rest


@pytest.mark.parametrize("minor", [46, 60])
def test_a_newer_kernel_is_told_what_we_speak(minor) -> None:
    assert answered(negotiate(Init(7, minor, 1, EVERYTHING), Wishes()).payload)[1] == 45


def test_an_old_kernel_is_served_without_what_it_lacks() -> None:
    old = InitFlag.ASYNC_READ | InitFlag.BIG_WRITES | InitFlag.NO_OPEN_SUPPORT
    agreement = negotiate(Init(7, 27, 131072, int(old)), Wishes())
    fields = answered(agreement.payload)
    assert fields[1] == 27
    assert fields[3] == int(InitFlag.ASYNC_READ | InitFlag.BIG_WRITES)
    assert fields[6] == 1 << 17  # max_write: without MAX_PAGES a request holds 32 pages
    assert agreement.session is not None
    assert not agreement.session.features.setxattr_ext


def test_a_kernel_of_another_major_is_asked_again() -> None:
    agreement = negotiate(Init(8, 0, 0, 0), Wishes())
    assert agreement.session is None
    assert answered(agreement.payload)[:2] == (7, 45)


@pytest.mark.parametrize("version", [(6, 9), (7, 26)])
def test_a_kernel_too_old_is_refused(version) -> None:
    with pytest.raises(WireError, match=f"{version[0]}.{version[1]}"):
        negotiate(Init(*version, 0, 0), Wishes())


@pytest.mark.parametrize(
    ("wishes", "there", "absent"),
    [
        (Wishes(), InitFlag.EXPLICIT_INVAL_DATA, InitFlag.AUTO_INVAL_DATA),
        (
            Wishes(foreign_changes=True),
            InitFlag.AUTO_INVAL_DATA,
            InitFlag.EXPLICIT_INVAL_DATA,
        ),
        (Wishes(writeback=True), InitFlag.WRITEBACK_CACHE, InitFlag.ATOMIC_O_TRUNC),
        (Wishes(acls=False), InitFlag.DONT_MASK, InitFlag.POSIX_ACL),
    ],
)
def test_wishes(wishes, there, absent) -> None:
    flags = answered(negotiate(Init(7, 45, 0, EVERYTHING), wishes).payload)[3]
    assert flags & there
    assert not flags & absent


def test_what_must_work_is_never_refused_for_good() -> None:
    vital = {Opcode.LOOKUP, Opcode.READ, Opcode.WRITE, Opcode.SETATTR, Opcode.FSYNC}
    assert not LATCHES & vital
