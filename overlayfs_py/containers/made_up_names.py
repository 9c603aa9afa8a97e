"""Names for containers that nobody named: an adjective and a thing, as `quiet_lantern`."""

from __future__ import annotations

import os

_ADJECTIVES = """
amber bold brave bright brisk calm clear clever cosy crisp eager early easy fair fine fleet fond
free fresh gentle glad golden grand green happy hardy honest humble jolly keen kind late light
lively loyal lucky merry mild neat nimble noble patient plain polite proud quick quiet rapid
ready rustic serene sharp shiny silver simple sleek smart smooth snug solid spry steady still
sunny sure swift tender tidy true upbeat vivid warm wise witty young zesty
"""
_THINGS = """
acorn anchor arch atlas badge banjo barrel basil beacon bell birch bridge brook candle canoe
canyon cedar chalk cherry cliff clover comet copper coral cove crane creek daisy delta dune
ember fern field finch flint forest garden glade harbor hazel heron hill island ivy jetty kettle
lake lantern larch ledge lemon lily linden lotus maple marble meadow mesa mill moss oak oasis
olive orchard otter pebble pepper pine plum pond poplar prairie quartz raven reef ridge river
robin sail shore sparrow spruce star stone summit thistle tide tulip valley walnut wharf willow
wren
"""


def made_up_name() -> str:
    """One of some thousand names; whether it is free is found out by taking it."""
    return f"{_one_of(_ADJECTIVES)}_{_one_of(_THINGS)}"


def _one_of(text: str) -> str:
    # `random` and `secrets` take as long to load as a command has for all of its start.
    words = text.split()
    return words[int.from_bytes(os.urandom(4)) % len(words)]
