// Search, outline, and the keys: arrows walk along arrows, "/" searches, Enter inspects.

function search(view) {
  const field = view.root.querySelector(".search input"), results = view.root.querySelector(".results");
  let found = [], at = 0;
  function look() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = words.length === 0 ? [] : [...view.graph.nodes.values()].filter(node => {
      const text = [node.name, node.title, node.op, node.formula, node.line, node.source, view.where(node), ...node.held].join("\n").toLowerCase();
      return words.every(word => text.includes(word));
    });
    const best = node => (node.name.toLowerCase() === field.value.toLowerCase() ? 0 : node.title.toLowerCase() === field.value.toLowerCase() ? 1 : 2);
    found = found.sort((a, b) => best(a) - best(b));
    at = 0;
    show();
  }
  function show() {
    results.replaceChildren(...found.slice(0, 50).map((node, k) => make("button",
      { class: "go", role: "option", "aria-selected": String(k === at), tabindex: "-1", onclick: () => take(k) },
      view.name(node.id), make("small", {}, ` ${node.formula ? node.op : ""} ${view.where(node)}`))),
      ...(found.length > 50 ? [make("small", {}, `and ${found.length - 50} more`)] : []),
      ...(field.value && !found.length ? [make("small", {}, "nothing of that name")] : []));
    results.hidden = !field.value;
  }
  function take(k) {
    if (!found[k]) return;
    const { id } = found[k];
    field.value = ""; show(); field.blur();
    view.select(id);
  }
  field.addEventListener("input", look);
  field.addEventListener("keydown", e => {
    if (e.key === "Enter") take(at);
    else if (e.key === "Escape") { field.value = ""; show(); field.blur(); }
    else if (e.key === "ArrowDown") { at = Math.min(at + 1, found.length - 1); show(); }
    else if (e.key === "ArrowUp") { at = Math.max(at - 1, 0); show(); }
    else return;
    e.preventDefault(); e.stopPropagation();
  });
  field.addEventListener("blur", () => setTimeout(() => { results.hidden = true; }, 150));
  return field;
}

// The modules, and in each its nodes: filled when it is opened, so that large graphs cost nothing before.
function outline(view) {
  const place = view.root.querySelector(".outline");
  view.listen("open", () => {
    const inside = new Map([["", { clusters: [], nodes: [] }]]);
    const room = id => { if (!inside.has(id)) inside.set(id, { clusters: [], nodes: [] }); return inside.get(id); };
    for (const cluster of view.graph.clusters.values()) room(cluster.path.at(-2) ?? "").clusters.push(cluster);
    for (const node of view.graph.nodes.values()) room(node.path.at(-1) ?? "").nodes.push(node);
    const fill = (box, id) => {
      const { clusters, nodes } = room(id);
      for (const cluster of clusters) {
        const details = make("details", {}, make("summary", {}, cluster.label));
        details.addEventListener("toggle", () => { if (details.open && details.children.length === 1) fill(details, cluster.id); }, { once: true });
        box.append(details);
      }
      for (const phase of ["forward", "gradient", "update"]) {
        const here = nodes.filter(node => node.phase === phase);
        if (here.length) box.append(make("ul", { class: phase, "aria-label": phase }, ...here.map(node =>
          make("li", {}, make("button", { class: `go ${phase}`, onclick: () => view.select(node.id) }, view.name(node.id))))));
      }
    };
    place.replaceChildren();
    fill(place, "");
  });
}

function keys(view, camera, field) {
  let siblings = null;  // what the last step could have led to instead, for the arrows to the left and right
  const choose = (edges, end) => {
    if (!edges.length) return;
    const ids = [...new Set(edges.map(edge => edge[end]))];
    view.select(ids[0]);
    siblings = { ids, at: 0 };
  };
  function aside(by) {
    if (!siblings || siblings.ids[siblings.at] !== view.chosen) {
      const user = view.graph.users(view.chosen)[0];
      const ids = user ? [...new Set(view.graph.operands(user.target).map(edge => edge.source))] : [view.chosen];
      siblings = { ids, at: ids.indexOf(view.chosen) };
    }
    siblings.at = (siblings.at + by + siblings.ids.length) % siblings.ids.length;
    view.select(siblings.ids[siblings.at]);
  }
  const acts = {
    ArrowUp: () => view.chosen ? choose(view.graph.operands(view.chosen), "source") : camera.move(0, -1),
    ArrowDown: () => view.chosen ? choose(view.graph.users(view.chosen), "target") : camera.move(0, 1),
    ArrowLeft: () => view.chosen ? aside(-1) : camera.move(-1, 0),
    ArrowRight: () => view.chosen ? aside(1) : camera.move(1, 0),
    Enter: () => { if (view.chosen) view.panel.focus(); },
    Escape: () => view.select(null),
    "/": () => field.focus(),
    "+": () => camera.zoom(1.25), "=": () => camera.zoom(1.25), "-": () => camera.zoom(0.8), 0: () => camera.fit(),
  };
  document.addEventListener("keydown", e => {
    if (view !== focused() || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.target.closest("input, select, textarea, canvas, summary")) return;
    if (e.key === "Enter" && e.target.closest("button, a")) return;
    const act = acts[e.key];
    if (!act) return;
    e.preventDefault();
    act();
  });
}
