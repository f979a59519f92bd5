// A browser that speaks MQTT over WebSocket to `lodger serve --mqtt`, by the npm package mqtt.
//
//     node tests/mqtt/browser.mjs PROGRAM MODULES [BROWSER]
//
// MODULES is a folder `node_modules` with mqtt and playwright-core. The page is one that the program
// serves, so that it is of the same origin as its broker. One line at the end; exit 1 if anything is
// otherwise.

import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const [program, modules, executablePath = '/usr/bin/chromium'] = process.argv.slice(2);
const LIMIT = 150_000;       // milliseconds for everything
const load = createRequire(resolve(modules, 'any.js'));
const { chromium } = load('playwright-core');
const mqtt = load('mqtt');

setTimeout(() => { console.error('it took too long'); process.exit(1); }, LIMIT).unref();

function expect(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

async function until(what, probe) {
  for (const end = Date.now() + 40_000; Date.now() < end;) {
    const found = await probe();
    if (found) return found;
    await new Promise(done => { setTimeout(done, 50); });
  }
  throw new Error(`not in time: ${what}`);
}

/// Starts the program; gives where its page and its broker are.
async function serve() {
  const child = spawn(program, ['serve', '--listen', '127.0.0.1:0', '--mqtt', '127.0.0.1:0'],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  process.on('exit', () => child.kill('SIGKILL'));
  let said = '';
  child.stdout.on('data', bytes => { said += bytes; });
  const place = scheme => said.match(new RegExp(`${scheme}://127\\.0\\.0\\.1:\\d+`))?.[0];
  return until('it says where it is', () => place('http') && place('mqtt') && { http: place('http'), tcp: place('mqtt') });
}

// What runs in the page. A browser ends a connection on which the subprotocol is not agreed on.
function begin(url) {
  window.heard = [];
  const client = window.client = window.mqtt.connect(url, { protocolVersion: 5 });
  client.on('message', (topic, payload) => window.heard.push(`${topic} ${new TextDecoder().decode(payload)}`));
  return client.subscribeAsync('to/browser/#', { qos: 2 }).then(() => true);
}

const { http, tcp } = await serve();
const browser = await chromium.launch({
  executablePath, timeout: 30_000,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync', '--disable-background-networking'],
});
try {
  const page = await browser.newPage();
  const sockets = [];
  page.on('websocket', socket => sockets.push(socket.url()));
  await page.goto(`${http}/plaintext`);
  await page.addScriptTag({ path: join(resolve(modules), 'mqtt/dist/mqtt.min.js') });
  const url = `${http.replace('http', 'ws')}/mqtt`;
  await page.evaluate(begin, url);
  expect(sockets.includes(url), `it connected to ${sockets}`);

  // From a client over TCP to the browser, and back, at every QoS.
  const other = await mqtt.connectAsync(tcp);
  const answers = [];
  other.on('message', (topic, payload) => answers.push(`${topic} ${payload}`));
  await other.subscribeAsync('from/browser', { qos: 2 });
  for (const qos of [0, 1, 2]) await other.publishAsync('to/browser/x', `${qos}`, { qos });
  const heard = await until('the browser hears', () => page.evaluate(() => window.heard.length >= 3 && window.heard.join()));
  expect(heard === 'to/browser/x 0,to/browser/x 1,to/browser/x 2', `the browser heard ${heard}`);
  await page.evaluate(async () => {
    for (const qos of [0, 1, 2]) await window.client.publishAsync('from/browser', `${qos}`, { qos });
  });
  await until('the other one hears', () => answers.length >= 3);
  expect(answers.join() === 'from/browser 0,from/browser 1,from/browser 2', `the other heard ${answers}`);

  // The live page tells of both.
  const live = await browser.newPage();
  await live.goto(`${http}/`);
  const shown = await until('the live page shows the broker', () => live.evaluate(() => {
    const text = id => document.getElementById(id).textContent;
    const hidden = document.getElementById('broker').hidden;
    return !hidden && text('broker-sessions') === '2' && text('broker-in') === '6' && text('broker-connected');
  }));
  expect(shown === '2 connected', `the live page says ${shown}`);
  await other.endAsync();
  console.log('a browser and a client over TCP hear each other, every QoS; the live page shows both');
} catch (error) {
  console.error(String(error.message ?? error).slice(0, 500));
  process.exitCode = 1;
} finally {
  await browser.close().catch(() => {});
}
process.exit();
