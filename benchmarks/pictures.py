"""Pictures of the same GPT by tinyattn and by its peers: nodes, processor time, bytes, and what each shows.

    python -m benchmarks.pictures                # ours, and those of peers that are installed
    python -m benchmarks.pictures --layers 2 4   # of so many layers (width 64, 4 heads, 32 tokens)

Each program makes an SVG in a process of its own, with a minute of the processor to do it in; "failed" says
why it could not.
bertviz draws attention, no graphs: of it the page of 4 layers, 12 heads and 128 tokens is weighed. Results are written
to results/pictures.json.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results" / "pictures.json"
WIDTH, HEADS, TOKENS, WORDS = 64, 4, 32, 65
LIMIT = 60
"""Seconds of the processor that one picture may take."""

FEATURES = (
    # what is shown                                       ours torchviz torchview TorchLens Keras bertviz
    ("forward and backward in one picture", "yes", "backward only", "no", "yes", "no", "no"),
    ("formula of each value and each gradient", "yes", "no", "no", "no", "no", "no"),
    ("derivation, checked with numbers", "yes", "no", "no", "no", "no", "no"),
    ("modules as frames, opened to a depth", "yes", "no", "yes", "yes", "yes", "no"),
    ("equal blocks folded", "yes", "no", "no", "yes", "no", "no"),
    ("loops drawn rolled", "yes", "no", "if asked to", "if asked to", "no", "no"),
    ("shapes", "yes", "of parameters, saved tensors", "yes", "yes", "yes", "no"),
    ("bytes", "yes", "no", "no", "yes", "no", "no"),
    ("what is kept for the derivative", "yes", "yes", "no", "no", "no", "no"),
    ("attention of heads and layers", "yes", "no", "no", "no", "no", "yes"),
    ("works without the net", "yes", "yes", "yes", "yes", "yes", "no (scripts are loaded)"),
)  # fmt: skip
"""What the programs show, as seen in their pictures and documents (their versions stand in the results)."""
PROGRAMS = ("tinyattn", "tinyattn, depth 2", "torchviz", "torchview", "TorchLens", "Keras plot_model")


def _spent() -> float:
    """Seconds of the processor that this process and those it has started took, dot for instance: they are the same
    whatever else the machine does.
    """
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _torch_gpt(layers: int):
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

        def forward(self, x):
            batch, length, width = x.shape
            parts = self.qkv(self.ln_1(x)).view(batch, length, 3, HEADS, width // HEADS)
            q, k, v = (parts[:, :, n].transpose(1, 2) for n in range(3))
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.proj(y.transpose(1, 2).reshape(batch, length, width))
            return x + self.mlp(self.ln_2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(WORDS, WIDTH), nn.Embedding(TOKENS, WIDTH)
            self.h = nn.ModuleList(Block() for _ in range(layers))
            self.ln_f, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS, bias=False)

        def forward(self, tokens):
            x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
            for block in self.h:
                x = block(x)
            return self.head(self.ln_f(x))

    return GPT(), torch.zeros(1, TOKENS, dtype=torch.long)


def _ours(layers: int, folder: Path, depth: int | None):
    import numpy as np

    import tinyattn as ta
    from tinyattn import nn

    class Block(nn.Module):
        def __init__(self):
            self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x):
            batch, length, width = x.shape
            parts = ta.reshape(self.qkv(self.ln_1(x)), (batch, length, 3, HEADS, width // HEADS))
            q, k, v = (ta.transpose(parts[:, :, n], (0, 2, 1, 3)) for n in range(3))
            y = ta.transpose(ta.attention(q, k, v, is_causal=True), (0, 2, 1, 3))
            x = x + self.proj(ta.reshape(y, (batch, length, width)))
            return x + self.down(ta.gelu(self.up(self.ln_2(x))))

    class GPT(nn.Module):
        def __init__(self):
            self.wte, self.wpe = nn.Embedding(WORDS, WIDTH), nn.Embedding(TOKENS, WIDTH)
            self.h = nn.ModuleList(Block() for _ in range(layers))
            self.ln_f, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS, bias=False)

        def forward(self, tokens):
            x = self.wte(tokens) + self.wpe(ta.tensor(np.arange(TOKENS)))
            for block in self.h:
                x = block(x)
            return self.head(self.ln_f(x))

    y = GPT()(ta.tensor(np.zeros((1, TOKENS), np.int64), name="tokens"))
    start = _spent()
    view = ta.viz.draw(y.sum(), depth=depth).save(folder / "graph.svg")
    return _spent() - start, len(view.drawn.nodes)


def _torchviz(layers: int, folder: Path):
    from torchviz import make_dot

    model, tokens = _torch_gpt(layers)
    y = model(tokens).sum()
    return _rendered(lambda: make_dot(y, params=dict(model.named_parameters())), folder)


def _torchview(layers: int, folder: Path):
    from torchview import draw_graph

    model, tokens = _torch_gpt(layers)
    return _rendered(lambda: draw_graph(model, input_data=tokens, depth=3).visual_graph, folder)


def _rendered(make, folder: Path):
    start = _spent()
    graph = make()
    graph.render(str(folder / "graph"), format="svg")
    return _spent() - start, _nodes(folder)


def _torchlens(layers: int, folder: Path):
    from torchlens.options import VisualizationOptions
    from torchlens.visualization import show_model_graph

    model, tokens = _torch_gpt(layers)
    how = VisualizationOptions(container_path=str(folder / "graph"), save_only=True, file_format="svg")
    start = _spent()
    show_model_graph(model, tokens, visualization=how)
    return _spent() - start, _nodes(folder)


def _keras(layers: int, folder: Path):
    import os

    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    from keras import layers as L

    tokens = keras.Input((TOKENS,), dtype="int32")
    x = L.Embedding(WORDS, WIDTH)(tokens) + L.Embedding(TOKENS, WIDTH)(keras.ops.arange(TOKENS))
    for _ in range(layers):
        n = L.LayerNormalization()(x)
        x = x + L.MultiHeadAttention(HEADS, WIDTH // HEADS)(n, n, use_causal_mask=True)
        x = x + L.Dense(WIDTH)(L.Dense(4 * WIDTH, activation="gelu")(L.LayerNormalization()(x)))
    model = keras.Model(tokens, L.Dense(WORDS, use_bias=False)(L.LayerNormalization()(x)))
    start = _spent()
    # (What plot_model does, which then fails to show an SVG where IPython is installed.)
    graph = keras.utils.model_to_dot(model, show_shapes=True, expand_nested=True)
    graph.write(str(folder / "graph.svg"), format="svg")
    return _spent() - start, _nodes(folder)


def _nodes(folder: Path) -> int:
    """Nodes of the picture that was written."""
    (path,) = folder.glob("*.svg")
    return path.read_text().count('class="node"')


MAKERS = {
    "tinyattn": lambda n, folder: _ours(n, folder, None),
    "tinyattn, depth 2": lambda n, folder: _ours(n, folder, 2),
    "torchviz": _torchviz, "torchview": _torchview, "TorchLens": _torchlens, "Keras plot_model": _keras,
}  # fmt: skip


def _bertviz() -> dict[str, float]:
    """Bytes of the pages of attention, ours and bertviz'."""
    import numpy as np

    import tinyattn as ta

    weights = np.random.default_rng(0).dirichlet(np.ones(128), (4, 12, 128)).astype(np.float32)
    words = [f"word{k}" for k in range(128)]
    start = _spent()
    found = {"tinyattn": len(ta.viz.head_view(weights, words).html()) / 1e6}
    found["tinyattn seconds"] = round(_spent() - start, 2)
    try:
        import torch
        from bertviz import head_view

        start = _spent()
        page = head_view([torch.tensor(layer[None]) for layer in weights], words, html_action="return").data
        found |= {"bertviz": len(page) / 1e6, "bertviz seconds": round(_spent() - start, 2)}
        found["bertviz asks the net"] = "http" in page
    except ImportError:
        pass
    return found


def _one(program: str, layers: int) -> dict:
    """What one program does with a model, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.pictures", "--one", program, "--layers", str(layers)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode < 0:
        return {"failed": f"more than {LIMIT} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["it ended"])[-1][:120]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("torch", "torchviz", "torchview", "torchlens", "keras", "bertviz", "graphviz"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def main() -> None:
    """Compare, print the tables and record them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 4, 12])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 5))  # (dot's limit, too)
        with tempfile.TemporaryDirectory() as folder:
            seconds, nodes = MAKERS[arguments.one](arguments.layers[0], Path(folder))
            (path,) = Path(folder).glob("*.svg")
            size = path.stat().st_size
        print(json.dumps({"nodes": nodes, "seconds": round(seconds, 2), "kilobytes": round(size / 1000)}))
        return
    rows = []
    for layers in arguments.layers:
        for program in PROGRAMS:
            rows.append({"layers": layers, "program": program} | _one(program, layers))
            print(rows[-1], flush=True)
    attention = _bertviz()
    print(attention)
    head = ("tinyattn", "torchviz", "torchview", "TorchLens", "Keras", "bertviz")
    table = [{"feature": what} | dict(zip(head, has, strict=True)) for what, *has in FEATURES]
    found = {"versions": _versions(), "graphs": rows, "attention page, MB": attention, "features": table}
    RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
