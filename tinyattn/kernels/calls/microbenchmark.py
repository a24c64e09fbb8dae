"""How the kernels of the measurements of the machine are called: argument words."""

from tinyattn.kernels.calls.declaration import declare

declare("microbenchmark.multiply_add", """
    numbers  address of two numbers, and room for a third
""")  # fmt: skip
declare("microbenchmark.scale", """
    x     address of x
    y     address of y
    size  how many numbers
""")  # fmt: skip
