"""What the page of attention maps looks like, and the script that draws and reads them (see mapspage.py)."""

LOOKS = """
body { min-height: 30em; }
main { display: flex; flex-direction: column; padding: 0 1em; }
#small { display: grid; gap: 3px; overflow: auto; max-height: 45%; flex: none; justify-content: start; align-items: center; }
#small:empty { display: none; }
#small button { padding: 0; border: 2px solid transparent; background: none; cursor: pointer; line-height: 0; }
#small button[aria-pressed="true"] { border-color: #E69F00; }
#small canvas { width: var(--side); height: auto; image-rendering: pixelated; }
#small span { font-size: .8em; white-space: nowrap; max-width: 9em; overflow: hidden; text-overflow: ellipsis; }
#says { margin: .4em 0; height: 2.8em; flex: none; overflow: auto; overflow-wrap: anywhere; }
@media (max-width: 600px) { #says { height: 4.2em; } }
#large { flex: 1; min-height: 12em; position: relative; overflow: hidden; }
#map { position: absolute; inset: 0; width: 100%; height: 100%; touch-action: none; cursor: crosshair; }
#kinds label { margin-right: .8em; } select { font: inherit; max-width: 14em; } header label[hidden] { display: none; }
@media print { :root { color-scheme: light; --page: #ffffff; --ink: #1a1a1a; } body { height: 95vh; } footer, select:has(option:only-child) { display: none; } }
"""

SCRIPT = """
const el = id => document.getElementById(id), data = JSON.parse(el("data").textContent);
const { blocks, parts, palette } = data, shades = (palette.length - 2) / 2;
const large = el("map"), pen = large.getContext("2d"), says = el("says"), small = el("small");
const now = { kind: 0, layer: data.layer, head: data.head, row: -1, column: -1, lines: false };
let kinds, layers, heads, rows, columns, levels, scales, signed, codes, tables;  // of the part that is shown
let n, m, across_all, whole, first, field, view = null, look = null, held = null;

async function unpack(block) {
  const text = atob(block.data), bytes = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
  const open = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(open).arrayBuffer();
  block.codes = block.levels ? new Uint8Array(buffer) : new Float32Array(buffer);
  block.tables = block.signed.map(minus => Float64Array.from({ length: 256 }, (_, code) => {
    if (code > 252) return [-Infinity, Infinity, NaN][code - 253];
    const steps = minus ? block.levels >> 1 : block.levels, root = (code - (minus ? steps : 0)) / steps;
    return Math.sign(root) * root * root;
  }));
}

// Show another part: one of the blocks of maps, or the rows and columns from one token to another of it.
function load(k) {
  const { block, from, to } = parts[k];
  ({ kinds, layers, heads, levels, scales, signed, codes, tables } = blocks[block]);
  across_all = blocks[block].columns.length; whole = blocks[block].rows.length * across_all;
  rows = blocks[block].rows.slice(from[0], to[0]); columns = blocks[block].columns.slice(from[1], to[1]);
  n = rows.length; m = columns.length; first = from[0] * across_all + from[1];
  now.layer = Math.min(now.layer, layers.length - 1); now.head = Math.min(now.head, heads.length - 1);
  view = null; held = null; now.row = now.column = -1;
  for (const [id, names] of [["layer", layers], ["head", heads]]) {
    el(id).replaceChildren(...names.map((text, k) => new Option(text, k)));
    el(id).parentElement.hidden = names.length === 1;
  }
}
const start = (kind, layer, head) => ((kind * layers.length + layer) * heads.length + head) * whole + first;
const part = (kind, code) => levels ? tables[kind][code] : code;
const weight = (kind, layer, head, i, j) =>
  part(kind, codes[start(kind, layer, head) + i * across_all + j]) * scales[kind][layer][head];
const shade = x => Number.isFinite(x) ? shades + Math.round(x * shades) : 2 * shades + 1;
const number = x => Number.isNaN(x) ? "NaN" : !Number.isFinite(x) ? (x < 0 ? "−∞" : "∞")
  : String(Number(x.toPrecision(levels ? 3 : 6))).replace("-", "−");
const inks = new Uint32Array(palette.map(c => parseInt("FF" + c.slice(5, 7) + c.slice(3, 5) + c.slice(1, 3), 16)));

// A map on a canvas of its own, a pixel for each cell; the small ones show the strongest cell of each block.
function picture(kind, layer, head, most) {
  const high = Math.min(n, most), wide = Math.min(m, most), from = start(kind, layer, head);
  const indices = new Uint16Array(high * wide).fill(shades), canvas = document.createElement("canvas");
  const lookup = levels ? Uint16Array.from(tables[kind], shade) : null;
  const across = Uint32Array.from({ length: m }, (_, j) => Math.floor(j * wide / m));
  for (let i = 0; i < n; i++) {
    const line = Math.floor(i * high / n) * wide;
    for (let j = 0; j < m; j++) {
      const code = codes[from + i * across_all + j], index = lookup ? lookup[code] : shade(code), k = line + across[j];
      if (Math.abs(index - shades) > Math.abs(indices[k] - shades)) indices[k] = index;
    }
  }
  canvas.width = wide; canvas.height = high;
  const paper = canvas.getContext("2d"), image = paper.createImageData(wide, high);
  const pixels = new Uint32Array(image.data.buffer);
  for (let k = 0; k < indices.length; k++) pixels[k] = inks[indices[k]];
  paper.putImageData(image, 0, 0);
  return canvas;
}

function choose(change) {
  Object.assign(now, change);
  if (change.kind !== undefined || (change.layer !== undefined && data.small === "layer")) thumbnails();
  el("layer").value = now.layer; el("head").value = now.head;
  for (const b of small.querySelectorAll("button"))
    b.setAttribute("aria-pressed", b.dataset.layer == now.layer && b.dataset.head == now.head);
  field = picture(now.kind, now.layer, now.head, Infinity);
  large.setAttribute("aria-label", `${kinds[now.kind]} of ${n} by ${m}, layer ${layers[now.layer]}, head ${heads[now.head]}`);
  tell(); draw();
}

function thumbnails() {
  small.replaceChildren();
  if (data.small === "no") return;
  const all = data.small === "all", side = all ? 48 : 72;
  small.style.setProperty("--side", side + "px");
  small.style.gridTemplateColumns = all ? `auto repeat(${heads.length}, auto)` : "repeat(auto-fill, 78px)";
  const name = text => { const s = document.createElement("span"); s.textContent = s.title = text; small.append(s); };
  if (all) { name(""); heads.forEach(name); }
  layers.forEach((text, layer) => {
    if (!all && layer !== now.layer) return;
    if (all) name(text);
    heads.forEach((head, k) => {
      const button = document.createElement("button");
      button.dataset.layer = layer; button.dataset.head = k;
      button.title = `layer ${text}, head ${head}`; button.setAttribute("aria-label", button.title);
      button.append(picture(now.kind, layer, k, 2 * side));
      button.addEventListener("click", () => choose({ layer, head: k }));
      small.append(button);
    });
  });
}

const word = text => { const b = document.createElement("bdi"); b.textContent = text; return b; };
function tell() {
  const { row, column } = now;
  if (row < 0 && column < 0) { says.textContent = `${n} rows, ${m} columns`; return; }
  if (row < 0 || column < 0) {  // of lines: those of one token
    const of = k => row < 0 ? weight(now.kind, now.layer, now.head, k, column) : weight(now.kind, now.layer, now.head, row, k);
    const others = row < 0 ? rows : columns, size = x => Number.isNaN(x) ? -1 : Math.abs(x);
    const most = others.map((_, k) => k).sort((a, b) => size(of(b)) - size(of(a))).slice(0, 5);
    const parts = most.flatMap((k, at) => [at ? " · " : "", word(fit(others[k], 300)), `: ${levels ? "≈ " : ""}${number(of(k))}`]);
    says.replaceChildren(word(row < 0 ? columns[column] : rows[row]), row < 0 ? " ← " : " → ", ...parts);
    return;
  }
  const values = kinds.map((kind, k) =>
    (kinds.length > 1 ? kind + " = " : "") + (levels ? "≈ " : "") + number(weight(k, now.layer, now.head, now.row, now.column)));
  says.replaceChildren(word(rows[now.row]), " → ", word(columns[now.column]), ": " + values.join(" · "));
}

// Where things are: the place of the first cell, the side of a cell, and how far it is scrolled.
function arrange() {
  const width = large.clientWidth, height = large.clientHeight;
  pen.font = "12px " + getComputedStyle(document.body).fontFamily;
  const widest = (texts, most) => texts.reduce((w, t) => w >= most ? most : Math.min(most, Math.max(w, pen.measureText(t.slice(0, 80)).width)), 10);
  const left = widest(rows, 0.3 * width) + 10, top = widest(columns, 0.35 * height) * 0.77 + 12;
  const wide = Math.max(40, width - left - 75), high = Math.max(40, height - top - 6);
  const narrow = Math.min(wide / m, high / n), broad = Math.max(wide / m, high / n);
  // A long strip would be a line: it has cells to be seen, and is moved.
  const cell = broad > 4 * narrow && narrow < 6 ? Math.min(6, broad) : Math.min(40, narrow);
  return { left, top, wide, high, cell, x: 0, y: 0 };
}

const cut = new Map();
function fit(text, width) {
  const key = width + text;
  if (cut.has(key)) return cut.get(key);
  let letters = Array.from(text.replace(/\\s+/g, " ").slice(0, 400)), whole = letters.length, shown = letters.join(""), k = whole;
  while (pen.measureText(shown).width > width + 0.5 && k > 1) {
    k = Math.min(k - 1, Math.ceil(k * width / pen.measureText(shown).width));
    shown = letters.slice(0, Math.ceil(k / 2)).join("") + "…" + letters.slice(whole - Math.floor(k / 2)).join("");
  }
  cut.set(key, shown);
  return shown;
}

function draw() {
  const ratio = devicePixelRatio, width = large.clientWidth, height = large.clientHeight;
  if (!width || !field) return;
  large.width = Math.round(width * ratio); large.height = Math.round(height * ratio);
  const ink = getComputedStyle(document.body).color;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.font = "12px " + getComputedStyle(document.body).fontFamily;
  pen.direction = "ltr"; pen.fillStyle = ink; pen.textBaseline = "middle";
  look = now.lines ? spread(width, height) : view ?? arrange();
  Object.assign(large.dataset, look);
  (now.lines ? draw_lines : draw_map)(ink, ratio);
}

// Lines from the rows' tokens at the left to the columns' at the right, as dark as their weights are large.
function spread(width, height) {
  const side = Math.min(260, 0.35 * width);
  return { left: side, right: width - side, top: 8, step: Math.min(24, (height - 16) / Math.max(n, m)) };
}
const MOST = 4000;
function draw_lines(ink) {
  const { left, right, top, step } = look, from = start(now.kind, now.layer, now.head), found = [];
  const counts = new Uint32Array(shades + 1), free = now.row < 0 && now.column < 0;
  for (let i = 0; i < n; i++) for (let j = 0; j < m; j++) {
    if (!free && i !== now.row && j !== now.column) continue;
    const value = part(now.kind, codes[from + i * across_all + j]);
    if (!Number.isFinite(value)) continue;
    counts[Math.round(Math.abs(value) * shades)]++;
    found.push([i, j, value]);
  }
  let least = shades, sum = counts[shades];
  while (least > 1 && sum + counts[least - 1] <= MOST) sum += counts[--least];
  const height = k => top + (k + 0.5) * step;
  for (const [i, j, value] of found) {
    if (Math.round(Math.abs(value) * shades) < least) continue;
    pen.globalAlpha = Math.abs(value); pen.lineWidth = step > 8 ? 2.5 : 1;
    pen.strokeStyle = value < 0 ? "#D55E00" : "#2088C8";
    pen.beginPath(); pen.moveTo(left, height(i)); pen.lineTo(right, height(j)); pen.stroke();
  }
  pen.globalAlpha = 1;
  const each = Math.ceil(13 / step);
  for (const [texts, chosen, align, x] of [[rows, now.row, "right", left - 6], [columns, now.column, "left", right + 6]]) {
    pen.textAlign = align;
    texts.forEach((text, k) => {
      if (k !== chosen && (k % each || (chosen >= 0 && Math.abs(k - chosen) * step < 13))) return;
      pen.fillStyle = k === chosen ? "#E69F00" : ink;
      pen.fillText(fit(text, left - 12), x, height(k));
    });
  }
}

function draw_map(ink, ratio) {
  const { left, top, wide, high, cell, x, y } = look;
  pen.save();
  pen.beginPath(); pen.rect(left, top, wide, high); pen.clip();
  pen.imageSmoothingEnabled = cell * ratio < 1;
  pen.drawImage(field, left - x, top - y, m * cell, n * cell);
  if (cell > 6) {
    pen.strokeStyle = "#8886"; pen.lineWidth = 0.5; pen.beginPath();
    const right = left - x + m * cell, bottom = top - y + n * cell;
    for (let i = 0; i <= n; i++) { pen.moveTo(left - x, top - y + i * cell); pen.lineTo(right, top - y + i * cell); }
    for (let j = 0; j <= m; j++) { pen.moveTo(left - x + j * cell, top - y); pen.lineTo(left - x + j * cell, bottom); }
    pen.stroke();
  }
  if (now.row >= 0) {
    pen.strokeStyle = "#E69F00"; pen.lineWidth = 2;
    pen.strokeRect(left - x + now.column * cell - 1, top - y + now.row * cell - 1, cell + 2, cell + 2);
  }
  pen.restore();
  const each = Math.max(1, Math.ceil(13 / cell)), near = (k, chosen) => chosen >= 0 && k !== chosen && Math.abs(k - chosen) * cell < 13;
  const shown = (k, chosen) => k === chosen || (k % each === 0 && !near(k, chosen));
  for (let i = 0; i < n; i++) {
    const middle = top - y + (i + 0.5) * cell;
    if (!shown(i, now.row) || middle < top || middle > top + high) continue;
    pen.textAlign = "right"; pen.fillStyle = i === now.row ? "#E69F00" : ink;
    pen.fillText(fit(rows[i], left - 10), left - 6, middle);
  }
  for (let j = 0; j < m; j++) {
    const middle = left - x + (j + 0.5) * cell;
    if (!shown(j, now.column) || middle < left || middle > left + wide) continue;
    pen.save();
    pen.translate(middle, top - 6); pen.rotate(-50 * Math.PI / 180);
    pen.textAlign = "left"; pen.fillStyle = j === now.column ? "#E69F00" : ink;
    pen.fillText(fit(columns[j], (top - 12) / 0.77), 0, 0);
    pen.restore();
  }
  const bar = Math.min(left + wide, left - x + m * cell) + 12, tall = Math.min(120, high), minus = signed[now.kind];
  const most = scales[now.kind][now.layer][now.head], first = minus ? 0 : shades, count = 2 * shades + 1 - first;
  for (let k = 0; k < count; k++) {
    pen.fillStyle = palette[first + k];
    pen.fillRect(bar, top + tall * (1 - (k + 1) / count), 10, tall / count + 0.5);
  }
  pen.fillStyle = ink; pen.textAlign = "left";
  const mark = (text, at) => pen.fillText(text, bar + 14, top + at);
  const round = v => String(Number(v.toPrecision(3))).replace("-", "−");
  mark(round(most), 5); mark(minus ? round(-most) : "0", tall - 5);
  if (minus) mark("0", tall / 2);
}

const cell_at = e => {
  const box = large.getBoundingClientRect(), px = e.clientX - box.left, py = e.clientY - box.top;
  if (now.lines) {
    const k = Math.floor((py - look.top) / look.step), left = px < box.width / 2;
    return k < 0 || k >= (left ? n : m) ? [-1, -1] : left ? [k, -1] : [-1, k];
  }
  if (!look || px < look.left || py < look.top || px >= look.left + look.wide || py >= look.top + look.high) return [-1, -1];
  const j = Math.floor((px - look.left + look.x) / look.cell), i = Math.floor((py - look.top + look.y) / look.cell);
  return i >= 0 && j >= 0 && i < n && j < m ? [i, j] : [-1, -1];
};
const select = (row, column) => {
  if (row === now.row && column === now.column) return;
  Object.assign(now, { row, column }); tell(); draw();
};
function bound() {
  view.x = Math.min(Math.max(view.x, 0), Math.max(0, m * view.cell - view.wide));
  view.y = Math.min(Math.max(view.y, 0), Math.max(0, n * view.cell - view.high));
}
function zoom(factor, px, py) {
  if (now.lines) return;
  const whole = arrange(), old = view ?? whole, cell = Math.min(Math.max(old.cell * factor, whole.cell), 80);
  if (cell <= whole.cell) { view = null; draw(); return; }
  const grow = cell / old.cell;
  view = { ...old, cell, x: (old.x + px - old.left) * grow - (px - old.left), y: (old.y + py - old.top) * grow - (py - old.top) };
  bound(); draw();
}
const centre = () => [look.left + look.wide / 2, look.top + look.high / 2];
large.addEventListener("wheel", e => {
  e.preventDefault();
  const box = large.getBoundingClientRect();
  zoom(Math.exp(-e.deltaY / 400), e.clientX - box.left, e.clientY - box.top);
}, { passive: false });
large.addEventListener("pointerdown", e => { held = [e.clientX, e.clientY]; large.setPointerCapture(e.pointerId); select(...cell_at(e)); });
large.addEventListener("pointermove", e => {
  if (!held || now.lines) { select(...cell_at(e)); return; }
  view ??= { ...look };
  view.x += held[0] - e.clientX; view.y += held[1] - e.clientY; held = [e.clientX, e.clientY];
  bound(); draw();
});
large.addEventListener("pointerup", () => { held = null; });
large.addEventListener("pointercancel", () => { held = null; });
large.addEventListener("dblclick", () => { view = null; draw(); });
large.addEventListener("keydown", e => {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key];
  if (step) {
    const to = (k, by, most) => Math.min(Math.max(k + by, 0), most - 1);
    if (now.lines) {
      const right = step[1] ? step[1] > 0 : now.column >= 0, k = Math.max(now.row, now.column);
      select(...(right ? [-1, to(k, step[0], m)] : [to(k, step[0], n), -1]));
      e.preventDefault();
      return;
    }
    select(to(now.row, step[0], n), to(now.column, step[1], m));
    const inside = (at, k, room) => Math.min(k * view.cell, Math.max(at, (k + 1) * view.cell - room));
    view ??= { ...look };
    view.x = inside(view.x, now.column, view.wide); view.y = inside(view.y, now.row, view.high);
    draw();
  } else if (e.key === "+" || e.key === "=") zoom(1.25, ...centre());
  else if (e.key === "-") zoom(0.8, ...centre());
  else if (e.key === "0") { view = null; draw(); }
  else return;
  e.preventDefault();
});

for (const id of ["layer", "head"]) el(id).addEventListener("change", () => choose({ [id]: Number(el(id).value) }));
el("part").addEventListener("change", () => { load(Number(el("part").value)); choose({ kind: now.kind }); });
el("lines").addEventListener("change", e => { view = null; held = null; choose({ lines: e.target.checked, row: -1, column: -1 }); });
el("kinds").addEventListener("change", e => choose({ kind: Number(e.target.value) }));
new ResizeObserver(() => { view = null; draw(); }).observe(el("large"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
matchMedia("print").addEventListener("change", draw);
Promise.all(blocks.map(unpack)).then(() => { load(0); choose({ kind: 0 }); document.body.dataset.ready = "yes"; })
  .catch(() => { says.textContent = "This browser can't unpack the weights; a newer one can."; });
"""
