"""Attention and what it is made of: scores, softmax and other normalisers, windows, hard attention, heads."""
