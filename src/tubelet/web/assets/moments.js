// What was found, asked by time: who is where, and from when to when somebody does something. No page here.

// As in the annotated copy: Okabe and Ito's palette, which people with any common colour blindness can tell apart.
const IDENTITY = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"];
const NOT_FOLLOWED = "#aaaaaa";
const HOLD_SECONDS = 0.5;

export function identityColour(person) {
  return person === null ? NOT_FOLLOWED : IDENTITY[(person - 1 + 7 * 1000) % 7];
}

// How an action looks in every video: its place in the model's label list decides, not what else happens there. Muted
// and hatched, where people are saturated and plain, so that neither can be taken for the other.
export function actionStyle(action) {
  const hue = (255 + action * 137.508) % 360; // the golden angle: neighbours differ however many there are
  return { "--c": `oklch(${[0.6, 0.74, 0.67][action % 3]} 0.085 ${hue})`, "--turn": `${[45, 135, 90, 0][action % 4]}deg` };
}

export function clockText(seconds, decimals = 1) {
  const tenths = 10 ** decimals;
  const all = Math.round(Math.max(0, seconds) * tenths);
  const minutes = Math.floor(all / (60 * tenths));
  const rest = ((all - minutes * 60 * tenths) / tenths).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export class Moments {
  // detections: the JSON tubelet.detections/1; duration: of the video, in seconds.
  constructor(detections, duration) {
    this.names = detections.label_space.names;
    this.duration = duration;
    this.times = detections.moments.map((m) => m.pts_seconds);
    this.moments = detections.moments.map((m) => m.people.map((p, row) => ({
      person: p.person_id, box: p.box_norm, boxScore: p.box_score, scores: p.scores, row,
    })));
    this.shots = detections.moments.map(({ shot_seconds: [begin, end] = [null, null] }) => (
      [begin ?? -Infinity, end ?? Infinity]));
    this.cuts = [...new Set(this.shots.flat().filter(Number.isFinite))].sort((a, b) => a - b);
    this.#stretches();
    this.people = this.#people();
  }

  // From when to when each moment counts: to the middle between two, or to the cut between them.
  #stretches() {
    const last = this.times.length - 1;
    this.begins = this.times.map(() => 0);
    this.ends = this.times.map(() => Math.max(this.duration, this.times[last]));
    for (let i = 0; i < last; i++) {
      const [t0, t1] = [this.times[i], this.times[i + 1]];
      const cuts = [this.shots[i][1], this.shots[i + 1][0]].filter((t) => t > t0 && t <= t1);
      const middle = (t0 + t1) / 2;
      this.ends[i] = Math.min(...cuts, cuts.length ? Infinity : middle);
      this.begins[i + 1] = Math.max(...cuts, cuts.length ? -Infinity : middle);
    }
  }

  // Whether a cut lies between a moment and the one before.
  #isCut(i) {
    return i > 0 && (this.shots[i][0] > this.times[i - 1] || this.shots[i - 1][1] <= this.times[i]);
  }

  // Last moment at or before a time, -1 before the first.
  indexAt(seconds) {
    let low = 0;
    let high = this.times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] <= seconds + 1e-6) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  // Who is where at any time. Somebody in the moments before and after moves evenly between them; somebody in one
  // of them stands still in the half interval next to it, or from or to the cut, and never in another shot.
  at(seconds) {
    const i = this.indexAt(seconds);
    const [t0, t1] = [this.times[i], this.times[i + 1]];
    const before = this.moments[i] ?? [];
    const after = this.moments[i + 1] ?? [];
    const isLone = t0 === undefined || t1 === undefined || this.#isCut(i + 1);
    const hold = isLone ? HOLD_SECONDS : Math.min(HOLD_SECONDS, (t1 - t0) / 2);
    const leaves = this.shots[i]?.[1] ?? Infinity;
    const enters = this.shots[i + 1]?.[0] ?? -Infinity;
    const found = [];
    const both = new Set();
    for (const a of before) {
      const b = a.person === null ? undefined : after.find((p) => p.person === a.person);
      if (!b) continue;
      both.add(a.person);
      const share = (seconds - t0) / (t1 - t0);
      const mix = (x, y) => x.map((v, k) => (1 - share) * v + share * y[k]);
      found.push({ person: a.person, box: mix(a.box, b.box), scores: mix(a.scores, b.scores) });
    }
    const alone = (people) => people.filter((p) => p.person === null || !both.has(p.person));
    if (t0 !== undefined && seconds < leaves && seconds - t0 < hold) found.push(...alone(before));
    if (t1 !== undefined && seconds >= enters && t1 - seconds <= hold) found.push(...alone(after));
    return found;
  }

  // Everybody, in order of appearance; one entry, null, for all who were seen once.
  #people() {
    const found = new Map();
    this.moments.forEach((people, i) => people.forEach((p) => {
      const known = found.get(p.person) ?? { person: p.person, first: i, places: [] };
      known.places.push([i, p]);
      found.set(p.person, known);
    }));
    return [...found.values()].sort((a, b) => (a.person === null) - (b.person === null) || a.first - b.first);
  }

  // Stretches in which a person does something whose score passes(action, score), in order of time.
  spans(known, passes) {
    const spans = [];
    const open = new Map();
    for (const [i, p] of known.places) {
      for (let k = 0; k < this.names.length; k++) {
        if (!passes(k, p.scores[k])) continue;
        const span = open.get(k);
        if (span && (i === span.last || (i === span.last + 1 && !this.#isCut(i)))) {
          span.last = i;
          span.end = this.ends[i];
          if (p.scores[k] > span.score) Object.assign(span, { score: p.scores[k], peak: this.times[i] });
        } else {
          const begun = { person: known.person, action: k, last: i, score: p.scores[k], peak: this.times[i] };
          Object.assign(begun, { begin: this.begins[i], end: this.ends[i] });
          open.set(k, begun);
          spans.push(begun);
        }
      }
    }
    return spans.sort((a, b) => a.begin - b.begin || b.score - a.score);
  }
}
