// Takes the README's pictures: the live page in several hosts side by side, and a window.
//
//     node tests/page/hosts.mjs OUT_DIR MODULES WINDOW HOST...
//
// WINDOW is a program with a window; each HOST is a command, as words in JSON, which prints the URL
// that it serves. All are fed prices (LODGER_FEED). OUT_DIR gets hosts.png and window.png, the window
// with its feed and after the feed was killed. Needs Xvfb, ImageMagick and Chromium.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { sleep } from './program.mjs';

const LIMIT = 180_000;      // milliseconds for everything
const FULL = 15_000;        // milliseconds until the charts show something
const VIEW = { width: 480, height: 640 };
const COLOURS = '48';       // of a picture: enough for a page, and small

const [out, modules, window, ...hosts] = process.argv.slice(2);
const require = createRequire(join(resolve(modules), 'x.js'));
const { WebSocketServer } = require('ws');
const { chromium } = require('playwright-core');

const children = [];
process.on('exit', () => children.forEach(child => child.kill()));
setTimeout(() => { console.error('too slow'); process.exit(1); }, LIMIT).unref();

function start(words, env, stdio = ['ignore', 'pipe', 'inherit']) {
  const child = spawn(words[0], words.slice(1), { env: { ...process.env, ...env }, stdio });
  children.push(child);
  return child;
}

/// Waits for what `pattern` finds in what a stream says.
async function said(stream, pattern) {
  for (let text = ''; ;) {
    const [bytes] = await once(stream, 'data', { signal: AbortSignal.timeout(20_000) });
    text += bytes;
    const found = text.match(pattern);
    if (found) { stream.resume(); return found; }
  }
}

/// A feed of prices that go up and down, two hundred a second. Gives its port and how to end it.
async function feed(port = 0) {
  const server = new WebSocketServer({ host: '127.0.0.1', port });
  await once(server, 'listening');
  server.on('connection', socket => {
    let step = 0;
    const timer = setInterval(() => {
      step += 0.1;
      socket.send((100 + Math.sin(step) + 4 * Math.sin(step / 7)).toFixed(2));
    }, 5);
    socket.on('close', () => clearInterval(timer));
    socket.on('error', () => {});
  });
  const end = () => { server.clients.forEach(socket => socket.terminate()); server.close(); };
  return { port: server.address().port, end };
}

/// Puts pictures beside each other, small.
function beside(files, into) {
  execFileSync('montage', [...files, '-tile', 'x1', '-geometry', '+4+0', '-background', '#888888',
    '-colors', COLOURS, '-depth', '8', '-strip', into]);
}

async function pages(prices) {
  const env = { LODGER_FEED: `ws://127.0.0.1:${prices.port}/`, LODGER_LISTEN: '127.0.0.1:0' };
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
  });
  const files = [];
  for (const [n, words] of hosts.entries()) {
    const host = start(JSON.parse(words), env);
    const [url] = await said(host.stdout, /http:\/\/127\.0\.0\.1:\d+/);
    const page = await browser.newPage({ viewport: VIEW, colorScheme: 'light' });
    await page.goto(`${url}/`);
    await page.waitForTimeout(FULL);
    files.push(join(out, `host-${n}.png`));
    await page.screenshot({ path: files.at(-1) });
    await page.close();
    host.kill();
  }
  await browser.close();
  beside(files, join(out, 'hosts.png'));
}

async function shots(prices) {
  const words = ['Xvfb', '-displayfd', '1', '-nolisten', 'tcp', '-screen', '0', '480x240x24'];
  const display = start(words, {}, ['ignore', 'pipe', 'ignore']);
  const DISPLAY = `:${(await said(display.stdout, /(\d+)\n/))[1]}`;
  const env = {
    DISPLAY, LODGER_FEED: `ws://127.0.0.1:${prices.port}/`, LODGER_LISTEN: '127.0.0.1:0',
    GDK_BACKEND: 'x11', GSK_RENDERER: 'cairo', GTK_A11Y: 'none', GSETTINGS_BACKEND: 'memory',
    GDK_DEBUG: 'gl-disable',
  };
  start([window], env);
  const shot = name => {
    const file = join(out, name);
    execFileSync('import', ['-display', DISPLAY, '-window', 'root', file]);
    return file;
  };
  await sleep(FULL);
  const fed = shot('fed.png');
  prices.end();
  await sleep(2_000);
  beside([fed, shot('unfed.png')], join(out, 'window.png'));
}

const prices = await feed();
await pages(prices);
await shots(prices);
console.log(`${hosts.length} hosts and a window`);
process.exit(0);
