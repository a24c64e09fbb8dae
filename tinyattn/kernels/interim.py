"""INTERIM strided copy."""

from tinyattn.kernels.simd import i32, i64, u8


def strided(real):
    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        dims, shape, fs, ts, item = word[3], i64(word[4]), i64(word[5]), i64(word[6]), word[2]
        outer = 1
        for d in range(dims - 1):
            outer *= shape[d]
        inner, fi, ti = shape[dims - 1], fs[dims - 1], ts[dims - 1]
        for tile in range(first, last):
            for o in range(tile * outer // word[7], (tile + 1) * outer // word[7]):
                rest, a, b = o, word[0], word[1]
                for d in range(dims - 2, -1, -1):
                    a += (rest % shape[d]) * fs[d] * item
                    b += (rest % shape[d]) * ts[d] * item
                    rest //= shape[d]
                if item == 4:
                    x, y = i32(a), i32(b)
                    if fi == 1 and ti == 1:
                        for i in range(inner):
                            y[i] = x[i]
                    else:
                        for i in range(inner):
                            y[i * ti] = x[i * fi]
                elif item == 8:
                    x8, y8 = i64(a), i64(b)
                    for i in range(inner):
                        y8[i * ti] = x8[i * fi]
                else:
                    x1, y1 = u8(a), u8(b)
                    for i in range(inner):
                        y1[i * ti] = x1[i * fi]

    return kernel
