"""Turn tallies into metrics with intervals, signatures and verdicts."""
