"""`python -m scripts.benchmarks`: the same as `scripts/bench`."""

from scripts.benchmarks.command import main

main()
