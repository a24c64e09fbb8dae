"""Every public way into the package works first thing in a fresh process, and a wrong name gets a helpful word."""

import subprocess
import sys

import pytest

import tinyattn as ta

ENTRIES = [
    "import tinyattn as ta; ta.nn.Linear(8, 3)",
    "from tinyattn import nn; nn.Linear(2, 2)",
    "import tinyattn.nn as nn; nn.GRUCell(2, 2)",
    "import tinyattn as ta; ta.optim.Adam(ta.nn.Linear(2, 2).parameters())",
    "import tinyattn as ta; ta.viz.heatmap([[0.1, 0.9]])",
    "import tinyattn as ta; ta.models.list(); ta.tasks.list()",
    "from tinyattn.graph.leaf import tensor; import tinyattn.ops; print((tensor([1.0]) + 1).numpy())",
    "from tinyattn.models import Bahdanau",
]


@pytest.mark.parametrize("code", ENTRIES)
def test_each_entry_works_in_a_fresh_process(code):
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_first_tensor_needs_neither_numba_nor_llvm_nor_package_metadata():
    code = (
        "import sys, tinyattn as ta; (ta.tensor([1.0]) + 1).shape; "
        "print([name for name in ('numba', 'llvmlite', 'importlib.metadata', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "guess"), [("sofmax", "softmax"), ("cat", "concat"), ("randn", "random_normal")]
)
def test_a_wrong_name_gets_the_right_one(name, guess):
    with pytest.raises(AttributeError, match=f"(did you mean|here it is) ta.{guess}"):
        getattr(ta, name)


def test_a_method_of_pytorch_gets_its_name_here():
    with pytest.raises(AttributeError, match="reshape"):
        ta.tensor([1.0]).view(1, 1)


def test_a_traced_tensor_has_no_value():
    with pytest.raises(ta.TinyattnError, match="outside of the function"):
        ta.function(lambda x: float(x))(ta.tensor([1.0]))


def test_an_integer_mask_is_refused():
    with pytest.raises(ta.DTypeError, match="mask must be bool"):
        ta.softmax(ta.ones(3), mask=ta.tensor([1, 1, 0]))
