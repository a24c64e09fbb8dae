"""A kernel that doubles numbers: the smallest example, used to measure the executor."""


def scale(real):
    pointer, two = real.pointer, real.type(2)
    from tinyattn.kernels.simd import i64

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        x, y, size = pointer(word[0]), pointer(word[1]), word[2]
        for i in range(first * 1024, min(last * 1024, size)):
            y[i] = x[i] * two

    return kernel
