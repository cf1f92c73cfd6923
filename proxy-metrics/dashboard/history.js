// From counts that only grow to what happened each second.

const KEPT = 301;
const WINDOW = 10; // Events that percentiles and rates of backends look back over.
const SPARKS = 40;

const sum = (items, of) => items.reduce((all, item) => all + of(item), 0);

/** What is left of growth when a counter began anew. */
const grown = (before, now) => (now >= before ? now - before : now);

export class History {
  constructor() {
    this.samples = [];
    this.events = [];
    this.backends = new Map();
  }

  /** Takes an event of the stream; says what to show. */
  push(event) {
    const before = this.events.at(-1);
    // A process that began anew counts from zero.
    if (before && total(event).requests < total(before).requests) Object.assign(this, new History());
    this.events.push(event);
    if (this.events.length > WINDOW + 1) this.events.shift();
    this.backendRates(event);
    if (before) this.samples.push(this.sample(before, event));
    if (this.samples.length > KEPT) this.samples.shift();
    return this.samples.at(-1);
  }

  sample(before, now) {
    const seconds = Math.max(now.status.time - before.status.time, 0.001);
    const [a, b] = [total(before), total(now)];
    const rate = (key) => grown(a[key], b[key]) / seconds;
    const buckets = delta(total(this.events[0]).buckets, b.buckets);
    const percentile = (share) => quantile(buckets, now.status.bounds, share);
    return {
      time: now.status.time, requests: rate("requests"), good: rate("good"), client: rate("client"), server: rate("server"),
      none: rate("none"), limited: rate("limited"), sent: rate("sent"), p50: percentile(0.5), p95: percentile(0.95), p99: percentile(0.99),
      flight: b.flight, open: b.open, cpu: grown(a.cpu, b.cpu) / seconds, memory: b.memory,
    };
  }

  backendRates(event) {
    const seen = new Set();
    for (const upstream of event.upstreams) {
      for (const backend of upstream.backends) {
        const key = `${upstream.name}\n${backend.id}`;
        seen.add(key);
        const known = this.backends.get(key) ?? { counts: [], sparks: [] };
        const last = known.counts.at(-1);
        known.counts.push({ time: event.status.time, attempts: backend.attempts, errors: backend.errors });
        if (last) known.sparks.push(grown(last.attempts, backend.attempts) / Math.max(event.status.time - last.time, 0.001));
        if (known.counts.length > WINDOW + 1) known.counts.shift();
        if (known.sparks.length > SPARKS) known.sparks.shift();
        this.backends.set(key, known);
      }
    }
    for (const key of this.backends.keys()) if (!seen.has(key)) this.backends.delete(key);
  }

  /** Attempts and errors a second of a backend, and how they were before. */
  of(upstream, backend) {
    const { counts, sparks } = this.backends.get(`${upstream}\n${backend}`);
    const [first, last] = [counts[0], counts.at(-1)];
    const seconds = Math.max(last.time - first.time, 0.001);
    const one = counts.length < 2;
    return { rate: one ? 0 : grown(first.attempts, last.attempts) / seconds, errors: one ? 0 : grown(first.errors, last.errors) / seconds, sparks };
  }

  /** What a limit refused a second. */
  limit(limit) {
    const [first, last] = [this.events[0], this.events.at(-1)];
    const before = first.limits.find((it) => it.name === limit.name && it.kind === limit.kind);
    const seconds = last.status.time - first.status.time;
    return seconds > 0 && before ? grown(before.refused, limit.refused) / seconds : 0;
  }

  /** The growth of a listener's count a second. */
  listener(name, of) {
    const [first, last] = [this.events[0], this.events.at(-1)];
    const find = (event) => event.listeners.find((it) => it.name === name);
    const seconds = last.status.time - first.status.time;
    return seconds > 0 && find(first) ? grown(of(find(first)), of(find(last))) / seconds : 0;
  }
}

function total(event) {
  const all = event.listeners;
  const buckets = event.status.bounds.map(() => 0).concat(0);
  for (const listener of all) listener.durations.buckets.forEach((count, index) => { buckets[index] += count; });
  return {
    requests: sum(all, (it) => it.requests), good: sum(all, (it) => it.statuses["1xx"] + it.statuses["2xx"] + it.statuses["3xx"]),
    client: sum(all, (it) => it.statuses["4xx"]), server: sum(all, (it) => it.statuses["5xx"]), none: sum(all, (it) => it.statuses.none),
    limited: sum(all, (it) => it.limited), sent: sum(all, (it) => it.sent_bytes), flight: sum(all, (it) => it.requests_in_flight),
    open: sum(all, (it) => it.connections_open), buckets, cpu: event.status.process.process_cpu_seconds_total ?? 0,
    memory: event.status.process.process_resident_memory_bytes ?? 0,
  };
}

const delta = (before, now) => now.map((count, index) => grown(before[index], count));

/** The upper end of the share's place in its bucket, as Prometheus' histogram_quantile has it; null without requests. */
export function quantile(buckets, bounds, share) {
  const all = sum(buckets, (count) => count);
  if (!all) return null;
  let below = 0;
  for (const [index, count] of buckets.entries()) {
    if (count && below + count >= share * all) {
      if (index >= bounds.length) return bounds.at(-1);
      const low = index ? bounds[index - 1] : 0;
      return low + (bounds[index] - low) * ((share * all - below) / count);
    }
    below += count;
  }
  return bounds.at(-1);
}
