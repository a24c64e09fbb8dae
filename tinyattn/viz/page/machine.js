// Runs the program of a picture: its instructions from first to last, in float64. What a loop computes in each of its
// steps is kept, so that one can go back and forth in time.

function decode(text) {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  return new Float64Array(bytes.buffer);
}

function numberOfText(value) {  // JSON has no infinities
  return value === "inf" ? Infinity : value === "-inf" ? -Infinity : value;
}

function run(code, numbers, given = []) {
  const found = [];
  let argument = 0;
  for (const [op, operands, shape, kind, attrs] of code) {
    const inputs = operands.map(k => found[k]);
    if (op === "leaf") found.push({ shape, data: numbers.slice(attrs.at, attrs.at + sizeOf(shape)) });
    else if (op === "argument") found.push(given[found.length] ?? { shape, data: new Float64Array(sizeOf(shape)) });
    else if (op === "scan") found.push(loop(attrs, numbers, inputs));
    else if (op === "output") found.push(attrs.key[0] === "final" ? inputs[0].final[attrs.key[1]] : inputs[0].stacks[attrs.key[1]]);
    else found.push(compute(op, shape, kind, attrs, inputs));
  }
  return found;
}

// The slice of a stack at one step, which shares its numbers.
function step(stack, t) {
  const shape = stack.shape.slice(1), size = sizeOf(shape);
  return { shape, data: stack.data.subarray(t * size, (t + 1) * size) };
}

function loop(attrs, numbers, inputs) {
  const { length, carries, sequences, reverse, body } = attrs, frames = new Array(length);
  const constants = inputs.slice(carries + sequences), stacks = [];
  let state = inputs.slice(0, carries);
  for (let k = 0; k < length; k++) {
    const t = reverse ? length - 1 - k : k, given = [];
    const all = [...state, ...inputs.slice(carries, carries + sequences).map(x => step(x, t)), ...constants];
    attrs.arguments.forEach((place, which) => { given[place] = all[which]; });
    const found = frames[t] = run(body, numbers, given);
    state = attrs.next.slice(0, carries).map(place => found[place]);
    attrs.stacks.forEach((place, which) => {
      const one = found[place];
      stacks[which] ??= { shape: [length, ...one.shape], data: new Float64Array(length * one.data.length) };
      stacks[which].data.set(one.data, t * one.data.length);
    });
  }
  attrs.stacks.forEach((place, which) => {
    stacks[which] ??= { shape: [0, ...body[place][2]], data: new Float64Array(0) };
  });
  return { final: state, stacks, frames };
}

// The values of the nodes. `time` is the step at which what is inside of loops is seen.
function machine(program) {
  if (!program) return null;
  const original = decode(program.numbers), numbers = original.slice();
  const self = {
    time: 0, found: [], length: Math.max(0, ...program.code.map(([op, , , , attrs]) => op === "scan" ? attrs.length : 0)),
    code: program.code,
    run() { self.found = run(program.code, numbers); },
    has: id => id in program.values,
    // All values of a node, one for each output that is used.
    all: id => program.values[id][1].map(place => self.frame(id)[place]),
    value: id => self.all(id)[0],
    frame(id) {
      let frame = self.found;
      for (const place of program.values[id][0]) {
        const frames = frame[place].frames;
        frame = frames[Math.min(self.time, frames.length - 1)];
      }
      return frame;
    },
    operand: (id, place) => self.frame(id)[place],
    inLoop: id => program.values[id][0].length > 0,
    instruction(id) {
      const [loops, places] = program.values[id];
      let code = program.code;
      for (const place of loops) code = code[place][4].body;
      return code[places[0]];
    },
    // A leaf can be changed; it is the same at all times.
    leaf(id) {
      if (!self.has(id)) return null;
      const [op, , , kind, attrs] = self.instruction(id);
      return op === "leaf" ? { kind, at: attrs.at } : null;
    },
    change(id, cell, value) { numbers[self.leaf(id).at + cell] = value; self.run(); },
    // Constants of a formula: each is one number.
    constants: id => (program.tuned[id] ?? []).map(place => program.code[place][4].at),
    number: at => numbers[at],
    tune(at, value) { numbers[at] = value; self.run(); },
    changed: () => numbers.some((value, k) => !Object.is(value, original[k])),
    reset() { numbers.set(original); self.run(); },
  };
  const endless = code => {
    for (const instruction of code) {
      for (const name in instruction[4]) instruction[4][name] = numberOfText(instruction[4][name]);
      if (instruction[0] === "scan") endless(instruction[4].body);
    }
  };
  endless(program.code);
  self.run();
  return self;
}
