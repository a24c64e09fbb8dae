// Small helpers to build parts of the page. Users' words go in as text, never as markup.

function make(tag, settings = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

// A formula that Python wrote as MathML, with everything escaped.
function formula(mathml) {
  const span = make("span", { class: "formula" });
  span.innerHTML = mathml;
  return span;
}

// Events of one view: "select" (a node's id or null), "open" (a level), "values", "masks", "way".
function events() {
  const listeners = {};
  return {
    listen(name, act) { (listeners[name] ??= []).push(act); },
    tell(name, ...said) { for (const act of listeners[name] ?? []) act(...said); },
  };
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // a page from disk may not be allowed to: the old way
    const area = make("textarea", { class: "hidden" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.textContent = "copied";
  setTimeout(() => { button.textContent = before; }, 1200);
}
