// The interactive figure of chapter 1: a model of a gather on one thread, and a view of the model.
//
// docs/simulator_check.py writes the figure that readers without JavaScript see, and compares the model with real runs. For
// this, node calls the exported functions, which need no document.
"use strict";

const simulator = (() => {
  const HEARTBEAT_MS = 10;
  const BLOCKING_PAGE = 2;
  // The time that the thread needs to send a request, and to read a page. A timer of the runtime or of the server ends a
  // little late. docs/simulator_check.py compares these numbers with real runs.
  const SEND_MS = 0.03;
  const READ_MS = 0.03;
  const SERVER_TIMER_MS = 0.6;
  const HEARTBEAT_TIMER_MS = 1.4;

  const DEFAULTS = { delay: 100, pages: 20, limit: 10, blocking: 150 };
  const PARAMETERS = [
    { name: "delay", label: "Delay of each page", unit: " ms", min: 20, max: 500, step: 10 },
    { name: "pages", label: "Number of pages", unit: "", min: 1, max: 100, step: 1 },
    { name: "limit", label: "Limit: pages in flight", unit: "", min: 1, max: 100, step: 1 },
    { name: "blocking", label: "Blocking call of one page", unit: " ms", min: 0, max: 1000, step: 10 },
  ];

  // Runs a gather and a heartbeat on one thread. The thread handles one event after another: a page starts, a page
  // arrives, or the timer of the heartbeat ends. Returns the times of each page and of each tick, in ms.
  function simulate({ delay, pages, limit, blocking }) {
    const blockingPage = Math.min(BLOCKING_PAGE, pages - 1);
    const rows = [];
    const beats = [0];
    const events = [];
    let now = 0;
    let finished = 0;

    const schedule = (at, run) => {
      let index = events.length;
      while (index > 0 && events[index - 1].at > at) {
        index -= 1;
      }
      events.splice(index, 0, { at, run });
    };
    const tick = () => {
      beats.push(now);
      schedule(now + HEARTBEAT_MS + HEARTBEAT_TIMER_MS, tick);
    };
    const start = () => {
      const sent = now + (rows.length === blockingPage ? blocking : 0);
      const row = { start: now, sent, arrived: sent + delay + SERVER_TIMER_MS, end: 0 };
      rows.push(row);
      now = sent + SEND_MS;
      schedule(row.arrived, () => finish(row));
    };
    const finish = row => {
      now += READ_MS;
      row.end = now;
      finished += 1;
      if (rows.length < pages) {
        start();
      }
    };
    const step = () => {
      const event = events.shift();
      now = Math.max(now, event.at);
      event.run();
    };

    schedule(HEARTBEAT_MS + HEARTBEAT_TIMER_MS, tick);
    while (rows.length < Math.min(limit, pages)) {
      start();
    }
    while (finished < pages) {
      step();
    }
    const total = now;
    // The first tick after the last page ends the last gap.
    while (beats.at(-1) < total) {
      step();
    }
    const gaps = beats.slice(1).map((end, index) => ({ start: beats[index], end }));
    gaps.sort((one, other) => one.end - one.start - (other.end - other.start));
    return { rows, beats, total, medianGap: gaps[Math.floor(gaps.length / 2)], largestGap: gaps.at(-1), blockingPage };
  }

  function hasBlockingCall({ blocking }) {
    return blocking > HEARTBEAT_MS;
  }

  // Returns the two results that the sentence contains, and that docs/simulator_check.py compares with real runs. Without
  // a blocking call, only the median gap can be predicted: the largest one contains the latest of all ticks.
  function results(parameters) {
    const { total, medianGap, largestGap } = simulate(parameters);
    const { start, end } = hasBlockingCall(parameters) ? largestGap : medianGap;
    return { total, gap: end - start };
  }

  function milliseconds(value) {
    return `${Math.round(value).toLocaleString("en-US")} ms`;
  }

  function count(number, noun) {
    return `${number} ${noun}${number === 1 ? "" : "s"}`;
  }

  // Describes a run in two sentences.
  function describe(parameters, run) {
    const { delay, pages, limit, blocking } = parameters;
    const { total, gap } = results(parameters);
    const heartbeat = hasBlockingCall(parameters)
      ? `The largest gap of the heartbeat is ${milliseconds(gap)}, ` +
        `because page ${run.blockingPage + 1} blocks the thread for ${blocking} ms`
      : `The heartbeat ticks every ${milliseconds(gap)}: no call blocks the thread`;
    return `With at most ${limit} in flight, ${count(pages, "page")} of ${delay} ms ${pages === 1 ? "takes" : "take"} ` +
      `${milliseconds(total)}. ${heartbeat}.`;
  }

  // The distance of the labels on the time axis: 1, 2 or 5 times a power of ten.
  function axisStep(total, labels) {
    const power = 10 ** Math.floor(Math.log10(total / labels));
    return [1, 2, 5, 10].map(factor => factor * power).find(step => total / step <= labels);
  }

  function span(color, x, y, width, height) {
    return `<rect class="span ${color}" x="${x.toFixed(1)}" y="${y.toFixed(1)}" ` +
      `width="${Math.max(width, 0.5).toFixed(1)}" height="${height.toFixed(1)}"></rect>`;
  }

  function line(x1, y1, x2, y2) {
    const [from, to] = [[x1, y1], [x2, y2]].map(point => point.map(value => value.toFixed(1)));
    return `<line class="axis" x1="${from[0]}" y1="${from[1]}" x2="${to[0]}" y2="${to[1]}"></line>`;
  }

  function text(x, y, classes, content) {
    return `<text class="${classes}" x="${x.toFixed(1)}" y="${y.toFixed(1)}">${content}</text>`;
  }

  function legend(width, run) {
    const entries = [["blue", "waits for the server"]];
    if (run.rows.some(row => row.sent > row.start)) {
      entries.push(["vermillion", "blocks the thread"]);
    }
    if (run.rows.some(isLate)) {
      entries.push(["blue hollow", "has arrived, but the thread is blocked"]);
    }
    const parts = [];
    let [x, y] = [0, 12];
    for (const [color, label] of entries) {
      const needed = 18 + label.length * 6.3;
      if (x > 0 && x + needed > width) {
        [x, y] = [0, y + 20];
      }
      parts.push(span(color, x, y - 10, 12, 10), text(x + 18, y, "", label));
      x += needed + 14;
    }
    return { svg: parts.join(""), bottom: y + 12 };
  }

  function isLate(row) {
    return row.end - row.arrived > 2;
  }

  function waterfall(run, x, top) {
    const pitch = Math.min(11, 240 / run.rows.length);
    const height = pitch > 4 ? pitch - 2 : pitch * 0.8;
    const parts = run.rows.map((row, index) => {
      const y = top + index * pitch;
      const bars = [];
      if (row.sent > row.start) {
        bars.push(span("vermillion", x(row.start), y, x(row.sent) - x(row.start), height));
      }
      const seen = isLate(row) ? row.arrived : row.end;
      bars.push(span("blue", x(row.sent), y, x(seen) - x(row.sent), height));
      if (isLate(row)) {
        bars.push(span("blue hollow", x(row.arrived), y, x(row.end) - x(row.arrived), height));
      }
      return bars.join("");
    });
    return { svg: parts.join(""), bottom: top + run.rows.length * pitch };
  }

  // Draws each tick of the heartbeat. If the ticks would touch each other, it leaves out some.
  function heartbeat(run, x, top, parameters) {
    const parts = [];
    const { start, end } = run.largestGap;
    if (hasBlockingCall(parameters)) {
      parts.push(span("vermillion", x(start), top, x(end) - x(start), 14));
    }
    let last = -Infinity;
    for (const at of run.beats) {
      if (x(at) - last >= 4 || at === start || at === end) {
        last = x(at);
        parts.push(span("ink", last - 0.75, top, 1.5, 14));
      }
    }
    return parts.join("");
  }

  function axis(x, width, top, end) {
    const step = axisStep(end, width / 70);
    const parts = [line(0, top, width, top)];
    for (let at = 0; at <= end; at += step) {
      const position = at === 0 ? "" : x(at) > width - 24 ? " end" : " middle";
      const label = `${at.toLocaleString("en-US")}${at === 0 ? " ms" : ""}`;
      parts.push(line(x(at), top, x(at), top + 5), text(x(at), top + 18, `tick${position}`, label));
    }
    return parts.join("");
  }

  // Draws a run as SVG for a width in pixels. The style sheet shows one of two drawings, as for the other pictures.
  function draw(parameters, run, name, width) {
    const end = run.beats.at(-1);
    const x = at => 1 + (at / end) * (width - 2);
    const key = legend(width, run);
    const pages = waterfall(run, x, key.bottom + 20);
    const beats = pages.bottom + 26;
    return `<div class="${name}"><svg class="picture" viewBox="0 0 ${width} ${Math.ceil(beats + 46)}" role="img" ` +
      `aria-label="${describePicture(parameters, run)}">` +
      key.svg +
      text(0, key.bottom + 12, "heading", `${count(parameters.pages, "page")}, from top to bottom`) +
      pages.svg +
      text(0, beats - 7, "heading", `a heartbeat every ${HEARTBEAT_MS} ms`) +
      heartbeat(run, x, beats, parameters) +
      axis(x, width, beats + 22, end) +
      "</svg></div>";
  }

  function describePicture(parameters, run) {
    const { pages, limit, blocking } = parameters;
    const first = Math.min(pages, limit);
    const together = first === 1 ? "The first bar starts" : `The first ${first} bars start`;
    const rest = pages > first ? " Each of the other bars starts when a bar above it has ended." : "";
    const gap = hasBlockingCall(parameters) ? `, with a gap while page ${run.blockingPage + 1} blocks the thread` : " without a gap";
    return `${count(pages, "bar")} on a time axis, one for each page. ${together} at the left edge` +
      `${blocking > 0 && first > run.blockingPage + 1 ? ", or after the blocking call" : ""}.${rest} ` +
      `Below the bars, the heartbeat ticks${gap}.`;
  }

  // Returns the drawings and the sentence, as HTML.
  function markup(parameters) {
    const run = simulate(parameters);
    return {
      pictures: draw(parameters, run, "wide", 720) + draw(parameters, run, "narrow", 350),
      sentence: describe(parameters, run),
    };
  }

  // Returns the whole figure as readers without JavaScript see it.
  function figure() {
    const { pictures, sentence } = markup(DEFAULTS);
    return `<figure class="chart simulator">\n<div class="simulator-pictures">${pictures}</div>\n` +
      `<figcaption aria-live="polite">${sentence}</figcaption>\n</figure>\n`;
  }

  function slider({ name, label, unit, min, max, step }, values, update) {
    const field = document.createElement("label");
    const value = document.createElement("output");
    const input = Object.assign(document.createElement("input"), { type: "range", name, min, max, step });
    const show = () => {
      value.textContent = `${values[name]}${unit}`;
      input.setAttribute("aria-valuetext", value.textContent);
    };
    input.value = values[name];
    input.addEventListener("input", () => {
      values[name] = Number(input.value);
      show();
      update();
    });
    // Without this, mdBook would open another chapter at an arrow key.
    input.addEventListener("keydown", event => event.stopPropagation());
    show();
    field.append(Object.assign(document.createElement("span"), { textContent: label }), value, input);
    return field;
  }

  // Adds the controls to a figure of the page.
  function start(container) {
    const values = { ...DEFAULTS };
    const update = () => {
      const { pictures, sentence } = markup(values);
      container.querySelector(".simulator-pictures").innerHTML = pictures;
      container.querySelector("figcaption").textContent = sentence;
    };
    const controls = document.createElement("div");
    controls.className = "simulator-controls";
    controls.append(...PARAMETERS.map(parameter => slider(parameter, values, update)));
    container.prepend(controls);
  }

  return { simulate, results, markup, figure, start, DEFAULTS, PARAMETERS };
})();

if (typeof module !== "undefined") {
  module.exports = simulator;
} else {
  document.querySelectorAll(".simulator").forEach(simulator.start);
}
