"""Floor 1: the symbolic graph. Nodes, types, traversal, derivatives, loops, text and the verifier; nothing
here computes a number.
"""
