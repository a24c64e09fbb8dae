// The path lens: of the chosen node, exactly what it is computed from stays lit (or, turned round, what it is used for).
// Contributions that meet at an addition have a colour each, so that one sees by which way each of them came.

const CONTRIBUTIONS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"];

function lens(view) {
  let lit = new Set(), coloured = [], shown = null;
  // Only what changes is touched: from one node to its neighbour that is little, and a graph may have thousands of arrows.
  function light(id) {
    const { graph, elements, svg } = view, next = new Set();
    for (const element of coloured) { element.style.removeProperty("--way"); element.classList.remove("way"); }
    coloured = [];
    elements.get(shown)?.classList.remove("chosen");
    shown = id;
    if (id !== null) {
      const found = graph.reach([id], view.way);
      for (const part of [found.nodes, found.edges])
        for (const name of part) if (elements.has(name)) next.add(elements.get(name));
      elements.get(id).classList.add("chosen");
    }
    for (const element of lit) if (!next.has(element)) element.classList.remove("lit");
    for (const element of next) if (!lit.has(element)) element.classList.add("lit");
    lit = next;
    svg.classList.toggle("lens", id !== null);
    if (id !== null && view.way === "into") ways(id);
  }
  // The arrows that only one of the contributions came along.
  function ways(id) {
    const parts = view.contributions(id);
    if (parts.length < 2 || parts.length > CONTRIBUTIONS.length) return;
    const reached = parts.map(part => {
      const set = view.graph.reach(part.id === null ? [] : [part.id], "into", false).edges;
      for (const edge of part.edges) set.add(edge);
      return set;
    });
    reached.forEach((edges, k) => {
      for (const edge of edges)
        if (!reached.some((other, j) => j !== k && other.has(edge)))
          colour(view.elements.get(edge), CONTRIBUTIONS[k]);
    });
  }
  function colour(element, way) {
    if (!element) return;
    element.style.setProperty("--way", way);
    element.classList.add("way");
    coloured.push(element);
  }
  view.listen("select", light);
  view.listen("open", () => { lit = new Set(); coloured = []; shown = null; });
  view.listen("way", () => light(shown));
}
