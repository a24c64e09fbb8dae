"""The classic captioner: its equations in torch, the search, and its size beside that of a model with attention."""

import numpy as np
import pytest
from captions_by_hand import batch, cells, drawn_weights, linear, lstm, torch_weights

import tinyattn as ta
from tinyattn.models.captioner import Captioner, CaptionerConfig
from tinyattn.models.show_attend_tell import ShowAttendTellConfig


def small():
    return drawn_weights(Captioner(CaptionerConfig(9, 8, 2, 5, width=3, layers=2, embedding=4, hidden=6)))


def test_loss_and_gradients_are_those_of_torch():
    torch = pytest.importorskip("torch")
    ours, some = small(), batch()
    w = torch_weights(torch, ours)

    def go(x, h, c):
        gates = (
            w["lstm.weight_ih_l0"] @ x
            + w["lstm.bias_ih_l0"]
            + w["lstm.weight_hh_l0"] @ h
            + w["lstm.bias_hh_l0"]
        )
        return lstm(torch, gates, c)

    losses, seen = [], cells(torch, w, some.images, training=True)
    for row in range(3):
        grid = seen[row].T.reshape(-1, 4, 4)
        c = linear(torch, w, "image", torch.nn.functional.max_pool2d(grid, 2).flatten())
        h = c.tanh()
        length = int(some.target_length[row])
        for word, right in zip(some.target_in[row, :length], some.target_out[row, :length], strict=True):
            h, c = go(w["embedding.weight"][int(word)], h, c)
            losses.append(-torch.log_softmax(linear(torch, w, "vocabulary", h), 0)[int(right)])
    loss = torch.stack(losses).mean()
    loss.backward()
    assert len(losses) == some.weight and abs(float(ours.loss(some)) - loss.item()) < 1e-10
    for (name, _), found in zip(
        ours.named_parameters(), ta.grad(ours.loss(some), ours.parameters()), strict=True
    ):
        expected = w[name].grad.numpy()
        assert np.abs(expected).max() > 0, name
        assert np.abs(found.numpy() - expected).max() < 1e-8 * max(1, np.abs(expected).max()), name


def test_the_search_says_what_it_is_scored_by():
    ours, some = small().eval(), batch()
    for beam in (1, 3):
        found = ours.answer(some, beam=beam)
        assert not found.maps
        for row, ids in enumerate(found.outputs):
            given = np.concatenate([[1], ids[:-1]]).astype(np.int32)[None]
            log_p = ta.log_softmax(ours(some.images[row : row + 1], given)[0]).numpy()[0]
            assert abs(log_p[np.arange(len(ids)), ids].sum() - found.scores[row]) < 1e-9
    greedy, wide = (np.array(ours.answer(some, beam=beam).scores) for beam in (1, 60))
    assert (wide >= greedy - 1e-12).all()


def test_the_grid_is_pooled_without_a_rest():
    for size, pool, side in ((24, 2, 3), (36, 3, 3), (20, 1, 5), (28, 1, 7), (8, 1, 2)):
        sizes = CaptionerConfig(20, size, 3, 21)
        assert (sizes.pool, sizes.seen) == (pool, side * side * 64) and sizes.side == pool * side


def test_its_size_is_that_of_the_model_beside_it():
    for sizes in (
        ShowAttendTellConfig(20, 24, 3, 21),
        ShowAttendTellConfig(21, 36, 1, 15, width=24, embedding=16),
    ):
        like = CaptionerConfig.like(sizes)
        assert Captioner(like).num_parameters() == like.num_parameters()
        assert abs(like.num_parameters() / sizes.num_parameters() - 1) < 0.02
