"""``ta.derive``: the derivative of an operation or of a function, derived on paper and checked with numbers.

    graph ──forms──► trees (matrix form, index form) ──tree──► text, LaTeX, MathML
      └─steps──► definition → chain rule → index form → matrix form, each evaluated in two ways

Nothing is stored: each equation is written from the graph that is differentiated and run.
"""
