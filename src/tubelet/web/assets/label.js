// Tick what each person does at each keyframe; every change is written at once.

import { clockText, identityColour } from "./moments.js";
import { ask, make } from "./server.js";

const byId = (id) => document.getElementById(id);
const PLAY_MILLISECONDS = 160;
let info;
let name = "";
let video = null;
let at = 0;
let row = 0;
let playing = 0;
let saving = Promise.resolve();

const keyframe = () => video.keyframes[at];
const counts = (k) => k.done || k.people.some((p) => p.actions.length);
const whoOf = (p) => (p.person_id < 0 ? "Seen once" : `Person ${p.person_id}`);
const colourOf = (p) => identityColour(p.person_id < 0 ? null : p.person_id);
const url = (picture) => `/api/labels/${encodeURIComponent(name)}/${at}/${picture}.jpg`;
const middle = () => Math.floor(info.num_pictures / 2);

async function refreshList() {
  info = await ask("/api/labels");
  const waiting = info.videos.filter((v) => v.num_keyframes === null && !v.error);
  const failed = info.videos.filter((v) => v.error);
  byId("video").replaceChildren(...info.videos.map((v) => make("option", { value: v.name, disabled: v.num_keyframes === null,
    selected: v.name === name }, v.num_keyframes === null ? `${v.name} (${v.error ? "cannot be read" : "finding people"})`
    : `${v.name} (${v.num_labelled} of ${v.num_keyframes})`)));
  const labelled = info.videos.reduce((sum, v) => sum + v.num_labelled, 0);
  byId("state").textContent = waiting.length ? `Finding people; videos to go: ${waiting.length}` : `Labelled keyframes: ${labelled}`;
  problem(failed.map((v) => v.error).join(" "));
  if (waiting.length) setTimeout(refreshList, 1500);
  const first = info.videos.find((v) => v.num_keyframes);
  if (!video && first) await openVideo(first.name);
}

async function openVideo(wanted) {
  name = wanted;
  video = await ask(`/api/labels/${encodeURIComponent(name)}`);
  byId("video").value = name;
  byId("is-val").checked = video.split === "val";
  const next = video.keyframes.findIndex((k) => !counts(k) && k.people.length);
  go(next < 0 ? 0 : next);
}

function go(place) {
  if (!video || place < 0 || place >= video.keyframes.length) return;
  at = place;
  row = Math.min(row, Math.max(0, keyframe().people.length - 1));
  stop();
  byId("picture").src = url(middle());
  byId("picture").alt = `${name} at ${clockText(keyframe().pts_seconds)}`;
  show();
}

function show() {
  const { people, pts_seconds: seconds, done } = keyframe();
  byId("when").value = clockText(seconds);
  const spoken = (p) => p.actions.join(", ") || "nothing ticked";
  byId("boxes").replaceChildren(...people.map((p, i) => {
    const [x1, y1, x2, y2] = p.box_norm;
    const box = make("button", { type: "button", class: y1 < 0.08 ? "person low" : "person", "--c": colourOf(p), "aria-pressed": String(i === row),
      "aria-label": `${whoOf(p)}: ${spoken(p)}`, onclick: () => { row = i; show(); } },
    make("span", {}, [p.person_id < 0 ? "?" : p.person_id, ...p.actions].join(" · ")));
    Object.assign(box.style, { left: `${100 * x1}%`, top: `${100 * y1}%`, width: `${100 * (x2 - x1)}%`, height: `${100 * (y2 - y1)}%` });
    return box;
  }));
  const person = people[row];
  byId("who").textContent = person ? whoOf(person) : "Nobody is found here";
  byId("hint").textContent = person ? `${row + 1} of ${people.length}${done ? ", done" : ""}` : "Go on; it is of no harm.";
  byId("ticks").replaceChildren(...(person ? info.actions.map((action, k) => make("label", {},
    make("input", { type: "checkbox", checked: person.actions.includes(action), "data-action": action,
      onchange: () => tick(action) }), action, k < 9 ? make("kbd", { "aria-hidden": "true" }, String(k + 1)) : null)) : []));
  byId("strip").replaceChildren(...video.keyframes.map((k, i) => make("button", { type: "button", role: "option", tabindex: i === at ? "0" : "-1",
    "aria-selected": String(i === at), class: counts(k) ? "counts" : "", onclick: () => go(i),
    "aria-label": `${clockText(k.pts_seconds)}, ${k.people.length} people${counts(k) ? ", labelled" : ""}` }, k.people.length || "")));
}

// Write what is ticked, one change after the other.
function save(place, done) {
  const k = video.keyframes[place];
  Object.assign(k, { done });
  const body = JSON.stringify({ actions: k.people.map((p) => p.actions), done });
  const path = `/api/labels/${encodeURIComponent(name)}/${place}`;
  const write = () => ask(path, { method: "PUT", body, headers: { "content-type": "application/json" } });
  saving = saving.then(write).then(refreshList).catch((error) => problem(error.message));
}

function tick(action) {
  const person = keyframe().people[row];
  if (!person || !action) return;
  const has = person.actions.includes(action);
  const actions = has ? person.actions.filter((a) => a !== action) : [...person.actions, action];
  person.actions = info.actions.filter((a) => actions.includes(a));
  save(at, keyframe().done);
  show();
}

// Done; who is on the next keyframe too has the same ticked there, unless something is already.
function finish() {
  if (!video) return;
  save(at, true);
  const next = video.keyframes[at + 1];
  if (next && !counts(next)) {
    for (const p of next.people) {
      const before = keyframe().people.find((q) => q.person_id === p.person_id && p.person_id >= 0);
      if (before) p.actions = [...before.actions];
    }
    if (counts(next)) save(at + 1, false);
  }
  if (next) go(at + 1);
  else show();
}

function stop() {
  clearInterval(playing);
  playing = 0;
  byId("move").setAttribute("aria-pressed", "false");
  byId("still").classList.remove("playing");
}

function play() {
  if (playing) { stop(); byId("picture").src = url(middle()); return; }
  let picture = 0;
  const pictures = Array.from({ length: info.num_pictures }, (_, i) => Object.assign(new Image(), { src: url(i) }));
  byId("move").setAttribute("aria-pressed", "true");
  byId("still").classList.add("playing");
  playing = setInterval(() => {
    if (pictures[picture].complete) byId("picture").src = pictures[picture].src;
    picture = (picture + 1) % pictures.length;
  }, PLAY_MILLISECONDS);
}

function problem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

const other = (step) => { row = (row + step + keyframe().people.length) % Math.max(1, keyframe().people.length); show(); };
const KEYS = { ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1), ArrowUp: () => other(-1), ArrowDown: () => other(1),
  Enter: finish, " ": play };
addEventListener("keydown", (event) => {
  if (!video || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
  if ([" ", "Enter"].includes(event.key) && event.target.matches("input, button")) return;
  const action = /^[1-9]$/.test(event.key) ? () => tick(info.actions[Number(event.key) - 1]) : KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});
byId("video").addEventListener("change", (event) => openVideo(event.target.value).catch((error) => problem(error.message)));
byId("is-val").addEventListener("change", (event) => {
  const body = JSON.stringify({ split: event.target.checked ? "val" : "train" });
  ask(`/api/labels/${encodeURIComponent(name)}`, { method: "PUT", body, headers: { "content-type": "application/json" } })
    .catch((error) => problem(error.message));
});
byId("before").addEventListener("click", () => go(at - 1));
byId("after").addEventListener("click", () => go(at + 1));
byId("done").addEventListener("click", finish);
byId("move").addEventListener("click", play);
refreshList().catch((error) => problem(error.message));
