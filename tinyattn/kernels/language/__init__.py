"""What kernels are written in: numbers and vectors, formulas, elementary functions, and passes and folds along rows."""
