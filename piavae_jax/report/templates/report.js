"use strict";
const tip = document.getElementById("tip");

let anchor = null; // where the tip points: a function, for pages scroll

function showTip(heading, lines, at) {
  const title = document.createElement("b");
  title.textContent = heading;
  const list = document.createElement("ul");
  for (const line of lines) list.appendChild(document.createElement("li")).textContent = line;
  tip.replaceChildren(title, list);
  anchor = at;
  placeTip();
}

function placeTip() {
  if (!anchor) return;
  const [x, y] = anchor();
  tip.hidden = y < 0 || y > innerHeight;
  const box = tip.getBoundingClientRect();
  const left = x + 16 + box.width < innerWidth ? x + 16 : x - 16 - box.width;
  const top = y + 16 + box.height < innerHeight ? y + 16 : y - 16 - box.height;
  tip.style.transform = `translate(${Math.max(8, Math.min(left, innerWidth - box.width - 8))}px, ${Math.max(8, top)}px)`;
}

function hideTip() {
  anchor = null;
  tip.hidden = true;
}

for (const svg of document.querySelectorAll("svg.lines")) {
  const data = JSON.parse(svg.parentNode.querySelector("script").textContent);
  const cursor = svg.querySelector(".cursor");
  const epochs = [...new Set(data.values.flatMap((values) => Object.keys(values).map(Number)))].sort((a, b) => a - b);
  let place = epochs.length - 1;
  const show = () => {
    const epoch = epochs[place];
    const x = data.scale[0] + data.scale[1] * epoch;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.classList.add("on");
    const lines = data.lines.flatMap((name, n) =>
      epoch in data.values[n] ? [`${name} ${Number(data.values[n][epoch].toPrecision(4))}`] : []);
    showTip(`epoch ${epoch}`, lines, () => {
      const box = svg.getBoundingClientRect();
      return [box.left + (x / data.frame.width) * box.width, box.top + box.height / 3];
    });
  };
  const leave = () => { cursor.classList.remove("on"); hideTip(); };
  const point = (event) => {
    const box = svg.getBoundingClientRect();
    const epoch = (((event.clientX - box.left) / box.width) * data.frame.width - data.scale[0]) / data.scale[1];
    place = epochs.reduce((best, one, n) => (Math.abs(one - epoch) < Math.abs(epochs[best] - epoch) ? n : best), 0);
    show();
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("focus", () => { if (svg.matches(":focus-visible")) show(); });
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    place = Math.max(0, Math.min(epochs.length - 1, place + step));
    show();
  });
}

const map = document.getElementById("map");
if (map) {
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const circles = [...map.querySelectorAll("circle")];
  const places = circles.map((circle) => [Number(circle.getAttribute("cx")), Number(circle.getAttribute("cy"))]);
  let current = null;
  const describe = (n) => {
    const [user, shown, heldOut, ndcg, items] = data.users[n];
    const quality = ndcg === null ? "nothing held out" : `nDCG@100 ${ndcg.toFixed(3)}, ${heldOut} held out`;
    return [`User ${user}: ${shown} item${shown === 1 ? "" : "s"}`, [quality, ...items.map((item) => data.titles[item])]];
  };
  const show = (n) => {
    if (current !== null) circles[current].classList.remove("on");
    current = n;
    circles[n].classList.add("on");
    const [heading, lines] = describe(n);
    circles[n].setAttribute("aria-label", [heading, ...lines].join("; "));
    showTip(heading, lines, () => {
      const box = circles[n].getBoundingClientRect();
      return [box.left + box.width / 2, box.top + box.height / 2];
    });
  };
  const leave = () => {
    if (current !== null) circles[current].classList.remove("on");
    current = null;
    hideTip();
  };
  const nearest = (event) => {
    const box = map.getBoundingClientRect();
    const scale = map.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * scale;
    const y = (event.clientY - box.top) * scale;
    let best = null;
    let least = (event.pointerType === "touch" ? 26 : 14) * scale;
    places.forEach(([cx, cy], n) => {
      const distance = Math.hypot(cx - x, cy - y);
      if (distance < least) [best, least] = [n, distance];
    });
    if (best === null) leave(); else show(best);
  };
  map.addEventListener("pointermove", nearest);
  map.addEventListener("pointerdown", nearest);
  map.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") leave(); });
  circles.forEach((circle, n) => {
    circle.addEventListener("focus", () => {
      circles.forEach((other) => { other.tabIndex = other === circle ? 0 : -1; });
      show(n);
    });
    circle.addEventListener("blur", leave);
  });
  map.addEventListener("keydown", (event) => {
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const from = circles.indexOf(document.activeElement);
    if (event.key === "Escape") leave();
    if (!direction || from < 0) return;
    event.preventDefault();
    let best = from;
    let least = Infinity;
    places.forEach(([x, y], n) => {
      const [dx, dy] = [x - places[from][0], y - places[from][1]];
      const along = dx * direction[0] + dy * direction[1];
      const across = Math.abs(dx * direction[1] + dy * direction[0]);
      if (n !== from && along > 0 && across <= along && along + across < least) [best, least] = [n, along + across];
    });
    circles[best].focus();
  });
  document.getElementById("choice").addEventListener("change", (event) => {
    const chosen = new Set(event.target.value === "" ? [] : data.choices[Number(event.target.value)]);
    map.classList.toggle("choosing", chosen.size > 0);
    circles.forEach((circle, n) => circle.classList.toggle("chosen", chosen.has(n)));
    document.getElementById("chosen").textContent = event.target.value === "" ? "" : `${chosen.size} of ${circles.length} users.`;
  });
}
addEventListener("scroll", placeTip, { passive: true });
