"""What `mount -d` logs of the direct driver: each request, its answer, and the time between.

A server and a device of their own, so that nothing is asked of a mount that does not log.
"""

from __future__ import annotations

import logging
import struct
import time
from typing import TYPE_CHECKING

from overlayfs_py.drivers.direct_device import Device
from overlayfs_py.drivers.direct_driver import Server, name_of
from overlayfs_py.drivers.trace_lines import Asked, described
from overlayfs_py.wire import requests
from overlayfs_py.wire.protocol import Opcode
from overlayfs_py.wire.requests import HEADER_SIZE

if TYPE_CHECKING:
    from overlayfs_py.drivers.direct_start import Tasks

log = logging.getLogger(__name__)

_ANSWER = struct.Struct("=IiQ")
_WITHOUT_ANSWER = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT})


class TracedDevice(Device):
    """Logs answers to the requests that it was told of."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._asked: dict[int, Asked] = {}

    def note(self, unique: int, what: str) -> None:
        """Remember what the answer `unique` will be to."""
        self._asked[unique] = Asked(what, time.perf_counter_ns())

    def answer(self, message: bytes) -> None:
        self._tell(message, message[_ANSWER.size :])
        super().answer(message)

    def answer_data(self, head: bytes, data: bytes | memoryview) -> None:
        self._tell(head, data)
        super().answer_data(head, data)

    def _tell(self, head: bytes, payload: bytes | memoryview) -> None:
        _, error, unique = _ANSWER.unpack_from(head)
        asked = self._asked.pop(unique, None)  # None: a notification
        if asked is None:
            return
        is_absent = asked.what.startswith("lookup ") and payload[:8] == bytes(8)
        told = "absent" if is_absent else f"{len(payload)} bytes" if payload else "done"
        log.debug("%s", asked.answered(-error, told))


class TracedServer(Server):
    """Logs requests as they come."""

    device_kind: type[Device] = TracedDevice

    def _take(self, message: memoryview, tasks: Tasks) -> None:
        header = requests.parse_header(message)
        body = requests.parse_body(header.opcode, message[HEADER_SIZE:], self._features)
        fields = {} if body is None else body._asdict()
        words = {"node": header.node, **fields, "uid": header.uid, "pid": header.pid}
        what = described(name_of(header.opcode), words)
        if header.opcode in _WITHOUT_ANSWER:
            log.debug("%s", what)
        else:
            assert isinstance(self._device, TracedDevice)
            self._device.note(header.unique, what)
        super()._take(message, tasks)
