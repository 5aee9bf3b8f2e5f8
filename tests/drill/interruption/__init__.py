"""Kills, faults and full disks: what a run leaves, and whether the next one repairs it."""
PARTS = ()
