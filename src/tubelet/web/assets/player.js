// The video, and on a canvas above it the boxes of exactly the frame that is shown.

import { clockText, identityColour } from "./moments.js";

const byId = (id) => document.getElementById(id);
const TOP = 3;
const UNTOLD_MS = 300;

export class Player {
  // onTime(seconds): a frame is shown; onHover(person or undefined, event): the pointer is on somebody.
  constructor({ onTime, onHover }) {
    Object.assign(this, { onTime, onHover, moments: null, shown: () => true, passes: () => true, boxes: true, drawn: [] });
    this.video = byId("video");
    this.canvas = byId("overlay");
    Object.assign(this, { seconds: 0, wanted: 0 });
    this.#wire();
  }

  open(source, moments, seconds) {
    this.moments = moments;
    byId("seek").max = moments.duration; // first: a slider keeps nothing beyond its end
    this.video.src = source;
    this.go(seconds);
  }

  close() {
    this.video.removeAttribute("src");
    this.video.load();
    this.moments = null;
  }

  toggle() {
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  go(seconds) {
    const last = Math.max(0, (this.video.duration || this.moments.duration) - 0.01);
    const there = Math.min(Math.max(0, seconds), last);
    if (this.video.readyState) {
      this.video.currentTime = there;
    } else { // nothing to go about in yet
      this.wanted = there;
      this.#place(there);
    }
  }

  step(direction) {
    const times = this.moments.times;
    const i = this.moments.indexAt(this.seconds);
    const onMoment = i >= 0 && Math.abs(times[i] - this.seconds) < 0.02;
    const next = direction > 0 ? times[i + 1] : times[onMoment ? i - 1 : i];
    this.video.pause();
    if (next !== undefined) this.go(next + 0.001); // players round down to the frame before
  }

  setBoxes(on) {
    this.boxes = on;
    byId("boxes").setAttribute("aria-pressed", String(on));
    this.draw();
  }

  toggleMute() {
    this.video.muted = !this.video.muted;
    byId("mute").setAttribute("aria-pressed", String(this.video.muted));
  }

  toggleFull() {
    // The whole player, not the video alone: the boxes come along.
    if (document.fullscreenElement) document.exitFullscreen();
    else byId("player").requestFullscreen?.().catch(() => {});
  }

  // Where on the page the picture is: the video keeps its aspect inside its element.
  picture() {
    const { clientWidth: w, clientHeight: h, videoWidth, videoHeight } = this.video;
    const scale = Math.min(w / (videoWidth || w || 1), h / (videoHeight || h || 1));
    const [width, height] = [(videoWidth || w) * scale, (videoHeight || h) * scale];
    return { left: (w - width) / 2, top: (h - height) / 2, width, height };
  }

  draw() {
    const ratio = devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.video;
    const [width, height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const paint = this.canvas.getContext("2d");
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint.clearRect(0, 0, clientWidth, clientHeight);
    this.drawn = [];
    if (!this.moments || !this.boxes) return;
    const place = this.picture();
    const people = this.moments.at(this.seconds).filter((p) => this.shown(p.person));
    for (const p of people) {
      const [x1, y1, x2, y2] = p.box;
      const rect = { x: place.left + x1 * place.width, y: place.top + y1 * place.height,
        width: (x2 - x1) * place.width, height: (y2 - y1) * place.height };
      this.drawn.push({ ...p, rect });
      this.#box(paint, rect, identityColour(p.person));
    }
    const taken = [];
    for (const p of this.drawn) this.#label(paint, p, place, taken);
  }

  #box(paint, rect, colour) {
    paint.lineJoin = "round";
    for (const [width, style] of [[5, "rgb(0 0 0 / 45%)"], [2.5, colour]]) {
      paint.lineWidth = width;
      paint.strokeStyle = style;
      paint.strokeRect(rect.x, rect.y, rect.width, rect.height);
    }
  }

  // Who it is and what she does, above the box or, where there is no room, inside its top edge.
  #label(paint, p, place, taken) {
    const size = Math.max(11, Math.min(15, place.height / 30));
    const actions = this.actionsOf(p.scores).slice(0, TOP);
    paint.font = `600 ${size}px system-ui, sans-serif`;
    const who = p.person === null ? "?" : String(p.person);
    const lines = actions.map(([k, score]) => [this.moments.names[k], score]);
    const whoWidth = paint.measureText(who).width + size;
    paint.font = `${size}px system-ui, sans-serif`;
    const widths = lines.map(([name]) => paint.measureText(name).width);
    const bar = 2.4 * size;
    const width = whoWidth + (lines.length ? Math.max(...widths) + bar + 1.6 * size : 0);
    const height = 1.45 * size * Math.max(1, lines.length) + 0.3 * size;
    const x = Math.min(Math.max(place.left, p.rect.x - 1), place.left + place.width - width);
    const free = (y) => y >= place.top && y + height <= place.top + place.height && !taken.some((other) =>
      x < other.x + other.width && other.x < x + width && y < other.y + other.height && other.y < y + height);
    const above = taken.map((other) => other.y - height - 2);
    const y = [p.rect.y - height - 3, ...above, p.rect.y + p.rect.height + 3, p.rect.y + 3].find(free) ?? p.rect.y + 3;
    taken.push({ x, y, width, height });
    paint.fillStyle = "rgb(16 18 22 / 84%)";
    paint.beginPath();
    paint.roundRect(x, y, width, height, 4);
    paint.fill();
    paint.fillStyle = identityColour(p.person);
    paint.beginPath();
    paint.roundRect(x, y, whoWidth, height, 4);
    paint.fill();
    paint.textBaseline = "middle";
    paint.fillStyle = "#101216";
    paint.font = `600 ${size}px system-ui, sans-serif`;
    paint.fillText(who, x + size / 2, y + height / 2);
    paint.font = `${size}px system-ui, sans-serif`;
    lines.forEach(([name, score], i) => {
      const middle = y + 0.15 * size + 1.45 * size * (i + 0.5);
      paint.fillStyle = "#ffffff";
      paint.fillText(name, x + whoWidth + 0.5 * size, middle);
      const left = x + width - bar - 0.5 * size;
      paint.fillStyle = "rgb(255 255 255 / 25%)";
      paint.fillRect(left, middle - 2, bar, 4);
      paint.fillStyle = identityColour(p.person);
      paint.fillRect(left, middle - 2, bar * score, 4);
    });
  }

  // [column, score] of the actions that pass the filter, best first.
  actionsOf(scores) {
    return scores.map((score, k) => [k, score])
      .filter(([k, score]) => this.passes(k, score) && this.actionShown(k))
      .sort((a, b) => b[1] - a[1]);
  }

  actionShown = () => true;

  #place(seconds) {
    this.seconds = seconds;
    byId("clock").value = clockText(seconds);
    const seek = byId("seek");
    if (document.activeElement !== seek || !seek.matches(":active")) seek.value = seconds;
    seek.setAttribute("aria-valuetext", clockText(seconds));
    this.draw();
    if (this.moments) this.onTime(seconds);
  }

  // The time of the frame that is on the screen, not of the player's clock, which is ahead of it.
  #frames() {
    const video = this.video;
    if (video.requestVideoFrameCallback) {
      let told = true;
      const shown = (_, frame) => {
        video.requestVideoFrameCallback(shown);
        // The first frame, which a browser may show on its way to the one that the address names.
        if (frame.mediaTime < this.wanted / 2) return;
        told = true;
        this.#place(frame.mediaTime);
      };
      video.requestVideoFrameCallback(shown);
      // A browser that composes nothing, as one that is just starting, may not tell of the frame it went to.
      video.addEventListener("seeking", () => { told = false; });
      video.addEventListener("seeked", () => setTimeout(() => {
        if (!told && !video.seeking) this.#place(video.currentTime);
      }, UNTOLD_MS));
      return;
    }
    const tick = () => {
      if (video.currentTime !== this.seconds) this.#place(video.currentTime);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  #wire() {
    const video = this.video;
    video.addEventListener("loadedmetadata", () => { if (this.wanted) this.go(this.wanted); });
    video.addEventListener("seeked", () => { this.wanted = 0; });
    for (const name of ["play", "pause", "ended"]) {
      video.addEventListener(name, () => {
        const playing = !video.paused && !video.ended;
        byId("play").classList.toggle("playing", playing);
        byId("play").setAttribute("aria-label", playing ? "Pause" : "Play");
      });
    }
    this.#frames();
    new ResizeObserver(() => this.draw()).observe(byId("stage"));
    byId("play").addEventListener("click", () => this.toggle());
    byId("step-back").addEventListener("click", () => this.step(-1));
    byId("step-on").addEventListener("click", () => this.step(1));
    byId("seek").addEventListener("input", (event) => this.go(Number(event.target.value)));
    byId("boxes").addEventListener("click", () => this.setBoxes(!this.boxes));
    byId("mute").addEventListener("click", () => this.toggleMute());
    byId("full").addEventListener("click", () => this.toggleFull());
    byId("speed").addEventListener("change", (event) => { video.playbackRate = Number(event.target.value); });
    const stage = byId("stage");
    stage.addEventListener("click", () => this.toggle());
    stage.addEventListener("pointermove", (event) => {
      const place = stage.getBoundingClientRect();
      const [x, y] = [event.clientX - place.left, event.clientY - place.top];
      const inside = (r) => x >= r.x && x <= r.x + r.width && y >= r.y && y <= r.y + r.height;
      const under = this.drawn.filter((p) => inside(p.rect));
      under.sort((a, b) => a.rect.width * a.rect.height - b.rect.width * b.rect.height);
      this.onHover(under[0], x, y);
    });
    stage.addEventListener("pointerleave", () => this.onHover(undefined));
  }
}
