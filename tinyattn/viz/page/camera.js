// Moving over the picture: wheel, drag, pinch, keys. It opens at a size at which one can read.

const READABLE = 1.35;  // pixels for a unit of the picture, whose letters are 10 units high

function camera(view) {
  const { stage, paper } = view;
  let svg, whole, scale = READABLE, x = 0, y = 0;  // (x, y): the middle of what is seen
  let begun = null;  // what is in the middle at first, until somebody moves: a frame may get its size late
  const pointers = new Map();
  const size = () => [stage.clientWidth || 1, stage.clientHeight || 1];
  // The sheet that the picture is on is moved, not the picture: then nothing in it is laid out again.
  function paint() {
    const [w, h] = size();
    paper.style.transform = `translate(${w / 2 - (x - whole[0]) * scale}px, ${h / 2 - (y - whole[1]) * scale}px) scale(${scale})`;
  }
  const fitting = () => { const [w, h] = size(); return Math.min(w / whole[2], h / whole[3]); };
  const at = e => {
    const box = stage.getBoundingClientRect(), [w, h] = size();
    return [x + (e.clientX - box.left - w / 2) / scale, y + (e.clientY - box.top - h / 2) / scale];
  };
  function zoom(factor, [px, py] = [x, y]) {
    begun = null;
    const next = Math.min(Math.max(scale * factor, Math.min(fitting(), READABLE) / 2), 24);
    x = px + (x - px) * scale / next; y = py + (y - py) * scale / next; scale = next;
    paint();
  }
  function fit() { x = whole[0] + whole[2] / 2; y = whole[1] + whole[3] / 2; scale = Math.min(fitting(), 4); paint(); }
  // Where a node is in the picture; dot writes one shift for all of it.
  const boxOf = element => {
    const box = element.getBBox(), shift = svg.querySelector("g").transform.baseVal.consolidate()?.matrix ?? { e: 0, f: 0 };
    return [box.x + shift.e, box.y + shift.f, box.width, box.height];
  };
  // Brings a node into the window, if it isn't in it.
  function show(element, force = false) {
    const [bx, by, bw, bh] = boxOf(element), [w, h] = size(), margin = 24 / scale;
    if (scale < READABLE / 2) scale = READABLE;
    const inside = bx > x - w / scale / 2 + margin && bx + bw < x + w / scale / 2 - margin
      && by > y - h / scale / 2 + margin && by + bh < y + h / scale / 2 - margin;
    if (inside && !force) return paint();
    x = bx + bw / 2; y = by + bh / 2;
    paint();
  }
  // At first: everything, if that can be read, else the loss and what is around it.
  function begin(element) {
    begun = () => begin(element);
    scale = READABLE;
    if (fitting() >= READABLE * 0.75 || !element) { fit(); scale = Math.max(Math.min(scale, 3), element ? 0 : READABLE); return paint(); }
    show(element, true);
    // Nothing beside the picture is shown where there is more picture to be seen.
    const [w, h] = size();
    const keep = (middle, start, length, window) => length * scale <= window ? start + length / 2
      : Math.min(Math.max(middle, start + window / scale / 2), start + length - window / scale / 2);
    x = keep(x, whole[0], whole[2], w); y = keep(y, whole[1], whole[3], h);
    show(element);
  }
  // In the frame of another page the wheel moves that page, until somebody comes in by a click or a key.
  const entered = () => window === window.parent || document.hasFocus();
  stage.addEventListener("wheel", e => { if (!entered()) return; e.preventDefault(); zoom(Math.exp(-e.deltaY / 500), at(e)); }, { passive: false });
  stage.addEventListener("pointerdown", e => { begun = null; pointers.set(e.pointerId, at(e)); view.dragged = false; });
  stage.addEventListener("pointermove", e => {
    if (!pointers.has(e.pointerId)) return;
    const before = pointers.get(e.pointerId), now = at(e);
    if (Math.hypot(now[0] - before[0], now[1] - before[1]) * scale > 4) { view.dragged = true; stage.setPointerCapture(e.pointerId); }
    if (!view.dragged) return;
    if (pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== e.pointerId).map(([, place]) => place);
      const far = (p, q) => Math.hypot(p[0] - q[0], p[1] - q[1]) || 1;
      return zoom(far(now, other) / far(before, other), other);
    }
    x += before[0] - now[0]; y += before[1] - now[1];
    paint();
  });
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, e => pointers.delete(e.pointerId));
  stage.addEventListener("dblclick", e => { if (!e.target.closest(".node")) fit(); });
  new ResizeObserver(() => { if (svg) (begun ?? paint)(); }).observe(stage);
  return {
    take(next) { svg = next; whole = svg.getAttribute("viewBox").split(" ").map(Number); }, begin, zoom, boxOf,
    fit() { begun = null; fit(); },
    show(element) { begun = null; show(element); },
    move(dx, dy) { begun = null; const [w, h] = size(); x += dx * w / scale / 10; y += dy * h / scale / 10; paint(); },
  };
}
