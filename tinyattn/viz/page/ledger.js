// The ledger: what stands in memory while the program runs, kernel by kernel. Across: the kernels, in order. Upwards: the
// places in the arena. What forward keeps for the derivative is orange.

PLUGINS.push(view => {
  const { ledger } = view.data;
  if (!ledger) return;
  const bytes = n => n < 1024 ? `${n} B` : n < 1048576 ? `${say(n / 1024, 3)} KB` : `${say(n / 1048576, 3)} MB`;
  const steps = ledger.kernels + 1;  // (the last: results are handed over)
  const alive = Array.from({ length: steps }, (_, t) => ledger.blocks.filter(b => b.from <= t && t <= b.to).reduce((sum, b) => sum + b.bytes, 0));
  const peak = alive.indexOf(Math.max(...alive)), kept = ledger.blocks.filter(b => b.kept);
  const sum = blocks => blocks.reduce((total, b) => total + b.bytes, 0);
  const part = (tag, settings) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(settings)) element.setAttribute(name, value);
    return element;
  };
  function picture(says) {
    const svg = part("svg", { viewBox: "0 0 800 360", class: "arena", role: "img", "aria-label": "memory over time" });
    const wide = 800 / steps, high = 260 / ledger.peak;
    if (ledger.backward < ledger.kernels) svg.append(part("rect", { class: "backward", x: ledger.backward * wide, y: 0, width: 800 - ledger.backward * wide, height: 360 }));
    for (const block of ledger.blocks) {
      const box = part("rect", { class: `block ${block.kept ? "kept" : block.gradient ? "gradient" : "forward"}`, x: block.from * wide, y: 260 - (block.at + block.bytes) * high,
        width: Math.max((block.to - block.from + 1) * wide - 0.5, 0.5), height: Math.max(block.bytes * high - 0.5, 0.5) });
      box.append(titled(`${block.name}: ${bytes(block.bytes)}`));
      box.addEventListener("pointerenter", () => { says.textContent = `${block.name}: ${bytes(block.bytes)}, from kernel ${block.from} to ${block.to}${block.kept ? ", kept for the derivative" : ""}`; });
      svg.append(box);
      const [across, up] = [(block.to - block.from + 1) * wide, block.bytes * high];
      if (up < 14 || across < 8 * block.name.length) continue;
      const text = part("text", { x: block.from * wide + 5, y: 260 - block.at * high - up / 2 + 4 });
      text.textContent = block.name;
      svg.append(text);
    }
    const top = Math.max(...alive, 1), line = alive.map((n, t) => `${t * wide},${355 - n / top * 80} ${(t + 1) * wide},${355 - n / top * 80}`).join(" ");
    svg.append(part("polyline", { class: "alive", points: line }), part("line", { class: "peak", x1: (peak + 0.5) * wide, x2: (peak + 0.5) * wide, y1: 0, y2: 355 }));
    return svg;
  }
  function show() {
    const box = make("dialog", { class: "certificate memory" }), says = make("output", { class: "says" });
    const row = (block, k) => make("tr", {}, make("td", {}, block.id && view.graph.nodes.has(block.id)
      ? make("button", { class: "go", onclick: () => { box.remove(); view.select(block.id); } }, block.name) : block.name),
      make("td", { class: "number" }, bytes(block.bytes)), make("td", {}, `kernels ${block.from} to ${block.to}`));
    const largest = (blocks, title, name) => make("section", { class: name }, make("h3", {}, title), make("table", {},
      ...[...blocks].sort((a, b) => b.bytes - a.bytes).slice(0, 40).map(row),
      make("tr", { class: "sum" }, make("td", {}, blocks.length > 40 ? `all ${blocks.length}` : "sum"), make("td", { class: "number" }, bytes(sum(blocks))), make("td", {}))));
    const now = ledger.blocks.filter(b => b.from <= peak && peak <= b.to);
    box.append(make("header", {}, make("h2", {}, "Memory"), make("button", { class: "close", onclick: () => box.remove() }, "close")),
      make("p", { class: "total" }, `The program takes ${bytes(ledger.peak)}. Most is alive at kernel ${peak} of ${ledger.kernels}: ${bytes(alive[peak])}`
        + (ledger.peak > alive[peak] ? `, with ${bytes(ledger.peak - alive[peak])} of gaps between blocks.` : ", without a gap.")),
      make("p", { class: "hint" }, "Across: kernels in the order in which they run, the derivative's shaded. Upwards: places in memory; orange is kept for the derivative. Below: bytes alive."),
      picture(says), says,
      largest(kept, `Forward keeps ${bytes(sum(kept))} for the derivative`, "kept"), largest(now, `Alive at the peak: ${bytes(sum(now))}`, "now"));
    box.addEventListener("close", () => box.remove());
    view.root.append(box);
    box.showModal();
  }
  view.root.querySelector(".tools").append(make("button", { class: "ledger", onclick: show }, "Memory", make("small", {}, ` ${bytes(ledger.peak)}`)));
});
