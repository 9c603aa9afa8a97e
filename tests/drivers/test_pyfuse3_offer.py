"""libfuse never hears of what costs data."""

from __future__ import annotations

import os
import socket
import struct

from overlayfs_py.drivers.pyfuse3_offer import Offer
from overlayfs_py.wire.protocol import InitFlag, Opcode

_HEADER = struct.pack("=IIQQIIIHH", 40 + 64, Opcode.INIT, 2, 0, 0, 0, 0, 0, 0)


def test_the_offer_is_read_without_it_and_all_else_from_the_device() -> None:
    kernel, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, device:
        kernel.send(_HEADER + struct.pack("=IIII", 7, 45, 131072, 0xFFFFFFFF) + bytes(48))
        offer = Offer(device.fileno(), foreign_changes=False)
        heard = os.read(device.fileno(), 1 << 16)
        offer.taken()
        os.write(device.fileno(), b"agreed")
        kernel.send(b"next")

        assert kernel.recv(100) == b"agreed"
        assert os.read(device.fileno(), 100) == b"next"
        assert not os.get_inheritable(device.fileno())
    flags = InitFlag(struct.unpack_from("=I", heard, 52)[0])
    assert InitFlag.PARALLEL_DIROPS in flags
    refused = InitFlag.ASYNC_DIO | InitFlag.ATOMIC_O_TRUNC | InitFlag.AUTO_INVAL_DATA
    assert not flags & refused
