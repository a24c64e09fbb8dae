// Two graphs in one picture: both, or only what was there before, or only what is there after.

PLUGINS.push(view => {
  if (!view.data.levels[view.data.first].nodes.some(node => node.change)) return;
  const choices = [["", "both"], ["before", "before"], ["after", "after"]].map(([name, label]) => make("button", { class: `which ${name}`, "aria-pressed": String(!name),
    onclick: () => {
      view.root.classList.remove("before", "after");
      if (name) view.root.classList.add(name);
      for (const other of choices) other.setAttribute("aria-pressed", String(other.textContent === label));
    } }, label));
  view.root.querySelector(".tools").append(make("span", { class: "versions", role: "group", "aria-label": "which graph" }, ...choices));
});
