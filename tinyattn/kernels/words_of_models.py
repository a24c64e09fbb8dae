"""The argument words of kernels for models; see :mod:`tinyattn.kernels.words`."""

from tinyattn.kernels.declaration import declare

# Attention. A matrix has four words: its address, and the strides, in numbers, of the outer and the inner batch
# dimension and of rows. Columns are contiguous.

_ATTENTION = """
    q             4 Q (Tq, d)
    k             4 K (Tk, d)
    v             4 V (Tk, dv)
    log_sums      address of l (matrices, Tq)
    tops          address of m (matrices, Tq)
    matrices      outer · inner batch dimension
    inner         size of the inner batch dimension
    queries       Tq
    keys          Tk
    width         d
    value_width   dv
    scale         bits of τ
    causal        1: query i sees only keys j ≤ i; else 0
    masking       kind of mask: 0 none; 1 bytes, 0 where attention is forbidden; 2 numbers to add, −∞ where it is
    mask          address of the mask
    mask_strides  4 its strides, in its numbers: of the outer and the inner batch dimension, of queries, of keys
    random_key    address of the key of dropout's random numbers; 0: no dropout
    counter       address of their counter
    stream        their stream
    p             bits of p
    multiply      address of gemm.multiply
    silencing     address of attention_tile.silencing
    pack          address of gemm.pack
    mask_tile     address of attention_tile.mask; 0 without a mask
    drop_tile     address of attention_tile.dropout; 0 without dropout
"""
declare("attention.forward", _ATTENTION + """
    out  4 O (Tq, dv)
""")  # fmt: skip
declare("attention.backward", _ATTENTION + """
    g          4 G (Tq, dv)
    means      address of D (matrices, Tq)
    dq         4 Q̄ (parts, …, Tq, d)
    dk         4 K̄ (Tk, d)
    dv         4 V̄ (Tk, dv)
    d_scores   address of S̄ (matrices, Tq, Tk), filled with 0; or 0
    share      stride of Q̄ from part to part
    parts      parts that the keys are cut into
    part_keys  keys in a part
""")  # fmt: skip
declare("attention_tile.mask attention_tile.dropout", """
    arguments  address of the argument words of attention
    matrix     number of the matrix
    outer      its place in the outer batch dimension
    inner      its place in the inner batch dimension
    query      first query of the tile
    queries    queries
    key        first key
    keys       keys
    tile       address of the tile: a row for each key, a column for each query
    stride     bytes from row to row
    factors    address of room for a tile, where dropout's factors stay from call to call
    room       address of room for a tile
""")  # fmt: skip

# Scores, and the memory of a neural Turing machine.

declare("score.additive_forward", """
    q        address of q
    q_batch  stride of its batch entries, in numbers; 0 repeats
    q_row    stride of its rows, in numbers; 0 repeats
    k        address of k
    k_batch  stride of its batch entries, in numbers; 0 repeats
    k_row    stride of its rows, in numbers; 0 repeats
    v        address of v (A)
    scores   address of e (B, Tq, Tk), contiguous
    batches  B
    queries  Tq
    keys     Tk
    width    A
""")  # fmt: skip
declare("score.additive_backward", """
    q          address of q
    q_batch    stride of its batch entries, in numbers; 0 repeats
    q_row      stride of its rows, in numbers; 0 repeats
    k          address of k
    k_batch    stride of its batch entries, in numbers; 0 repeats
    k_row      stride of its rows, in numbers; 0 repeats
    v          address of v (A)
    d_scores   address of de (B, Tq, Tk), contiguous
    batches    B
    queries    Tq
    keys       Tk
    width      A
    dq         address of dq (B, Tq, A), contiguous
    dk         address of dk (B, Tk, A), contiguous
    dk_adding  1: add to what is in dk; 0: to zero
    dv         address of dv (B, A), contiguous: to be summed over B
    dv_adding  1: add to what is in dv; 0: to zero
""")  # fmt: skip
declare("memory.write_forward", """
    batches  B
    places   N
    width    W
    heads    H, at least 1
    memory   address of M (B, N, W)
    weights  address of w (B, H, N)
    erase    address of e (B, H, W)
    add      address of a (B, H, W)
    written  address of M′ (B, N, W)
""")  # fmt: skip
declare("memory.write_backward", """
    batches    B
    places     N
    width      W
    heads      H, at least 1
    memory     address of M (B, N, W)
    weights    address of w (B, H, N)
    erase      address of e (B, H, W)
    add        address of a (B, H, W)
    g          address of G (B, N, W)
    d_memory   address of dM (B, N, W)
    d_weights  address of dw (B, H, N)
    d_erase    address of de (B, H, W)
    d_add      address of da (B, H, W)
    room       address of room for B · (2 N W + N + W + ROW_ROOM) numbers
""")  # fmt: skip
declare("address.forward", """
    batches   B
    places    N, at least 1
    width     W
    heads     H
    shifts    S, odd
    epsilon   bits of ε
    emitted   address of what the heads emit (B, H, W + S + 3)
    memory    address of M (B, N, W)
    previous  address of the previous weightings (B, H, N)
    weights   address of w (B, H, N)
    content   address of c (B, H, N)
    room      address of room for B · room_of_address(N, W, S) numbers
""")  # fmt: skip
declare("address.backward", """
    batches     B
    places      N, at least 1
    width       W
    heads       H
    shifts      S, odd
    epsilon     bits of ε
    emitted     address of what the heads emit (B, H, W + S + 3)
    memory      address of M (B, N, W)
    previous    address of the previous weightings (B, H, N)
    weights     address of w (B, H, N)
    content     address of c (B, H, N)
    room        address of room for B · room_of_address(N, W, S) numbers
    d_weights   address of dw (B, H, N)
    d_emitted   address of the gradient of what the heads emit (B, H, W + S + 3)
    d_memory    address of dM (B, N, W)
    d_previous  address of the gradient of the previous weightings (B, H, N)
""")  # fmt: skip

# Recurrent cells. B rows of H hidden units; an array has two words, its address and the stride of its rows in numbers.

_CELL = """
    batch   B
    hidden  H
    mask    address of the mask, a byte for each row, 0 where its sequence has ended; 0: all go on
"""
declare("cells.lstm_forward", _CELL + """
    gates  2 gates (B, 4H) before activation, in the order i, f, g, o
    c      2 c (B, H)
    h      2 h (B, H): matters only with a mask; without one c will do
    new_h  2 h′ (B, H)
    new_c  2 c′ (B, H)
""")  # fmt: skip
declare("cells.lstm_backward", _CELL + """
    gates    2 gates (B, 4H), as in the forward pass
    c        2 c (B, H)
    dh       2 dh′ (B, H)
    dc       2 dc′ (B, H)
    d_gates  2 gradients of the gates (B, 4H)
    dc_in    2 dc (B, H)
    dh_in    2 dh (B, H), without what comes through the gates: dh′ where the mask is 0, else 0; address 0: not wanted
""")  # fmt: skip
declare("cells.gru_forward", _CELL + """
    xp     2 xp (B, 3H): the inputs' part of r, z, n before activation
    hp     2 hp (B, 3H): the state's part
    h      2 h (B, H)
    new_h  2 h′ (B, H)
""")  # fmt: skip
declare("cells.gru_backward", _CELL + """
    xp     2 xp (B, 3H), as in the forward pass
    hp     2 hp (B, 3H)
    h      2 h (B, H)
    dh     2 dh′ (B, H)
    dxp    2 gradient of xp (B, 3H)
    dhp    2 gradient of hp (B, 3H)
    dh_in  2 dh (B, H), without what comes through hp
""")  # fmt: skip
declare("cells.maxout_forward", """
    rows   rows
    pairs  pairs: the length of a row of y
    x      address of x (rows, 2 pairs)
    y      address of y (rows, pairs)
""")  # fmt: skip
declare("cells.maxout_backward", """
    rows   rows
    pairs  pairs: the length of a row of dy
    x      address of x (rows, 2 pairs)
    dy     address of dy (rows, pairs)
    dx     address of dx (rows, 2 pairs)
""")  # fmt: skip
