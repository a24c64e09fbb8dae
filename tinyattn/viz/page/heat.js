// Small pictures of values: a colour for each cell, blue above 0, red below, as strong as its part of the largest.

const PALETTE = [], SHADES = () => (PALETTE.length - 2) / 2;

function largest(data) {
  let most = 0;
  for (const x of data) { const a = Math.abs(x); if (a > most && a < Infinity) most = a; }
  return most || 1;
}

function shadeOf(value, most) {
  const n = SHADES();
  return PALETTE[Number.isFinite(value) ? n + Math.round(n * value / most) : 2 * n + 1];
}

// An array as a matrix: its last two axes; `page` says which of those that the axes before count.
function matrix(value, page = 0) {
  const { shape, data } = value, m = shape.at(-1) ?? 1, n = shape.length > 1 ? shape.at(-2) : 1;
  const pages = Math.max(1, data.length / (n * m) || 1);
  return { n, m, pages, start: Math.min(page, pages - 1) * n * m };
}

const MOST_CELLS = 64;  // of a side of a small picture; of more, the strongest of each block is shown

// The picture as the address of an image, a pixel for each cell. Cells that `mask` leaves out are faint.
function thumbnail(value, mask = null) {
  const { n, m, start } = matrix(value), most = largest(value.data);
  const high = Math.min(n, MOST_CELLS), wide = Math.min(m, MOST_CELLS), canvas = document.createElement("canvas");
  canvas.width = wide; canvas.height = high;
  const pen = canvas.getContext("2d"), image = pen.createImageData(wide, high), best = new Float64Array(wide * high).fill(-1);
  for (let i = 0; i < n; i++) for (let j = 0; j < m; j++) {
    const cell = start + i * m + j, k = Math.floor(i * high / n) * wide + Math.floor(j * wide / m);
    const strength = Math.abs(value.data[cell]) + (mask && mask[cell] ? 1e300 : 0);
    if (!(strength > best[k]) && best[k] >= 0) continue;
    best[k] = Number.isNaN(strength) ? 0 : strength;
    const colour = parseInt(shadeOf(value.data[cell], most).slice(1), 16);
    image.data.set([colour >> 16, colour >> 8 & 255, colour & 255, mask && !mask[cell] ? 40 : 255], 4 * k);
  }
  pen.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

const say = (x, digits = 4) => Number.isNaN(x) ? "NaN" : !Number.isFinite(x) ? (x < 0 ? "−∞" : "∞")
  : String(Number(x.toPrecision(digits))).replace(/-/g, "−");

// The pictures inside of the nodes, in the room that the layout left for them.
function thumbnails(view) {
  const images = new Map(), numbers = new Map();
  function place() {
    images.clear(); numbers.clear();
    if (!view.machine) return;
    for (const [id, node] of view.graph.nodes) {
      const element = view.elements.get(id);
      if (!node.room || !element || !view.machine.has(id)) continue;
      // Its room is an empty line of the label.
      const line = [...element.querySelectorAll("text")].find(text => !text.textContent.trim());
      if (!line) continue;
      const box = element.getBBox(), middle = [box.x + box.width / 2, line.getAttribute("y") - 0.3 * node.room];
      const image = document.createElementNS("http://www.w3.org/2000/svg", "image");
      image.setAttribute("preserveAspectRatio", "none"); image.setAttribute("class", "map");
      images.set(id, { image, middle, side: node.room - 4 });
      element.append(image);
    }
    paint();
  }
  function paint(masks = null) {
    for (const [id, { image, middle, side }] of images) {
      const value = view.machine.value(id), { n, m } = matrix(value), cell = Math.min(side / Math.max(n, 1), 64 / Math.max(m, 1), 9);
      const wide = Math.max(cell * m, 4), high = Math.max(cell * n, 4);
      image.setAttribute("width", wide); image.setAttribute("height", high);
      image.setAttribute("x", middle[0] - wide / 2); image.setAttribute("y", middle[1] - high / 2);
      image.setAttribute("href", thumbnail(value, masks && (masks.get(id) ?? new Uint8Array(value.data.length))));
    }
  }
  view.listen("open", place);
  view.listen("values", () => paint());
  view.listen("masks", paint);
}
