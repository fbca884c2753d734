// The first view: send a video, try an example, see one's own.

import { ask, hasEnded, make, sendVideo, sentence, sizeText, spanText, twice } from "./server.js";

const byId = (id) => document.getElementById(id);
const STATES = { queued: "waiting", running: "at work", done: "ready", failed: "failed", cancelled: "cancelled" };

export class Start {
  // info: what the server takes; open(job): show a job; say(text): to those who listen.
  constructor(info, { open, say }) {
    Object.assign(this, { info, open, say, sending: null });
    byId("takes").textContent =
      `Up to ${sizeText(info.max_bytes)} and ${spanText(info.max_seconds)}. Removed after ${spanText(info.keep_seconds)}.`;
    byId("kept").textContent = `Only this browser lists them; they are removed after ${spanText(info.keep_seconds)}.`;
    this.#listenForFiles();
    this.#showExamples();
    byId("sending-stop").addEventListener("click", () => this.sending?.stop());
  }

  async show() {
    this.#fail("");
    const jobs = await ask("/api/jobs").catch(() => []);
    byId("mine-part").hidden = !jobs.length;
    byId("mine").replaceChildren(...jobs.map((job) => this.#row(job)));
    clearTimeout(this.again);
    if (jobs.some((job) => !hasEnded(job))) this.again = setTimeout(() => byId("start").hidden || this.show(), 2000);
  }

  #listenForFiles() {
    const drop = byId("drop");
    byId("file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      if (file) this.send(file);
    });
    let depth = 0;
    const mark = (by) => { depth += by; drop.classList.toggle("over", depth > 0); };
    addEventListener("dragenter", () => mark(1));
    addEventListener("dragleave", () => mark(-1));
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      depth = 0;
      mark(0);
      if (!byId("start").hidden) this.#take(event.dataTransfer);
    });
  }

  // What was dropped, if it is one file.
  #take({ items, files }) {
    const [entry] = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    if (files.length > 1) this.#fail(`These are ${files.length} files; one video at a time, please. None was sent.`);
    else if (entry?.isDirectory) this.#fail(`${entry.name} is a folder; drop a video, please.`);
    else if (!files.length) this.#fail("That is no file; drop a video, please.");
    else this.send(files[0]);
  }

  async send(file) {
    if (this.sending) return;
    this.#fail("");
    if (file.size > this.info.max_bytes) {
      this.#fail(`${file.name} has ${sizeText(file.size)}; at most ${sizeText(this.info.max_bytes)} are taken.`);
      return;
    }
    byId("sending").hidden = false;
    byId("sending-name").textContent = `Sending ${file.name}`;
    this.sending = sendVideo(file, (share) => { byId("sending-bar").value = share; });
    this.say(`Sending ${file.name}`);
    try {
      this.open(await this.sending.done);
    } catch (error) {
      if (error.name !== "AbortError") this.#fail(error.message);
    } finally {
      this.sending = null;
      byId("sending").hidden = true;
      byId("sending-bar").value = 0;
    }
  }

  #fail(text) {
    byId("start-error").textContent = text;
    byId("start-error").hidden = !text;
  }

  #showExamples() {
    byId("examples-part").hidden = !this.info.examples.length;
    byId("examples").replaceChildren(...this.info.examples.map((example) => {
      const video = make("video", { src: `${example.url}#t=2`, muted: true, playsinline: true, preload: "metadata",
        tabindex: "-1", "aria-hidden": "true" });
      video.muted = true;
      const play = () => video.play().catch(() => {});
      const button = make("button", { type: "button", class: "example", onpointerenter: play, onfocus: play,
        onpointerleave: () => video.pause(), onblur: () => video.pause(),
        onclick: () => this.#tryExample(example) }, video, make("span", {}, sentence(example.title).replace(/\.$/, "")));
      return make("li", {}, button);
    }));
  }

  async #tryExample(example) {
    try {
      this.open(await ask(`${example.url}/jobs`, { method: "POST" }));
    } catch (error) {
      this.#fail(error.message);
    }
  }

  #row(job) {
    const state = job.state === "running" ? `${Math.round(100 * job.share)} %` : STATES[job.state];
    const when = new Date(1000 * job.created).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const open = make("a", { class: "grow clip", href: `/videos/${job.id}`, "data-job": job.id }, job.name);
    const remove = make("button", { type: "button", class: "quiet", "aria-description": job.name },
      hasEnded(job) ? "Remove" : "Cancel");
    const removed = async () => {
      await ask(`/api/jobs/${job.id}`, { method: "DELETE" }).catch((error) => this.#fail(error.message));
      this.show();
    };
    if (hasEnded(job)) twice(remove, removed);
    else remove.addEventListener("click", removed);
    return make("li", {}, open, make("span", { class: "soft when" }, when),
      make("span", { class: `state ${job.state}` }, state), remove);
  }
}
