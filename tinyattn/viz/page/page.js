// A view: one picture with all that belongs to it. There may be several in one page; each has its own ids.

const views = [];
let last = null;  // the view that was touched last, which the keys are for
const focused = () => last ?? views[0];

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const open = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(open).json();
}

async function start(root) {
  const data = await unpack(root.querySelector("script.data").textContent);
  if (!PALETTE.length) PALETTE.push(...data.palette);
  const view = {
    ...events(), root, data, prefix: data.prefix, stage: root.querySelector(".stage"), paper: root.querySelector(".paper"), panel: root.querySelector(".panel"),
    machine: machine(data.program), plugins: [], notes: data.notes, chosen: null, way: "into", cell: 0, cellNode: null,
    name(id) { const node = view.graph.nodes.get(id); return node.name || node.title; },
    where: node => node.path.map(id => view.graph.clusters.get(id)?.label ?? id).join(" / "),
    hidden: () => false,
    status(text) { root.querySelector(".status").textContent = text; root.classList.toggle("told", Boolean(text)); },
    index: (value, cell) => `[${strides(value.shape).map((step, axis) => Math.floor(cell / step) % value.shape[axis]).join(", ")}]`,
    select(id) {
      if (id !== null && !view.graph.nodes.has(id)) return;
      last = view;
      view.chosen = id; view.cellNode = null; view.cell = 0;
      if (id !== null) eye.show(view.elements.get(id));  // (first: it asks for places, which are known until classes change)
      view.tell("select", id);
      root.classList.toggle("chosen", id !== null);
      try {  // a frame of a notebook has no address to change
        history.replaceState(null, "", id === null ? location.pathname : `#${view.prefix}${id}`);
      } catch { /* then there is no link */ }
    },
    contributions: id => contributions(view, id),
  };
  view.listen("values", () => root.classList.toggle("changed", view.machine.changed()));
  const eye = camera(view);
  lens(view);
  thumbnails(view);
  inspector(view);
  const field = search(view);
  outline(view);
  keys(view, eye, field);
  for (const plugin of PLUGINS) plugin(view);
  function open(k) {
    const level = data.levels[k], box = view.paper;
    if (level.svg) box.innerHTML = level.svg;
    level.svg ??= box.innerHTML;  // (the first one stands in the page)
    view.svg = box.querySelector("svg");
    view.level = k;
    view.graph = makeGraph(level);
    const named = new Map([...view.svg.querySelectorAll("[id]")].map(element => [element.id.slice(view.prefix.length), element]));
    view.elements = named;
    for (const [id, node] of view.graph.nodes) {
      const element = named.get(id);
      if (!element) continue;
      element.setAttribute("role", "button");
      element.setAttribute("aria-label", view.name(id));
    }
    eye.take(view.svg);
    view.tell("open");
    if (view.chosen && view.graph.nodes.has(view.chosen)) { eye.begin(named.get(view.chosen)); view.select(view.chosen); }
    else { eye.begin(named.get(level.loss)); view.chosen = null; view.tell("select", null); }
  }
  view.open = open;
  view.stage.addEventListener("pointerover", e => {  // what a node says when the pointer rests on it is written when it does
    const element = e.target.closest(".node");
    if (!element || element.querySelector("title")) return;
    element.append(titled(view.graph.nodes.get(element.id.slice(view.prefix.length)).tip));
  });
  view.stage.addEventListener("click", e => {
    last = view;
    if (view.dragged) return;
    const element = e.target.closest(".node");
    view.select(element ? element.id.slice(view.prefix.length) : null);
  });
  const linked = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    if (!id.startsWith(view.prefix)) return;
    const wanted = id.slice(view.prefix.length);
    const k = data.levels.findIndex((level, n) => (n === view.level || level.svg) && level.nodes.some(node => node.id === wanted));
    if (view.graph.nodes.has(wanted)) view.select(wanted);
    else if (k >= 0) { open(k); view.select(wanted); }
  };
  const depth = root.querySelector(".depth input");
  if (depth) depth.addEventListener("input", () => {
    open(Number(depth.value));
    root.querySelector(".depth output").textContent = data.levels[view.level].name;
  });
  const theme = root.querySelector(".theme");
  if (theme) theme.addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark"
      || !document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  });
  root.querySelector(".list")?.addEventListener("click", () => root.classList.toggle("listed"));
  root.querySelector(".reset")?.addEventListener("click", () => { view.machine.reset(); view.tell("values"); view.redraw?.(); });
  open(data.first);
  root.classList.toggle("framed", window !== window.parent);
  addEventListener("focus", () => root.classList.remove("framed"), { once: true });
  addEventListener("hashchange", linked);
  if (location.hash) linked();
  views.push(view);
  root.dataset.ready = "";
  return view;
}

function titled(text) {
  const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
  title.textContent = text;
  return title;
}

// What meets at an addition: { id, label, value, edges }, additions of additions taken apart.
function contributions(view, id) {
  const node = view.graph.nodes.get(id);
  if (node.op !== "add" || !view.machine?.has(id)) return [];
  const found = [];
  const take = (one, edges) => {
    const [, operands] = view.machine.instruction(one), shape = view.machine.value(one).shape;
    operands.forEach((place, k) => {
      const edge = view.graph.nodes.get(one).into.find(arrow => arrow.operands.includes(k) && !NO_OPERAND.has(arrow.kind));
      const source = edge && view.graph.nodes.get(edge.source);
      const inner = source && source.op === "add" && source.phase === node.phase && !edge.label && view.graph.users(source.id).length === 1
        && view.machine.has(source.id);
      if (inner) return take(source.id, [...edges, edge.id]);
      const value = view.machine.operand(one, place), from = broadcast(value.shape, shape);
      const part = { id: source ? source.id : null, label: source ? edge.label : say(value.data[0]), edges: edge ? [...edges, edge.id] : edges,
        value: { shape, data: Float64Array.from(from, cell => value.data[cell]) }, times: 1 };
      const same = found.find(other => other.id !== null && other.id === part.id && other.label === part.label);
      if (!same) return found.push(part);
      same.times++;  // (x + x)
      same.edges = [...same.edges, ...part.edges];
      part.value.data.forEach((x, cell) => { same.value.data[cell] += x; });
    });
  };
  take(id, []);
  return found;
}

const PLUGINS = [];
