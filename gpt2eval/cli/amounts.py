"""Durations and sizes for people."""

from itertools import pairwise

UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def duration(seconds: float) -> str:
    """Return a duration in its largest unit, with the next one below where it is one digit.

    >>> duration(0.2), duration(59.7), duration(125), duration(4000), duration(90 * 3600)
    ('1 s', '1 min', '2 min 5 s', '1 h 7 min', '3 d 18 h')
    """
    if seconds <= 0:
        return "0 s"
    for (size, name), (small_size, small_name) in pairwise(UNITS):
        small = round(seconds / small_size)
        in_one = round(size / small_size)
        if small >= 10 * in_one:
            return f"{round(seconds / size)} {name}"
        if small >= in_one:
            whole, rest = divmod(small, in_one)
            return f"{whole} {name} {rest} {small_name}" if rest else f"{whole} {name}"
    return f"{max(1, round(seconds))} s"


def amount(number: float, unit: str) -> str:
    """Return a number with a decimal prefix, three digits of it.

    >>> amount(497_759_232, "B"), amount(1.41e15, "FLOP"), amount(0, "B"), amount(999_900, "B")
    ('498 MB', '1.41 PFLOP', '0 B', '1.00 MB')
    """
    for prefix in PREFIXES:
        if number < 999.5 or prefix == PREFIXES[-1]:
            digits = 0 if number >= 99.95 or not prefix else 1 if number >= 9.995 else 2
            return f"{number:.{digits}f} {prefix}{unit}"
        number /= 1000
    raise AssertionError
