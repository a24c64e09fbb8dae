// The derivation of what is drawn, one step at a time: the equation before and after, the rule, how far both sides are
// apart on these numbers, and in the picture the node that the step is about.

PLUGINS.push(view => {
  const derivation = view.data.steps;
  if (!derivation) return;
  const { steps } = derivation;
  let at = 0;
  const wrong = steps.filter(step => !step.holds).length;
  view.root.querySelector(".tools").append(make("button", { class: "derive", onclick: () => go(0) },
    "Derivation", make("small", {}, wrong ? ` ${wrong} of ${steps.length} steps are wrong` : ` ${steps.length} steps ✓`)));
  function go(k) {
    at = Math.min(Math.max(k, 0), steps.length - 1);
    const step = steps[at];
    const named = name => [...view.graph.nodes.values()].find(node => node.name === name || node.title === name);
    const about = step.names.map(name => named(name.replace(/_[\p{L},]+$/u, ""))).find(Boolean);
    view.select(about ? about.id : null);
    const error = step.error === null ? "nothing to compare" : step.holds
      ? `both sides agree, difference ${step.error < 1e-12 ? "below 1e−12" : say(step.error, 1)} ✓` : `WRONG: both sides differ by ${say(step.error)}`;
    view.panel.replaceChildren(
      make("h2", {}, derivation.title),
      make("div", { class: "ways" }, make("button", { class: "back", disabled: at === 0, onclick: () => go(at - 1) }, "‹ back"),
        make("span", { class: "count" }, `step ${at + 1} of ${steps.length}`),
        make("button", { class: "next", disabled: at === steps.length - 1, onclick: () => go(at + 1) }, "next ›")),
      make("h3", {}, `${step.stage}: ${step.rule}`),
      make("div", { class: "equation before" }, ...step.before.map(formula)),
      make("div", { class: "equation after" }, "→ ", ...step.after.map(formula)),
      make("p", { class: step.holds ? "right" : "error" }, error),
      make("button", { class: "latex", onclick: e => copy(step.latex, e.target) }, "copy LaTeX"),
      ...(about ? [make("p", { class: "hint" }, "In the picture: ", view.name(about.id)), values(view, about)].filter(Boolean) : []),
      make("p", { class: "hint" }, derivation.note));
    view.panel.querySelector(".next").focus({ preventScroll: true });
  }
});
