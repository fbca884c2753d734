// Beside the player: who does what now, what is shown, all scores of somebody, files.

import { actionStyle, identityColour } from "./moments.js";
import { make, sizeText } from "./server.js";

const byId = (id) => document.getElementById(id);
const REBUILD_MILLISECONDS = 250;
const WORDS = { mp4: "Annotated video", csv: "AVA csv", json: "JSON, everything", parquet: "Parquet table",
  vtt: "Captions (WebVTT)", srt: "Captions (SRT)", coco: "COCO", cvat: "CVAT", fiftyone: "FiftyOne" };

export class Filters {
  // onChange(): something else is to be shown.
  constructor(onChange) {
    Object.assign(this, { onChange, actions: new Set(), people: new Set(), threshold: null });
    byId("score").addEventListener("input", (event) => this.setThreshold(Number(event.target.value)));
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("filters").addEventListener("reset", (event) => {
      event.preventDefault();
      this.actions.clear();
      this.people.clear();
      this.setThreshold(null);
    });
  }

  // usual: for each action the score from which on it is said to happen.
  open(moments, usual) {
    const middle = usual.toSorted((a, b) => a - b)[usual.length >> 1];
    Object.assign(this, { moments, usual, middle, threshold: null });
    this.actions.clear();
    this.people.clear();
    byId("score").value = middle;
    this.#rank();
    this.#show();
  }

  // Nothing chosen means everything.
  actionShown = (action) => !this.actions.size || this.actions.has(action);
  passes = (action, score) => score >= (this.threshold ?? this.usual[action]);
  personShown = (person) => !this.people.size || this.people.has(person);

  setThreshold(threshold) {
    this.threshold = threshold;
    byId("score").value = threshold ?? this.middle;
    this.#show();
    this.onChange();
  }

  toggle(set, value) {
    if (!set.delete(value)) set.add(value);
    this.#show();
    this.onChange();
  }

  // Actions in order of how long they are seen, at the usual threshold.
  #rank() {
    const seconds = new Map();
    for (const known of this.moments.people) {
      for (const span of this.moments.spans(known, (_, score) => score >= 0.05)) {
        const strong = span.score >= this.usual[span.action] ? 1000 : 1;
        seconds.set(span.action, (seconds.get(span.action) ?? 0) + strong * (span.end - span.begin));
      }
    }
    this.ranked = [...seconds.keys()].sort((a, b) => seconds.get(b) - seconds.get(a));
  }

  #show() {
    const same = this.usual.every((t) => t === this.middle);
    const told = this.threshold ?? (same ? this.middle : null);
    byId("score-value").value = told === null ? "chosen by action" : told.toFixed(2);
    const seen = new Set(this.moments.people.flatMap((p) => this.moments.spans(p, this.passes)).map((s) => s.action));
    const actions = this.ranked.filter((k) => seen.has(k) || this.actions.has(k));
    const chip = (set, value, text, style, swatch) => make("button", { type: "button", class: "chip", ...style,
      "aria-pressed": String(set.has(value)), onclick: () => this.toggle(set, value) },
    make("span", { class: swatch }), make("span", { class: "clip" }, text));
    this.#replace("actions", actions.map((k) =>
      chip(this.actions, k, this.moments.names[k], actionStyle(k), "swatch hatched")));
    this.#replace("people", this.moments.people.map(({ person }) => chip(this.people, person,
      person === null ? "Seen once" : `Person ${person}`, { "--c": identityColour(person) }, "swatch")));
  }

  // Put new buttons in place of the old; the keyboard's focus stays on the one it was on.
  #replace(id, buttons) {
    const focused = [...byId(id).children].indexOf(document.activeElement);
    const text = document.activeElement?.textContent;
    byId(id).replaceChildren(...(buttons.length ? buttons : [make("span", { class: "soft" }, "none")]));
    if (focused >= 0) buttons.find((b) => b.textContent === text)?.focus();
  }
}

export class Now {
  // Who does what at this moment; the list is rebuilt only when it differs, and not at every frame that plays.
  constructor(showScores) {
    Object.assign(this, { showScores, told: "", at: 0 });
  }

  show(people, actionsOf, moments, playing) {
    if (playing && performance.now() - this.at < REBUILD_MILLISECONDS) return;
    const rows = people.map((p) => ({ person: p.person, actions: actionsOf(p.scores).slice(0, 4) }));
    rows.sort((a, b) => (a.person ?? 1e9) - (b.person ?? 1e9));
    const told = JSON.stringify(rows.map((r) => [r.person, r.actions.map(([k, s]) => [k, Math.round(50 * s)])]));
    if (told === this.told) return;
    Object.assign(this, { told, at: performance.now() });
    const focused = byId("now").contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : "";
    byId("now").replaceChildren(...(rows.length ? rows.map((row) => this.#row(row, moments))
      : [make("li", { class: "soft" }, "Nobody is seen.")]));
    if (focused) [...byId("now").querySelectorAll(".who")].find((b) => b.getAttribute("aria-label") === focused)?.focus();
  }

  #row({ person, actions }, moments) {
    const name = person === null ? "Seen once" : `Person ${person}`;
    const bars = actions.map(([k, score]) => make("li", { ...actionStyle(k), "--share": score },
      make("span", { class: "grow clip" }, moments.names[k]), make("span", { class: "num" }, score.toFixed(2))));
    const button = make("button", { type: "button", class: "who", "aria-label": `All scores of ${name.toLowerCase()}`,
      onclick: () => this.showScores(person) }, make("span", { class: "swatch", "--c": identityColour(person) }), name);
    return make("li", {}, button, make("ul", { class: "bars" },
      ...(bars.length ? bars : [make("li", { class: "soft" }, "nothing above the score")])));
  }
}

// All scores of somebody, best first, beside a place on the stage.
export function showScores(person, moments, x, y) {
  const box = byId("scores");
  const order = person.scores.map((score, k) => [k, score]).sort((a, b) => b[1] - a[1]);
  const title = make("p", { class: "title" }, make("span", { class: "swatch", "--c": identityColour(person.person) }),
    person.person === null ? "Seen once" : `Person ${person.person}`);
  const rows = order.map(([k, score]) => make("li", { ...actionStyle(k), "--share": score },
    make("span", { class: "grow clip" }, moments.names[k]), make("span", { class: "num" }, score.toFixed(2))));
  box.replaceChildren(title, make("ul", { class: "bars", "--columns": Math.ceil(rows.length / 15) }, ...rows));
  box.hidden = false;
  const stage = box.parentElement;
  box.style.left = `${Math.max(4, Math.min(x + 14, stage.clientWidth - box.offsetWidth - 4))}px`;
  box.style.top = `${Math.max(4, Math.min(y + 14, stage.clientHeight - box.offsetHeight - 4))}px`;
}

export function hideScores() {
  byId("scores").hidden = true;
}

export function showDownloads(job) {
  byId("download-list").replaceChildren(...job.downloads.map((file) => make("li", {},
    make("a", { href: file.url, download: file.name, "data-format": file.format }, WORDS[file.format] ?? file.format,
      make("span", { class: "soft" }, sizeText(file.num_bytes))))));
}
