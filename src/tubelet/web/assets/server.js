// Everything that is asked of the server.

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer.");
  }
  if (answer.status === 204) return null;
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const error = new Error(sentence(typeof body.detail === "string" ? body.detail : `error ${answer.status}`));
    error.status = answer.status;
    throw error;
  }
  return body;
}

// Send a file; returns {done: promise of the job, stop()}. XMLHttpRequest, for fetch tells nothing of what was sent.
export function sendVideo(file, onShare) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    request.upload.onprogress = (event) => event.lengthComputable && onShare(event.loaded / event.total);
    request.onload = () => {
      let body = {};
      try { body = JSON.parse(request.responseText); } catch { /* a proxy's page */ }
      if (request.status === 202) resolve(body);
      else reject(new Error(sentence(typeof body.detail === "string" ? body.detail : `error ${request.status}`)));
    };
    request.onerror = () => reject(new Error("The connection broke off before the whole video was sent."));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    request.open("POST", `/api/jobs?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.send(file);
  });
  return { done, stop: () => request.abort() };
}

// Call onJob with a job each time it changes, until it has ended; returns what stops that.
export function follow(id, onJob) {
  const events = new EventSource(`/api/jobs/${id}/events`);
  events.onmessage = (event) => {
    const job = JSON.parse(event.data);
    if (hasEnded(job)) events.close();
    onJob(job);
  };
  return () => events.close();
}

export function hasEnded(job) {
  return ["done", "failed", "cancelled"].includes(job.state);
}

export function sentence(text) {
  const whole = text.trim();
  return whole ? whole[0].toUpperCase() + whole.slice(1) + (/[.!?)]$/.test(whole) ? "" : ".") : "";
}

export function sizeText(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let place = 0;
  let size = bytes;
  while (size >= 1000 && place < 3) { size /= 1000; place++; }
  return `${place && size < 10 ? size.toFixed(1) : Math.round(size)}\u00a0${units[place]}`;
}

export function spanText(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))}\u00a0s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)}\u00a0min`;
  return `${Math.round(seconds / 360) / 10}\u00a0h`;
}

// A button that asks before it does what cannot be undone: the second click does it.
export function twice(button, action) {
  const text = button.textContent;
  let timer = 0;
  const settle = () => { clearTimeout(timer); timer = 0; button.textContent = text; };
  button.addEventListener("click", () => {
    if (timer) { settle(); action(); return; }
    button.textContent = "Really remove?";
    timer = setTimeout(settle, 4000);
  });
}

// An element; text is never read as markup.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}
