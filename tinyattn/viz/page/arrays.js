// Operations on arrays. An array is { shape, data }, data a Float64Array in C order. Each operation that moves numbers
// without changing them says from where each of its cells comes: the what-if copies along it, and the provenance of a
// cell walks it backwards.

const sizeOf = shape => shape.reduce((product, n) => product * n, 1);
function strides(shape) {
  const found = new Array(shape.length);
  for (let axis = shape.length - 1, step = 1; axis >= 0; step *= shape[axis--]) found[axis] = step;
  return found;
}

// Calls visit(cell, offset) for each cell of `shape`, where offset = base + Σ index · steps.
function walk(shape, steps, visit, base = 0) {
  const rank = shape.length, size = sizeOf(shape), index = new Array(rank).fill(0);
  for (let cell = 0, offset = base; cell < size; cell++) {
    visit(cell, offset);
    for (let axis = rank - 1; axis >= 0; axis--) {
      offset += steps[axis];
      if (++index[axis] < shape[axis]) break;
      offset -= steps[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

// For each cell of an array of `shape`, the cell of its source, which is read with these steps.
function places(shape, steps, base = 0) {
  const found = new Int32Array(sizeOf(shape));
  walk(shape, steps, (cell, offset) => { found[cell] = offset; }, base);
  return found;
}

// Where each cell of `shape` lies in an operand of shape `from` that is broadcast to it.
function broadcast(from, shape) {
  const own = strides(from), lead = shape.length - from.length;
  return places(shape, shape.map((_, axis) => axis < lead || from[axis - lead] === 1 ? 0 : own[axis - lead]));
}

const begins = (attrs, own) => attrs.starts.reduce((sum, start, axis) => sum + start * own[axis], 0);
const strided = (attrs, own) => own.map((step, axis) => step * attrs.steps[axis]);

// From where the cells of an operation that only moves numbers come: an array of places in its first operand, −1 for zeros.
const MOVES = {
  reshape: (from, shape) => Int32Array.from({ length: sizeOf(shape) }, (_, k) => k),
  transpose: (from, shape, attrs) => { const own = strides(from); return places(shape, attrs.axes.map(axis => own[axis])); },
  broadcast_to: (from, shape) => broadcast(from, shape),
  slice: (from, shape, attrs) => { const own = strides(from); return places(shape, strided(attrs, own), begins(attrs, own)); },
  unslice: (from, shape, attrs) => {
    const own = strides(shape), found = new Int32Array(sizeOf(shape)).fill(-1);
    walk(from, strided(attrs, own), (cell, offset) => { found[offset] = cell; }, begins(attrs, own));
    return found;
  },
};

// For each cell of an operand, the cell of the result that it is reduced into.
function reducedInto(from, axes) {
  const kept = from.map((n, axis) => axes.includes(axis) ? 1 : n), own = strides(kept);
  return places(from, own.map((step, axis) => kept[axis] === 1 ? 0 : step));
}

const START = { sum: 0, prod: 1, max: -Infinity, min: Infinity, sum_squares: 0 };
const STEP = {
  sum: (a, b) => a + b, prod: (a, b) => a * b, max: (a, b) => Math.max(a, b), min: (a, b) => Math.min(a, b), sum_squares: (a, b) => a + b * b,
};

// A product of matrices, cell by cell: calls visit(cell, place in a, place in b, step in a, step in b, how many).
function products(a, b, shape, visit) {
  const left = a.length === 1 ? [1, ...a] : a, right = b.length === 1 ? [...b, 1] : b;
  const n = left.at(-2), inner = left.at(-1), m = right.at(-1), batch = b.length === 1 || a.length === 1
    ? (a.length === 1 ? right : left).slice(0, -2) : shape.slice(0, -2);
  const aPlaces = broadcast(left.slice(0, -2), batch), bPlaces = broadcast(right.slice(0, -2), batch);
  for (let k = 0, cell = 0; k < aPlaces.length; k++)
    for (let i = 0; i < n; i++)
      for (let j = 0; j < m; j++, cell++)
        visit(cell, (aPlaces[k] * n + i) * inner, bPlaces[k] * inner * m + j, 1, m, inner);
}

function compute(op, shape, kind, attrs, given) {
  const size = sizeOf(shape), data = new Float64Array(size), [a, b] = given;
  if (ELEMENTWISE[op]) {
    const rule = (kind === "i" && OF_INTEGERS[op]) || ELEMENTWISE[op], [x, y, z] = given.map(part => part.data);
    const [px, py, pz] = given.map(part => part.data.length === size ? null : broadcast(part.shape, shape));
    if (given.length === 1) for (let k = 0; k < size; k++) data[k] = rule(x[k]);
    else for (let k = 0; k < size; k++)
      data[k] = rule(x[px ? px[k] : k], y[py ? py[k] : k], z && z[pz ? pz[k] : k]);
  } else if (MOVES[op]) {
    const from = MOVES[op](a.shape, shape, attrs);
    for (let k = 0; k < size; k++) data[k] = from[k] < 0 ? 0 : a.data[from[k]];
  } else if (op in START) {
    const into = reducedInto(a.shape, attrs.axes), step = STEP[op];
    data.fill(START[op]);
    for (let k = 0; k < into.length; k++) data[into[k]] = step(data[into[k]], a.data[k]);
  } else if (op === "matmul" || op === "integer_matmul") {
    products(a.shape, b.shape, shape, (cell, p, q, dp, dq, inner) => {
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += a.data[p + k * dp] * b.data[q + k * dq];
      data[cell] = sum;
    });
  } else if (op === "cast") {
    for (let k = 0; k < size; k++) data[k] = kind === "b" ? +(a.data[k] !== 0) : kind === "i" ? Math.trunc(a.data[k]) : a.data[k];
  } else OTHERS[op](data, shape, attrs, given);
  return { shape, data };
}

// Lines of an array along an axis: calls visit(place of the first cell, step, which line it is).
function lines(shape, axis, visit) {
  const own = strides(shape), rest = shape.map((n, k) => k === axis ? 1 : n);
  walk(rest, own, (line, offset) => visit(offset, own[axis], line));
}

const OTHERS = {
  concat(data, shape, { axis }, given) {
    let start = 0;
    const own = strides(shape);
    for (const part of given) {
      walk(part.shape, own, (cell, offset) => { data[offset] = part.data[cell]; }, start * own[axis]);
      start += part.shape[axis];
    }
  },
  within(data, shape, { size, ignore }, [a]) {  // indices from the end, counted from the beginning
    a.data.forEach((index, k) => { data[k] = index < 0 && index !== ignore ? index + size : index; });
  },
  take(data, shape, attrs, [a, at]) {
    taken(a.shape, at, attrs.axis, (cell, place) => { data[cell] = a.data[place]; });
  },
  scatter_add(data, shape, attrs, [a, at]) {
    taken(shape, at, attrs.axis, (cell, place) => { data[place] += a.data[cell]; });
  },
  cumsum(data, shape, attrs, [a]) {
    data.set(a.data);
    lines(shape, attrs.axis, (first, step) => {
      const n = shape[attrs.axis], at = k => first + (attrs.reverse ? n - 1 - k : k) * step;
      for (let k = 1; k < n; k++) data[at(k)] += data[at(k - 1)];
    });
  },
  argmax: (data, shape, attrs, [a]) => extreme(data, a, attrs.axis, (x, y) => x > y),
  argmin: (data, shape, attrs, [a]) => extreme(data, a, attrs.axis, (x, y) => x < y),
  order(data, shape, { count, downwards }, [a]) {
    const n = a.shape.at(-1);
    for (let line = 0; line * n < a.data.length; line++) {
      const row = a.data.subarray(line * n, line * n + n), sign = downwards ? -1 : 1;
      const found = Array.from(row, (_, k) => k).sort((i, j) => sign * (row[i] - row[j]) || i - j);
      found.slice(0, count).forEach((k, place) => { data[line * count + place] = k; });
    }
  },
};

function extreme(data, a, axis, better) {
  lines(a.shape, axis, (first, step, line) => {
    for (let k = 1; k < a.shape[axis]; k++)
      if (better(a.data[first + k * step], a.data[first + data[line] * step])) data[line] = k;
  });
}

// For each cell of what is taken from an array along an axis, its place there.
function taken(from, at, axis, visit) {
  const outer = sizeOf(from.slice(0, axis)), inner = sizeOf(from.slice(axis + 1)), n = at.data.length;
  for (let i = 0, cell = 0; i < outer; i++)
    for (let k = 0; k < n; k++) {
      const index = at.data[k] < 0 ? at.data[k] + from[axis] : at.data[k];
      for (let j = 0; j < inner; j++, cell++) visit(cell, (i * from[axis] + index) * inner + j);
    }
}
