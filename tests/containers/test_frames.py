from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.containers.frames import (
    LONGEST,
    BadFrame,
    Frame,
    FrameReader,
    Kind,
    number_frame,
    number_in,
    size_frame,
    size_in,
)

FRAMES = st.lists(st.builds(Frame, st.sampled_from(Kind), st.binary(max_size=50)))


@given(FRAMES, st.integers(1, 20))
def test_frames_come_out_as_they_went_in(frames: list[Frame], step: int) -> None:
    data = b"".join(frame.encode() for frame in frames)
    reader = FrameReader()

    found = [
        frame
        for start in range(0, len(data), step)
        for frame in reader.feed(data[start : start + step])
    ]

    assert found == frames


@given(st.binary(max_size=100))
def test_any_bytes_are_frames_or_refused(data: bytes) -> None:
    reader = FrameReader()
    try:
        frames = list(reader.feed(data))
    except BadFrame:
        return
    assert (
        b"".join(frame.encode() for frame in frames) == data[: sum(5 + len(f.body) for f in frames)]
    )


@pytest.mark.parametrize(
    "data", [b"\x08\0\0\0\0", b"\0" + (LONGEST + 1).to_bytes(4, "big")], ids=["kind", "length"]
)
def test_what_nobody_sends_is_refused_before_it_is_waited_for(data: bytes) -> None:
    with pytest.raises(BadFrame):
        list(FrameReader().feed(data))


def test_numbers_and_sizes() -> None:
    assert size_in(size_frame(24, 80)) == (24, 80)
    assert number_in(number_frame(Kind.SIGNAL, 15)) == 15
    assert number_in(number_frame(Kind.ENDED, 137)) == 137
    with pytest.raises(BadFrame, match="SIZE: 3 bytes instead of 4"):
        size_in(Frame(Kind.SIZE, b"abc"))
