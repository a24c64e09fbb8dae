"""The LSTMN in torch, as its paper has it: what the tests of the models that have one compare with."""


def torch_states(torch, weights, x, layers, tape, memories=None):
    """h_t of the last layer (T, B, H) as the paper has them, a word at a time, with lists for tapes; memories: a list
    that takes its c_t.
    """
    for k in range(layers):
        w = {name.removeprefix(f"layers.{k}."): value for name, value in weights.items()}
        hs, cs, found = [], [], []
        before = torch.zeros(x.shape[1], w["weight_hh"].shape[1], dtype=torch.float64)
        for x_t in x:
            summary, memory = torch.zeros_like(before), torch.zeros_like(before)
            first = max(0, len(hs) - tape) if tape else 0
            if hs[first:]:
                query = x_t @ w["query.weight"].T + before @ w["before.weight"].T
                scores = [torch.tanh(h @ w["key.weight"].T + query) @ w["v"] for h in hs[first:]]
                s = torch.softmax(torch.stack(scores), 0)[..., None]
                summary = (s * torch.stack(hs[first:])).sum(0)
                memory = (s * torch.stack(cs[first:])).sum(0)
            gates = x_t @ w["weight_ih"].T + w["bias_ih"] + summary @ w["weight_hh"].T + w["bias_hh"]
            i, f, g, o = gates.chunk(4, 1)
            c = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
            hs.append(torch.sigmoid(o) * torch.tanh(c))
            cs.append(c)
            before = summary
            found.append(hs[-1])
        x = torch.stack(found)
    if memories is not None:
        memories += cs
    return x
