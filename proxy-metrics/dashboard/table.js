// The backends of an upstream. Of long lists only the rows that are seen exist.

import { duration, short } from "./plot.js";

const MARGIN = 8; // Rows beyond what is seen.
const SEVERITY = { unhealthy: 0, maintenance: 1, draining: 2, healthy: 3 };
const COLUMNS = [["Backend"], ["State"], ["req/s", "n"], [""], ["errors/s", "n"], ["in flight", "n"], ["latency", "n"], ["weight", "n"], ["", "n"]];

export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Changes text only where it is another: a reader's selection and place survive. */
export const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };

export const ago = (seconds) => {
  if (seconds < 1) return "just now";
  const [unit, size] = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]].find(([, size]) => seconds >= size);
  return `${Math.floor(seconds / size)} ${unit}`;
};

class Row {
  constructor(table, upstream, id) {
    this.id = id;
    const change = (body) => table.change(upstream, id, body);
    this.state = element("span", { class: "state" });
    this.why = element("small");
    this.path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const spark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    spark.setAttribute("viewBox", "0 0 100 24");
    spark.setAttribute("preserveAspectRatio", "none");
    spark.setAttribute("aria-hidden", "true");
    spark.append(this.path);
    this.zone = element("small");
    this.rate = element("td", { class: "n rate" });
    this.errors = element("td", { class: "n errors" });
    this.flight = element("td", { class: "n flight" });
    this.latency = element("td", { class: "n latency" });
    this.weight = element("input", { type: "number", min: 0, max: 65535, "aria-label": `Weight of ${id}`,
      onchange: () => this.weight.checkValidity() && this.weight.value !== "" && change({ weight: Number(this.weight.value) }) });
    this.drain = element("button", { type: "button", "aria-label": `Drain ${id}`, onclick: () => change({ state: "draining" }) }, "Drain");
    this.maintain = element("button", { type: "button", "aria-label": `Put ${id} into maintenance`, onclick: () => change({ state: "maintenance" }) }, "Maintain");
    this.enable = element("button", { type: "button", "aria-label": `Enable ${id}`, onclick: () => change({ state: "healthy" }) }, "Enable");
    const label = element("td", { class: "id", title: id }, id, this.zone);
    const what = element("td", { class: "what" }, this.state, this.why);
    this.node = element("tr", { "data-backend": id }, label, what, this.rate, element("td", { class: "spark" }, spark), this.errors, this.flight,
      this.latency, element("td", { class: "n weight" }, this.weight), element("td", { class: "act" }, this.drain, this.maintain, this.enable));
  }

  show({ backend, numbers }, now) {
    const since = ago(now - backend.since), reason = backend.reason ? `: ${backend.reason}` : "";
    this.state.className = `state ${backend.state}`;
    write(this.state, backend.state);
    const why = backend.source === "none" || !backend.source ? `for ${since}` : `for ${since}, by ${backend.source}${reason}`;
    write(this.why, why);
    this.why.title = why;
    write(this.zone, Object.values(backend.labels ?? {}).join(" · "));
    write(this.rate, short(numbers.rate));
    write(this.errors, short(numbers.errors));
    this.errors.classList.toggle("warn", numbers.errors > 0);
    write(this.flight, String(backend.requests_in_flight));
    write(this.latency, backend.latency === null ? "–" : duration(backend.latency));
    if (document.activeElement !== this.weight) this.weight.value = backend.weight;
    this.drain.disabled = backend.state === "draining";
    this.maintain.disabled = backend.state === "maintenance";
    this.enable.disabled = backend.source !== "operator";
    const top = Math.max(1, ...numbers.sparks), step = 100 / 39;
    const start = 100 - (numbers.sparks.length - 1) * step;
    this.path.setAttribute("d", numbers.sparks.map((value, index) => `${index ? "L" : "M"}${(start + index * step).toFixed(1)} ${(23 - 22 * (value / top)).toFixed(1)}`).join(""));
  }
}

export class Backends {
  /** `change(upstream, backend, body)` asks for a change. */
  constructor(name, change) {
    Object.assign(this, { name, change, rows: new Map(), shown: [], now: 0 });
    this.summary = element("div", { class: "facts" });
    this.body = element("tbody");
    const heads = COLUMNS.map(([text, kind]) => element("th", { scope: "col", class: kind ?? null }, text || element("span", { class: "sr" }, kind ? "Actions" : "Course")));
    this.table = element("table", { "aria-label": `Backends of ${name}` }, element("thead", {}, element("tr", {}, ...heads)), this.body);
    this.box = element("div", { class: "rows", tabindex: "0", role: "region", "aria-label": `Backends of ${name}`, onscroll: () => this.draw() }, this.table);
    this.count = element("p", { class: "empty" });
    this.node = element("section", { class: "panel upstream", "data-upstream": name }, element("div", { class: "head" }, element("h3", {}, name), this.summary), this.box, this.count);
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  show(upstream, history, filter, order, now) {
    const all = upstream.backends.map((backend) => ({ backend, numbers: history.of(upstream.name, backend.id) }));
    const facts = [
      ["healthy", `${upstream.backends.filter((it) => it.state === "healthy").length} of ${all.length}`],
      ["req/s", short(all.reduce((sum, it) => sum + it.numbers.rate, 0))], ["retries", short(upstream.retries)],
      ["pool reuse", `${(100 * upstream.pool.reuse_ratio).toFixed(1)} %`], ["idle", short(upstream.pool.idle)], ["waiting", short(upstream.pool.waiting)],
    ];
    if (this.summary.childElementCount !== facts.length) this.summary.replaceChildren(...facts.map(([label]) => element("span", {}, `${label} `, element("b"))));
    facts.forEach(([, value], index) => write(this.summary.children[index].lastChild, value));
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
    const text = ({ backend }) => `${backend.id} ${backend.state} ${backend.reason ?? ""} ${Object.values(backend.labels ?? {}).join(" ")}`.toLowerCase();
    const matching = words.length ? all.filter((it) => words.every((word) => text(it).includes(word))) : all;
    const by = {
      id: () => 0, state: (a, b) => SEVERITY[a.backend.state] - SEVERITY[b.backend.state], rate: (a, b) => b.numbers.rate - a.numbers.rate,
      errors: (a, b) => b.numbers.errors - a.numbers.errors, latency: (a, b) => (b.backend.latency ?? 0) - (a.backend.latency ?? 0),
    }[order];
    this.shown = matching.sort((a, b) => by(a, b) || a.backend.id.localeCompare(b.backend.id, undefined, { numeric: true }));
    this.now = now;
    write(this.count, matching.length === all.length ? "" : `${matching.length} of ${all.length} backends match the filter.`);
    this.table.setAttribute("aria-rowcount", String(this.shown.length + 1));
    this.draw();
  }

  draw() {
    const height = matchMedia("(max-width: 760px)").matches ? 123 : 45;
    const first = Math.max(0, Math.floor(this.box.scrollTop / height) - MARGIN);
    const last = Math.min(this.shown.length, first + Math.ceil((this.box.clientHeight || 600) / height) + 2 * MARGIN);
    const seen = this.shown.slice(first, last).map((it) => {
      const row = this.rows.get(it.backend.id) ?? new Row(this, this.name, it.backend.id);
      this.rows.set(it.backend.id, row);
      row.show(it, this.now);
      return row;
    });
    seen.forEach((row, index) => row.node.setAttribute("aria-rowindex", String(first + index + 2)));
    const gap = (rows) => {
      const cell = element("td", { colspan: COLUMNS.length });
      cell.style.height = `${rows * height}px`;
      return element("tr", { class: "gap", "aria-hidden": "true" }, cell);
    };
    const place = seen.map((row) => row.id).join("\n") + first;
    if (place !== this.place) {
      // The row that has the focus is not taken out of the page and put back, where it would lose it.
      const nodes = [...(first ? [gap(first)] : []), ...seen.map((row) => row.node), ...(last < this.shown.length ? [gap(this.shown.length - last)] : [])];
      const focus = document.activeElement;
      this.body.replaceChildren(...nodes);
      if (focus !== document.activeElement && this.body.contains(focus)) focus.focus({ preventScroll: true });
      this.place = place;
      const kept = new Set(seen.map((row) => row.id));
      for (const id of this.rows.keys()) if (!kept.has(id)) this.rows.delete(id);
    }
  }
}
