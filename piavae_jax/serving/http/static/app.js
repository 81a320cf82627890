"use strict";
// A history is built by clicks or keys; every change asks the server anew, and only the newest answers are shown.
const at = id => document.getElementById(id);
const nameOf = item => item.title ?? `Item ${item.item_id}`;
const rounded = value => value.toLocaleString("en", {minimumFractionDigits: 2, maximumFractionDigits: 2}).replace("-", "−");
const users = count => `${count.toLocaleString("en")} ${count === 1 ? "user" : "users"}`;
const history = new Map();
const newest = {search: 0, update: 0, look: 0};
let health, found = [], explained = null, typing;

// Ids beyond 2^53 are not numbers to JavaScript: they are kept, and sent, digit by digit, where the browser can (since 2025 all do).
const exact = (_, value, context) => Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source) ? BigInt(context.source) : value;
const digits = (_, value) => typeof value === "bigint" ? JSON.rawJSON(value.toString()) : value;

async function ask(path, body) {
  const options = body && {method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(body, digits)};
  let answer, value;
  try {
    answer = await fetch(path, options);
    value = JSON.parse(await answer.text(), exact);
  } catch {
    throw new Error(answer ? `The server answered ${answer.status}: try again.` : "The server does not answer: try again.");
  }
  if (!answer.ok) throw new Error(value.error);
  return value;
}

async function act(...works) {
  at("status").textContent = "";
  await Promise.all(works.map(work => work().catch(error => { at("status").textContent = error.message; })));
}

const text = (tag, content, parent) => parent.appendChild(Object.assign(document.createElement(tag), {textContent: content}));

function line(item, {note, share, against, sign, label, choose}, first) {
  const entry = document.createElement("li"), button = text("button", "", entry), remark = note(item);
  button.type = "button";
  button.tabIndex = first ? 0 : -1;
  button.dataset.item = item.item_id;
  button.setAttribute("aria-label", [`${label(item)} ${nameOf(item)}`, remark].filter(Boolean).join(", "));
  if (share) {
    const bar = text("span", "", button);
    bar.className = against?.(item) ? "bar against" : "bar";
    bar.style.width = `${100 * share(item)}%`;
  }
  text("span", nameOf(item), button);
  text("small", remark, button);
  text("span", sign(item), button).className = "sign";
  button.addEventListener("click", () => choose(item));
  return entry;
}

// The focus stays where it was: on its item, else on the one that took its place, else on the search.
function show(list, items, kind, empty) {
  const place = [...list.children].findIndex(entry => entry.contains(document.activeElement));
  const id = document.activeElement.dataset.item;
  list.replaceChildren(...items.map((item, index) => line(item, kind, index === 0)));
  if (!items.length) text("li", empty, list).className = "empty";
  if (place < 0) return;
  const buttons = [...list.querySelectorAll("button")];
  (buttons.find(button => button.dataset.item === id) ?? buttons[Math.min(place, buttons.length - 1)] ?? at("search")).focus({preventScroll: true});
}

const chosen = item => history.has(item.item_id);
const toggled = {label: item => chosen(item) ? "Remove" : "Add", sign: item => chosen(item) ? "✓" : "+", choose: item => toggle(item)};
const explaining = {label: () => "Explain", sign: () => "›", choose: item => act(() => look(item, true))};

const showFound = () => show(at("found"), found, {...toggled, note: item => users(item.train_users)}, "No title holds all of these words.");

async function search() {
  const turn = ++newest.search;
  const answer = await ask(`/items?limit=30&q=${encodeURIComponent(at("search").value)}`);
  if (turn !== newest.search) return;
  found = answer.items;
  showFound();
  at("found").scrollTop = 0;
}

function showHistory() {
  const items = [...history.values()];
  at("count").textContent = items.length ? `(${items.length})` : "";
  show(at("history"), items, {...toggled, note: () => "", sign: () => "×"}, "Nothing yet: choose items above.");
  at("clear").hidden = !items.length;
}

async function update() {
  const turn = ++newest.update;
  health ??= await ask("/health");
  const answer = await ask("/recommend", {histories: [[...history.keys()]], k: Math.min(20, health.items)});
  if (turn !== newest.update) return;
  const {items, source} = answer.recommendations[0], scores = items.map(item => item.score), popular = source === "popular";
  const best = Math.max(...scores), least = Math.min(...scores);
  at("source").textContent = popular ? "The most popular, until the history has an item"
    : `Best first, for ${history.size} ${history.size === 1 ? "item" : "items"}; choose one to see why`;
  show(at("list"), items, {
    ...explaining, note: item => popular ? users(item.score) : rounded(item.score),
    share: item => best > least ? .15 + .85 * (item.score - least) / (best - least) : 1,
  }, "Every item is in the history.");
  at("run").textContent = `${answer.run} · ${health.items.toLocaleString("en")} items`;
}

async function look(item, moves) {
  const turn = ++newest.look, own = [...history.keys()].filter(id => id !== item.item_id), k = Math.min(8, health.items - 1);
  const [similar, why] = await Promise.all([
    k ? ask(`/similar/${encodeURIComponent(item.item_id)}?k=${k}`) : {items: []},
    own.length ? ask("/explain", {history: own, item: item.item_id}) : {history: []},
  ]);
  if (turn !== newest.look) return;
  explained = item;
  at("details-title").textContent = nameOf(item);
  at("toggle").textContent = chosen(item) ? "Remove from the history" : "Add to the history";
  const most = Math.max(...why.history.map(reason => Math.abs(reason.effect)), 1e-9);
  show(at("why"), why.history, {
    ...explaining, note: reason => `${reason.effect > 0 ? "+" : ""}${rounded(reason.effect)}`,
    share: reason => Math.abs(reason.effect) / most, against: reason => reason.effect < 0,
  }, "The history has no other item to explain it by.");
  show(at("similar"), similar.items, {...toggled, note: other => rounded(other.score)}, "There is no other item.");
  at("hint").hidden = true;
  at("answers").hidden = false;
  if (moves) at("details").focus();
}

function changed() {
  showHistory();
  showFound();
  act(update, ...(explained ? [() => look(explained)] : []));
}

function toggle(item) {
  if (!history.delete(item.item_id)) history.set(item.item_id, item);
  changed();
}

function keyTo(event) {
  const list = event.target.closest("ul, ol");
  if (!list) return event.target === at("search") && event.key === "ArrowDown" ? at("found").querySelector("button") : null;
  const buttons = [...list.querySelectorAll("button")], place = buttons.indexOf(event.target);
  const to = {ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: buttons.length - 1}[event.key];
  return to === -1 && list === at("found") ? at("search") : buttons[to];
}

document.addEventListener("keydown", event => {
  const next = keyTo(event);
  if (!next) return;
  event.preventDefault();
  next.focus();
});
// Each list is one stop of the Tab key, at the item that was last in focus.
document.addEventListener("focusin", event => {
  const list = event.target.closest("ul, ol");
  if (list) for (const button of list.querySelectorAll("button")) button.tabIndex = button === event.target ? 0 : -1;
});
at("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => act(search), 120); });
at("clear").addEventListener("click", () => { history.clear(); at("search").focus(); changed(); });
at("toggle").addEventListener("click", () => toggle(explained));
showHistory();
act(search, update);
