// Keeps the page as the server has it, and sends local changes. The server renders and escapes everything shown.
"use strict";
const live = document.getElementById("live");
const connection = document.getElementById("connection");
const words = document.body.dataset;

const shownVersion = () => live.querySelector("#version")?.dataset.version;
const contents = () =>
  new Map([...live.querySelectorAll("[data-key]")].map((row) => [row.dataset.key, row.dataset.digest]));

let loading = null;
async function refresh() {
  const response = await fetch("/fragment?lang=" + encodeURIComponent(words.lang), { cache: "no-store" });
  if (!response.ok) return;
  const before = contents();
  const focused = document.activeElement?.dataset.put;
  live.innerHTML = await response.text();
  for (const row of live.querySelectorAll("[data-key]")) {
    if (before.get(row.dataset.key) !== row.dataset.digest) row.classList.add("fresh");
  }
  if (focused) live.querySelector(`[data-put="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

let newest = shownVersion();
async function follow(version) {
  newest = version;
  // One at a time; what arrives meanwhile is looked at afterwards.
  if (loading) return;
  for (let tries = 0; tries < 5 && shownVersion() !== newest; tries += 1) {
    loading = refresh();
    try { await loading; } catch { break; } finally { loading = null; }
  }
}

function connect() {
  const source = new EventSource("/events");
  const show = (up) => {
    connection.className = up ? "connection up" : "connection";
    connection.textContent = up ? words.live : words.offline;
  };
  source.onopen = () => show(true);
  source.addEventListener("changed", (event) => follow(event.data));
  source.onerror = () => {
    show(false);
    // A browser gives up for good where a restart answered with an error.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 1000);
  };
}
connect();

async function send(key, spec) {
  const path = "/admin/resources/" + key.split("/").map(encodeURIComponent).join("/");
  const response = await fetch(path, spec === null
    ? { method: "DELETE" }
    : { method: "PUT", headers: { "content-type": "application/json" }, body: spec });
  const answer = await response.json().catch(() => ({}));
  say(response.ok ? words.saved : answer.error ?? String(response.status));
}

let silence = 0;
function say(text) {
  const toast = document.getElementById("answer");
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(silence);
  silence = setTimeout(() => { toast.hidden = true; }, 5000);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-put]");
  if (button) send(button.dataset.put, button.dataset.spec);
});
document.getElementById("local").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const key = form.get("kind") + "/" + form.get("name");
  send(key, event.submitter?.value === "delete" ? null : form.get("spec"));
});
