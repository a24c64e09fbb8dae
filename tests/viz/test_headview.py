"""Attention of layers and heads in a page: what a reader sees there is what NumPy computes."""

import os
import re

import numpy as np
import pytest
from browser import chromium, colour_at, colours_at, opened

import tinyattn as ta
from tinyattn import errors, viz
from tinyattn.viz import packed, style

RNG = np.random.default_rng(0)
WORDS = ["The", '<script>&"', "注意力機制", "שלום עולם", "x" * 300, "."]
LAYERS, HEADS, N = 3, 4, len(WORDS)
READY = "body[data-ready]"


def _softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


P = _softmax(3 * RNG.standard_normal((LAYERS, HEADS, N, N)) + np.triu(np.full((N, N), -np.inf), 1))
D_P = RNG.standard_normal(P.shape)
D_S = P * (D_P - (P * D_P).sum(-1, keepdims=True))


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def _centre(page, i, j):
    """The place of a cell in the window."""
    canvas = page.locator("#map")
    box, look = canvas.bounding_box(), canvas.evaluate("e => ({...e.dataset})")
    left, top, cell, x, y = (float(look[name]) for name in ("left", "top", "cell", "x", "y"))
    return box["x"] + left - x + (j + 0.5) * cell, box["y"] + top - y + (i + 0.5) * cell


def _hover(page, i, j):
    """What the page says of a cell under the pointer: its text, and the numbers in it by their names."""
    page.mouse.move(*_centre(page, i, j))
    text = page.inner_text("#says")
    found = re.findall(r"(?:(\w+) = )?(?:≈ )?([−\d.e+-]+|−?∞|NaN)(?: ·|$)", text.rpartition(": ")[2])
    values = {name: float(value.replace("−", "-").replace("∞", "inf")) for name, value in found}
    return text, values


def test_a_cell_says_its_words_and_its_weight_and_gradients(browser, tmp_path):
    viz.head_view([layer[None] for layer in P], WORDS, gradients=D_P).save(tmp_path / "a.html")
    with opened(browser, tmp_path / "a.html", READY) as page:
        for layer, head in ((0, 0), (2, 3), (1, 2)):
            page.select_option("#layer", str(layer))
            page.click(f'#small button[data-head="{head}"]')
            assert page.input_value("#head") == str(head)
            for i, j in ((0, 0), (4, 1), (5, 5), (1, 3)):
                text, values = _hover(page, i, j)
                plain = text.replace("\u2068", "").replace("\u2069", "")
                assert plain.startswith(f"{WORDS[i]} → {WORDS[j]}: ")
                wanted = {"P": P, "dP": D_P, "dS": D_S}
                assert values.keys() == wanted.keys()
                for name, array in wanted.items():
                    expected = array[layer, head, i, j]
                    assert values[name] == pytest.approx(expected, rel=1e-5, abs=1e-6), (name, i, j)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_cells_have_the_colours_of_their_values(browser, tmp_path, scheme):
    viz.model_view(P, WORDS, gradients=D_P).save(tmp_path / "a.html")
    with opened(browser, tmp_path / "a.html", READY, color_scheme=scheme) as page:
        page.click('#small button[data-layer="1"][data-head="2"]')
        for kind, array in enumerate((P, D_P, D_S)):
            page.check(f'input[name="kind"][value="{kind}"]')
            page.mouse.move(0, 0)
            shown = array[1, 2]
            for i, j in ((0, 0), (4, 2), (5, 0), (2, 5)):
                fill = style.shade(shown[i, j] / np.abs(shown).max())
                expected = [int(fill[k : k + 2], 16) for k in (1, 3, 5)]
                assert np.abs(colour_at(page, *_centre(page, i, j)) - expected).max() <= 4, (kind, i, j)


def test_the_table_of_a_model_holds_all_heads_that_are_asked_for(browser, tmp_path):
    viz.model_view(P, WORDS, include_layers=[2, 0], include_heads=[3]).save(tmp_path / "a.html")
    with opened(browser, tmp_path / "a.html", READY) as page:
        assert page.locator("#small button").count() == 2 and not page.locator("#kinds").is_visible()
        page.click('#small button[data-layer="1"]')
        assert _hover(page, 4, 1)[1][""] == pytest.approx(P[0, 3, 4, 1], rel=1e-5)
        assert page.locator("#layer option").all_inner_texts() == ["2", "0"]


def test_the_keyboard_and_the_wheel_reach_every_cell(browser, tmp_path):
    weights = RNG.random((1, 1, 40, 60))
    tokens = [[f"r{k}" for k in range(40)], [f"c{k}" for k in range(60)]]
    viz.head_view(weights, tokens).save(tmp_path / "a.html")
    with opened(browser, tmp_path / "a.html", READY) as page:
        page.locator("#map").focus()
        for key in ["+"] * 9 + ["ArrowDown"] * 40 + ["ArrowRight"] * 59:
            page.keyboard.press(key)
        assert page.inner_text("#says").startswith("r39 → c59: ")
        box, (x, y) = page.locator("#map").bounding_box(), _centre(page, 39, 59)
        assert box["x"] < x < box["x"] + box["width"] and box["y"] < y < box["y"] + box["height"]
        assert _hover(page, 39, 59)[1][""] == pytest.approx(weights[0, 0, 39, 59], rel=1e-5)
        page.mouse.wheel(0, 3000)
        page.wait_for_function("document.getElementById('map').dataset.x === '0'")
        assert _hover(page, 0, 7)[1][""] == pytest.approx(weights[0, 0, 0, 7], rel=1e-5)


def test_lines_lead_from_a_token_to_those_it_looks_at(browser, tmp_path):
    viz.head_view(P, WORDS, layer=1, gradients=D_P).save(tmp_path / "a.html")
    with opened(browser, tmp_path / "a.html", READY) as page:
        page.check("#lines")
        canvas = page.locator("#map")
        box, look = canvas.bounding_box(), canvas.evaluate("e => ({...e.dataset})")
        left, right, top, step = (float(look[name]) for name in ("left", "right", "top", "step"))

        def place(side, k):
            return box["x"] + (left if side == 0 else right), box["y"] + top + (k + 0.5) * step

        for kind, array in enumerate((P, D_P)):
            page.check(f'input[name="kind"][value="{kind}"]')
            for side, k, arrow in ((0, 4, "→"), (1, 1, "←")):
                x, y = place(side, k)
                page.mouse.move(x + (20 if side else -20), y)
                weights = array[1, 0, k] if side == 0 else array[1, 0, :, k]
                order = np.argsort(-np.abs(weights), kind="stable")[:5]
                start, _, listed = page.inner_text("#says").partition(f" {arrow} ")
                assert start == WORDS[k]
                pairs = [text.rpartition(": ") for text in listed.split(" · ")]
                numbers = [float(value.replace("−", "-")) for _, _, value in pairs]
                np.testing.assert_allclose(numbers, weights[order], rtol=1e-5, atol=1e-9)
                assert [words[:12] for words, _, _ in pairs] == [WORDS[j][:12] for j in order]
                (x, y), (u, v) = place(side, k), place(1 - side, order[0])
                red, _, blue = colour_at(page, (2 * x + u) / 3, (2 * y + v) / 3)
                assert red > blue + 40 if weights[order[0]] < 0 else blue > red + 40
                assert canvas.bounding_box() == box, "what is said moves nothing"
        page.uncheck("#lines")
        assert _hover(page, 4, 1)[1]["dP"] == pytest.approx(D_P[1, 0, 4, 1], rel=1e-5)


@pytest.mark.parametrize(("width", "height"), [(360, 700), (1100, 800), (3840, 2160)])
def test_every_cell_is_in_the_window(browser, tmp_path, width, height):
    viz.head_view(P, WORDS, gradients=D_P).save(tmp_path / "a.html")
    with opened(browser, tmp_path / "a.html", READY, width, height) as page:
        for i, j in ((0, 0), (0, N - 1), (N - 1, N - 1)):
            x, y = _centre(page, i, j)
            assert 0 < x < width and 0 < y < height
            assert _hover(page, i, j)[1]["P"] == pytest.approx(P[0, 0, i, j], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("kind", ["softmax", "uniform"])
def test_512_tokens_and_12_heads_are_a_light_page(browser, tmp_path, kind):
    scores = RNG.standard_normal((1, 12, 512, 512)).astype(np.float32)
    weights = _softmax(2 * scores) if kind == "softmax" else RNG.random(scores.shape)
    weights[0, 11, 1, 1:4] = -np.inf, np.nan, np.inf
    path = tmp_path / "a.html"
    viz.head_view(weights, [f"token {k}" for k in range(512)]).save(path)
    assert os.path.getsize(path) <= 3_000_000
    with opened(browser, path, READY) as page:
        page.click('#small button[data-head="11"]')
        said = float(re.search(r"rounded by up to ([\d.e-]+) ", page.inner_text("footer"))[1])
        assert said < 0.03
        page.locator("#map").focus()
        for key, value in (("Down", ""), ("Down", ""), ("Right", "−∞"), ("Right", "NaN"), ("Right", "∞")):
            page.keyboard.press(f"Arrow{key}")
            assert page.inner_text("#says").endswith(value)
        for i, j in ((0, 0), (300, 17), (511, 511)):
            text, values = _hover(page, i, j)
            assert text.startswith(f"token {i} → token {j}: ≈ ")
            most = weights[0, 11][np.isfinite(weights[0, 11])].max()
            assert abs(values[""] - weights[0, 11, i, j]) <= 1.05 * said * most + 0.005 * values[""]


def test_a_notebook_shows_it_in_a_frame(browser, tmp_path):
    bundle = viz.head_view(P, WORDS)._repr_mimebundle_()
    (tmp_path / "a.html").write_text("<!DOCTYPE html><meta charset=utf-8>" + 2 * bundle["text/html"])
    page = browser.new_page()
    messages = []
    page.on("console", lambda message: messages.append(message.text))
    page.goto(f"file://{tmp_path / 'a.html'}")
    for k in (0, 1):
        page.frame_locator("iframe").nth(k).locator(READY).wait_for()
    assert messages == [] and "3 layers, 4 heads" in bundle["text/plain"]
    page.close()


# What needs no browser.


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("size", [4, 700])
def test_packed_numbers_are_as_near_as_they_say(signed, size):
    maps = RNG.standard_normal((2, 3, size, size)) * 10.0 ** RNG.integers(-9, 9, (2, 3, 1, 1))
    maps = maps if signed else np.abs(maps)
    maps[0, 0, :2, :3] = [[np.nan, np.inf, 0], [1, -np.inf, 0]]
    made = packed.pack([maps])
    data = packed.zlib.decompress(packed.base64.b64decode(made.data))
    if made.levels:
        codes = np.frombuffer(data, np.uint8).reshape(maps.shape)
        steps = made.levels // 2 if signed else made.levels
        root = (codes.astype(float) - steps * signed) / steps
        found = np.sign(root) * root**2
        for code, value in ((253, -np.inf), (254, np.inf), (255, np.nan)):
            found[codes == code] = value
    else:
        found = np.frombuffer(data, "<f4").reshape(maps.shape)
    assert bool(made.levels) == (size == 700) and made.signed == [signed]
    largest = np.abs(np.where(np.isfinite(maps), maps, 0)).max((-2, -1), keepdims=True)
    np.testing.assert_allclose(found, maps / largest, rtol=0, atol=max(made.error, 1e-7) * 1.0001)


def test_any_array_will_do():
    wanted = viz.head_view(P.astype(np.float32), WORDS).html()
    assert viz.head_view(P.astype(np.float32)[:, None], WORDS).html() == wanted
    assert viz.head_view(ta.tensor(P.astype(np.float32)), WORDS).html() == wanted
    assert viz.head_view(P.tolist(), (WORDS, WORDS)).html().count("The") == wanted.count("The")
    torch = pytest.importorskip("torch")
    layers = [torch.tensor(layer[None], dtype=torch.float32, requires_grad=True) for layer in P]
    assert viz.head_view(tuple(layers), WORDS).html() == wanted


def test_maps_of_a_model_go_in_as_they_are():
    model = ta.nn.Transformer(16, 2, 2, 1, 32, batch_first=True)
    x = RNG.standard_normal((1, N, 16)).astype(np.float32)
    maps = viz.attention_maps(model, (x, x))
    view = viz.model_view(maps, WORDS)
    assert "encoder.layers.1.self_attn" in maps and view.contents.blocks[0].layers == [*maps]
    np.testing.assert_array_equal(view.contents.blocks[0].kinds["P"], np.concatenate([*maps.values()]))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: viz.head_view(P[0], WORDS), errors.ShapeError,
         "[head_view] attention must be a list of layers of shape (heads, rows, columns), but layer 0 has shape (6, 6)."),
        (lambda: viz.model_view([P[:2]], WORDS), errors.ShapeError,
         "[model_view] attention must be a list of layers of shape (heads, rows, columns), but layer 0 has shape (2, 4, 6, 6)."),
        (lambda: viz.head_view([P[0], P[1, :2]], WORDS), errors.ShapeError,
         "[head_view] all layers of attention must have the same shape, but layer 0 has (4, 6, 6) and layer 1 has (2, 6, 6)."),
        (lambda: viz.head_view([], WORDS), errors.ShapeError,
         "[head_view] attention must be a list of layers of shape (heads, rows, columns), but got no layer."),
        (lambda: viz.head_view(P, WORDS[:5]), errors.ShapeError, "[head_view] rows must have 6 tokens, but got 5."),
        (lambda: viz.head_view(P, (WORDS, WORDS[1:])), errors.ShapeError,
         "[head_view] columns must have 6 tokens, but got 5."),
        (lambda: viz.head_view(P, "a b c"), errors.DataError,
         "[head_view] tokens must be a list of tokens, or two: those of the rows and those of the columns, but got str."),
        (lambda: viz.head_view(["abc"], WORDS), errors.DataError,
         "[head_view] layer 0 of attention must be numbers, but got <U3."),
        (lambda: viz.head_view(P, WORDS, layer=3), errors.DataError, "[head_view] layer must be from 0 to 2, but got [3]."),
        (lambda: viz.model_view(P, WORDS, include_heads=[]), errors.DataError,
         "[model_view] include_heads must be from 0 to 3, but got []."),
        (lambda: viz.head_view(P, WORDS, gradients=D_P[:2]), errors.ShapeError,
         "[head_view] gradients must have the attention's shape (layers, heads, rows, columns) = (3, 4, 6, 6), but got (2, 4, 6, 6)."),
        (lambda: viz.head_view(P, WORDS).save("a.pdf"), errors.DataError,
         "[save] the file's name must end in .html, .svg, .png, but got 'a.pdf'."),
    ],
)  # fmt: skip
def test_wrong_input_is_told_in_one_sentence(make, error, text):
    with pytest.raises(error) as found:
        make()
    assert str(found.value).splitlines()[0] == text


def test_the_attentions_of_an_encoder_and_decoder(browser, tmp_path):
    source, target = [f"s{k}" for k in range(5)], [f"t{k}" for k in range(3)]
    maps = {
        "encoder_attention": RNG.random((2, 2, 5, 5)),
        "decoder_attention": RNG.random((2, 2, 3, 3)),
        "cross_attention": RNG.random((3, 4, 3, 5)),
    }
    view = viz.head_view(encoder_tokens=source, decoder_tokens=target, **maps)
    view.save(tmp_path / "a.html")
    sides = [(source, source), (target, target), (target, source)]
    with opened(browser, tmp_path / "a.html", READY) as page:
        assert page.locator("#part option").all_inner_texts() == ["Encoder", "Decoder", "Cross"]
        for k, ((name, array), (rows, columns)) in enumerate(zip(maps.items(), sides, strict=True)):
            page.select_option("#part", str(k))
            assert page.locator("#layer option").count() == len(array), name
            page.select_option("#layer", str(len(array) - 1))
            page.select_option("#head", str(len(array[0]) - 1))
            for i, j in ((0, 0), (2, 1), (1, 2)):
                text, values = _hover(page, i, j)
                assert (
                    text.replace("\u2068", "").replace("\u2069", "").startswith(f"{rows[i]} → {columns[j]}: ")
                )
                assert values[""] == pytest.approx(array[-1, -1, i, j], rel=1e-5)
    two = viz.model_view(
        cross_attention=maps["cross_attention"], encoder_tokens=source, decoder_tokens=target
    )
    assert [part.name for part in two.contents.parts] == ["Cross"]


def test_two_sentences_are_shown_in_parts(browser, tmp_path):
    viz.head_view(P, WORDS, sentence_b_start=2, layer=1, heads=[3]).save(tmp_path / "a.html")
    with opened(browser, tmp_path / "a.html", READY) as page:
        parts = ["All", "A → A", "A → B", "B → A", "B → B"]
        assert page.locator("#part option").all_inner_texts() == parts
        assert (page.input_value("#layer"), page.input_value("#head")) == ("1", "3")
        for name, i0, j0, n, m in (("A → B", 0, 2, 2, 4), ("B → A", 2, 0, 4, 2), ("B → B", 2, 2, 4, 4)):
            page.select_option("#part", str(parts.index(name)))
            assert page.inner_text("#says") == f"{n} rows, {m} columns"
            text, values = _hover(page, n - 1, m - 1)
            assert (
                text.replace("\u2068", "")
                .replace("\u2069", "")
                .startswith(f"{WORDS[i0 + n - 1]} → {WORDS[j0 + m - 1]}: ")
            )
            assert values[""] == pytest.approx(P[1, 3, i0 + n - 1, j0 + m - 1], rel=1e-5)
            colour = style.shade(P[1, 3, i0, j0 + m - 1] / P[1, 3].max())
            page.mouse.move(0, 0)
            expected = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
            assert np.abs(colour_at(page, *_centre(page, 0, m - 1)) - expected).max() <= 4


def test_marks_of_tokenizers_are_not_shown():
    tokens = ["Ġthe", "▁cat", "##s", "ed</w>", "Ġ", "a"]
    shown = lambda **options: list(viz.head_view(P, tokens, **options).contents.blocks[0].rows)
    assert shown() == ["the", "cat", "s", "ed", "Ġ", "a"] and shown(prettify_tokens=False) == tokens


@pytest.mark.parametrize(("mode", "dark"), [("dark", True), ("light", False), (None, True)])
def test_a_view_is_dark_or_light_as_asked(browser, tmp_path, mode, dark):
    viz.model_view(P, WORDS, display_mode=mode).save(tmp_path / "a.html")
    with opened(browser, tmp_path / "a.html", READY, color_scheme="dark") as page:
        assert (colour_at(page, 2, 2).mean() < 100) == dark


def test_a_view_on_paper_is_dark_on_white(browser, tmp_path):
    viz.head_view(P, WORDS).save(tmp_path / "a.html")
    with opened(browser, tmp_path / "a.html", READY, color_scheme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        page.wait_for_timeout(100)
        assert colour_at(page, 2, 2).mean() > 250
        box = page.locator("#map").bounding_box()
        left = float(page.get_attribute("#map", "data-left"))
        shot = colours_at(page, box["x"] + 2, _centre(page, 1, 0)[1], int(left) - 2)
        assert shot.mean(axis=1).min() < 120, "the tokens are dark"


def test_a_view_holds_its_page_as_html_objects_do():
    view = viz.head_view(P, WORDS, html_action="return")
    assert view.data == view.html() and view.data.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: viz.head_view(), "[head_view] there must be attention, or attentions of an encoder and decoder, but got neither."),
        (lambda: viz.head_view(P, WORDS, cross_attention=P), "[head_view] there must be attention, or attentions of an encoder and decoder, but got both."),
        (lambda: viz.model_view(cross_attention=P, decoder_tokens=WORDS), "[model_view] cross_attention needs encoder_tokens, a list, but got NoneType."),
        (lambda: viz.head_view(P, WORDS, sentence_b_start=6), "[head_view] sentence_b_start must be from 1 to 5"),
        (lambda: viz.head_view(P, WORDS, html_action="show"), "[head_view] html_action must be 'view' or 'return', but got 'show'."),
        (lambda: viz.model_view(P, WORDS, display_mode="grey"), "[model_view] display_mode must be 'dark', 'light' or None, but got 'grey'."),
        (lambda: viz.head_view(P, WORDS, heads=[4]), "[head_view] heads must be from 0 to 3, but got [4]."),
        (lambda: viz.head_view(P, WORDS, include_layers=[3]), "[head_view] include_layers must be from 0 to 2, but got [3]."),
    ],
)  # fmt: skip
def test_mistakes_in_arguments_are_told(call, text):
    with pytest.raises(errors.TinyattnError) as caught:
        call()
    assert str(caught.value).startswith(text)


def test_numbers_that_cannot_be_packed_tighter_are_rounded():
    weights = RNG.random((4, 12, 128, 128)).astype(np.float32)
    page = viz.head_view(weights, [f"w{k}" for k in range(128)]).html()
    assert len(page) < 3_000_000 and "are rounded by up to" in page
