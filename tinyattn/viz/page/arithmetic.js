// What each elementary operation does with numbers, all of them float64. The names are those of tinyattn's table.

// Taylor's series near 0, elsewhere a continued fraction of 1 − erf: both to the last digits.
function erf(x) {
  const a = Math.abs(x);
  if (Number.isNaN(x)) return NaN;
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = a, sum = a;
    for (let k = 1; Math.abs(term) > 1e-18 * Math.abs(sum) && k < 200; k++) {
      term *= 2 * a * a / (2 * k + 1);
      sum += term;
    }
    return Math.sign(x) * 2 / Math.sqrt(Math.PI) * Math.exp(-a * a) * sum;
  }
  let fraction = 0;
  for (let k = 60; k > 0; k--) fraction = k / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}

function roundToEven(x) {
  const low = Math.floor(x), rest = x - low;
  return rest < 0.5 ? low : rest > 0.5 ? low + 1 : low % 2 === 0 ? low : low + 1;
}

function sigmoid(x) {
  const e = Math.exp(-Math.abs(x));
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

function logaddexp(a, b) {
  if (a === b) return a + Math.LN2;
  const most = Math.max(a, b);
  return Number.isFinite(most) ? most + Math.log1p(Math.exp(-Math.abs(a - b))) : most;
}

const ELEMENTWISE = {
  add: (a, b) => a + b, sub: (a, b) => a - b, mul: (a, b) => a * b, div: (a, b) => a / b, neg: a => -a,
  abs: Math.abs, sign: a => Math.sign(a), square: a => a * a, sqrt: Math.sqrt, exp: Math.exp, expm1: Math.expm1,
  log: Math.log, log1p: Math.log1p, tanh: Math.tanh, sin: Math.sin, cos: Math.cos, sigmoid, erf, logaddexp,
  relu: a => Number.isNaN(a) ? a : Math.max(a, 0), softplus: a => logaddexp(a, 0),
  maximum: (a, b) => Math.max(a, b), minimum: (a, b) => Math.min(a, b), pow: (a, b) => a === 1 ? 1 : Math.pow(a, b), floor: Math.floor, ceil: Math.ceil, round: roundToEven,
  floor_divide: (a, b) => Math.floor(a / b), mod: (a, b) => a - b * Math.floor(a / b),
  lt: (a, b) => +(a < b), le: (a, b) => +(a <= b), gt: (a, b) => +(a > b), ge: (a, b) => +(a >= b),
  eq: (a, b) => +(a === b), ne: (a, b) => +(a !== b), isfinite: a => +Number.isFinite(a),
  and: (a, b) => +(a && b), or: (a, b) => +(a || b), xor: (a, b) => +(!a !== !b), not: a => +!a,
  where: (c, a, b) => c ? a : b, log2: Math.log2, log10: Math.log10, tan: Math.tan, sinh: Math.sinh, cosh: Math.cosh,
  arctan: Math.atan, arcsin: Math.asin, arccos: Math.acos, arcsinh: Math.asinh, arccosh: Math.acosh, arctanh: Math.atanh,
  stop_gradient: a => a,
};

// Whole numbers, where they are not what reals are: nothing is divided by 0, and powers are whole.
const OF_INTEGERS = {
  floor_divide: (a, b) => b === 0 ? 0 : Math.floor(a / b), mod: (a, b) => b === 0 ? 0 : a - b * Math.floor(a / b),
  pow: (a, b) => b >= 0 ? Math.pow(a, b) : a === 1 ? 1 : a === -1 ? 1 - 2 * (Math.abs(b) % 2) : 0,
};
