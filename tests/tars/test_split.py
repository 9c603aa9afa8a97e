"""Recordings: small, deterministic, and what is damaged makes no tar."""

from __future__ import annotations

import hashlib

import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.tars.errors import BadSplit
from overlayfs_py.tars.members import Segment
from overlayfs_py.tars.rebuild import rebuild, recorded_digest
from overlayfs_py.tars.split import MAGIC, Recorder
from tests.tars.making import END, entry
from tests.tars.reading import read_tar, rebuilt

TAR = b"".join(entry(b"file-%d" % number, b"x" * number * 7) for number in range(100)) + END
FILES = read_tar(TAR).files


def test_a_recording_has_no_data_and_few_zeros() -> None:
    read = read_tar(TAR)

    assert len(read.recording) < len(TAR) // 50
    assert rebuilt(read, len(TAR)) == TAR


def test_a_recording_tells_what_it_makes() -> None:
    read = read_tar(TAR)

    assert recorded_digest(read.recording) == (hashlib.sha256(TAR).digest(), len(TAR))


_PIECES = st.one_of(
    st.binary(max_size=600),
    st.integers(0, 200_000).map(bytes),
    st.tuples(st.integers(0, 5), st.integers(0, 50), st.integers(1, 600)),
)
_FILES = [hashlib.shake_256(bytes([number])).digest(700) for number in range(6)]


@given(st.lists(_PIECES, max_size=20))
def test_any_mixture_is_made_again(pieces: list[bytes | tuple[int, int, int]]) -> None:
    recorder = Recorder()
    whole = b""
    for piece in pieces:
        if isinstance(piece, bytes):
            recorder.raw(piece)
            whole += piece
        else:
            file, offset, length = piece
            recorder.data(file, [Segment(offset, length)])
            whole += _FILES[file][offset : offset + length]
    recording = recorder.finish(hashlib.sha256(whole).digest())

    def read_data(file: int, offset: int, length: int) -> tuple[bytes]:
        return (_FILES[file][offset : offset + length],)

    assert b"".join(rebuild(recording, read_data, len(whole))) == whole


def _attempt(recording: bytes, size: int = len(TAR)) -> bytes:
    return b"".join(
        rebuild(
            recording,
            lambda file, offset, length: (FILES[file % 100][offset : offset + length],),
            size,
        )
    )


def test_every_flipped_byte_makes_no_other_tar() -> None:
    recording = read_tar(TAR).recording
    found = 0

    for at in range(len(recording)):
        try:
            made = _attempt(recording[:at] + bytes([recording[at] ^ 0x55]) + recording[at + 1 :])
        except BadSplit:
            found += 1
        else:
            # lz4 may copy the same bytes from another place.
            assert made == TAR
    assert found > len(recording) * 9 // 10


def test_other_data_makes_no_tar() -> None:
    read = read_tar(TAR)
    read.files[7] = b"y" * len(read.files[7])

    with pytest.raises(BadSplit, match="another digest"):
        rebuilt(read, len(TAR))


@pytest.mark.parametrize("size", [0, len(TAR) - 1, len(TAR) + 1])
def test_another_size_makes_no_tar(size: int) -> None:
    with pytest.raises(BadSplit, match="bytes"):
        _attempt(read_tar(TAR).recording, size)


STEPS = {
    "nothing": (b"", "no recording"),
    "no magic": (b"xxxxx", "not a recording"),
    "no end": (MAGIC, "cut short"),
    "zeros without end": (MAGIC + b"\xfd" + b"\xff" * 8 + b"\x01", "longer"),
    "bytes that are not there": (MAGIC + b"\x7c", "cut short"),
    "too many bytes at once": (MAGIC + b"\xfc\xff\xff\xff\x7f", "too long"),
    "a number without end": (MAGIC + b"\xff" * 11, "does not end"),
    "a step of no zeros": (MAGIC + b"\x01", "nothing"),
    "a step of no data": (MAGIC + b"\x02\0\0", "nothing"),
    "a file below none": (MAGIC + b"\x06\x03\0", "cannot be"),
    "no digest": (MAGIC + b"\0\0", "cut short"),
}


@pytest.mark.parametrize("case", [case for case in STEPS if case != "nothing"])
def test_steps_that_make_no_sense(case: str) -> None:
    steps, why = STEPS[case]

    with pytest.raises(BadSplit, match=why):
        _attempt(lz4.frame.compress(steps))


def test_what_is_not_lz4_is_no_recording() -> None:
    for data in (b"", b"plain", MAGIC * 100):
        with pytest.raises(BadSplit):
            _attempt(data)
