// A hand-derived operation opened into what it is defined by, with the proof that its derivative is right: green, or red
// when a check fails.

PLUGINS.push(view => {
  const { certificates } = view.data;
  view.plugins.push(one => {
    // Of several operations of a kind one has the certificate.
    const kind = one.op.replace(/ backward$/, ""), found = certificates[one.id] ?? Object.values(certificates).find(other => other.op === kind);
    if (!found) return null;
    const right = found.checks.every(check => check.holds);
    return make("button", { class: `open ${right ? "right" : "error"}`, onclick: () => show(found) }, right ? "open ✓" : "open: WRONG");
  });
  function show(found) {
    const box = make("dialog", { class: "certificate" });
    const picture = make("div", { class: "definition" });
    picture.innerHTML = found.svg;
    for (const element of picture.querySelectorAll("[id]")) element.removeAttribute("id");  // (they may be those of this page, too)
    box.append(make("header", {}, make("h2", {}, `${found.op}: what it is made of`), make("button", { class: "close", onclick: () => box.remove() }, "close")),
      make("ul", { class: "checks" }, ...found.checks.map(check => make("li", { class: check.holds ? "right" : "error" },
        `${check.holds ? "✓" : "✗"} ${check.name}${check.error === null ? "" : `: ${check.holds ? "" : "WRONG, "}difference ${say(numberOfText(check.error), 2)}`}`))),
      make("table", {}, make("tr", {}, make("th", {}), make("th", {}, "operations, forward and backward"), make("th", {}, "kept for the derivative")),
        ...found.counts.map(row => make("tr", {}, make("td", {}, row.name), make("td", { class: "number" }, String(row.operations)), make("td", { class: "number" }, `${row.kept} B`)))),
      picture);
    box.addEventListener("close", () => box.remove());
    view.root.append(box);
    box.showModal();
  }
});
