// What is known of the chosen node: its formula, its rule, what it is made of and what for, where it was written, its
// numbers, and at an addition what each contribution adds.

function inspector(view) {
  const { panel } = view;
  const node = id => view.graph.nodes.get(id);
  const button = (id, label = "") => make("button", { class: `go ${node(id).phase}`, onclick: () => view.select(id) },
    view.name(id), label ? make("small", {}, ` ${label}`) : null);
  const row = (name, ...content) => [make("dt", {}, name), make("dd", {}, ...content)];
  const list = (name, edges, end) => edges.length
    ? row(name, ...edges.map(edge => button(edge[end], edge.label))) : [];

  function facts(one) {
    const where = view.where(one), origin = one.origin && view.graph.nodes.has(one.origin) ? button(one.origin) : null;
    return make("dl", {},
      ...list("made of", view.graph.operands(one.id), "source"),
      ...list("used by", view.graph.users(one.id), "target"),
      ...(one.types.length ? row("shape", make("span", { class: "type" }, view.hidden(one.id) ? "?" : one.types.join(", "))) : []),
      ...(one.bytes ? row("memory", one.bytes + (one.saved ? ", kept for the derivative" : "")) : one.saved ? row("memory", "kept for the derivative") : []),
      ...(one.line ? row("source", make("code", {}, one.line), make("code", { class: "source" }, one.source)) : []),
      ...(where ? row("module", where) : []),
      ...(one.shared ? row("shared by", one.shared) : []),
      ...(origin ? row("by the rule of", origin) : []),
      ...(one.held.length ? row("parameters", one.held.join(", ")) : []),
      ...(one.attrs ? row("settings", one.attrs) : []),
      ...row("operation", one.op + (one.members > 1 ? `, ${one.members} nodes` : "")));
  }

  function contributions(one) {
    const parts = view.contributions(one.id);
    if (parts.length < 2 || !view.machine) return null;
    const whole = view.machine.value(one.id), sums = new Float64Array(whole.data.length);
    const weights = parts.map(({ value }) => value.data.reduce((sum, x) => sum + Math.abs(x), 0));
    const all = weights.reduce((a, b) => a + b, 0) || 1;
    for (const { value } of parts) value.data.forEach((x, k) => { sums[k] += x; });
    const off = sums.reduce((most, x, k) => Math.max(most, Math.abs(x - whole.data[k])), 0);
    const cell = view.cell < whole.data.length ? view.cell : 0;
    const rows = parts.map((part, k) => make("tr", {},
      make("td", {}, make("i", { style: `background:${CONTRIBUTIONS[k] ?? "#888"}` }), part.id ? button(part.id, node(part.id).name && node(part.id).formula ? node(part.id).formula.slice(node(part.id).name.length) : part.label) : part.label,
        part.times > 1 ? ` × ${part.times}` : null),
      make("td", { class: "number" }, say(part.value.data[cell], 6)),
      make("td", {}, make("meter", { value: weights[k] / all, title: `${say(100 * weights[k] / all, 3)} % of the absolute values` }))));
    return make("section", { class: "contributions" }, make("h3", {}, "Contributions"),
      make("table", {},
        make("tr", {}, make("th", {}, "from"), make("th", {}, `at ${view.index(whole, cell)}`), make("th", {}, "share")),
        ...rows,
        make("tr", { class: "sum" }, make("td", {}, "sum"), make("td", { class: "number" }, say(sums[cell], 6)),
          make("td", {}, off <= 1e-10 * Math.max(1, largest(whole.data)) ? `= ${view.name(one.id)} ✓` : `differs by ${say(off)}`))));
  }

  function show(id) {
    if (id === null) {
      panel.replaceChildren(make("p", { class: "hint" }, "Choose a node: click it, search with /, or walk along the arrows with the arrow keys. What it is computed from stays lit."),
        ...view.notes.map(note => make("p", { class: "hint" }, note)));
      return;
    }
    const one = node(id);
    const ways = [["into", "made of"], ["out", "used by"]].map(([way, label]) => make("button",
      { class: "way", "aria-pressed": String(view.way === way), onclick: () => { view.way = way; view.tell("way"); show(id); } }, `lit: ${label}`));
    panel.replaceChildren(...[
      make("h2", {}, one.title),
      one.equation ? make("div", { class: "equation" }, formula(one.equation),
        make("button", { class: "latex", title: one.latex, onclick: e => copy(one.latex, e.target) }, "copy LaTeX")) : null,
      one.rule ? make("section", { class: "rule" }, make("h3", {}, "Its derivative (ḡ: cotangent of the result y)"), formula(one.rule),
        make("button", { class: "latex", title: one.ruleLatex, onclick: e => copy(one.ruleLatex, e.target) }, "copy LaTeX")) : null,
      make("div", { class: "ways" }, ...ways),
      facts(one),
      view.plugins.length ? make("div", { class: "plugins" }, ...view.plugins.map(plugin => plugin(one))
        .filter(Boolean)) : null,
      values(view, one),
      contributions(one),
    ].filter(Boolean));
  }
  view.listen("select", id => { show(id); panel.scrollTop = 0; });
  view.inspect = () => show(view.chosen);
  view.listen("cell", id => {
    const old = panel.querySelector(".contributions"), next = old && contributions(node(id));
    if (next) old.replaceWith(next);
  });
}
