"""Check the opcodes of a pickle before it is loaded: small files that take all memory or time.

Reads opcodes only; builds no object.
"""

import pickle
import pickletools
from typing import Any

from gpt2eval.errors import quoted

PLACES = {"PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET"}  # of the memo
TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"}
DEEPEST = 16  # tuples inside each other
MARK = -1  # on the stack: the beginning of a series of values


def check_claims(raw: bytes) -> None:
    """Check a pickle.

    Raises:
        pickle.UnpicklingError: It names a place of the memo beyond its own size, for which the
            unpickler would take memory: `p99999999` takes 1.6 GB. Or its tuples are nested too
            deep: if each is twice in the next, hashing the outermost one takes 2^depth steps.
    """
    # The depth of every value on the unpickler's stack and in its memo; 0 for all but tuples.
    stack: list[int] = []
    memo: dict[int, int] = {}
    argument: Any
    for opcode, argument, _ in pickletools.genops(raw):
        name = opcode.name
        if name in PLACES or name == "FRAME":
            _check_place(name, argument, len(raw))
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else int(argument)] = stack[-1] if stack else 0
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo.get(int(argument), 0))
        elif name == "DUP":
            stack.append(stack[-1] if stack else 0)
        else:
            values = _popped(stack, opcode)
            depth = 1 + max(values, default=0) if name in TUPLES else 0
            if depth > DEEPEST:
                raise pickle.UnpicklingError(f"tuples nested more than {DEEPEST} deep")
            pushed = MARK if name == "MARK" else depth
            stack.extend([pushed] * len(opcode.stack_after))


def _check_place(name: str, argument: Any, size: int) -> None:
    if not 0 <= int(argument or 0) <= size:
        raise pickle.UnpicklingError(f"{name} {quoted(argument)[1:-1]} in {size} bytes")


def _popped(stack: list[int], opcode: pickletools.OpcodeInfo) -> list[int]:
    """Remove the values that an opcode takes from the stack, and return their depths."""
    if opcode.name == "MARK":
        return []
    if pickletools.markobject not in opcode.stack_before:
        count = min(len(opcode.stack_before), len(stack))
        values = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return values
    values = []
    while stack and (value := stack.pop()) != MARK:
        values.append(value)
    below = list(opcode.stack_before).index(pickletools.markobject)
    for _ in range(min(below, len(stack))):
        stack.pop()
    return values
