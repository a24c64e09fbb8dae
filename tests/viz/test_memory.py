"""The picture of a memory plan: blocks that are alive at once lie apart, and all that is kept is there."""

import xml.etree.ElementTree as ET

import numpy as np

import tinyattn as ta
from tinyattn.viz.memory import arena_of, title

SVG = "{http://www.w3.org/2000/svg}"


def _program():
    x = ta.tensor(np.ones((64, 32), np.float32), name="x")
    w = ta.parameter(np.ones((32, 16), np.float32), name="w")
    loss = (ta.tanh(x @ w) ** 2).sum()
    return ta.Program([loss, ta.grad(loss, w)])


def test_blocks_that_are_alive_at_once_lie_apart():
    program = _program()
    arena = arena_of(program)
    assert 0 < arena.backward < arena.kernels
    blocks = list(arena.blocks)
    for k, one in enumerate(blocks):
        for other in blocks[:k]:
            together = one.first <= other.last and other.first <= one.last
            apart = one.offset + one.size <= other.offset or other.offset + other.size <= one.offset
            assert apart or not together
    assert max(block.offset + block.size for block in blocks) == program.peak_bytes
    kept = [block for block in blocks if block.kept]
    assert {(block.nbytes, block.gradient) for block in kept} == {(64 * 16 * 4, False)}


def test_the_picture_has_each_block_where_it_stands():
    program = _program()
    arena = arena_of(program)
    root = ET.fromstring(ta.viz.memory_plan(program).svg)
    found = [e for e in root.iter(f"{SVG}rect") if e.find(f"{SVG}title") is not None]
    assert len(found) == len(arena.blocks)
    per_byte = {
        round(float(e.get("height")) / b.size, 3)
        for e, b in zip(found, arena.blocks, strict=True)
        if b.size > 999
    }
    assert len(per_byte) == 1, "heights are bytes"
    told = [e.find(f"{SVG}title").text for e in found]
    assert all(
        title(b.maker) in text for b, text in zip(arena.blocks, told, strict=True) if b.maker is not None
    )
    assert any("kept" in e.get("class") for e in found)
