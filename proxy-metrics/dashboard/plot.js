// Lines over the last five minutes, on a canvas.

const LONGEST = 300, SHORTEST = 60; // seconds
const LEFT = 54, BOTTOM = 20, TOP = 8, RIGHT = 6;

/** A number with a unit that keeps it short. */
export function short(value) {
  if (value >= 1e6) return `${trim(value / 1e6)}M`;
  if (value >= 1e4) return `${trim(value / 1e3)}k`;
  return value >= 100 ? String(Math.round(value)) : trim(value);
}

export function duration(seconds) {
  if (seconds >= 1) return `${trim(seconds)} s`;
  if (seconds >= 1e-3) return `${trim(seconds * 1e3)} ms`;
  return `${trim(seconds * 1e6)} µs`;
}

const trim = (value) => String(Number(value.toPrecision(value >= 100 ? 3 : 2)));

/** The next of 1, 2, 5, 10, … */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

export class Plot {
  /** `lines`: [{ name, color: a custom property, of: sample => number or null, fill }] */
  constructor(canvas, legend, lines, format, summary) {
    Object.assign(this, { canvas, lines, format, summary, samples: [], hover: null });
    this.values = lines.map(({ name, color }) => {
      const entry = document.createElement("span"), mark = document.createElement("i"), value = document.createElement("b");
      mark.style.background = `var(${color})`;
      entry.append(mark, name, value);
      legend.append(entry);
      return value;
    });
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("pointermove", (event) => { this.hover = event.offsetX; this.draw(); });
    canvas.addEventListener("pointerleave", () => { this.hover = null; this.draw(); });
  }

  show(samples) {
    this.samples = samples;
    this.draw();
    const last = samples.at(-1);
    // A screen reader hears it when it asks, not every second.
    if (last) this.canvas.setAttribute("aria-label", `${this.summary}: ${this.lines.map((line) => `${line.name} ${this.text(line, last)}`).join(", ")}`);
  }

  text(line, sample) {
    const value = line.of(sample);
    return value === null ? "–" : this.format(value);
  }

  draw() {
    const { canvas, samples } = this, ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    }
    const pen = canvas.getContext("2d"), style = getComputedStyle(canvas);
    const color = (name) => style.getPropertyValue(name).trim();
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = `11px ${style.fontFamily}`;
    const end = samples.at(-1)?.time ?? 0;
    const most = Math.max(0, ...samples.flatMap((sample) => this.lines.map((line) => line.of(sample) ?? 0)));
    const top = most > 0 ? ceiling(most) : 1;
    const span = Math.min(LONGEST, Math.max(SHORTEST, end - (samples[0]?.time ?? end)));
    const x = (time) => LEFT + (width - LEFT - RIGHT) * (1 - (end - time) / span);
    const y = (value) => TOP + (height - TOP - BOTTOM) * (1 - value / top);
    this.grid(pen, { x, y, top, end, span, width, height, color });
    for (const line of this.lines) this.line(pen, line, x, y, color(line.color));
    this.pointer(pen, { x, height, color });
  }

  grid(pen, { x, y, top, end, span, width, height, color }) {
    pen.strokeStyle = color("--line");
    pen.fillStyle = color("--dim");
    pen.lineWidth = 1;
    pen.textAlign = "right";
    for (const part of [0, 0.5, 1]) {
      const at = Math.round(y(top * part)) + 0.5;
      pen.beginPath();
      pen.moveTo(LEFT, at);
      pen.lineTo(width - RIGHT, at);
      pen.stroke();
      pen.fillText(this.format(top * part), LEFT - 7, at + 4);
    }
    pen.textAlign = "center";
    const step = span > 150 ? 60 : span > 75 ? 30 : 15;
    for (let ago = step; ago < span - step / 3; ago += step) pen.fillText(ago < 60 ? `−${ago} s` : `−${ago / 60} min`, x(end - ago), height - 4);
    pen.textAlign = "right";
    pen.fillText("now", width - RIGHT, height - 4);
  }

  line(pen, line, x, y, stroke) {
    const points = this.samples.filter((sample) => line.of(sample) !== null).map((sample) => [x(sample.time), y(line.of(sample))]);
    if (!points.length) return;
    pen.beginPath();
    points.forEach(([px, py], index) => (index ? pen.lineTo(px, py) : pen.moveTo(px, py)));
    pen.strokeStyle = stroke;
    pen.lineWidth = 1.7;
    pen.lineJoin = "round";
    pen.stroke();
    if (!line.fill) return;
    pen.lineTo(points.at(-1)[0], y(0));
    pen.lineTo(points[0][0], y(0));
    pen.globalAlpha = 0.12;
    pen.fillStyle = stroke;
    pen.fill();
    pen.globalAlpha = 1;
  }

  /** The values under the pointer; those of now without one. */
  pointer(pen, { x, height, color }) {
    let shown = this.samples.at(-1);
    if (this.hover !== null && shown) {
      const distance = (sample) => Math.abs(x(sample.time) - this.hover);
      shown = this.samples.reduce((best, sample) => (distance(sample) < distance(best) ? sample : best));
      const at = Math.round(x(shown.time)) + 0.5;
      pen.strokeStyle = color("--dim");
      pen.beginPath();
      pen.moveTo(at, TOP);
      pen.lineTo(at, height - BOTTOM);
      pen.stroke();
    }
    this.values.forEach((value, index) => { value.textContent = shown ? this.text(this.lines[index], shown) : "–"; });
  }
}
