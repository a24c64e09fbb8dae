// Predict, then reveal: what shape has this value, and how is it computed? The answer is checked on the numbers of the
// picture, so every right formula is right, however it is written.

PLUGINS.push(view => {
  if (!view.machine) return;
  const named = node => node.name && view.machine.has(node.id) && view.machine.all(node.id).length === 1;
  const questions = () => [...view.graph.nodes.values()].filter(node => node.kind === "op" && named(node) && node.formula)
    .flatMap(node => [{ node, what: "shape" }, ...(node.phase === "gradient" ? [{ node, what: "formula" }] : [])]);
  let at = 0, right = 0, asked = null;
  if (!questionsOf(view.data)) return;
  function questionsOf(data) { return data.levels[data.first].nodes.some(node => node.kind === "op" && node.name && data.program.values[node.id]); }
  view.root.querySelector(".tools").append(make("button", { class: "ask", onclick: () => { at = 0; right = 0; ask(); } }, "Quiz"));
  const uncover = () => { asked?.classList.remove("asked"); asked = null; };
  view.listen("select", uncover);
  view.listen("open", () => { asked = null; });
  // The values that may stand in an answer: all that have a name, but not the one that is asked for, nor what is made of it.
  function values(node) {
    const later = view.graph.reach([node.id], "out").nodes, found = new Map();
    for (const other of view.graph.nodes.values()) {
      const name = other.name || (other.kind === "input" || other.kind === "parameter" || other.kind === "seed" ? other.title.replace(" = 1", "") : "");
      if (name && view.machine.has(other.id) && !later.has(other.id)) found.set(name, view.machine.value(other.id));
    }
    return found;
  }
  function check({ node, what }, answer) {
    const value = view.machine.value(node.id);
    if (what === "shape") {
      const numbers = (answer.match(/\d+/g) ?? []).map(Number);
      return String(numbers) === String(value.shape) ? "" : "no";
    }
    try {
      const found = evaluate(answer, values(node)), scale = largest(value.data);
      if (String(found.shape) !== String(value.shape)) return `its shape would be (${found.shape.join(", ")}), not (${value.shape.join(", ")})`;
      const off = found.data.reduce((most, x, k) => Math.max(most, Math.abs(x - value.data[k])), 0);
      return off <= 1e-9 * scale ? "" : `its numbers are off by up to ${say(off, 2)}`;
    } catch (error) {
      return error.message;
    }
  }
  function ask() {
    const all = questions(), question = all[at % all.length], { node, what } = question;
    view.select(node.id);
    asked = view.elements.get(node.id);
    asked.classList.add("asked");
    const said = make("output", { class: "verdict" }), reveal = make("div", { class: "answer" });
    const field = make("input", { type: "text", "aria-label": "your answer", autocomplete: "off", placeholder: what === "shape" ? "(4, 5)" : "P * (dP - rowsum(P * dP))" });
    const form = make("form", { onsubmit: e => {
      e.preventDefault();
      const wrong = check(question, field.value);
      said.className = `verdict ${wrong ? "error" : "right"}`;
      said.textContent = wrong ? (wrong === "no" ? "Not yet." : `Not yet: ${wrong}.`) : "Right ✓";
      if (!wrong) { right++; show(); }
    } }, field, make("button", {}, "check"));
    const show = () => {
      uncover();
      reveal.replaceChildren(formula(node.equation), make("p", {}, node.types.join(", ")), make("button", { class: "next", onclick: () => { at++; ask(); } }, "next question"));
    };
    const names = [...values(node).keys()].filter(name => name.length < 12);
    view.panel.replaceChildren(make("h2", {}, `Question ${at + 1}`), make("p", { class: "question" }, what === "shape"
      ? `What shape has ${node.name}?` : `How is ${node.name} computed?`),
      what === "shape" ? formula(node.equation) : make("p", { class: "hint" }, `Write it with ${names.join(", ")}; @ multiplies matrices, * element by element, .T transposes, rowsum(…) sums rows.`),
      form, said, make("p", {}, make("button", { class: "reveal", onclick: show }, "reveal")), reveal, make("p", { class: "hint" }, `${right} right so far`));
    field.focus({ preventScroll: true });
  }
});
