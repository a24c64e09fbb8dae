"""A derivative of one's own: the length of a vector, which the rules can't differentiate at 0.

python examples/own_derivative.py
"""

import numpy as np

import tinyattn as ta


def length(x: ta.Tensor) -> ta.Tensor:
    """√Σx², a scalar."""
    return ta.sqrt((x * x).sum())


def derivative(g: ta.Tensor, y: ta.Tensor, x: ta.Tensor) -> ta.Tensor:
    """g x / y, and 0 at 0."""
    return g * x / ta.where(ta.equal(y, 0), 1, y)


def main() -> dict[str, float]:
    """How many elements of the gradient at 0 are numbers: with the derivative by hand, and by the rules."""
    ours = ta.custom_vjp(length, derivative, "|{0}|", "ȳ·{0}/y")
    ta.gradcheck(ours, [np.array([3.0, -4.0, 0.5])], order=2)  # raises where it is wrong
    zero = ta.tensor(np.zeros(3), name="zero")
    found = {"by hand": ours, "by the rules": length}
    return {n: float(np.isfinite(ta.grad(f(zero), zero).numpy()).sum()) for n, f in found.items()}


if __name__ == "__main__":
    print("\n".join(f"{name:14} {value:.0f} of 3" for name, value in main().items()))
    print(ta.derive(length, inputs=[np.array([3.0, -4.0])]))
