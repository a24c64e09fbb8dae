"""The operations that chains are made of (:mod:`tinyattn.kernels.language.chains`), and the reductions, by name.

An operation exists for every kind of number it makes sense for: ``OPCODES["add", "i64"]``. The kind
``"real"`` is the kernel's own, f32 or f64. What they compute is in :mod:`tinyattn.kernels.language.arithmetic`.
"""

from typing import NamedTuple

KINDS = ("f32", "f64", "i32", "i64", "bool")
"""Element types. A ``bool`` is one byte, 0 or 1."""
SIZES = {"f32": 4, "f64": 8, "i32": 4, "i64": 8, "bool": 1}
"""Bytes of an element in memory."""


class Opcode(NamedTuple):
    """``arguments`` are the kinds of the operands; ``result`` is that of the result."""

    arguments: tuple[str, ...]
    result: str


def _opcodes() -> dict[tuple[str, str], Opcode]:
    table: dict[tuple[str, str], Opcode] = {}

    def define(names: str, kinds: tuple[str, ...], count: int, result: str | None = None) -> None:
        for name in names.split():
            for kind in kinds:
                table[name, kind] = Opcode((kind,) * count, result or kind)

    real, numbers = ("real",), ("real", "i32", "i64")
    define("copy", (*numbers, "bool"), 1)
    define("add sub mul maximum minimum", numbers, 2)
    define("neg abs sign square", numbers, 1)
    define("lt le gt ge eq ne", numbers, 2, "bool")
    define("floor_divide mod pow", numbers, 2)
    define("and or xor", ("bool",), 2)
    define("not", ("bool",), 1)
    define("div", real, 2)
    define("sqrt rsqrt reciprocal floor ceil round relu step", real, 1)
    define("exp weight expm1 log log1p tanh sigmoid erf sin cos", real, 1)
    define("log2 log10 tan arcsin arccos arctan sinh cosh arcsinh arccosh arctanh", real, 1)
    define("logaddexp", real, 2)
    define("isfinite", real, 1, "bool")
    define("gelu gelu_tanh", real, 1)
    define("dtanh dsigmoid gelu_backward gelu_tanh_backward", real, 2)
    for kind in (*numbers, "bool"):
        table["where", kind] = Opcode(("bool", kind, kind), kind)
    for target in (*numbers, "bool"):
        define(f"to_{target}", tuple(kind for kind in (*numbers, "bool") if kind != target), 1, target)
    define("to_f32", real, 1)
    return table


OPCODES = _opcodes()
"""``OPCODES[operation, kind of its last argument]``.

Beyond the plain names: ``weight`` eˣ for x ≤ 0 (0 where that would be subnormal), ``square`` x², ``round`` to
even, ``relu`` max(x, 0), ``step`` 1 where x > 0 and else 0, ``dtanh`` a·(1 − b²), ``dsigmoid`` a·b·(1 − b),
``gelu_backward`` and ``gelu_tanh_backward`` b·gelu′(a), ``where`` b where a and else c, ``to_…`` conversions (reals
are cut off), ``to_f32`` rounds to float32's precision and stays real. ``maximum``, ``minimum`` and ``relu`` pass NaN
on. For whole numbers ``floor_divide`` rounds down, ``mod`` has the divisor's sign, and both are 0 where the divisor
is; a ``pow`` that is no whole number is cut off to one.
"""

FOLDS = {
    key: number
    for number, key in enumerate(
        [(operation, "real") for operation in ("sum", "prod", "max", "min", "sum_squares")]
        + [(operation, kind) for kind in ("i32", "i64") for operation in ("sum", "prod", "max", "min")]
        + [("max", "bool"), ("min", "bool")]
    )
}
"""The word that names a reduction: ``FOLDS[operation, kind]``. Of bools, ``max`` is any and ``min`` is all;
NaN passes on.
"""
ROW_FOLDS = frozenset([*FOLDS, ("largest", "real")])
"""What a row chain folds a row by: these, and ``largest``, a ``max`` in which a NaN may get lost."""
