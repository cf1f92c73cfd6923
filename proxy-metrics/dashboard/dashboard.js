// The dashboard: a stream of states, shown.

import { History } from "./history.js";
import { Plot, duration, short } from "./plot.js";
import { Backends, ago, element, write } from "./table.js";

const $ = (id) => document.getElementById(id);
const bytes = (value) => {
  const [unit, size] = [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10], ["B", 1]].find(([, size]) => value >= size) ?? ["B", 1];
  return `${Number((value / size).toPrecision(3))} ${unit}`;
};

const plots = [
  new Plot($("rate"), $("rate-legend"), [
    { name: "all", color: "--blue", of: (it) => it.requests, fill: true }, { name: "sent", color: "--green", of: (it) => it.good },
  ], short, "Requests per second"),
  new Plot($("latency"), $("latency-legend"), [
    { name: "p99", color: "--red", of: (it) => it.p99 }, { name: "p95", color: "--violet", of: (it) => it.p95 }, { name: "p50", color: "--blue", of: (it) => it.p50, fill: true },
  ], duration, "Latency"),
  new Plot($("errors"), $("errors-legend"), [
    { name: "5xx", color: "--red", of: (it) => it.server, fill: true }, { name: "4xx", color: "--amber", of: (it) => it.client },
    { name: "limited", color: "--violet", of: (it) => it.limited }, { name: "no answer", color: "--dim", of: (it) => it.none },
  ], short, "Errors per second"),
];

let history = new History();
let latest = null;
let token = sessionStorage.getItem("token") ?? "";
const upstreams = new Map();
const tiles = new Map();

// What is shown.

function tile(name, value, unit = "", bad = false) {
  if (!tiles.has(name)) {
    const text = document.createTextNode(""), small = element("small"), value = element("dd", {}, text, small);
    const node = element("div", { class: "tile" }, element("dt", {}, name), value);
    tiles.set(name, { node, text, small });
    $("tiles").append(node);
  }
  const { node, text, small } = tiles.get(name);
  if (text.data !== value) text.data = value;
  write(small, unit);
  node.classList.toggle("bad", bad);
}

const split = (text) => [text.split(" ")[0], text.split(" ").slice(1).join(" ")];

function showTiles(sample) {
  const failed = sample.server + sample.none, share = sample.requests ? failed / sample.requests : 0;
  tile("Requests", short(sample.requests), "/s");
  tile("Errors", (100 * share).toFixed(share && share < 0.1 ? 2 : 1), "%", share > 0.01);
  for (const [name, value] of [["p50", sample.p50], ["p99", sample.p99]]) tile(`Latency ${name}`, ...(value === null ? ["–"] : split(duration(value))));
  tile("In flight", short(sample.flight));
  tile("Connections", short(sample.open));
  const pools = latest.upstreams.map((it) => it.pool), reused = pools.reduce((all, it) => all + it.reused, 0), opened = pools.reduce((all, it) => all + it.opened, 0);
  tile("Pool reuse", reused + opened ? ((100 * reused) / (reused + opened)).toFixed(1) : "–", "%");
  tile("Limited", short(sample.limited), "/s");
  tile("CPU", (100 * sample.cpu).toFixed(0), "% of a core");
  tile("Memory", ...split(bytes(sample.memory)));
}

function showUpstreams() {
  const names = new Set(latest.upstreams.map((it) => it.name));
  for (const [name, table] of upstreams) if (!names.has(name)) { table.node.remove(); upstreams.delete(name); }
  for (const upstream of latest.upstreams) {
    if (!upstreams.has(upstream.name)) {
      const table = new Backends(upstream.name, change);
      upstreams.set(upstream.name, table);
      $("upstream-list").append(table.node);
    }
    upstreams.get(upstream.name).show(upstream, history, $("filter").value, $("sort").value, latest.status.time);
  }
}

function cells(body, rows) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, index) => {
    const node = body.rows[index] ?? body.insertRow();
    row.forEach(([text, kind], column) => {
      const cell = node.cells[column] ?? node.insertCell();
      cell.className = kind ?? "";
      write(cell, text);
    });
  });
}

function showListeners() {
  cells($("listeners").tBodies[0], latest.listeners.map((it) => {
    const rate = (of) => history.listener(it.name, of), failed = rate((one) => one.statuses["5xx"]);
    return [[it.name, "id"], [short(rate((one) => one.requests)), "n"], [short(it.requests_in_flight), "n"], [short(it.connections_open), "n"],
      [short(failed), failed > 0 ? "n warn" : "n"], [short(rate((one) => one.limited)), "n"], [bytes(rate((one) => one.sent_bytes)), "n"]];
  }));
}

function showLimits() {
  $("limits-panel").hidden = !latest.limits.length;
  cells($("limits").tBodies[0], latest.limits.map((it) => {
    const rate = history.limit(it), count = (value) => (value === null ? "–" : short(value));
    return [[it.name, "id"], [it.kind.replace("_", " ")], [short(rate), rate > 0 ? "n warn" : "n"], [short(it.refused), "n"], [short(it.delayed), "n"],
      [short(it.would_refuse), "n"], [count(it.keys), "n"], [it.most === null ? "–" : `${short(it.requests_in_flight)} of ${short(it.most)}`, "n"]];
  }));
}

function showFailures() {
  $("no-failures").hidden = latest.failures.length > 0;
  $("failures").hidden = !latest.failures.length;
  cells($("failures").tBodies[0], latest.failures.map((it) => [
    [`${ago(latest.status.time - it.time)}${latest.status.time - it.time < 1 ? "" : " ago"}`], [`${it.reason} ${it.code}`, "id"], [String(it.status ?? "none"), "n"], [it.request, "grow"],
    [it.backend ? `${it.upstream} → ${it.backend}` : (it.upstream ?? "–")], [it.client ?? "–"],
  ]));
}

function showReloads() {
  const { applied, refused, last } = latest.status.reloads, log = latest.status.access_log;
  const newest = latest.reload;
  const told = last ? `Last reload ${ago(latest.status.time - last)} ago; ${applied} applied, ${refused} refused.` : refused ? `None applied, ${refused} refused.` : "As it was at the start.";
  const lines = [element("p", {}, told)];
  if (newest) {
    const changes = newest.error ? newest.error.split("\n").map((line) => ["error", line]) : newest.changes.map((line) => [line.split(" ")[0], line]);
    if (newest.error) lines.push(element("p", {}, `Refused ${ago(latest.status.time - newest.time)} ago:`));
    lines.push(element("ul", {}, ...changes.map(([kind, line]) => element("li", { class: kind }, line))));
  }
  if (log) lines.push(element("p", {}, `Access log: ${short(log.lines)} lines, ${short(log.dropped)} lost.`));
  const mark = JSON.stringify(lines.map((node) => node.textContent));
  if ($("reload").dataset.mark !== mark) { $("reload").dataset.mark = mark; $("reload").replaceChildren(...lines); }
}

function show(event) {
  if (latest && event.status.process.process_start_time_seconds !== latest.status.process.process_start_time_seconds) history = new History();
  latest = event;
  const sample = history.push(event);
  const { readiness, version, process } = event.status;
  $("readiness").className = `badge ${readiness === "ready" ? "good" : "warn"}`;
  write($("readiness"), readiness);
  write($("meta"), `version ${version}, up ${ago(event.status.time - (process.process_start_time_seconds ?? event.status.time))}, ${process.process_threads ?? "?"} threads, ${process.process_open_fds ?? "?"} descriptors`);
  $("notice").hidden = true;
  if (sample) {
    showTiles(sample);
    plots.forEach((plot) => plot.show(history.samples));
  }
  showUpstreams();
  showListeners();
  showLimits();
  showFailures();
  showReloads();
}

// What is asked for.

const authorization = () => (token ? { Authorization: `Bearer ${token}` } : {});

async function change(upstream, backend, body) {
  const path = `api/v1/upstreams/${encodeURIComponent(upstream)}/backends/${encodeURIComponent(backend)}`;
  const headers = { "Content-Type": "application/json", ...authorization() };
  let told = `${backend}: ${Object.entries(body).map(([key, value]) => `${key} ${value}`).join(", ")}`;
  try {
    const response = await fetch(path, { method: "PATCH", headers, body: JSON.stringify(body) });
    if (!response.ok) told = `${backend} was not changed: ${(await response.json()).error}`;
    else {
      // The next event says so, too; a click is answered at once.
      const shown = latest.upstreams.find((it) => it.name === upstream)?.backends.find((it) => it.id === backend);
      if (shown) Object.assign(shown, await response.json());
      showUpstreams();
    }
    if (!response.ok) notice(told);
  } catch (error) {
    notice(told = `${backend} was not changed: ${error.message}`);
  }
  write($("told"), told);
}

function notice(text) {
  $("notice").hidden = false;
  write($("notice"), text);
}

/** The lines of a stream of server-sent events; EventSource cannot send a token. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) if (part.startsWith("data: ")) yield JSON.parse(part.slice(6));
  }
}

async function follow() {
  const response = await fetch("api/v1/events", { headers: authorization() });
  if (response.status === 401) return logIn();
  if (!response.ok) throw new Error((await response.json()).error);
  $("login").hidden = true;
  $("main").hidden = false;
  for await (const event of events(response.body)) show(event);
  throw new Error("the proxy has ended the stream");
}

function logIn() {
  if (token) notice("This token is not the one.");
  $("login").hidden = false;
  $("main").hidden = true;
  $("token").focus();
  return "waits for a token";
}

async function run() {
  for (;;) {
    try {
      if (await follow()) return;
    } catch (error) {
      $("readiness").className = "badge bad";
      write($("readiness"), "no connection");
      notice(`No news: ${error.message}. Trying again.`);
    }
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value;
  sessionStorage.setItem("token", token);
  $("notice").hidden = true;
  run();
});
$("filter").addEventListener("input", () => latest && showUpstreams());
$("sort").addEventListener("change", () => latest && showUpstreams());

const system = matchMedia("(prefers-color-scheme: dark)");
function paint() {
  const chosen = localStorage.getItem("theme") ?? "";
  $("theme").value = chosen;
  document.documentElement.dataset.theme = chosen || (system.matches ? "dark" : "light");
  plots.forEach((plot) => plot.draw());
}
$("theme").addEventListener("change", () => { localStorage.setItem("theme", $("theme").value); paint(); });
system.addEventListener("change", paint);
paint();
run();
