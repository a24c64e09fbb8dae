"""Numba, used as a compiler: a kernel's Python function in, relocatable machine code out.

The object exports one C symbol, ``void symbol(int64, int64, int64, int64)``, and needs nothing of Python or
Numba to run.
"""

import importlib
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import compiler, cpu, registry
from numba.core.compiler_lock import global_compiler_lock

from tinyattn.kernels.language.real import FLAGS, REALS

_WORDS = (types.int64,) * 4


def kernel_function(name: str, dtype: str):
    """The kernel ``"module.factory"`` as a plain Python function."""
    module, factory = name.split(".")
    return getattr(importlib.import_module(f"tinyattn.kernels.{module}"), factory)(REALS[dtype])


def _flags() -> Any:
    flags: Any = compiler.Flags()
    flags.fastmath = cpu.FastMathOptions(FLAGS)
    flags.error_model = "numpy"
    flags.boundscheck = False
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.no_compile = True
    flags.nrt = False
    return flags


@global_compiler_lock
def library(name: str, dtype: str, symbol: str):
    """The compiled code library of a kernel (its assembly is ``library(...).get_asm_str()``)."""
    target = registry.cpu_target
    typing, context = target.typing_context, target.target_context
    typing.refresh()
    context.refresh()
    result = compiler.compile_extra(
        typing, context, kernel_function(name, dtype), _WORDS, types.void, _flags(), {}
    )
    # Numba functions take a hidden result pointer and return a status; export a plain C function over that.
    module = result.library.create_ir_module(symbol)
    word = ir.IntType(64)
    exported = ir.Function(module, ir.FunctionType(ir.VoidType(), [word] * 4), symbol)
    builder = ir.IRBuilder(exported.append_basic_block())
    inner = context.call_conv.get_function_type(types.void, _WORDS)
    native = ir.Function(module, inner, result.fndesc.llvm_func_name)
    native.attributes.add("alwaysinline")
    context.call_conv.call_function(builder, native, types.void, _WORDS, exported.args)
    builder.ret_void()
    result.library.add_ir_module(module)
    result.library.finalize()
    return result.library


def object_code(name: str, dtype: str, symbol: str) -> bytes:
    """Machine code of the kernel, as the bytes of an object file that defines ``symbol``."""
    return library(name, dtype, symbol)._get_compiled_object()
