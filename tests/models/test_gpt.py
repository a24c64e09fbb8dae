"""GPT: 50 updates beside torch, generation with and without a cache, causality, parameters, errors."""

import functools

import make_attention_fixtures as fixtures
import make_fixtures
import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors
from tinyattn.models import GPT, GPTConfig
from tinyattn.models.parts.generation import choose
from tinyattn.tasks.text import TextBatch
from tinyattn.train.config import TrainingConfig

SMALL = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 6}


def small(**changes) -> GPT:
    """A GPT in float64, with weights large enough to tell tokens apart."""
    ta.manual_seed(4)
    model = GPT(GPTConfig(**SMALL | changes)).to(np.float64)
    rng = np.random.default_rng(1)
    for weight in model.parameters():
        weight.assign(rng.standard_normal(weight.shape) * 0.5 + (weight.ndim == 1))
    return model


def tokens(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, SMALL["vocab_size"], shape)


# Beside torch.


def by_hand(model):
    """As a user's own loop has it."""
    return model.configure_optimizer(**fixtures.ADAMW, clip_norm=1.0), model.loss


def by_recipe(model):
    """As `tinyattn train gpt` has it, at nanoGPT's rate without a schedule."""
    recipe = GPT.recipe("tinyshakespeare")
    sizes = {**recipe.sizes, "vocab_size": 65, "block_size": 64}
    assert model.config == GPTConfig(**sizes)
    constant = {"learning_rate": 1e-3, "schedule": "constant", "warmup_steps": 0}
    training = TrainingConfig(**recipe.training | constant).check()

    def loss(tokens, targets):
        return objective.loss(TextBatch(tokens, targets, None, None))

    (objective,) = model.objectives()
    return training.make_optimizer(objective.parameters), loss


def losses_of_the_recipe(setting) -> np.ndarray:
    ta.manual_seed(0)
    optimizer, loss_of = setting(GPT(GPTConfig(**fixtures.RECIPE, activation="gelu")))

    @ta.function
    def step(inputs, targets):
        loss = loss_of(inputs, targets)
        optimizer.minimize(loss)
        return loss

    return np.array([step(*batch) for batch in fixtures.text_batches()])


@functools.cache
def losses_of_torch() -> np.ndarray:
    return fixtures.gpt_losses(fixtures.gpt_weights())


@pytest.mark.parametrize("setting", [by_hand, by_recipe])
def test_fifty_updates_are_those_of_torch(setting):
    """The losses before each update: recorded, and where there is torch, computed now."""
    found = losses_of_the_recipe(setting)
    with np.load(make_fixtures.FIXTURES / "gpt.npz") as recorded:
        assert np.abs(found - recorded["losses"]).max() < 1e-4
    assert found[-1] < found[0] - 1
    pytest.importorskip("torch")
    assert np.abs(found - losses_of_torch()).max() < 1e-4


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_logits_and_gradients_are_those_of_torch(norm_first, activation, bias):
    torch = pytest.importorskip("torch")
    model = small(norm_first=norm_first, activation=activation, bias=bias)
    x, y = tokens(3, 8), tokens(3, 8, seed=1)
    weights = {k: torch.from_numpy(v).requires_grad_() for k, v in model.state_dict().items()}
    config = SMALL | {"norm_first": norm_first, "activation": activation}
    logits = fixtures.gpt_logits(weights, torch.from_numpy(x), config)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(y).flatten())
    loss.backward()
    assert np.abs(model(x).numpy() - logits.detach().numpy()).max() < 1e-10
    gradients = ta.grad(model.loss(x, y), model.parameters())
    for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
        expected = weights[name].grad.numpy()
        assert np.abs(gradient.numpy() - expected).max() < 1e-8 * max(1, np.abs(expected).max()), name


# What it is.


def test_parameters_have_the_names_and_sizes_of_gpt2():
    model = GPT(GPTConfig(**SMALL))
    keys = list(model.state_dict())
    block = [
        "ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj.weight", "attn.c_proj.bias",
        "ln_2.weight", "ln_2.bias", "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias",
    ]  # fmt: skip
    assert keys == [
        "transformer.wte.weight", "transformer.wpe.weight",
        *(f"transformer.h.{k}.{name}" for k in range(2) for name in block),
        "transformer.ln_f.weight", "transformer.ln_f.bias", "lm_head.weight",
    ]  # fmt: skip
    assert model.lm_head.weight is model.transformer.wte.weight
    assert not any("bias" in key for key in GPT(GPTConfig(**SMALL, bias=False)).state_dict())
    post = GPT(GPTConfig.gpt1(**SMALL))
    assert list(post.state_dict()) == [key for key in keys if "ln_f" not in key]


def test_sizes_are_those_of_the_papers():
    assert GPTConfig.gpt2() == GPTConfig() and GPTConfig.gpt1(n_layer=2).n_layer == 2

    def count(c):
        block = 12 * c.n_embd**2 + 13 * c.n_embd
        return (c.vocab_size + c.block_size) * c.n_embd + c.n_layer * block + 2 * c.n_embd * c.norm_first

    assert count(GPTConfig.gpt2()) == 124_439_808 and count(GPTConfig.gpt1()) == 116_534_784
    for config in (GPTConfig(**SMALL), GPTConfig.gpt1(**SMALL)):
        assert GPT(config).num_parameters() == count(config)


def test_initial_values_are_those_of_gpt2():
    ta.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=500, block_size=32, n_layer=8, n_head=2, n_embd=64))
    for name, weight in model.named_parameters():
        values = weight.numpy()
        if weight.ndim > 1:
            std = 0.02 / 4 if name.endswith("c_proj.weight") else 0.02
            assert abs(values.std() / std - 1) < 0.05, name
        else:
            assert (values == (1 if name.endswith("weight") else 0)).all()
    # Nothing is known yet: every token costs about log V.
    texts = np.random.default_rng(0).integers(0, 500, (2, 4, 32))
    assert abs(float(model.loss(*texts)) - np.log(500)) < 0.1


def test_no_token_sees_a_later_one():
    model, x = small(), tokens(1, 8)
    before = model(x).numpy()
    x[0, 5] = (x[0, 5] + 1) % 11
    after = model(x).numpy()
    assert np.array_equal(before[:, :5], after[:, :5]) and not np.allclose(before[:, 5:], after[:, 5:])


def test_the_loss_can_pass_over_targets():
    model, x, y = small(), tokens(2, 4), tokens(2, 4, seed=1)
    y[:, :2] = -1
    logits = model(x).numpy()
    rows = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -np.mean([rows[b, t, y[b, t]] for b in range(2) for t in (2, 3)])
    assert abs(float(model.loss(x, y, ignore_index=-1)) - expected) < 1e-12


def test_matrices_decay_and_the_rest_does_not():
    model = small(bias=True)
    optimizer = model.configure_optimizer(lr=0.5, weight_decay=0.1)
    before = model.state_dict()
    optimizer.update([w * 0.0 for w in optimizer.parameters])
    after = model.state_dict()
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array * (0.95 if array.ndim > 1 else 1.0), rtol=1e-12)


def test_dropout_is_for_training_only():
    model, x = small(dropout=0.5), tokens(1, 8)
    assert not np.array_equal(model(x).numpy(), model(x).numpy())
    model.eval()
    assert np.array_equal(model(x).numpy(), model(x).numpy())


# Generation.


@pytest.mark.parametrize("norm_first", [True, False])
def test_every_step_with_caches_gives_the_logits_without(norm_first):
    model, x = small(norm_first=norm_first), tokens(2, 8)
    expected = model(x).numpy()
    step = ta.function(model.step)
    caches = model.empty_caches(2)
    for first, last in ((0, 3), (3, 5)):  # several at once
        logits, caches = step(x[:, first:last], caches, first)
        assert np.abs(logits - expected[:, first:last]).max() < 1e-12
    for t in range(5, 8):
        logits, caches = step(x[:, t : t + 1], caches, np.array(t))
        assert np.abs(logits[:, 0] - expected[:, t]).max() < 1e-12
    assert len(step._compiled) == 3


@pytest.mark.parametrize("beginning", [1, 3, 8, 12])
def test_generation_with_a_cache_is_generation_without(beginning):
    """Also past block_size, where the window moves on."""
    model, x = small(), tokens(2, beginning)

    def generated(**options):
        ta.manual_seed(5)  # the same draws, so that equal logits give equal texts
        return model.generate(x, 12, temperature=2.0, **options)

    found = generated()
    assert np.array_equal(found, generated(use_cache=False))
    ta.manual_seed(5)
    text = x
    for _ in range(12):
        logits = model(text[:, -8:]).numpy()[:, -1]
        text = np.concatenate([text, choose(logits, 2.0)[:, None]], axis=1)
    assert np.array_equal(found, text) and len(np.unique(found[:, beginning:])) > 3


def test_generation_compiles_one_step():
    model = small(block_size=80)
    model.generate(tokens(1, 4), 64)
    programs = model._generation
    assert len(programs.advance._compiled) == 2 and not programs.whole._compiled
    model.generate(tokens(1, 4), 64, top_k=2)
    assert model._generation is programs and len(programs.advance._compiled) == 2
    model.load_state_dict({k: -v for k, v in model.state_dict().items()})  # same leaves, same programs
    assert np.array_equal(
        model.generate(tokens(1, 4), 9, temperature=0),
        model.generate(tokens(1, 4), 9, temperature=0, use_cache=False),
    )
    assert model._generation is programs
    assert (
        model.to(np.float32).generate(tokens(1, 4), 2).shape == (1, 6) and model._generation is not programs
    )


def test_generation_depends_on_the_seed_only_and_leaves_the_mode():
    model = small(dropout=0.3)
    ta.manual_seed(7)
    first = model.generate(tokens(2, 3), 5)
    assert model.training
    ta.manual_seed(7)
    assert np.array_equal(first, model.generate(tokens(2, 3), 5))
    ta.manual_seed(8)
    assert not np.array_equal(first, model.generate(tokens(2, 3), 5))


def test_tokens_are_drawn_as_their_probabilities_say():
    ta.manual_seed(3)
    logits = np.log(np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    rows = np.tile(logits, (40_000, 1))

    def shares(**options):
        return np.bincount(choose(rows, **options), minlength=4) / len(rows)

    assert np.abs(shares() - [0.1, 0.2, 0.3, 0.4]).max() < 0.01
    assert np.abs(shares(temperature=0.5) - np.array([1, 4, 9, 16]) / 30).max() < 0.01
    assert np.abs(shares(top_k=2) - [0, 0, 3 / 7, 4 / 7]).max() < 0.01
    assert np.array_equal(shares(top_k=1), [0, 0, 0, 1]) and np.array_equal(
        shares(temperature=0), [0, 0, 0, 1]
    )
    assert np.abs(shares(top_k=9) - [0.1, 0.2, 0.3, 0.4]).max() < 0.01


# Errors.


@pytest.mark.parametrize(
    "action, text",
    [
        (lambda m: GPTConfig(n_layer=0), "[GPT] n_layer must be a positive integer, but got 0."),
        (lambda m: GPTConfig(n_embd=16.0), "[GPT] n_embd must be a positive integer, but got 16.0."),
        (lambda m: GPTConfig(n_embd=10, n_head=3), "[GPT] n_embd must be divisible by n_head = 3, but got 10."),
        (lambda m: GPTConfig(dropout=1.0), "[GPT] dropout must lie in [0, 1), but got 1.0."),
        (lambda m: GPTConfig(activation="tanh"),
         "[GPT] activation must be one of gelu, gelu_tanh, relu, but got 'tanh'."),
        (lambda m: m(tokens(2, 9)), "[GPT] at most block_size = 8 tokens can be seen at once, but got 9."),
        (lambda m: m(tokens(9)), "[GPT] tokens must be integers of shape (B, T), but got i64[9]."),
        (lambda m: m(np.zeros((2, 3))), "[GPT] tokens must be integers of shape (B, T), but got f64[2, 3]."),
        (lambda m: m.generate(tokens(0, 3), 1),
         "[generate] tokens must be integers of shape (B, T), no axis empty, but got int64 of shape (0, 3)."),
        (lambda m: m.generate(tokens(1, 3), 1, temperature=-1),
         "[generate] temperature must be at least 0, but got -1."),
    ],
)  # fmt: skip
def test_errors_say_what_must_hold(action, text):
    with pytest.raises(errors.TinyattnError) as error:
        action(small())
    assert str(error.value).splitlines()[0] == text
