"""Losses, cross-entropy among them, and the output projection of a language model that ends in it."""
