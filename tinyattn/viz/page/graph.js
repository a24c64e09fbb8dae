// The graph of a picture: nodes and arrows by id, and walks along the arrows.

// Arrows that lead the eye, but along which nothing is computed in this step.
const NO_OPERAND = new Set(["seed", "update"]);

function makeGraph(level) {
  const nodes = new Map(level.nodes.map(node => [node.id, { ...node, into: [], out: [] }]));
  const edges = level.edges.map(([id, source, target, kind, label, operands, change]) =>
    ({ id, source, target, kind, label, operands, change }));
  for (const edge of edges) {
    nodes.get(edge.source).out.push(edge);
    nodes.get(edge.target).into.push(edge);
  }
  // Everything that a node is computed from ("into"), or that is computed from it ("out"): nodes and arrows by id.
  // Without `loops`, within one step of a loop.
  function reach(starts, way, loops = true) {
    const found = new Set(starts), arrows = new Set(), waiting = [...found];
    // Of two graphs in one picture, the later one, but for what only the earlier one has.
    const other = nodes.get(starts[0])?.change === "removed" ? "added" : "removed";
    while (waiting.length) {
      for (const edge of nodes.get(waiting.pop())[way]) {
        if (NO_OPERAND.has(edge.kind) || !loops && edge.kind === "loop" || edge.change === other) continue;
        arrows.add(edge.id);
        const next = way === "into" ? edge.source : edge.target;
        if (!found.has(next)) { found.add(next); waiting.push(next); }
      }
    }
    return { nodes: found, edges: arrows };
  }
  const operands = id => nodes.get(id).into.filter(edge => !NO_OPERAND.has(edge.kind))
    .sort((a, b) => (a.operands[0] ?? 0) - (b.operands[0] ?? 0));
  const users = id => nodes.get(id).out.filter(edge => !NO_OPERAND.has(edge.kind));
  return { nodes, edges, reach, operands, users, clusters: new Map(level.clusters.map(c => [c.id, c])) };
}
