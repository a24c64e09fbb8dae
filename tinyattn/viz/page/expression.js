// Reads a formula that the reader types, P * (dP - rowsum(P * dP)), and computes it on the values of the picture.
// @ or · multiplies matrices; *, ∘ or ⊙ element by element; ᵀ or .T transposes; ^ or ** is a power.

const FUNCTIONS = {
  rowsum: x => reduced("sum", x, [x.shape.length - 1]), colsum: x => reduced("sum", x, [x.shape.length - 2]),
  rowmax: x => reduced("max", x, [x.shape.length - 1]), sum: x => reduced("sum", x, x.shape.map((_, axis) => axis), false),
  softmax: x => { const e = map("exp", map("sub", x, FUNCTIONS.rowmax(x))); return map("div", e, FUNCTIONS.rowsum(e)); },
  transpose: x => turned(x), exp: x => map("exp", x), log: x => map("log", x), tanh: x => map("tanh", x), sqrt: x => map("sqrt", x),
  sigmoid: x => map("sigmoid", x), "σ": x => map("sigmoid", x), relu: x => map("relu", x), abs: x => map("abs", x), sin: x => map("sin", x), cos: x => map("cos", x),
};

function together(a, b) {
  const rank = Math.max(a.length, b.length), at = (shape, axis) => shape[axis - rank + shape.length] ?? 1;
  return Array.from({ length: rank }, (_, axis) => {
    const [n, m] = [at(a, axis), at(b, axis)];
    if (n !== m && n !== 1 && m !== 1) throw new Error(`the shapes (${a.join(", ")}) and (${b.join(", ")}) don't fit together`);
    return n === 1 ? m : n;
  });
}
const map = (op, ...parts) => compute(op, parts.map(part => part.shape).reduce(together), "f", {}, parts);
const reduced = (op, x, axes, keep = true) =>
  compute(op, keep ? x.shape.map((n, axis) => axes.includes(axis) ? 1 : n) : [], "f", { axes }, [x]);
function turned(x) {
  if (x.shape.length < 2) throw new Error("only a matrix can be transposed");
  const axes = x.shape.map((_, axis) => axis), last = axes.length - 1;
  [axes[last - 1], axes[last]] = [last, last - 1];
  return compute("transpose", axes.map(axis => x.shape[axis]), "f", { axes }, [x]);
}
function multiplied(a, b) {
  if (a.shape.length < 2 || b.shape.length < 2 || a.shape.at(-1) !== b.shape.at(-2))
    throw new Error(`matrices of shapes (${a.shape.join(", ")}) and (${b.shape.join(", ")}) have no product`);
  return compute("matmul", [...together(a.shape.slice(0, -2), b.shape.slice(0, -2)), a.shape.at(-2), b.shape.at(-1)], "f", {}, [a, b]);
}

function evaluate(text, values) {  // values: name → array
  const names = [...values.keys(), ...Object.keys(FUNCTIONS)].sort((a, b) => b.length - a.length);
  let rest = text.trim();
  const skip = n => { rest = rest.slice(n).trimStart(); };
  const take = (...signs) => { const sign = signs.find(one => rest.startsWith(one)); if (sign) skip(sign.length); return sign; };
  const number = x => ({ shape: [], data: Float64Array.of(x) });
  function sum() {
    let found = take("-", "−") ? map("neg", product()) : product();
    for (let sign; (sign = take("+", "-", "−"));) found = map(sign === "+" ? "add" : "sub", found, product());
    return found;
  }
  function product() {
    let found = power();
    for (;;) {
      if (take("@", "·")) found = multiplied(found, power());
      else if (!rest.startsWith("**") && take("*", "∘", "⊙", "×")) found = map("mul", found, power());
      else if (take("/")) found = map("div", found, power());
      else if (/^[\p{L}\d(]/u.test(rest)) found = map("mul", found, power());  // (2 a)
      else return found;
    }
  }
  function power() {
    let found = atom();
    for (;;) {
      if (take("ᵀ", ".T")) found = turned(found);
      else if (take("²")) found = map("square", found);
      else if (take("**", "^")) found = map("pow", found, take("-", "−") ? map("neg", atom()) : atom());
      else return found;
    }
  }
  function atom() {
    const digits = rest.match(/^\d+(\.\d+)?(e[+-]?\d+)?/);
    const name = names.find(one => rest.startsWith(one) && !/^[\p{L}\p{M}\d_′]/u.test(rest.slice(one.length)));
    if (digits) { skip(digits[0].length); return number(Number(digits[0])); }
    if (name) {
      skip(name.length);
      if (values.has(name)) return values.get(name);
      need("(");
      const inside = sum();
      need(")");
      return FUNCTIONS[name](inside);
    }
    if (take("√")) return map("sqrt", atom());
    need("(");
    const inside = sum();
    need(")");
    return inside;
  }
  function need(sign) { if (!take(sign)) throw new Error(rest ? `I can't read "${rest.slice(0, 20)}"` : "it ends too early"); }
  const found = sum();
  if (rest) throw new Error(`I can't read "${rest.slice(0, 20)}"`);
  return found;
}
