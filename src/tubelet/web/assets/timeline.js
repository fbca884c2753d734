// One lane for each person, coloured spans for what she does; a span is a button that leads to its moment.

import { actionStyle, clockText, identityColour } from "./moments.js";
import { make } from "./server.js";

const byId = (id) => document.getElementById(id);
const MOST_ROWS = 4;

export class Timeline {
  // go(seconds): show this moment.
  constructor({ go }) {
    Object.assign(this, { go, spans: [] });
    byId("zoom").addEventListener("input", () => this.#zoom());
    byId("lanes").addEventListener("keydown", (event) => this.#move(event));
    byId("lanes").addEventListener("click", (event) => this.#click(event));
  }

  // people: [{known, spans}] that are shown.
  show(moments, people) {
    this.moments = moments;
    this.spans = people.flatMap((p) => p.spans).sort((a, b) => a.begin - b.begin);
    this.cursor = make("div", { class: "cursor", "aria-hidden": "true" });
    const names = make("div", { class: "lane-names" }, make("div", { class: "ruler" }));
    const tracks = make("div", { class: "tracks", id: "tracks" }, this.#ruler());
    for (const { known, spans } of people) {
      const rows = stack(spans);
      const name = known.person === null ? "Seen once" : `Person ${known.person}`;
      const swatch = make("span", { class: "swatch", "--c": identityColour(known.person) });
      const height = { "--rows": Math.max(1, rows) };
      names.append(make("div", { class: "lane-name", ...height }, swatch, make("span", { class: "clip" }, name)));
      const lane = make("div", { class: "lane", role: "group", "aria-label": name, ...height });
      lane.append(...this.#presence(known), ...spans.filter((s) => s.row < MOST_ROWS).map((s) => this.#span(s)));
      lane.querySelector("button")?.setAttribute("tabindex", "0");
      tracks.append(lane);
    }
    tracks.append(...moments.cuts.map((seconds) => this.#cut(seconds)), this.cursor);
    this.tracks = tracks;
    byId("lanes").replaceChildren(names, make("div", { class: "scroll", id: "scroll" }, tracks));
    this.#zoom();
    this.at(this.seconds ?? 0);
  }

  at(seconds) {
    this.seconds = seconds;
    this.cursor?.style.setProperty("left", this.#percent(seconds));
    const scroll = byId("scroll");
    if (!scroll || scroll.scrollWidth <= scroll.clientWidth) return;
    const x = (seconds / this.moments.duration) * scroll.scrollWidth;
    if (x < scroll.scrollLeft || x > scroll.scrollLeft + scroll.clientWidth) scroll.scrollLeft = x - 40;
  }

  // The next action that begins after now, or the one before.
  jump(direction) {
    const begins = this.spans.map((s) => s.begin);
    const found = direction > 0 ? begins.find((t) => t > this.seconds + 0.05)
      : begins.findLast((t) => t < this.seconds - 0.3);
    if (found !== undefined) this.go(found + 0.001);
  }

  #percent(seconds) {
    return `${(100 * seconds) / this.moments.duration}%`;
  }

  #span(span) {
    const name = this.moments.names[span.action];
    const when = `${clockText(span.begin)} to ${clockText(span.end)}`;
    const who = span.person === null ? "seen once" : `person ${span.person}`;
    const label = `${name}, ${who}, ${when}, score ${span.score.toFixed(2)}`;
    const button = make("button", { type: "button", class: "span", tabindex: "-1", "aria-label": label, title: label,
      ...actionStyle(span.action), "--row": span.row }, make("span", { class: "clip" }, name));
    button.style.left = this.#percent(span.begin);
    button.style.width = this.#percent(span.end - span.begin);
    button.dataset.seconds = span.begin;
    return button;
  }

  // Thin line where somebody is seen, whatever she does.
  #presence(known) {
    const stretches = [];
    for (const [i] of known.places) {
      const last = stretches.at(-1);
      if (last && i <= last[1] + 1) last[1] = i;
      else stretches.push([i, i]);
    }
    return stretches.map(([first, last]) => {
      const line = make("div", { class: "seen", "aria-hidden": "true" });
      line.style.left = this.#percent(this.moments.begins[first]);
      line.style.width = this.#percent(this.moments.ends[last] - this.moments.begins[first]);
      return line;
    });
  }

  #cut(seconds) {
    const mark = make("div", { class: "cut", "aria-hidden": "true" });
    mark.style.left = this.#percent(seconds);
    return mark;
  }

  #ruler() {
    const ruler = make("div", { class: "ruler", "aria-hidden": "true" });
    const zoom = Number(byId("zoom").value);
    const wanted = this.moments.duration / (innerWidth < 700 ? 4 : 8) / zoom;
    const step = [0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600].find((s) => s >= wanted) ?? 7200;
    for (let t = 0; t < this.moments.duration - step * 0.3; t += step) {
      const tick = make("span", {}, clockText(t, step < 1 ? 1 : 0));
      tick.style.left = this.#percent(t);
      ruler.append(tick);
    }
    return ruler;
  }

  #zoom() {
    if (!this.tracks) return;
    this.tracks.style.setProperty("width", `${100 * Number(byId("zoom").value)}%`);
    this.tracks.querySelector(".ruler").replaceWith(this.#ruler());
    this.at(this.seconds ?? 0);
  }

  #click(event) {
    const span = event.target.closest(".span");
    if (span) {
      this.go(Number(span.dataset.seconds) + 0.001);
      return;
    }
    const track = event.target.closest(".tracks");
    if (!track) return;
    const place = track.getBoundingClientRect();
    this.go(((event.clientX - place.left) / place.width) * this.moments.duration);
  }

  // One stop of the tab key a lane; arrows go along and between lanes.
  #move(event) {
    const span = event.target.closest(".span");
    if (!span || event.ctrlKey || event.metaKey || event.altKey) return;
    const lane = [...span.parentElement.querySelectorAll(".span")];
    const lanes = [...this.tracks.querySelectorAll(".lane")];
    const across = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const down = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    let next;
    if (across) next = lane[lane.indexOf(span) + across];
    else if (down) {
      for (let i = lanes.indexOf(span.parentElement) + down; lanes[i] && !next; i += down) {
        next = lanes[i].querySelector(".span");
      }
    } else return;
    event.preventDefault();
    event.stopPropagation();
    if (!next) return;
    for (const other of next.parentElement.querySelectorAll(".span")) other.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}

// Give each span the first row where it overlaps none; returns how many rows are shown.
function stack(spans) {
  const ends = [];
  for (const span of spans) {
    let row = ends.findIndex((end) => end <= span.begin + 1e-6);
    if (row < 0) row = ends.length;
    ends[row] = span.end;
    span.row = row;
  }
  return Math.min(MOST_ROWS, ends.length);
}
