"use strict";
// A history is built by clicks; every change asks the server anew, and only the newest answer is shown.
const at = id => document.getElementById(id);
const nameOf = item => item.title ?? `Item ${item.item_id}`;
const history = new Map();
let newest = 0;

async function ask(path, body) {
  const options = body && {method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(body)};
  const answer = await fetch(path, options);
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error);
  return value;
}

const tell = work => work.then(() => { at("status").textContent = ""; }, error => { at("status").textContent = error.message; });

function show(list, items, {note, share, label, choose}) {
  list.replaceChildren(...items.map(item => {
    const line = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.dataset.item = item.item_id;
    button.setAttribute("aria-label", `${label} ${nameOf(item)}`);
    const title = document.createElement("span"), small = document.createElement("small");
    title.textContent = nameOf(item);
    small.textContent = note(item);
    if (share) {
      const bar = document.createElement("span");
      bar.className = "bar";
      bar.style.width = `${100 * share(item)}%`;
      button.append(bar);
    }
    button.append(title, small);
    button.addEventListener("click", () => choose(item));
    line.append(button);
    return line;
  }));
}

async function search() {
  const text = at("search").value;
  const found = await ask(`/items?limit=30&q=${encodeURIComponent(text)}`);
  if (text === at("search").value)
    show(at("found"), found.items, {note: item => `${item.train_users.toLocaleString("en")} users`, label: "Add", choose: add});
}

async function update() {
  const turn = ++newest, chosen = [...history.values()];
  at("count").textContent = `(${chosen.length})`;
  at("clear").disabled = !chosen.length;
  show(at("history"), chosen, {note: () => "remove", label: "Remove", choose: remove});
  const answer = await ask("/recommend", {histories: [[...history.keys()]], k: 20});
  if (turn !== newest) return;
  const {items, source} = answer.recommendations[0], scores = items.map(item => item.score);
  const best = Math.max(...scores), least = Math.min(...scores);
  at("source").textContent = source === "popular" ? "The most popular, until you choose something" : "By score; choose one to see why";
  show(at("list"), items, {
    note: item => item.score.toLocaleString("en", {minimumFractionDigits: 2, maximumFractionDigits: 2}), label: "Explain",
    share: item => best > least ? .15 + .85 * (item.score - least) / (best - least) : 1, choose: explain,
  });
}

async function look(item) {
  const own = [...history.keys()].filter(id => id !== item.item_id);
  const [similar, why] = await Promise.all([
    ask(`/similar/${encodeURIComponent(item.item_id)}?k=8`),
    own.length ? ask("/explain", {history: own, item: item.item_id}) : {history: []},
  ]);
  at("details-title").textContent = nameOf(item);
  const most = Math.max(...why.history.map(reason => Math.abs(reason.effect)), 1e-9);
  show(at("why"), why.history, {
    note: reason => `${reason.effect > 0 ? "+" : ""}${reason.effect.toFixed(2)}`, label: "Explain",
    share: reason => Math.abs(reason.effect) / most, choose: explain,
  });
  if (!own.length) at("why").textContent = "Add to the history to see what pulls this item.";
  show(at("similar"), similar.items, {note: other => other.score.toFixed(2), label: "Add", choose: add});
  at("details").hidden = false;
  at("details").focus();
}

const explain = item => tell(look(item));
const add = item => { history.set(item.item_id, item); tell(update()); };
const remove = item => { history.delete(item.item_id); tell(update()); };
let typing;
at("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => tell(search()), 120); });
at("clear").addEventListener("click", () => { history.clear(); at("details").hidden = true; tell(update()); });
tell(ask("/health").then(health => { at("run").textContent = `${health.run} · ${health.items.toLocaleString("en")} items`; }));
tell(search());
tell(update());
