"""The memory of a Neural Turing Machine: where its heads look, what they read and write."""
