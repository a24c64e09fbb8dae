"""draft"""
from tinyattn.kernels import vecmath
from tinyattn.kernels.lanes import largest, total
from tinyattn.kernels.real import inline
from tinyattn.kernels.simd import i64, select, u8
import math

def fa(real):
    pointer, size = real.pointer, real.size
    exp, zero, one, infinity = vecmath.exp(real), real.type(0), real.type(1), real.type(math.inf)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        columns = word[3]
        scale = pointer(arguments+32)[0]
        x, y = pointer(word[0]), pointer(word[1])
        for r in range(first,last):
            x, y = pointer(word[0]+r*columns*size), pointer(word[1]+r*columns*size)
            for j in range(columns):
                y[j] = x[j]*scale
            m = largest(y, columns)
            for j in range(columns):
                y[j] -= m
        x, y = pointer(word[0]+first*columns*size), pointer(word[1]+first*columns*size)
        for i in range((last-first)*columns):
            y[i] = exp(y[i])
        for r in range(first,last):
            y = pointer(word[1]+r*columns*size)
            f = one/total(y, columns)
            for j in range(columns):
                y[j] *= f
    return kernel
def fb(real):
    pointer, size = real.pointer, real.size
    exp, zero, one, infinity = vecmath.exp(real), real.type(0), real.type(1), real.type(math.inf)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        columns = word[3]
        scale = pointer(arguments+32)[0]
        x, y = pointer(word[0]), pointer(word[1])
        x, y = pointer(word[0]+first*columns*size), pointer(word[1]+first*columns*size)
        for i in range((last-first)*columns):
            y[i] = exp(y[i])
    return kernel
def fc(real):
    pointer, size = real.pointer, real.size
    exp, zero, one, infinity = vecmath.exp(real), real.type(0), real.type(1), real.type(math.inf)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        columns = word[3]
        for r in range(first,last):
            y = pointer(word[1]+r*columns*size)
            for j in range(columns):
                y[j] *= one
    return kernel
def fd(real):
    pointer, size = real.pointer, real.size
    exp, zero, one, infinity = vecmath.exp(real), real.type(0), real.type(1), real.type(math.inf)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        columns = word[3]
        for r in range(first,last):
            y = pointer(word[1]+r*columns*size)
            y[0] = total(y, columns)
    return kernel
