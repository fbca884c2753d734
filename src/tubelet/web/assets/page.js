// The page: which view is shown, keys, links to a moment, colours.

import { clockText, Moments } from "./moments.js";
import { Filters, hideScores, Now, showDownloads, showScores } from "./panel.js";
import { Player } from "./player.js";
import { ask, follow, hasEnded, sentence, spanText, twice } from "./server.js";
import { Start } from "./start.js";
import { Timeline } from "./timeline.js";

const byId = (id) => document.getElementById(id);
const VIEWS = ["start", "waiting", "viewer", "gone"];
let info;
let start;
let job = null;
let moments = null;
let stopFollowing = () => {};

const say = (text) => { byId("live").textContent = text; };

const player = new Player({
  onTime: (seconds) => {
    timeline.at(seconds);
    now.show(moments.at(seconds).filter((p) => filters.personShown(p.person)), (s) => player.actionsOf(s), moments,
      !player.video.paused);
    if (pinned !== undefined) pin(pinned);
  },
  onHover: (person, x, y) => {
    if (pinned !== undefined) return;
    if (person) showScores(person, moments, x, y);
    else hideScores();
  },
});
const timeline = new Timeline({ go: (seconds) => player.go(seconds) });
const filters = new Filters(() => refresh());
// undefined: nobody's scores stay open; null is a person, one who was seen once.
let pinned;
const now = new Now((person) => (pinned === person ? unpin() : pin(person)));

function pin(person) {
  const found = player.drawn.find((p) => p.person === person);
  if (!found) { unpin(); return; }
  pinned = person;
  showScores(found, moments, found.rect.x + found.rect.width, found.rect.y);
}

function unpin() {
  pinned = undefined;
  hideScores();
}

function refresh() {
  player.passes = filters.passes;
  player.shown = filters.personShown;
  player.actionShown = filters.actionShown;
  const people = moments.people.filter((p) => filters.personShown(p.person)).map((known) => ({
    known, spans: moments.spans(known, filters.passes).filter((s) => filters.actionShown(s.action)),
  }));
  timeline.show(moments, people);
  now.told = "";
  player.draw();
  player.onTime(player.seconds);
}

function show(view) {
  for (const name of VIEWS) byId(name).hidden = name !== view;
  if (view !== "viewer") { player.close(); moments = null; unpin(); byId("downloads").open = false; }
}

// The address says everything: /videos/<id>#t=12.3
function secondsInAddress() {
  const found = new URLSearchParams(location.hash.slice(1)).get("t");
  return found === null ? 0 : Math.max(0, Number(found) || 0);
}

async function route() {
  stopFollowing();
  const [, id] = location.pathname.match(/^\/videos\/([^/]+)$/) ?? [];
  if (!id && location.pathname !== "/") {
    gone("No page has this address.");
    return;
  }
  if (!id) {
    document.title = "Tubelet";
    show("start");
    start.show();
    return;
  }
  try {
    await showJob(await ask(`/api/jobs/${id}`));
  } catch (error) {
    gone(error.message);
  }
}

function gone(text, title = "Nothing is here") {
  show("gone");
  byId("gone-title").textContent = title;
  byId("gone-text").textContent = text;
  document.title = "Tubelet";
}

function goTo(path) {
  history.pushState(null, "", path);
  route();
}

async function showJob(found) {
  job = found;
  document.title = `${job.name} · Tubelet`;
  if (job.state === "failed") return gone(job.error, "This did not work");
  if (job.state === "cancelled") return gone(job.name, "Cancelled");
  if (job.state === "done") return view();
  show("waiting");
  wait(job);
  stopFollowing = follow(job.id, (changed) => {
    job = changed;
    if (hasEnded(job)) showJob(job).catch((error) => gone(error.message));
    else wait(job);
  });
}

function wait(current) {
  const bar = byId("waiting-bar");
  byId("waiting-title").textContent = current.name;
  let text = current.before ? `${current.before} before this one.` : "Starting.";
  if (current.state === "running") {
    text = current.stage === "preparing" ? "Preparing a copy that browsers play." : "Looking for people and what they do.";
    if (current.stage === "") text = "Starting.";
  }
  if (byId("waiting-text").textContent !== text) { byId("waiting-text").textContent = text; say(text); }
  if (current.share > 0) bar.value = current.share;
  else bar.removeAttribute("value");
  const left = current.seconds_left === null ? "" : `About ${spanText(current.seconds_left)} left. `;
  byId("waiting-note").textContent = `${left}${sentence(current.note)}`.trim() || "You can leave; it goes on.";
  byId("waiting-cancel").hidden = !current.is_mine;
}

async function view() {
  const detections = await ask(job.detections_url);
  show("viewer");
  moments = new Moments(detections, job.video.duration_seconds);
  byId("viewer-title").textContent = job.name;
  const people = job.video.num_people === 1 ? "1 person" : `${job.video.num_people} people`;
  const shots = moments.cuts.length ? ` · ${moments.cuts.length + 1} shots` : "";
  byId("viewer-facts").textContent = `${people} · ${clockText(job.video.duration_seconds)}${shots} · `
    + `${job.video.width} × ${job.video.height} · model ${info.model}`;
  byId("viewer-remove").hidden = !job.is_mine;
  showDownloads(job);
  byId("stage").style.setProperty("--aspect", job.video.width / job.video.height);
  player.moments = moments;
  filters.open(moments, detections.thresholds);
  refresh();
  player.open(job.video.url, moments, secondsInAddress());
  say(`${job.name} is ready: ${people}.`);
}

async function share() {
  const link = `${location.origin}/videos/${job.id}#t=${player.seconds.toFixed(2)}`;
  history.replaceState(null, "", link);
  try {
    await navigator.clipboard.writeText(link);
    toast("A link to this moment is copied.");
  } catch {
    toast("The link to this moment is in the address line.");
  }
}

function toast(text) {
  byId("toast").textContent = text;
  byId("toast").hidden = false;
  say(text);
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { byId("toast").hidden = true; }, 2600);
}

async function remove() {
  try {
    await ask(`/api/jobs/${job.id}`, { method: "DELETE" });
    goTo("/");
  } catch (error) {
    toast(error.message);
  }
}

const KEYS = {
  " ": () => player.toggle(), k: () => player.toggle(), ArrowLeft: () => player.step(-1), ArrowRight: () => player.step(1),
  j: () => player.go(player.seconds - 5), l: () => player.go(player.seconds + 5), Home: () => player.go(0),
  End: () => player.go(Infinity), n: () => timeline.jump(1), p: () => timeline.jump(-1), f: () => player.toggleFull(),
  m: () => player.toggleMute(), b: () => player.setBoxes(!player.boxes), c: () => share(), Escape: () => unpin(),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.key === "?") { byId("help").showModal(); return; }
  if (byId("viewer").hidden || event.target.matches("select, input:not([type=range])")) return;
  // What is focused keeps its own keys: a button its space, a slider its arrows.
  if (event.key === " " && event.target.matches("button, summary, a")) return;
  if (/^(Arrow|Home|End)/.test(event.key) && event.target.matches("input")) return;
  const nth = /^[1-9]$/.test(event.key) ? moments.people[Number(event.key) - 1] : undefined;
  const action = nth ? () => filters.toggle(filters.people, nth.person) : KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-home], a[data-job]");
  if (link && !event.ctrlKey && !event.metaKey && event.button === 0) {
    event.preventDefault();
    goTo(link.getAttribute("href"));
  }
  if (!event.target.closest("#downloads")) byId("downloads").open = false;
});
addEventListener("popstate", route);
addEventListener("hashchange", () => { if (moments) player.go(secondsInAddress()); });
byId("share").addEventListener("click", share);
twice(byId("viewer-remove"), remove);
byId("waiting-cancel").addEventListener("click", remove);
byId("help-open").addEventListener("click", () => byId("help").showModal());
byId("video").addEventListener("error", () => { if (moments) toast("This browser cannot play the video."); });

const THEMES = { "": "as the system", light: "light", dark: "dark" };
function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  try { localStorage.setItem("theme", theme); } catch { /* a private window */ }
  byId("theme").setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
  byId("theme").title = `Colours: ${THEMES[theme]}`;
}
let theme = "";
try { theme = localStorage.getItem("theme") ?? ""; } catch { /* a private window */ }
setTheme(theme in THEMES ? theme : "");
byId("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  setTheme(names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length]);
});

try {
  info = await ask("/api/info");
  start = new Start(info, { open: (opened) => goTo(`/videos/${opened.id}`), say });
  await route();
} catch (error) {
  gone(error.message);
}
