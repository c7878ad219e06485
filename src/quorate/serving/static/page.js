// A client of the Open Inference Protocol: what the server has, how it fares, what it sees.
"use strict";

const EVERY = 2000; // ms between two looks at the figures
const SELDOM = 15; // looks at the figures for one at the models
const COLOURS = ["#56b4e9", "#f0a34a", "#58c9a0", "#e48ac0", "#f2e14c", "#b3a1f5", "#ff8d7a", "#c9d36b"];
const SHOWN = 5; // labels of a picture
const WORDS = 12; // px of the words beside boxes
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);

let token = "";
let timer = 0;
let models = new Map(); // ensemble: {state, reason, members, takesFiles, outputs}
let known = ""; // which ensembles were ready when the models were last asked for
let looks = 0;
let before = new Map(); // ensemble: [time, pictures answered], a while ago
let picture = null; // {file, url, width, height}
let asked = 0; // the number of the request whose answer is wanted
let draw = () => {}; // draws the last answer

class Refused extends Error {
  constructor(status, sentence) { super(sentence); this.status = status; }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(path, { ...options, headers });
  const text = await answer.text();
  if (answer.ok) return text;
  let said = "";
  try { said = JSON.parse(text).error; } catch { /* no JSON: the status says enough */ }
  throw new Refused(answer.status, said || `The server answers with status ${answer.status}.`);
}
const json = async (path, options) => JSON.parse(await ask(path, options));

function element(tag, content, attributes = {}) {
  const one = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
  one.append(...[content].flat().filter((part) => part !== null && part !== undefined));
  return one;
}

// Prometheus's text: name{label="value",…} number
function metrics(text) {
  const found = [];
  for (const line of text.split("\n")) {
    const parts = /^(quorate_\w+?)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!parts) continue;
    const labels = {};
    for (const [, name, value] of (parts[2] || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
      labels[name] = value.replace(/\\(["\\])/g, "$1");
    found.push({ name: parts[1], labels, value: Number(parts[3]) });
  }
  const sum = (name, wanted = {}) => found
    .filter((one) => one.name === name
      && Object.entries(wanted).every(([key, value]) => one.labels[key] === value))
    .reduce((total, one) => total + one.value, 0);
  const ready = found.filter((one) => one.name === "quorate_ready");
  return [sum, ready.map((one) => `${one.labels.ensemble} ${one.value}`).join("\n")];
}

async function look() {
  const [sum, ready] = metrics(await ask("/metrics"));
  // What the models are is asked where one came, went or was loaded, and now and then.
  if (ready !== known || looks++ % SELDOM === 0) await list();
  known = ready;
  show(sum);
  choices();
}

async function list() {
  const index = await json("/v2/repository/index", { method: "POST", body: "{}" });
  const names = new Set(index.map((one) => one.name));
  const now = new Map();
  for (const one of index) {
    const of = [...names].find((name) => one.name.startsWith(`${name}.`));
    if (of === undefined) now.set(one.name, { ...one, members: [] });
  }
  for (const one of index)
    for (const [name, about] of now)
      if (one.name.startsWith(`${name}.`)) about.members.push(one.name.slice(name.length + 1));
  for (const [name, about] of now) {
    if (about.state === "READY") {
      const said = await json(`/v2/models/${encodeURIComponent(name)}`);
      about.takesFiles = said.inputs.length === 1 && said.inputs[0].datatype === "BYTES";
      about.outputs = new Set(said.outputs.map((one) => one.name));
    }
  }
  models = now;
}

const STATES = { READY: ["ready", "ready"], LOADING: ["loading", "is being loaded"] };

function show(sum) {
  $("models").replaceChildren(...[...models].map(([name, about]) => {
    const [kind, word] = STATES[about.state] || ["", "cannot be asked"];
    const head = element("div", [element("h2", name),
      element("span", word, { class: `state ${kind}` })], { class: "head" });
    const card = element("section", [head], { class: "card", "aria-label": name });
    if (about.reason) card.append(element("p", about.reason, { class: "alarm" }));
    const answered = sum("quorate_pictures_total", { ensemble: name });
    const refused = sum("quorate_requests_total", { model: name, code: "RESOURCE_EXHAUSTED" });
    const seconds = sum("quorate_request_seconds_sum", { model: name });
    const requests = sum("quorate_request_seconds_count", { model: name });
    const figures = {
      "pictures answered": count(answered),
      "a second": rate(name, answered),
      "mean time of a request": requests ? duration(seconds / requests) : "–",
      "wait now": count(sum("quorate_waiting_pictures", { ensemble: name })),
      "degraded": count(sum("quorate_pictures_total", { ensemble: name, degraded: "true" })),
      "requests refused as too many": count(refused),
    };
    if (!about.members.length) for (const of of ["pictures answered", "a second", "degraded"])
      delete figures[of];
    card.append(element("dl", Object.entries(figures).map(([what, value]) =>
      element("div", [element("dt", what), element("dd", value)])), { class: "figures" }));
    if (about.members.length) card.append(members(name, about, sum));
    return card;
  }));
}

function members(name, about, sum) {
  const rows = about.members.map((member) => {
    const of = { ensemble: name, member };
    const looks = sum("quorate_member_seconds_count", of);
    return element("tr", [element("th", member, { scope: "row" }),
      element("td", count(sum("quorate_member_pictures_total", { ...of, outcome: "voted" }))),
      element("td", count(sum("quorate_member_pictures_total", { ...of, outcome: "failed" }))),
      element("td", looks ? duration(sum("quorate_member_seconds_sum", of) / looks) : "–")]);
  });
  const head = ["member", "voted on", "failed on", "mean time of a look"]
    .map((what) => element("th", what, { scope: "col" }));
  return element("div", element("table", [element("thead", element("tr", head)),
    element("tbody", rows)]), { class: "scroll" });
}

const count = (number) => number.toLocaleString("en");
const duration = (seconds) => seconds < 1 ? `${Math.round(1000 * seconds)} ms`
  : `${seconds.toFixed(1)} s`;

function rate(name, answered) {
  const now = performance.now();
  const past = (before.get(name) || []).filter(([time]) => now - time < 10500);
  past.push([now, answered]);
  before.set(name, past);
  const [[start, first]] = past;
  return now - start > 500 ? ((answered - first) / (now - start) * 1000).toFixed(1) : "–";
}

function choices() {
  const names = [...models].filter(([, about]) => about.takesFiles).map(([name]) => name);
  $("try").hidden = !names.length;
  const select = $("model");
  if ([...select.options].map((one) => one.value).join("\n") === names.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(...names.map((name) => element("option", name, { value: name })));
  if (names.includes(chosen)) select.value = chosen;
}

// What a picture is sent as: JSON, then the file with its length before it.
function body(file, outputs) {
  const start = new TextEncoder().encode(JSON.stringify({
    inputs: [{ name: "image", datatype: "BYTES", shape: [1],
      parameters: { binary_data_size: file.byteLength + 4 } }],
    outputs: outputs.map((name) => ({ name })),
  }));
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, file.byteLength, true);
  return { body: new Blob([start, length, file]),
    headers: { "Inference-Header-Content-Length": String(start.length) } };
}

async function infer() {
  const name = $("model").value;
  const about = models.get(name);
  if (!picture || !about) return;
  const number = ++asked;
  say(`${name} looks at ${picture.name} …`);
  draw = () => {};
  $("answer").replaceChildren();
  $("least").hidden = true;
  const boxes = about.outputs.has("boxes");
  const own = boxes ? ["boxes", "scores", "labels"] : ["label", "top_labels", "top_probabilities"];
  const decided = [...own, "votes", "voters"];
  const wanted = [...decided, ...about.members.flatMap((m) => own.map((one) => `${m}.${one}`))]
    .filter((one) => about.outputs.has(one));
  try {
    const start = performance.now();
    const answer = await json(`/v2/models/${encodeURIComponent(name)}/infer`,
      { method: "POST", ...body(picture.file, wanted) });
    if (number !== asked) return;
    const took = duration((performance.now() - start) / 1000);
    const found = Object.fromEntries(answer.outputs.map((one) => [one.name, one.data]));
    const said = answer.parameters || {};
    const voters = (found.voters && found.voters[0] || "").split(",").filter(Boolean);
    say(`${picture.name}: answered in ${took}` + (said.degraded ? ", degraded" : "") + ".");
    draw = () => {
      const view = boxes ? boxesView : labelsView;
      const colours = new Map();
      $("answer").replaceChildren(view("Decision", "", found, "decision", colours),
        ...about.members.map((member) => voters.includes(member)
          ? view(member, `${member}.`, found, "", colours)
          : element("section", [element("h3", member),
            element("p", why(said.failed, member), { class: "alarm" })])));
      sizes();
    };
    $("least").hidden = !boxes || !about.members.length;
    draw();
  } catch (error) {
    if (number === asked) say(`${picture.name}: ${sentence(error)}`);
  }
}

// "a: reason; b: reason" tells why the members failed.
function why(failed, member) {
  const start = `; ${failed || ""}`.indexOf(`; ${member}: `);
  return start < 0 ? "took no part" : `took no part: ${failed.slice(start + member.length + 2)}`;
}

function colour(label, colours) {
  if (!colours.has(label)) colours.set(label, COLOURS[colours.size % COLOURS.length]);
  return colours.get(label);
}

function boxesView(title, prefix, found, kind, colours) {
  const flat = found[`${prefix}boxes`];
  let rows = found[`${prefix}scores`].map((score, i) => ({ score, label: found[`${prefix}labels`][i],
    xyxy: flat.slice(4 * i, 4 * i + 4), votes: prefix ? null : found.votes && found.votes[i] }));
  const all = rows.length;
  const least = Number($("score").value);
  if (prefix) rows = rows.filter((one) => one.score >= least);
  const faint = all - rows.length;
  const said = `${counted(rows.length)}${faint ? `, and ${faint} below ${least.toFixed(2)}` : ""}`;
  const parts = [element("figcaption", [element("h3", title), element("span", said)])];
  const { width, height } = picture;
  if (width) {
    const drawn = document.createElementNS(SVG, "svg");
    drawn.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawn.setAttribute("aria-hidden", "true");
    for (const one of rows.toReversed()) drawn.append(...box(one, colour(one.label, colours)));
    const shown = element("img", [], { src: picture.url, alt: `${picture.name}: ${said}`,
      width, height });
    parts.push(element("div", [shown, drawn], { class: "picture" }));
  }
  const lines = rows.map((one) => {
    const key = element("span", [], { class: "key" });
    key.style.borderColor = colour(one.label, colours);
    const numbers = [one.score.toFixed(3), ...(prefix ? [] : [String(one.votes ?? "–")]),
      one.xyxy.map((value) => Math.round(value)).join(", ")];
    return element("tr", [element("th", [key, one.label], { scope: "row" }),
      ...numbers.map((value) => element("td", value))]);
  });
  const heads = ["label", "score", ...(prefix ? [] : ["votes"]), "x1, y1, x2, y2"];
  const table = element("table", [element("thead", element("tr", heads.map((what) =>
    element("th", what, { scope: "col" })))), element("tbody", lines)]);
  parts.push(element("details", [element("summary", "as a table"),
    element("div", table, { class: "scroll" })]));
  return element("figure", parts, { class: `view ${kind}` });
}

const counted = (number) => `${number} ${number === 1 ? "box" : "boxes"}`;

function box({ xyxy: [x1, y1, x2, y2], label, score, votes }, stroke) {
  const drawn = ["under", ""].map((kind) => {
    const one = document.createElementNS(SVG, "rect");
    const sizes = { x: x1, y: y1, width: Math.max(x2 - x1, 0), height: Math.max(y2 - y1, 0) };
    for (const [name, value] of Object.entries(sizes)) one.setAttribute(name, value);
    if (kind) one.setAttribute("class", kind);
    else one.style.stroke = stroke;
    return one;
  });
  const words = document.createElementNS(SVG, "text");
  words.textContent = `${label} ${score.toFixed(2)}${votes ? ` ·${votes}` : ""}`;
  const right = x1 > 0.75 * picture.width;
  words.setAttribute("x", right ? Math.min(x2, picture.width) : x1);
  if (right) words.setAttribute("text-anchor", "end");
  words.setAttribute("y", y1);
  words.setAttribute("dy", y1 > picture.height / 20 ? "-.3em" : "1em");
  return [...drawn, words];
}

function labelsView(title, prefix, found, kind) {
  const labels = found[`${prefix}top_labels`].slice(0, SHOWN);
  const most = found[`${prefix}top_probabilities`];
  const bars = labels.map((label, i) => {
    const fill = element("i", []);
    fill.style.width = `${100 * Math.min(Math.max(most[i], 0), 1)}%`;
    return element("li", [element("b", label),
      element("div", fill, { class: "bar", "aria-hidden": "true" }),
      element("span", most[i].toFixed(3))]);
  });
  const votes = prefix || !found.votes ? "" : `${found.votes[0]} first choose it`;
  const head = element("figcaption", [element("h3", title),
    element("span", [found[`${prefix}label`][0], votes].filter(Boolean).join(" · "))]);
  const shown = !prefix && picture.width ? [element("div", element("img", [], { src: picture.url,
    alt: picture.name, width: picture.width, height: picture.height }), { class: "picture" })] : [];
  return element("figure", [head, ...shown, element("ol", bars, { class: "bars" })],
    { class: `view ${kind}` });
}

// Words are of one size on the screen, however large the picture is shown.
function sizes() {
  for (const one of document.querySelectorAll(".picture svg"))
    one.style.fontSize = `${WORDS * picture.width / (one.clientWidth || picture.width)}px`;
}

async function take(file) {
  if (!file) return;
  if (picture) URL.revokeObjectURL(picture.url);
  picture = { name: file.name || "the picture", file: await file.arrayBuffer(),
    url: URL.createObjectURL(file), width: 0, height: 0 };
  const shown = new Image();
  shown.src = picture.url;
  try {
    await shown.decode();
    Object.assign(picture, { width: shown.naturalWidth, height: shown.naturalHeight });
  } catch { /* what the browser cannot show, such as TIFF, the server may read */ }
  await infer();
}

const say = (text) => { $("said").textContent = text; };
const sentence = (error) => error instanceof Refused ? error.message
  : error instanceof TypeError ? "The server does not answer." : String(error);

async function live() {
  clearTimeout(timer);
  try {
    await look();
    $("trouble").hidden = $("entrance").hidden = true;
  } catch (error) {
    const who = error.status === 401;
    $("entrance").hidden = !who;
    $("trouble").hidden = who && !token;
    $("trouble").textContent = who ? "That is not the token." : sentence(error);
    if (who) return;
  }
  if (!document.hidden) timer = setTimeout(live, EVERY);
}

$("server").textContent = location.host;
$("entrance").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  looks = 0;
  live();
});
$("file").addEventListener("change", (event) => take(event.target.files[0]));
$("model").addEventListener("change", infer);
$("score").addEventListener("input", () => {
  $("score-now").textContent = Number($("score").value).toFixed(2);
  draw();
});
window.addEventListener("resize", sizes);
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
document.addEventListener("visibilitychange", () => { if (!document.hidden) live(); });
for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, (event) => {
  event.preventDefault();
  $("drop").classList.toggle("over", kind === "dragover");
  if (kind === "drop") take(event.dataTransfer.files[0]);
});
live();
