// The numbers of the chosen node: a map whose cells say their values, and which can be changed where the node is a leaf.
// Then everything is computed anew, forward and backward.

function values(view, one) {
  const { machine } = view;
  if (!machine || !machine.has(one.id)) {
    const why = view.data.unsuited && one.kind !== "group" ? `Its numbers are not here: ${view.data.unsuited}.` : "";
    return why ? make("p", { class: "hint" }, why) : null;
  }
  const canvas = make("canvas", { class: "values", tabindex: "0", role: "img" }), says = make("output", { class: "says" });
  const leaf = machine.leaf(one.id), editable = Boolean(leaf) && one.kind !== "constant";
  const several = machine.all(one.id).length, section = make("section", { class: "numbers" });
  let which = 0, page = 0, held = null;
  const value = () => machine.all(one.id)[which];
  const pen = canvas.getContext("2d");
  function geometry() {
    const { n, m, start, pages } = matrix(value(), page), width = Math.max(160, (view.panel.clientWidth || 300) - 32);
    return { n, m, start, pages, side: Math.max(2, Math.min(44, Math.floor(Math.min(width / m, 420 / n)))) };
  }
  function draw() {
    const { n, m, start, side } = geometry(), { data } = value(), most = largest(data), ratio = devicePixelRatio;
    canvas.width = m * side * ratio; canvas.height = n * side * ratio;
    canvas.style.width = `${m * side}px`;
    Object.assign(canvas.dataset, { n, m, side, start });
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = "11px sans-serif"; pen.textAlign = "center"; pen.textBaseline = "middle";
    for (let i = 0; i < n; i++) for (let j = 0; j < m; j++) {
      const x = data[start + i * m + j];
      pen.fillStyle = shadeOf(x, most);
      pen.fillRect(j * side, i * side, side - (side > 6), side - (side > 6));
      if (side < 36) continue;
      pen.fillStyle = Math.abs(x) > 0.45 * most ? "#fff" : "#1a1a1a";
      pen.fillText(one.kindOf === "b" ? (x ? "✓" : "×") : say(x, 2), (j + 0.5) * side, (i + 0.5) * side);
    }
    const chosen = view.cell - start;
    if (view.cellNode === one.id && chosen >= 0 && chosen < n * m) {
      pen.strokeStyle = "#E69F00"; pen.lineWidth = 2;
      pen.strokeRect(chosen % m * side + 1, Math.floor(chosen / m) * side + 1, side - 3, side - 3);
    }
    canvas.setAttribute("aria-label", `values of ${view.name(one.id)}, ${n} by ${m}`);
    tell();
  }
  function tell() {
    const { data } = value(), cell = view.cellNode === one.id ? view.cell : -1;
    if (cell >= 0 && cell < data.length) says.textContent = `${view.index(value(), cell)}: ${say(data[cell], 9)}`;
    else says.textContent = data.length === 1 ? say(data[0], 9) : `${data.length} numbers, the largest ${say(largest(data))}`;
    if (input) input.value = cell >= 0 ? data[cell] : "";
  }
  const cellAt = e => {
    const { n, m, side, start } = geometry(), box = canvas.getBoundingClientRect();
    const i = Math.floor((e.clientY - box.top) / side), j = Math.floor((e.clientX - box.left) / side);
    return i >= 0 && j >= 0 && i < n && j < m ? start + i * m + j : -1;
  };
  function choose(cell) {
    if (cell === view.cell && view.cellNode === one.id) return;
    view.cell = Math.max(cell, 0); view.cellNode = cell < 0 ? null : one.id;
    draw();
    view.tell("cell", one.id, cell, which);
  }
  function change(cell, to) {
    if (!Number.isFinite(to)) return;
    machine.change(one.id, cell, leaf.kind === "i" ? Math.round(to) : to);
    view.tell("values"); draw(); view.tell("cell", one.id, cell, which);
  }
  const input = editable ? make("input", { type: "number", step: "any", "aria-label": "the value of the chosen cell",
    onchange: e => view.cellNode === one.id && change(view.cell, Number(e.target.value)) }) : null;
  canvas.addEventListener("pointerdown", e => {
    const cell = cellAt(e);
    if (cell < 0) return;
    choose(cell);
    if (!editable) return;
    if (leaf.kind === "b") return change(cell, value().data[cell] ? 0 : 1);
    held = { cell, from: value().data[cell], y: e.clientY, size: largest(value().data) };
    canvas.setPointerCapture(e.pointerId);
  });
  canvas.addEventListener("pointermove", e => {
    if (held) change(held.cell, held.from + (held.y - e.clientY) / 60 * held.size);
    else choose(cellAt(e));
  });
  canvas.addEventListener("pointerup", () => { held = null; });
  canvas.addEventListener("pointerleave", () => { if (!held) { choose(-1); } });
  canvas.addEventListener("keydown", e => {
    const { m } = geometry(), move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -m, ArrowDown: m }[e.key];
    if (!move) return;
    e.preventDefault(); e.stopPropagation();
    const next = (view.cellNode === one.id ? view.cell : -move) + move;
    if (next >= 0 && next < value().data.length) choose(next);
  });
  const chooser = (label, count, act) => count < 2 ? null : make("label", {}, label, make("input",
    { type: "number", min: 0, max: count - 1, value: 0, onchange: e => { act(Math.min(Math.max(0, Math.round(e.target.value)), count - 1)); draw(); } }));
  section.append(...[make("h3", {}, "Values", machine.inLoop(one.id) ? make("small", {}, ` at step ${machine.time}`) : null),
    chooser("result ", several, k => { which = k; }), chooser("matrix ", matrix(value()).pages, k => { page = k; }), canvas, says,
    editable ? make("p", { class: "hint" }, leaf.kind === "b" ? "Click a cell to change it: everything is computed anew."
      : "What if? Drag a cell up or down, or type: everything is computed anew. ", input) : null].filter(Boolean));
  const constants = machine.constants(one.id);
  if (constants.length) section.append(make("p", { class: "hint tuned" }, "What if this were another number? ", ...constants.map(at => make("input",
    { type: "number", step: "any", value: machine.number(at), "aria-label": "a number of the formula",
      oninput: e => { const to = Number(e.target.value); if (e.target.value && Number.isFinite(to)) { machine.tune(at, to); view.tell("values"); draw(); } } }))));
  view.redraw = draw;
  draw();
  return section;
}
