// From which cells does a cell come? A mask has a 1 for each cell that counts. Masks go backwards through the program: of
// an operation, those cells of the operands that the counted cells of the result are computed from. What is multiplied by
// 0 or added to ∞, or not chosen, doesn't count: nothing comes from behind an attention's mask.

function sourceMasks(op, shape, attrs, given, mask) {
  const masks = given.map(part => new Uint8Array(part.data.length)), [a, b] = given, [first, second] = masks;
  const through = (places, into, when = () => true) => {
    for (let k = 0; k < mask.length; k++) if (mask[k] && places[k] >= 0 && when(k)) into[places[k]] = 1;
  };
  if (ELEMENTWISE[op] || op === "cast" || op === "within") {
    const places = given.map(part => broadcast(part.shape, shape));
    const beside = operand => k => given[1 - operand].data[places[1 - operand][k]];
    const finite = operand => k => Math.abs(beside(operand)(k)) !== Infinity;
    const matters = {
      add: finite, sub: finite,
      where: operand => k => operand === 0 || Boolean(a.data[places[0][k]]) === (operand === 1),
      mul: operand => k => a === b || beside(operand)(k) !== 0,
      div: operand => k => operand === 0 || a === b || a.data[places[0][k]] !== 0,
    }[op];
    places.forEach((from, operand) => through(from, masks[operand], matters?.(operand)));
  } else if (MOVES[op]) through(MOVES[op](a.shape, shape, attrs), first);
  else if (op in START) {
    const into = reducedInto(a.shape, attrs.axes);
    for (let k = 0; k < into.length; k++) first[k] = mask[into[k]];
  } else if (op === "matmul" || op === "integer_matmul") {
    products(a.shape, b.shape, shape, (cell, p, q, dp, dq, inner) => {
      if (!mask[cell]) return;
      for (let k = 0; k < inner; k++) {
        if (b.data[q + k * dq] !== 0) first[p + k * dp] = 1;
        if (a.data[p + k * dp] !== 0) second[q + k * dq] = 1;
      }
    });
  } else if (op === "concat") {
    let start = 0;
    const own = strides(shape);
    given.forEach((part, k) => {
      walk(part.shape, own, (cell, offset) => { masks[k][cell] = mask[offset]; }, start * own[attrs.axis]);
      start += part.shape[attrs.axis];
    });
  } else if (op === "take" || op === "scatter_add") {
    const inner = sizeOf((op === "take" ? a.shape : shape).slice(attrs.axis + 1)), n = b.data.length;
    taken(op === "take" ? a.shape : shape, b, attrs.axis, (cell, place) => {
      if (!mask[op === "take" ? cell : place]) return;
      first[op === "take" ? place : cell] = 1;
      second[Math.floor(cell / inner) % n] = 1;
    });
  } else if (op === "cumsum") {
    first.set(mask);
    lines(shape, attrs.axis, (start, step) => {
      const n = shape[attrs.axis], at = k => start + (attrs.reverse ? k : n - 1 - k) * step;
      for (let k = 1; k < n; k++) first[at(k)] |= first[at(k - 1)];
    });
  } else if (mask.some(Boolean)) masks.forEach(one => one.fill(1));  // (an order: the whole line counts, and here everything)
  return masks;
}

const join = (into, mask) => {
  if (!into) return mask;
  for (let k = 0; k < mask.length; k++) into[k] |= mask[k];
  return into;
};

// Masks of all places in the code. `masks` holds those that are known at first; `inner` is { loops, time, place, mask }
// for a cell inside of a loop.
function trace(code, found, masks, inner = null) {
  const asked = new Map();  // loop → { final, stacks } of its outputs
  for (let place = code.length - 1; place >= 0; place--) {
    const [op, operands, shape, , attrs] = code[place];
    if (op === "scan") {
      const within = inner && inner.loops[0] === place ? { ...inner, loops: inner.loops.slice(1) } : null;
      const outer = asked.get(place);
      if (!outer && !within) continue;
      const made = traceLoop(attrs, found[place], operands.map(k => found[k]), outer ?? { final: [], stacks: [] }, within);
      masks[place] = { frames: made.frames };
      made.operands.forEach((mask, k) => { if (mask) masks[operands[k]] = join(masks[operands[k]], mask); });
      continue;
    }
    const mask = masks[place];
    if (!mask) continue;
    if (op === "output") {
      const [which, key] = attrs.key;
      if (!asked.has(operands[0])) asked.set(operands[0], { final: [], stacks: [] });
      const list = asked.get(operands[0])[which === "final" ? "final" : "stacks"];
      list[key] = join(list[key], mask);
    } else if (operands.length) {
      sourceMasks(op, shape, attrs, operands.map(k => found[k]), mask)
        .forEach((one, k) => { masks[operands[k]] = join(masks[operands[k]], one); });
    }
  }
  return masks;
}

// Backwards through a loop, the step that ran last first.
function traceLoop(attrs, result, inputs, outer, inner) {
  const { length, carries, sequences, reverse, body } = attrs, frames = [];
  const operands = inputs.map(() => null);
  let state = Array.from({ length: carries }, (_, k) => outer.final[k]);
  for (let run = length - 1; run >= 0; run--) {
    const t = reverse ? length - 1 - run : run, masks = [], found = result.frames[t];
    const count = (place, mask) => { if (mask) masks[place] = join(masks[place], mask.slice()); };
    state.forEach((mask, k) => count(attrs.next[k], mask));
    attrs.stacks.forEach((place, k) => {
      const size = found[place].data.length;
      count(place, outer.stacks[k]?.slice(t * size, (t + 1) * size));
    });
    const here = inner && inner.time === t;
    if (here && !inner.loops.length) count(inner.place, inner.mask);
    frames[t] = trace(body, found, masks, here && inner.loops.length ? inner : null);
    const given = attrs.arguments.map(place => masks[place]);
    state = given.slice(0, carries);
    given.slice(carries).forEach((mask, k) => {
      if (!mask) return;
      const which = carries + k, whole = operands[which] ??= new Uint8Array(inputs[which].data.length);
      if (k >= sequences) return join(whole, mask);
      for (let cell = 0; cell < mask.length; cell++) whole[t * mask.length + cell] |= mask[cell];
    });
  }
  state.forEach((mask, k) => { operands[k] = mask ?? null; });
  return { frames, operands };
}

// The cells of all nodes that a cell of one of them comes from: node → mask.
function provenance(view, id, cell, which = 0) {
  const { machine } = view, [loops, places] = view.data.program.values[id], place = places[which];
  const mask = new Uint8Array(machine.all(id)[which].data.length), start = [];
  mask[cell] = 1;
  if (!loops.length) start[place] = mask;
  const masks = trace(machine.code, machine.found, start, loops.length ? { loops, time: machine.time, place, mask } : null);
  const found = new Map();
  for (const other of view.graph.nodes.keys()) {
    if (!machine.has(other)) continue;
    let frame = masks;
    const [around, inside] = view.data.program.values[other];
    for (const loop of around) frame = frame?.[loop]?.frames[Math.min(machine.time, machine.length - 1)];
    if (frame?.[inside[0]]) found.set(other, frame[inside[0]]);
  }
  found.set(id, mask);
  return found;
}

PLUGINS.push(view => {
  view.listen("cell", (id, cell, which) => view.tell("masks", cell < 0 ? null : provenance(view, id, cell, which)));
  view.listen("select", () => view.tell("masks", null));
  // A cell of the map in a node, under the pointer.
  let before = "";
  view.stage.addEventListener("pointerleave", () => { if (before) { before = ""; view.tell("masks", null); view.status(""); } });
  view.stage.addEventListener("pointermove", e => {
    const image = e.target.closest("image.map"), id = image?.closest(".node").id.slice(view.prefix.length);
    let cell = -1;
    if (image && !e.buttons) {
      const { n, m, start } = matrix(view.machine.value(id)), box = image.getBoundingClientRect();
      const along = (at, from, length, count) => Math.min(count - 1, Math.max(0, Math.floor((at - from) / length * count)));
      cell = start + along(e.clientY, box.top, box.height, n) * m + along(e.clientX, box.left, box.width, m);
    }
    const now = cell < 0 ? "" : `${id} ${cell}`;
    if (now === before) return;
    before = now;
    view.tell("masks", cell < 0 ? null : provenance(view, id, cell));
    view.status(cell < 0 ? "" : `${view.name(id)}${view.index(view.machine.value(id), cell)} = ${say(view.machine.value(id).data[cell], 6)}, and the cells it comes from`);
  });
});
