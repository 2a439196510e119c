// Lines of arrows: read, turned, shortened for a head. Pure. A line is a list of points, four to a
// cubic piece, of which neighbours share one.

/** The points of a path of lines and cubic pieces in absolute coordinates; null for another. */
export function points(d) {
  if (!/^[MCLHV\d\s.,eE+-]*$/.test(d)) return null;
  const found = [];
  let last = null;
  for (const [, command, text] of d.matchAll(/([MCLHV])([^MCLHV]*)/g)) {
    const n = (text.match(/-?[\d.]+(?:e[-+]?\d+)?/gi) ?? []).map(Number);
    const straight = (to) => {
      found.push(mix(last, to, 1 / 3), mix(last, to, 2 / 3), to);
      last = to;
    };
    if (command === "M") found.push(last = [n[0], n[1]]);
    else if (command === "H") n.forEach((x) => straight([x, last[1]]));
    else if (command === "V") n.forEach((y) => straight([last[0], y]));
    for (let i = command === "M" ? 2 : 0; i + 1 < n.length && "MLC".includes(command);) {
      if (command === "C") {
        found.push([n[i], n[i + 1]], [n[i + 2], n[i + 3]], last = [n[i + 4], n[i + 5]]);
        i += 6;
      } else {
        straight([n[i], n[i + 1]]);
        i += 2;
      }
    }
  }
  return found.length > 1 ? found : null;
}

export function mix(a, b, t) {
  return [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t];
}

export function distance(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

/** A line with a straight piece to one more point, if that is not where it ends. */
export function extended(line, to) {
  const end = line[line.length - 1];
  return distance(end, to) < 0.5 ? line : [...line, mix(end, to, 1 / 3), mix(end, to, 2 / 3), to];
}

/** A line as the text of a path. */
export function pathText(line) {
  const text = (p) => `${p[0].toFixed(2)},${p[1].toFixed(2)}`;
  let d = `M${text(line[0])}`;
  for (let i = 1; i + 2 < line.length; i += 3) d += `C${line.slice(i, i + 3).map(text).join(" ")}`;
  return d;
}

/** A point of a cubic piece, and the piece from there on. */
function split(p, t) {
  const a = mix(p[0], p[1], t), b = mix(p[1], p[2], t), c = mix(p[2], p[3], t);
  const d = mix(a, b, t), e = mix(b, c, t), f = mix(d, e, t);
  return [f, e, c, p[3]];
}

/** A line without so much of its beginning, along its length; at least its last piece stays. */
export function shortened(line, by) {
  let rest = line;
  while (rest.length > 4) {
    const length = pieceLength(rest);
    if (length > by) break;
    by -= length;
    rest = rest.slice(3);
  }
  const piece = rest.slice(0, 4), length = pieceLength(piece);
  if (length <= 0) return rest;
  return [...split(piece, Math.min(0.9, by / length)), ...rest.slice(4)];
}

/** Points along a cubic piece. */
function pointsOn(p) {
  return [...Array(9).keys()].map((k) => {
    const t = k / 8, u = 1 - t;
    return [0, 1].map((i) => u * u * u * p[0][i] + 3 * u * u * t * p[1][i] + 3 * u * t * t * p[2][i] + t * t * t * p[3][i]);
  });
}

function pieceLength(p) {
  const along = pointsOn(p);
  return along.slice(1).reduce((sum, here, k) => sum + distance(along[k], here), 0);
}

function pieces(line) {
  const found = [];
  for (let i = 0; i + 3 < line.length; i += 3) found.push(line.slice(i, i + 4));
  return found;
}

/** Points along a line. */
export function pointsAlong(line) {
  return pieces(line).flatMap(pointsOn);
}

export function lineLength(line) {
  return pieces(line).reduce((sum, piece) => sum + pieceLength(piece), 0);
}

/** An arrowhead with its tip where the line begins, for a width; and how long it is. */
export function head(line, width) {
  const long = Math.min(5 + 1.6 * width, lineLength(line) * 0.6), half = 2.4 + 0.85 * width;
  const tip = line[0], base = shortened(line, long)[0], way = distance(tip, base) || 1;
  const [x, y] = [(base[0] - tip[0]) / way, (base[1] - tip[1]) / way];
  const corner = (side) => `${(base[0] - y * half * side).toFixed(2)},${(base[1] + x * half * side).toFixed(2)}`;
  return { long, d: `M${tip[0].toFixed(2)},${tip[1].toFixed(2)}L${corner(1)} ${corner(-1)}Z` };
}

/** A bar across a line, so far from its beginning. */
export function bar(line, at, half) {
  const here = shortened(line, at), p = here[0], q = here[1], way = distance(p, q) || 1;
  const [x, y] = [(q[0] - p[0]) / way, (q[1] - p[1]) / way];
  const end = (side) => `${(p[0] - y * half * side).toFixed(2)},${(p[1] + x * half * side).toFixed(2)}`;
  return `M${end(1)}L${end(-1)}`;
}

/** The same line the other way. */
export function turned(line) {
  return [...line].reverse();
}
