// What becomes of a guest whose worker is terminated, or whose process exits: `node worker.js ADDON`.
'use strict';

const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const assert = require('assert');
const http = require('http');

function load(path) {
  const addon = { exports: {} };
  process.dlopen(addon, require('path').resolve(path));
  return addon.exports;
}

function get(port, path) {
  return new Promise((resolve, reject) => {
    http.get({ port, path, agent: false }, (res) => {
      let text = '';
      res.on('data', (part) => { text += part; });
      res.on('end', () => resolve(text));
    }).on('error', reject);
  });
}

function start() {
  return new Promise((resolve, reject) => {
    const worker = new Worker(__filename, { workerData: process.argv[2] });
    worker.on('error', reject);
    worker.on('message', (port) => resolve({ worker, port }));
  });
}

async function main() {
  const lodger = load(process.argv[2]);
  const { port } = lodger.start({ host: 'the main thread' });
  assert.throws(() => lodger.start({}), /started already/);

  // Each worker has a guest of its own; terminating one does not disturb the others.
  for (let round = 0; round < 5; round += 1) {
    const [one, two] = await Promise.all([start(), start()]);
    assert.notStrictEqual(one.port, two.port);
    assert.match(await get(one.port, '/ticks'), /^\d+$/);
    await one.worker.terminate();
    await assert.rejects(get(one.port, '/ticks'), { code: 'ECONNREFUSED' });
    assert.match(await get(two.port, '/ticks'), /^\d+$/);
    assert.match(await get(port, '/ticks'), /^\d+$/);
    await two.worker.terminate();
  }

  // What cannot be had is an error, not a guest that looks alive.
  const taken = new Worker(`
    const addon = { exports: {} };
    process.dlopen(addon, ${JSON.stringify(require('path').resolve(process.argv[2]))});
    addon.exports.start({ listen: '127.0.0.1:${port}' });
  `, { eval: true });
  const error = await new Promise((resolve) => { taken.on('error', resolve); });
  assert.match(error.message, /in use/);

  // With a guest that was stopped and one that was not, the process ends either way.
  if (process.argv[3] === 'exit') process.exit(0);
  lodger.stop();
  lodger.stop();
  console.log('five rounds of two workers terminated');
}

if (isMainThread) {
  main();
} else {
  const { port } = load(workerData).start({});
  setInterval(() => {}, 10);
  parentPort.postMessage(port);
}
