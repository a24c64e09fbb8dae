"""The few machine operations that Python has no word for, as LLVM instructions behind Numba intrinsics.

Typed pointers made from an address, a call through a function's address, and the atomic
operations that threads meet on. Kernels are plain Python over these. With ``NUMBA_DISABLE_JIT=1`` each of
them has a pure Python twin, so that a kernel can be stepped through in a debugger.
"""

import ctypes

from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

PURE = bool(config.DISABLE_JIT)  # type: ignore[attr-defined]
_I64 = ir.IntType(64)


def _pointer(numba_type, llvm_type, c_type):
    """An intrinsic that turns an address into a typed pointer: ``p = f32(address); p[i]``."""
    if PURE:
        return lambda address: ctypes.cast(int(address), ctypes.POINTER(c_type))

    @intrinsic
    def pointer(typing, address):
        def generate(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], llvm_type.as_pointer())

        return types.CPointer(numba_type)(types.int64), generate

    return pointer


f32 = _pointer(types.float32, ir.FloatType(), ctypes.c_float)
f64 = _pointer(types.float64, ir.DoubleType(), ctypes.c_double)
i32 = _pointer(types.int32, ir.IntType(32), ctypes.c_int32)
i64 = _pointer(types.int64, _I64, ctypes.c_int64)
u8 = _pointer(types.uint8, ir.IntType(8), ctypes.c_uint8)


def instructions(signature, write):
    """A function for kernels, of a Numba ``signature``, whose LLVM instructions ``write(builder, values)``
    writes; it returns the value of the result, a list of them for a tuple, or None for void.
    """

    def generate(context, builder, signature, values):
        result = write(builder, values)
        if isinstance(result, list):
            return context.make_tuple(builder, signature.return_type, result)
        return context.get_dummy_value() if result is None else result

    names = ", ".join(f"x{k}" for k in range(len(signature.args)))
    scope = {"signature": signature, "generate": generate}
    return intrinsic(eval(f"lambda typing, {names}: (signature, generate)", scope))


if PURE:
    _KERNEL = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)

    def call(function, arguments, first, last, scratch):
        _KERNEL(function)(arguments, first, last, scratch)

    def atomic_load(address):
        return i64(address)[0]

    def atomic_store(address, value):
        i64(address)[0] = value

    def atomic_add(address, value):
        before = i64(address)[0]
        i64(address)[0] = before + value
        return before

    def atomic_swap_if(address, expected, value):
        equal = i64(address)[0] == expected
        if equal:
            i64(address)[0] = value
        return equal

    def pause():
        pass

    def cycles():
        import time

        return time.perf_counter_ns()

    def call_void(function):
        ctypes.CFUNCTYPE(None)(function)()

else:

    @intrinsic
    def call(typing, function, arguments, first, last, scratch):
        """Call the kernel at address ``function``."""

        def generate(context, builder, signature, values):
            kernel = ir.FunctionType(ir.VoidType(), [_I64] * 4)
            builder.call(builder.inttoptr(values[0], kernel.as_pointer()), list(values[1:]))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), generate

    @intrinsic
    def call_void(typing, function):
        """Call a C function of no arguments (``sched_yield``) at an address."""

        def generate(context, builder, signature, values):
            builder.call(builder.inttoptr(values[0], ir.FunctionType(ir.VoidType(), []).as_pointer()), [])
            return context.get_dummy_value()

        return types.void(types.int64), generate

    @intrinsic
    def atomic_load(typing, address):
        def generate(context, builder, signature, values):
            return builder.load_atomic(builder.inttoptr(values[0], _I64.as_pointer()), "acquire", 8)

        return types.int64(types.int64), generate

    @intrinsic
    def atomic_store(typing, address, value):
        def generate(context, builder, signature, values):
            builder.store_atomic(values[1], builder.inttoptr(values[0], _I64.as_pointer()), "release", 8)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    @intrinsic
    def atomic_add(typing, address, value):
        """Add, and return what was there before."""

        def generate(context, builder, signature, values):
            return builder.atomic_rmw(
                "add", builder.inttoptr(values[0], _I64.as_pointer()), values[1], "acq_rel"
            )

        return types.int64(types.int64, types.int64), generate

    @intrinsic
    def atomic_swap_if(typing, address, expected, value):
        """Store ``value`` if ``expected`` is there; say whether it was."""

        def generate(context, builder, signature, values):
            pointer = builder.inttoptr(values[0], _I64.as_pointer())
            return builder.extract_value(
                builder.cmpxchg(pointer, values[1], values[2], "acq_rel", "acquire"), 1
            )

        return types.boolean(types.int64, types.int64, types.int64), generate

    @intrinsic
    def pause(typing):
        """Tell the processor that this is a spin loop (nothing on processors without the hint)."""

        def generate(context, builder, signature, values):
            if context.codegen()._data_layout and "x86" in ir_triple(context):
                name = "llvm.x86.sse2.pause"
                function = builder.module.globals.get(name) or ir.Function(
                    builder.module, ir.FunctionType(ir.VoidType(), []), name
                )
                builder.call(function, [])
            return context.get_dummy_value()

        return types.void(), generate

    @intrinsic
    def cycles(typing):
        """The processor's time-stamp counter."""

        def generate(context, builder, signature, values):
            name = "llvm.readcyclecounter"
            function = builder.module.globals.get(name) or ir.Function(
                builder.module, ir.FunctionType(_I64, []), name
            )
            return builder.call(function, [])

        return types.int64(), generate


if PURE:

    def select(condition, yes, no):
        return yes if condition else no

    def copy_bytes(destination, source, count):
        ctypes.memmove(int(destination), int(source), int(count))

else:

    @intrinsic
    def select(typing, condition, yes, no):
        """``yes if condition else no`` without a branch; both have one type."""

        def generate(context, builder, signature, values):
            return builder.select(*values)

        return yes(types.boolean, yes, yes), generate

    @intrinsic
    def copy_bytes(typing, destination, source, count):
        """Copy ``count`` bytes between addresses; the ranges don't overlap."""

        def generate(context, builder, signature, values):
            byte = ir.IntType(8).as_pointer()
            to, of = (builder.inttoptr(value, byte) for value in values[:2])
            copy = builder.module.declare_intrinsic("llvm.memcpy", [byte, byte, _I64])
            builder.call(copy, [to, of, values[2], ir.Constant(ir.IntType(1), 0)])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate


def ir_triple(context):
    """The target triple that ``context`` generates code for."""
    return context.codegen()._tm.triple
