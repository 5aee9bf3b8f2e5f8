"""Tallies to numbers, intervals, signatures and verdicts."""
