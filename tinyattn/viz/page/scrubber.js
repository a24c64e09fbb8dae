// Back and forth in time: what is inside of a loop is seen at one of its steps. The picture stays as it is, only its
// numbers change; a film of the chosen node shows all steps at once.

PLUGINS.push(view => {
  const { machine } = view;
  if (!machine || machine.length < 2) return;
  const said = make("output", {}, "0"), slider = make("input", { type: "range", min: 0, max: machine.length - 1, value: 0, "aria-label": "step of the loop" });
  const go = t => {
    machine.time = Math.min(Math.max(t, 0), machine.length - 1);
    slider.value = machine.time; said.textContent = `${machine.time} of ${machine.length}`;
    view.tell("values"); view.tell("time");
  };
  slider.addEventListener("input", () => go(Number(slider.value)));
  view.root.querySelector(".tools").append(make("label", { class: "time" }, "Step ",
    make("button", { title: "one step back", onclick: () => go(machine.time - 1) }, "‹"), slider,
    make("button", { title: "one step on", onclick: () => go(machine.time + 1) }, "›"), said));
  go(0);
  view.listen("time", () => view.chosen !== null && view.inspect());
  view.plugins.push(one => {
    if (!machine.has(one.id) || !machine.inLoop(one.id)) return null;
    const now = machine.time, film = make("div", { class: "film", "aria-label": "all steps" });
    for (let t = 0; t < machine.length; t++) {
      machine.time = t;
      const value = machine.value(one.id), { n, m } = matrix(value), cell = Math.min(24 / n, 60 / m, 10);
      film.append(make("button", { title: `step ${t}`, "aria-pressed": String(t === now), onclick: () => go(t) },
        make("img", { src: thumbnail(value), alt: `step ${t}`, style: `width:${Math.max(cell * m, 4)}px;height:${Math.max(cell * n, 4)}px` })));
    }
    machine.time = now;
    return film;
  });
});
