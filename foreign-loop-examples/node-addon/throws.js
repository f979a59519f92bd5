// A callback of JavaScript's that throws inside a turn of the guest's: `node throws.js ADDON`.
'use strict';

const assert = require('assert');
const http = require('http');

const addon = { exports: {} };
process.dlopen(addon, require('path').resolve(process.argv[2]));
const lodger = addon.exports;

function get(port, path) {
  return new Promise((resolve, reject) => {
    http.get({ port, path, agent: false }, (res) => {
      let text = '';
      res.on('data', (part) => { text += part; });
      res.on('end', () => resolve(text));
    }).on('error', reject);
  });
}

const caught = [];
process.on('uncaughtException', (error) => caught.push(error.message));

function after(millis, f) {
  return new Promise((resolve) => { lodger.after(millis, () => { resolve(); f(); }); });
}

async function main() {
  assert.throws(() => lodger.after(0, () => {}), /not started/);
  const { port } = lodger.start({});
  assert.throws(() => lodger.after(0, 'no function'), /not a function/);
  assert.throws(() => lodger.after('soon', () => {}), /Node-API/);

  for (let round = 0; round < 5; round += 1) {
    // Two are due in one turn: the second is called although the first has thrown.
    await Promise.all([
      after(1, () => { throw new Error(`first ${round}`); }),
      after(1, () => { throw new Error(`second ${round}`); }),
    ]);
    assert.match(await get(port, '/ticks'), /^\d+$/);
  }
  assert.strictEqual(caught.length, 10, caught.join());

  // Out of its own turn the guest may be taken out, with a callback that never comes.
  lodger.after(60000, () => assert.fail('after the end'));
  await after(1, () => { lodger.stop(); throw new Error('and left'); });
  await new Promise((resolve) => { setTimeout(resolve, 20); });
  assert.strictEqual(caught.at(-1), 'and left');
  console.log(`${caught.length} exceptions out of callbacks`);
}

main().catch((error) => { console.error(error); process.exit(1); });
