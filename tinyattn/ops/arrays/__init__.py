"""Operations on arrays: elementwise, shapes, indices, reductions, products, sorting, random numbers."""
