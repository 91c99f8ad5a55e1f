// The inside of one text (or of several, side by side): drawn from the numbers in #packed.
const NS = "http://www.w3.org/2000/svg";
const packed = JSON.parse(document.getElementById("packed").textContent);

function bytes(base64) { return Uint8Array.from(atob(base64), c => c.charCodeAt(0)).buffer; }

function unpack(one) { // attentions: 16-bit shares of 1; states: 8 bits, for looking at only
  const flat = new Uint16Array(bytes(one.attentions)), [L, H, S] = one.shape;
  const row = (l, h, q) => Array.from(flat.subarray(((l * H + h) * S + q) * S, ((l * H + h) * S + q + 1) * S), v => v / 65535);
  const range = n => [...Array(n).keys()];
  const attentions = range(L).map(l => range(H).map(h => range(S).map(q => row(l, h, q))));
  return { ...one, attentions, states: new Int8Array(bytes(one.states)) };
}
const traces = packed.map(unpack);
window.trace = traces.length === 1 ? traces[0] : traces;

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "rect", "text", "circle", "line", "title"].includes(tag);
  const element = svg ? document.createElementNS(NS, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
const number = (value, digits = 4) => value.toFixed(digits);
const shade = (share, colour = "--heat") => `color-mix(in srgb, var(${colour}) ${Math.round(100 * Math.min(1, share))}%, var(--panel))`;
const section = (id, title, hint, ...children) => make("section", { "data-step": id }, make("h2", { tabindex: -1 }, title), make("p", { class: "soft" }, hint), ...children);
const spelled = word => word === " " ? "␣" : word;

function draw(t, place) {
  const S = t.tokens.length, L = t.attentions.length, H = t.attentions[0].length;
  const pinned = new Set(), state = { layer: L - 1, head: 0, hover: null, listeners: [] };
  const chosen = () => pinned.size ? [...pinned] : state.hover === null ? [] : [state.hover];
  const changed = () => state.listeners.forEach(listen => listen());

  const tokens = make("div", { class: "tokens", role: "group", "aria-label": "tokens: press to pin" });
  t.tokens.forEach((token, i) => {
    const button = make("button", { type: "button", "data-token": i, "aria-pressed": "false" }, token);
    button.onclick = () => { pinned.has(i) ? pinned.delete(i) : pinned.add(i); button.setAttribute("aria-pressed", pinned.has(i)); changed(); };
    button.onmouseenter = button.onfocus = () => { state.hover = i; changed(); };
    button.onmouseleave = button.onblur = () => { state.hover = null; changed(); };
    tokens.append(button);
  });

  const characters = make("div", { class: "chips" }, ...[...t.text].slice(0, 300).map(c =>
    make("span", {}, spelled(c), make("small", {}, "U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")))));
  const ids = make("div", { class: "chips" }, ...t.tokens.map((token, i) => make("span", {}, token, make("small", {}, String(t.input_ids[i])))));

  // Hidden states: norms as a table, a strip for the chosen token, and the plane.
  const largest = Math.max(...t.norms.flat());
  const names = make("tr", {}, make("th"), ...t.tokens.map(token => make("th", {}, token)));
  const norms = make("table", { class: "cells" }, names, ...t.norms.map((row, l) => make("tr", {}, make("th", { scope: "row" }, l ? `layer ${l - 1}` : "embeddings"),
    ...row.map((value, i) => make("td", { style: `background: ${shade(value / largest)}`, title: t.tokens[i] }, number(value, 1))))));
  const strips = make("div", {}), stripHint = make("p", { class: "soft readout" });
  function drawStrips() {
    const i = chosen()[0] ?? 0, D = t.states.length / (L + 1) / S;
    stripHint.textContent = `The ${D} numbers of ${t.tokens[i]}, layer by layer: blue above 0, orange below.`;
    strips.replaceChildren(...t.norms.map((_, l) => {
      const canvas = make("canvas", { width: D, height: 1, role: "img", "aria-label": `hidden state, ${l ? "layer " + (l - 1) : "embeddings"}` });
      const pixels = canvas.getContext("2d"), image = pixels.createImageData(D, 1);
      for (let d = 0; d < D; d++) {
        const v = t.states[(l * S + i) * D + d] / 127, strength = Math.min(255, Math.abs(v) * 510);
        image.data.set(v > 0 ? [0, 114, 178, strength] : [213, 94, 0, strength], 4 * d);
      }
      pixels.putImageData(image, 0, 0);
      return canvas;
    }));
  }
  const planeSvg = make("svg", { class: "plane", viewBox: "0 0 320 240", role: "img", "aria-label": "hidden states on a plane" });
  const slider = make("input", { type: "range", min: 0, max: L, value: L, "aria-label": "layer on the plane" });
  function drawPlane() {
    const l = +slider.value, points = t.plane[l], xs = points.map(p => p[0]), ys = points.map(p => p[1]);
    const scale = (v, all, size) => 30 + (v - Math.min(...all)) / (Math.max(...all) - Math.min(...all) || 1) * (size - 60);
    planeSvg.replaceChildren(make("text", { class: "soft", x: 4, y: 14 }, l ? `layer ${l - 1}` : "embeddings"), ...points.map(([x, y], i) => {
      const on = chosen().includes(i), across = scale(x, xs, 320);
      const beside = across < 200 ? { x: 7 } : { x: -7, "text-anchor": "end" };  // inside the picture
      return make("g", { transform: `translate(${across} ${scale(y, ys, 240)})` }, make("circle", { r: on ? 6 : 4, style: `fill: var(${on ? "--c3" : "--c0"})` }),
        make("text", { ...beside, y: 4 }, t.tokens[i]));
    }));
  }
  slider.oninput = drawPlane;

  // Attention of one head: lines from query (left) to key (right), and the same as a matrix.
  const heads = make("div", { class: "heads", role: "group", "aria-label": "layer and head", style: `grid-template-columns: max-content repeat(${H}, 1.7rem)` });
  for (let l = 0; l < L; l++) {
    heads.append(make("span", { class: "soft" }, `layer ${l}`));
    for (let h = 0; h < H; h++) {
      const button = make("button", { type: "button", "data-layer": l, "data-head": h, "aria-pressed": "false", "aria-label": `layer ${l}, head ${h}` }, String(h));
      button.onclick = () => { state.layer = l; state.head = h; changed(); };
      heads.append(button);
    }
  }
  const high = 18, lines = make("svg", { class: "lines", viewBox: `0 0 380 ${high * S + 24}`, role: "img", "aria-label": "attention as lines" });
  const cell = Math.min(22, 280 / S), matrix = make("svg", { viewBox: `0 0 ${135 + cell * S} ${90 + cell * S}`, role: "img", "aria-label": "attention as a matrix: a row per query, a column per key" });
  const readout = make("p", { class: "readout", "aria-live": "polite" });
  function drawAttention() {
    const weights = t.attentions[state.layer][state.head], from = chosen();
    for (const button of heads.querySelectorAll("button")) button.setAttribute("aria-pressed", +button.dataset.layer === state.layer && +button.dataset.head === state.head);
    const y = i => 28 + i * high;
    lines.replaceChildren(make("text", { class: "soft", x: 4, y: 12 }, "query"), make("text", { class: "soft", x: 250, y: 12 }, "key"));
    for (let q = 0; q < S; q++) for (let k = 0; k < S; k++) {
      if (from.length && !from.includes(q) || weights[q][k] < 0.02) continue;
      lines.append(make("line", { x1: 105, y1: y(q) - 4, x2: 245, y2: y(k) - 4, style: `stroke: var(--c0); stroke-width: 2; stroke-opacity: ${weights[q][k]}` }));
    }
    // Several pinned tokens: their sum, as if one asked for all of them.
    const sums = t.tokens.map((_, k) => from.reduce((sum, q) => sum + weights[q][k], 0));
    t.tokens.forEach((token, i) => {
      lines.append(make("text", { x: 100, y: y(i), "text-anchor": "end", style: from.includes(i) ? "font-weight: 700" : "" }, token),
        make("text", { x: 250, y: y(i) }, from.length ? `${token} ${number(sums[i], 3)}` : token));
    });
    matrix.replaceChildren();
    weights.forEach((row, q) => {
      matrix.append(make("text", { x: 84, y: 90 + cell * (q + 0.7), "text-anchor": "end" }, t.tokens[q].slice(0, 11)),
        make("text", { transform: `translate(${90 + cell * (q + 0.7)} 84) rotate(-60)` }, t.tokens[q].slice(0, 11)));
      row.forEach((value, k) => {
        const rect = make("rect", { x: 90 + k * cell, y: 90 + q * cell, width: cell, height: cell, style: `fill: ${shade(value, "--c0")}` }, make("title", {}, `${t.tokens[q]} → ${t.tokens[k]}: ${number(value)}`));
        matrix.append(rect);
      });
    });
    const n = from.length > 1 ? `sum over ${from.map(i => t.tokens[i]).join(", ")}` : from.length ? `from ${t.tokens[from[0]]}` : "every token";
    readout.textContent = `Layer ${state.layer}, head ${state.head}: ${n}.` + (from.length ? "" : " Press tokens above to see theirs alone, several to add them up.");
  }

  state.listeners.push(drawAttention, drawStrips, drawPlane);
  const parts = [
    section("characters", "Characters", `${[...t.text].length} characters, as the computer has them.`, characters),
    section("normalised", "Normalised", "Cleaned, accents and case removed where the vocabulary has none.", make("p", {}, make("code", {}, t.normalized))),
    section("pieces", "Pieces", "Each word is searched in the vocabulary: the longest piece first, then the rest with ## in front.", make("ul", { class: "tries" }, ...t.pieces.map(line => make("li", {}, line)))),
    section("ids", "Ids", "The row of each piece in the table of word embeddings.", ids),
    section("states", "Hidden states", "Length (norm) of each token's vector after the embeddings and after each layer.", make("div", { class: "wide" }, norms), stripHint, strips,
      make("p", { class: "soft" }, "On the plane of their two largest principal components:"), slider, planeSvg),
    section("attention", "Attention", "How much each token (query) takes from each other (key) in one head: a row sums to 1.", heads, readout, make("div", { class: "pair" }, lines, matrix)),
  ];
  if (t.labels.length) parts.push(lens(t), answer(t), drive(t));
  else parts.push(section("answer", "Answer", "This checkpoint has no head for this text: no classifier, and no [MASK] to fill in."));
  place.append(make("h2", {}, `“${t.text}”`), tokens, ...parts);
  changed();
}

function lens(t) {
  const head = make("tr", {}, make("th"), ...t.labels.map(label => make("th", {}, label)));
  const rows = t.lens.map((row, l) => make("tr", {}, make("th", { scope: "row" }, l ? `layer ${l - 1}` : "embeddings"), ...row.map(p => make("td", { style: `background: ${shade(p)}` }, number(p, 3)))));
  return section("lens", "What each layer would answer", "The head, made for the last layer, reads each layer: a lens. Only the last row is the answer.", make("div", { class: "wide" }, make("table", { class: "cells" }, head, ...rows)));
}

function answer(t) {
  const rows = t.labels.map((label, c) => make("tr", {}, make("th", { scope: "row" }, label), make("td", { class: "n" }, number(t.logits[c], 3)), make("td", { class: "n" }, number(t.probabilities[c])), make("td", {}, bar(t.probabilities[c], 1))));
  return section("answer", "Answer", "Logits, and the probabilities that softmax makes of them.", make("table", { class: "cells drive" }, make("tr", {}, ...["", "logit", "probability", ""].map(name => make("th", {}, name))), ...rows));
}

function bar(value, most) { // from the middle: right is for, left against; from the left where nothing is below 0
  const from = most === 1 ? 0 : 50, width = Math.min(1, Math.abs(value) / most) * (most === 1 ? 100 : 50);
  const svg = make("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(make("rect", { x: value < 0 ? from - width : from, y: 1, width, height: 8, style: `fill: var(${value < 0 ? "--c3" : "--c0"})` }));
  return svg;
}

function drive(t) {
  const best = t.labels[t.probabilities.indexOf(Math.max(...t.probabilities))];
  const most = [t.gradient, t.leave_one_out].map(all => 1.0001 * Math.max(...all.map(Math.abs), 1e-9));
  let against = 0;
  const rows = t.tokens.map((token, i) => {
    const g = t.gradient[i], o = t.leave_one_out[i], differ = g * o < 0 && Math.abs(g) / most[0] > 0.1 && Math.abs(o) / most[1] > 0.1;
    against += differ;
    return make("tr", {}, make("th", { scope: "row" }, token), make("td", { class: "n" }, number(g)), make("td", {}, bar(g, most[0])), make("td", { class: "n" }, number(o)), make("td", {}, bar(o, most[1])), make("td", { class: "against" }, differ ? "≠" : ""));
  });
  return section("drive", `What speaks for “${best}”`, `Gradient × input says what a small change would do; leave-one-out, what taking the token out does to the probability. They disagree in sign on ${against} of ${t.tokens.length} tokens (≠): neither is the truth.`,
    make("div", { class: "wide" }, make("table", { class: "cells drive" }, make("tr", {}, ...["", "gradient × input", "", "leave one out", "", ""].map(name => make("th", {}, name))), ...rows)));
}

for (const t of traces) {
  const place = make("div", { class: "one" });
  document.getElementById("inside").append(place);
  draw(t, place);
}

// One step at a time, with buttons or the arrow keys.
const steps = [...new Set([...document.querySelectorAll("[data-step]")].map(s => s.dataset.step))];
const [one, previous, next, where] = ["one", "previous", "next", "place"].map(id => document.getElementById(id));
let step = null;
function go(to) {
  step = to;
  for (const part of document.querySelectorAll("[data-step]")) part.hidden = step !== null && part.dataset.step !== steps[step];
  previous.hidden = next.hidden = step === null;
  one.textContent = step === null ? "One step at a time" : "Show all steps";
  where.textContent = step === null ? "" : `step ${step + 1} of ${steps.length}`;
}
one.onclick = () => go(step === null ? 0 : null);
previous.onclick = () => go(Math.max(0, step - 1));
next.onclick = () => go(Math.min(steps.length - 1, step + 1));
document.addEventListener("keydown", event => {
  if (step === null || event.target.matches("input")) return;
  if (event.key === "ArrowRight") next.click();
  if (event.key === "ArrowLeft") previous.click();
});
