// The desk in a browser. Everything works without this file: it keeps pages fresh, and adds keys.

const LEAST_PAUSE = 1000;
const POLL_PAUSE = 5000;
const TAIL_PAUSE = 1500;
const COST_SHARE = 50;

const pulse = document.getElementById("pulse");
let source = null;
let wanted = false;
let loading = false;
let earliest = 0;

function say(state, words) {
  if (!pulse || pulse.dataset.state === state) return;
  pulse.dataset.state = state;
  pulse.textContent = words;
}

// the parts of the page that may change, fetched anew; at most COST_SHARE-th of the server's time
async function refresh() {
  if (loading || document.hidden || !document.querySelector("[data-live]")) return;
  const pause = earliest - performance.now();
  if (pause > 0) {
    if (!wanted) setTimeout(() => { wanted = false; refresh(); }, pause);
    wanted = true;
    return;
  }
  loading = true;
  const began = performance.now();
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual" });
    if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    if (answer.status === 401 || answer.type === "opaqueredirect") say("off", "signed out");
  } catch {
    say("off", "no answer");
  } finally {
    loading = false;
    const cost = performance.now() - began;
    earliest = performance.now() + Math.max(LEAST_PAUSE, Math.min(cost * COST_SHARE, 30000));
  }
}

function replace(fresh) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const name = old.dataset.live;
    const made = fresh.querySelector(`[data-live="${name}"]`);
    if (!made || made.innerHTML === old.dataset.seen || isInUse(old)) continue;
    old.dataset.seen = made.innerHTML;
    const ticked = new Set([...old.querySelectorAll("input:checked")].map((box) => box.value));
    const open = new Set([...old.querySelectorAll("details[open]")].map((one) => one.id));
    const here = old.querySelector("tr.here")?.dataset.id;
    const known = new Set([...old.querySelectorAll("tr[data-id]")].map((row) => row.dataset.id));
    const focus = document.activeElement && old.contains(document.activeElement)
      ? [document.activeElement.name, document.activeElement.value, document.activeElement.getAttribute("href")] : null;
    const tails = [...old.querySelectorAll("pre[data-tail]")].map((one) => one.scrollTop + one.clientHeight >= one.scrollHeight - 8);
    old.replaceChildren(...document.importNode(made, true).childNodes);
    for (const box of old.querySelectorAll("input[type=checkbox]")) box.checked = ticked.has(box.value);
    for (const one of old.querySelectorAll("details")) if (open.has(one.id)) one.open = true;
    for (const row of old.querySelectorAll("tr[data-id]")) {
      row.classList.toggle("here", row.dataset.id === here);
      if (known.size && !known.has(row.dataset.id)) row.classList.add("fresh");
    }
    old.querySelectorAll("pre[data-tail]").forEach((one, place) => { if (tails[place] !== false) one.scrollTop = one.scrollHeight; });
    if (focus) {
      const again = [...old.querySelectorAll("a, button, input")].find(
        (one) => one.name === focus[0] && one.value === focus[1] && one.getAttribute("href") === focus[2]);
      again?.focus({ preventScroll: true });
    }
  }
  count();
}

// text that somebody writes, or a menu that is open, stays
function isInUse(part) {
  const active = document.activeElement;
  return part.contains(active) && (active.matches("select, textarea") || (active.matches("input") && active.type !== "checkbox"));
}

if (pulse && !document.querySelector("[data-live]")) pulse.hidden = true;

function listen() {
  if (source || document.hidden || !("EventSource" in window) || !document.querySelector("[data-live]")) return;
  source = new EventSource("/live");
  source.addEventListener("open", () => { say("live", "live"); refresh(); });
  source.addEventListener("changed", refresh);
  source.addEventListener("error", () => {
    say("polling", "every 5 s");
    if (source && source.readyState === EventSource.CLOSED) { source = null; setTimeout(listen, 30000); }
  });
}

// a page that nobody looks at costs nothing
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { source?.close(); source = null; } else { listen(); refresh(); }
});
window.addEventListener("pagehide", () => { source?.close(); source = null; });
// what a task prints is no hint: its page looks more often while it runs
setInterval(() => { if (document.querySelector("[data-tail]")) refresh(); }, TAIL_PAUSE);
setInterval(refresh, POLL_PAUSE);

// rows

function rows() { return [...document.querySelectorAll("tr[data-id]")]; }

function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.classList.contains("here"));
  const next = all[Math.max(0, Math.min(all.length - 1, at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step))];
  all.forEach((row) => row.classList.toggle("here", row === next));
  next.scrollIntoView({ block: "nearest" });
  next.querySelector("a")?.focus({ preventScroll: true });
}

function count() {
  const chosen = document.querySelectorAll('input[name="id"]:checked').length;
  const told = document.getElementById("chosen");
  if (told) told.textContent = chosen ? `${chosen} chosen` : told.dataset.none;
}

document.addEventListener("change", (event) => {
  if (event.target.id === "choose-all") {
    for (const box of document.querySelectorAll('input[name="id"]')) box.checked = event.target.checked;
  }
  count();
});

// nothing is sent twice by an impatient finger
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (event.target.dataset.sent) { event.preventDefault(); return; }
  event.target.dataset.sent = "yes";
  setTimeout(() => { delete event.target.dataset.sent; }, 3000);
});

// keys

const help = document.getElementById("help");
document.getElementById("show-help")?.addEventListener("click", () => help.showModal());

function retryHere() {
  const button = document.getElementById("retry");
  if (button) { button.click(); return; }
  const row = document.querySelector("tr.here[data-retry]");
  const form = document.getElementById("retry-one");
  if (!row || !form) return;
  form.action = row.dataset.retry;
  form.requestSubmit();
}

const KEYS = {
  "/": () => { const box = document.getElementById("search"); box.focus(); box.select(); },
  j: () => move(1),
  k: () => move(-1),
  x: () => document.querySelector('tr.here input[name="id"]')?.click(),
  r: retryHere,
  "?": () => help.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help?.open) return;
  if (event.target.matches("input:not([type=checkbox]), textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const act = KEYS[event.key];
  if (act) { event.preventDefault(); act(); }
});

for (const one of document.querySelectorAll("pre[data-tail]")) one.scrollTop = one.scrollHeight;
count();
listen();
