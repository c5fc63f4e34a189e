// Tests of the model of docs/theme/simulator.js: `node docs/simulator_test.js`.
"use strict";

const assert = require("node:assert/strict");
const { simulate, results, figure, markup, DEFAULTS, PARAMETERS } = require("./theme/simulator.js");

function near(actual, expected, tolerance) {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected} ± ${tolerance}`);
}

const tests = {
  "a limit of one fetches the pages one after another"() {
    const { rows, total } = simulate({ delay: 100, pages: 20, limit: 1, blocking: 0 });
    near(total, 2000, 20);
    rows.slice(1).forEach((row, index) => assert.ok(row.start >= rows[index].end));
  },

  "without a limit, all pages take as long as one"() {
    near(simulate({ delay: 100, pages: 100, limit: 100, blocking: 0 }).total, 100, 5);
  },

  "no more pages than the limit are in flight"() {
    const { rows } = simulate({ delay: 50, pages: 40, limit: 8, blocking: 200 });
    for (const { start } of rows) {
      assert.ok(rows.filter(row => row.start <= start && row.end > start).length <= 8);
    }
  },

  "a blocking call stops the heartbeat and delays every page that arrives in the meantime"() {
    const run = simulate({ delay: 100, pages: 20, limit: 10, blocking: 150 });
    near(results({ delay: 100, pages: 20, limit: 10, blocking: 150 }).gap, 150, 2);
    const { sent } = run.rows[run.blockingPage];
    run.rows.slice(0, run.blockingPage).forEach(row => assert.ok(row.arrived < sent && row.end >= sent));
    assert.ok(run.rows[run.blockingPage + 1].start >= sent);
  },

  "without a blocking call, the heartbeat ticks regularly"() {
    const { medianGap, largestGap } = simulate({ delay: 100, pages: 20, limit: 10, blocking: 0 });
    near(results({ delay: 100, pages: 20, limit: 10, blocking: 0 }).gap, 10, 2);
    near(largestGap.end - largestGap.start, medianGap.end - medianGap.start, 0.5);
  },

  "a longer delay, more pages, a lower limit and a longer call take longer"() {
    const changes = { delay: 200, pages: 40, limit: 5, blocking: 400 };
    for (const [name, value] of Object.entries(changes)) {
      assert.ok(results({ ...DEFAULTS, [name]: value }).total > results(DEFAULTS).total, name);
    }
  },

  "every combination of the smallest and largest parameters has a picture without invalid numbers"() {
    const combine = ([parameter, ...rest], values) =>
      parameter ? [parameter.min, parameter.max].flatMap(value => combine(rest, { ...values, [parameter.name]: value })) : [values];
    for (const values of combine(PARAMETERS, {})) {
      const { pictures, sentence } = markup(values);
      const invalid = (pictures + sentence).match(/.{20}(NaN|undefined|Infinity|"-\d)/);
      assert.equal(invalid && invalid[0], null, JSON.stringify(values));
    }
  },

  "the figure contains both drawings and the sentence of the defaults"() {
    assert.equal(figure().match(/<svg /g).length, 2);
    assert.ok(figure().includes(markup(DEFAULTS).sentence));
  },
};

for (const [name, run] of Object.entries(tests)) {
  try {
    run();
  } catch (error) {
    console.error(`${name}: ${error.message}`);
    process.exitCode = 1;
  }
}
