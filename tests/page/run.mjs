// Loads the live page, as a program serves it, in a real browser.
//
//     node tests/page/run.mjs PROGRAM OUT_DIR [--modules DIR] [--browser PATH] [--warm SECONDS]
//
// PROGRAM is started as `PROGRAM serve --listen 127.0.0.1:0` and must print its URL. OUT_DIR gets
// light.png, dark.png and narrow.png. DIR holds `node_modules/playwright-core` (default: OUT_DIR).
// `--warm` is how long traffic runs before the screenshots (default 6), for a chart that is full.
// One line per check, then `N passed, N failed`; exit 1 if a check failed, 2 if misused.

import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { committed, policy } from './csp.mjs';
import { look } from './look.mjs';
import { Program, dial, sleep } from './program.mjs';
import { TRUSTING, secure } from './secure.mjs';

const LIMIT = 180_000;      // milliseconds for everything, besides --warm

const BROWSER_ARGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
  '--disable-background-networking', '--disable-component-update', TRUSTING,
];

const tally = { passed: 0, failed: 0 };

/// Runs one check, prints its line. What it throws is a failure and not the end.
async function check(name, run) {
  try {
    await run();
    tally.passed += 1;
    console.log(`ok      ${name}`);
  } catch (error) {
    tally.failed += 1;
    console.log(`FAILED  ${name}: ${String(error.message ?? error).split('\n')[0].slice(0, 300)}`);
  }
}

function expect(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

/// Waits until `probe` gives something true, and gives that.
async function until(what, probe, limit = 10_000) {
  for (const end = Date.now() + limit; Date.now() < end; await sleep(50)) {
    const found = await probe();
    if (found) return found;
  }
  throw new Error(`after ${limit / 1000} s still not: ${what}`);
}

// A page that keeps account of what it did

async function open(context, url) {
  const page = await context.newPage();
  const seen = { errors: [], failed: [], urls: [], frames: [], feeds: 0 };
  page.on('console', line => { if (['error', 'warning'].includes(line.type())) seen.errors.push(line.text()); });
  page.on('pageerror', error => seen.errors.push(String(error)));
  page.on('request', request => seen.urls.push(request.url()));
  page.on('requestfailed', request => seen.failed.push(request.url()));
  page.on('websocket', feed => {
    seen.urls.push(feed.url());
    seen.feeds += 1;
    feed.on('framereceived', frame => seen.frames.push({ at: Date.now(), text: String(frame.payload) }));
  });
  const response = await page.goto(url, { timeout: 15_000 });
  return { page, seen, response };
}

const state = page => page.evaluate(() => document.documentElement.dataset.state);
const badge = page => page.evaluate(() => document.querySelector('.state').innerText);
const text = (page, id) => page.evaluate(id => document.getElementById(id).textContent, id);
const rows = page => page.evaluate(() =>
  [...document.querySelectorAll('#rows tr')].map(tr => [...tr.cells].map(cell => cell.textContent)));
const row = async (page, proto, path) => (await rows(page)).find(cells => cells[0] === proto && cells[1] === path);
const overflow = page => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
const becomes = (page, wanted, limit) => until(`data-state is ${wanted}`, async () => await state(page) === wanted, limit);

// The checks

async function served({ page, seen, response }) {
  await check('the policy file is that of the page', () => expect(policy() === committed(), 'run tests/page/csp.mjs --policy'));
  await check('the file is small and needs nothing else', async () => {
    const html = await response.text();
    expect(Buffer.byteLength(html) <= 30_000, `${Buffer.byteLength(html)} bytes`);
    expect(html.includes('<link rel="icon" href="data:,">'), 'a browser would ask for /favicon.ico');
    const bare = html.replace(/<(style|script)\b[^]*?<\/\1>/g, '');
    const found = bare.match(/\s(style|src|on\w+)=|https?:|<(link|iframe|form|object)\b(?! rel="icon")/);
    expect(!found, `found ${found?.[0].trim()}`);
  });
  await check('the answer is HTML with the policy', () => {
    const headers = response.headers();
    expect(response.status() === 200, `status ${response.status()}`);
    expect(/^text\/html\b/.test(headers['content-type'] ?? ''), `content-type ${headers['content-type']}`);
    expect(headers['content-security-policy'] === committed(), `policy ${headers['content-security-policy']}`);
  });
  await check('it becomes live', () => becomes(page, 'live'));
  await check('three snapshots arrive, each whole and of version 2', async () => {
    await until('three frames', () => seen.frames.length >= 3);
    for (const frame of seen.frames) expect(JSON.parse(frame.text).v === 2, frame.text.slice(0, 80));
  });
  await check('at most ten snapshots a second', async () => {
    const from = Date.now();
    await sleep(2000);
    const took = (Date.now() - from) / 1000;
    const n = seen.frames.filter(frame => frame.at >= from).length;
    expect(n <= 10 * took + 2, `${n} in ${took} s`);
  });
  await check('the figures are those of the snapshot, and time goes on', async () => {
    const { host, version } = JSON.parse(seen.frames.at(-1).text);
    expect(await text(page, 'host') === host, `host ${await text(page, 'host')}`);
    expect(await text(page, 'version') === version, `version ${await text(page, 'version')}`);
    expect((await page.title()).includes(host), `title ${await page.title()}`);
    const before = await text(page, 'uptime');
    await until('another uptime', async () => await text(page, 'uptime') !== before, 3000);
  });
  await check('the table shows the feed of the page itself', () =>
    until('a row ws /_lodger/feed', () => row(page, 'ws', '/_lodger/feed')));
}

async function connections({ page }, program, warm) {
  let echo;
  await check('a connection from elsewhere appears, and its bytes count', async () => {
    echo = await dial(program.port, '/echo');
    const before = await until('a row ws /echo', () => row(page, 'ws', '/echo'));
    expect(await echo.ask('x'.repeat(5000)) === 'x'.repeat(5000), 'the echo differs');
    await until('more bytes', async () => (await row(page, 'ws', '/echo'))[4] !== before[4]);
  });
  await check('traffic draws a line', async () => {
    for (const end = Date.now() + warm * 1000; Date.now() < end; await sleep(10 + 10 * Math.random())) {
      for (let n = 1 + 3 * Math.random(); n > 0; n--) await echo.ask('hello');
      await fetch(new URL('/plaintext', program.url)).then(answer => answer.text());
    }
    const line = await page.evaluate(() => document.getElementById('messages-line').getAttribute('d'));
    expect((line.match(/L/g) ?? []).length >= 2, `line ${line}`);
    expect(/[1-9]/.test(await text(page, 'messages-rate')), `rate ${await text(page, 'messages-rate')}`);
  });
  return echo;
}

/// Runs in the page: the next Tab goes to what comes first.
function startOfPage() {
  const first = document.querySelector('.name');
  first.tabIndex = -1;
  first.focus();
  first.removeAttribute('tabindex');
}

const button = (page, word) => page.locator(`[data-word=${word}]`);
const items = (page, id) => page.evaluate(id => [...document.getElementById(id).children].map(li => li.textContent), id);
/// Timers that were 131 ms late or more, as the histogram has them: bucket 18 begins there.
const veryLate = page => page.evaluate(() =>
  [...document.getElementById('late-bars').children].slice(18).reduce((sum, bar) => sum + Number(bar.dataset.n), 0));
const path = (page, id) => page.evaluate(id => document.getElementById(id).getAttribute('d') ?? '', id);

async function acts({ page, seen }, program) {
  await check('the strip fills, and the timers of the page are listed', async () => {
    await until('ten bars', async () => ((await path(page, 'strip-ok')) + await path(page, 'strip-warn')).split('M').length > 10);
    await until('feed and probe', async () => {
      const all = (await items(page, 'list')).join(' ');
      return all.includes("this page's feed") && all.includes("this page's probe");
    });
    expect(await page.locator('#streams-empty').isVisible(), 'a stream, but nobody opened one');
  });
  await check('the buttons are reached by the keyboard', async () => {
    await page.evaluate(startOfPage);
    const reached = [];
    for (let i = 0; i < 4; i++) {
      await page.keyboard.press('Tab');
      reached.push(await page.evaluate(() => document.activeElement.dataset.word));
    }
    expect(reached.join(' ').startsWith('stall open drop'), `reached ${reached.join(' ')}`);
  });
  await check('a stall is a red bar within a second, and a timer that was 131 ms late', async () => {
    await until('a calm strip', async () => await path(page, 'strip-bad') === '', 35_000);
    const before = await veryLate(page);
    await button(page, 'stall').focus();
    await page.keyboard.press('Enter');
    const from = Date.now();
    await until('a red bar', async () => await path(page, 'strip-bad') !== '', 1500);
    expect(Date.now() - from <= 1000, `after ${Date.now() - from} ms`);
    await until('a later bucket', async () => await veryLate(page) > before, 1000);
  });
  await check('five sockets open, one is dropped: its countdown runs, and it comes back', async () => {
    await button(page, 'open').click();
    const open = async () => (await items(page, 'streams')).filter(text => text.endsWith('open')).length;
    await until('five streams', async () => await open() === 5);
    await until('their rows', async () => (await rows(page)).filter(cells => cells[1] === '/_lodger/socket').length === 5);
    await button(page, 'drop').click();
    const waits = async () => (await items(page, 'streams')).find(text => /attempt 2 in \d\.\d s/.test(text));
    const first = await until('a countdown', waits, 2000);
    await until('less of it', async () => { const now = await waits(); return now && now !== first; }, 2000);
    await until('five again', async () => await open() === 5, 10_000);
  });
  await check('one who may not act is not heard, whatever the page shows', async () => {
    const before = await veryLate(page), other = await dial(program.port, '/_lodger/feed');
    const n = (await items(page, 'streams')).length;
    await other.ask('open');
    await other.ask('stall');
    await sleep(500);
    other.end();
    expect((await items(page, 'streams')).length === n, 'sockets were opened');
    expect(await veryLate(page) === before, 'the loop was stalled');
    expect(seen.frames.some(frame => JSON.parse(frame.text).may), 'the page was told that it may');
  });
}

async function looks(context, main, url, out) {
  await check('light, dark and narrow: readable, nothing too wide', async () => {
    await button(main.page, 'drop').click();        // so that there is a countdown to be seen
    await until('a countdown', async () => (await items(main.page, 'streams')).some(text => /in \d\.\d s/.test(text)));
    await sleep(600);
    await look(main.page, overflow, out);
  });
  await check('it is live at /_lodger too', async () => {
    const { page } = await open(context, new URL('/_lodger', url).href);
    await becomes(page, 'live');
    await page.close();
  });
  await check('a hidden page takes no snapshots, and comes back', async () => {
    const { page, seen } = await open(context, url);
    const hide = hidden => page.evaluate(hidden => {
      Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await becomes(page, 'live');
    await hide(true);
    await sleep(300);
    const before = seen.frames.length;
    await sleep(700);
    expect(await state(page) === 'paused', `state ${await state(page)}`);
    expect(seen.frames.length === before, `${seen.frames.length - before} frames while hidden`);
    await hide(false);
    await becomes(page, 'live');
    await page.close();
  });
}

/// A feed that says nothing more, though it is open.
async function silent(browser, url) {
  await check('a feed that falls silent counts as lost', async () => {
    const context = await browser.newContext();     // the clock is that of a whole context
    const page = await context.newPage();
    const feeds = [];
    await page.clock.install();
    await page.routeWebSocket(/feed$/, route => { feeds.push(route); });
    await page.goto(url, { timeout: 15_000 });
    await until('a feed', () => feeds[0]);
    feeds[0].send(JSON.stringify({ v: 2, host: 'silent' }));
    await becomes(page, 'live');
    await page.clock.fastForward(9000);
    expect(await state(page) === 'live', 'lost too early');
    await page.clock.fastForward(2000);
    await becomes(page, 'lost');
    await page.clock.fastForward(1000);
    await until('another feed', () => feeds[1]);
    await context.close();
  });
}

/// A feed that lies: peers choose paths, and a later program may send what we do not know.
async function hostile(context, url) {
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', error => errors.push(String(error)));
  page.on('console', line => { if (line.type() === 'error') errors.push(line.text()); });
  let feed;
  await page.routeWebSocket(/feed$/, route => { feed = route; });
  await page.goto(url, { timeout: 15_000 });
  await until('a feed', () => feed);
  const say = what => feed.send(typeof what === 'string' ? what : JSON.stringify(what));
  const evil = '<img src=x onerror="document.title=1">\u202e</td>';

  await check('what comes over the wire is text', async () => {
    const conn = { id: evil, proto: evil, path: evil, peer: evil, state: evil, rx: 1, tx: 2, age_us: 3 };
    say({ v: 2, host: evil, version: evil, uptime_us: 5e6, open: 5000, shown: 1, conns: [conn] });
    await until('the row', async () => (await rows(page))[0]?.[1] === evil);
    expect(await text(page, 'host') === evil, 'host');
    expect(await page.locator('img').count() === 0, 'an element was made');
    expect(await text(page, 'shown') === '1 of 5,000 shown', await text(page, 'shown'));
  });
  await check('a broken snapshot breaks nothing', async () => {
    const odd = [null, 'x', -1, 1e400, {}, [], true];
    for (const frame of ['', '{', 'null', '[]', '"x"', '7']) say(frame);
    for (const value of odd) {
      const conns = Array.isArray(value) ? [null, 3, [], {}, { id: 4 }, { id: 'a' }, { id: 'a', rx: 'x', path: {} }] : value;
      say({ v: 2, may: value });
      say({ v: 2, host: value, worst_us: odd, bars: value, list: odd, streams: [...odd, { url: 'x', due_us: value }], uptime_us: value, wakes: value, open: value, late: value, turn: odd, conns });
      await sleep(300);
    }
    say({ v: 2, host: 'still here', uptime_us: 6e6, open: 0, conns: [] });
    await until('the next host', async () => await text(page, 'host') === 'still here');
    expect(await page.locator('#empty').isVisible(), 'no word about an empty table');
  });
  await check('a hundred long rows fit at 360 px', async () => {
    await page.setViewportSize({ width: 360, height: 780 });
    const conns = Array.from({ length: 100 }, (_, i) => ({
      id: `${i}.1`, proto: 'ws', path: `/${'long'.repeat(99)}`, peer: `[2001:db8:1111:2222:3333:4444:5555:${i}]:65000`,
      rx: 2 ** 53, tx: 2 ** 53, age_us: 1e15, state: 'closing',
    }));
    const items = conns.slice(50).map(({ id, path }) => ({
      id, kind: path, of: path, url: path, state: 'waiting', failures: 2 ** 32, due_us: 2 ** 53, delay_us: 2 ** 53, period_us: 2 ** 53,
    }));
    say({ v: 2, host: 'x'.repeat(300), version: '0.1.0', uptime_us: 1e16, turns: 2 ** 53, nested: 2 ** 53, wakes: 2 ** 53,
      requests: 2 ** 53, messages: 2 ** 53, open: 2 ** 53, accepted: 2 ** 53, rx: 2 ** 53, tx: 2 ** 53, timers: 2 ** 53,
      late: Array(24).fill(2 ** 40), worst_us: Array(300).fill(2 ** 53), bars: 2 ** 53, list: items, streams: items, turn: Array(64).fill(2 ** 53), shown: 100, conns });
    await until('a hundred rows', async () => (await rows(page)).length === 100);
    expect(await overflow(page) === 0, `${await overflow(page)} px too wide`);
  });
  await check('another version of the feed asks for a reload', async () => {
    say({ v: 3 });
    await becomes(page, 'lost');
    expect(/reload/.test(await badge(page)), await badge(page));
  });
  await check('none of that was an error', () => expect(errors.length === 0, errors[0]));
  await page.close();
}

async function comesBack({ page, seen }, program) {
  await check('no console error, no failed request, nothing from outside', () => {
    expect(seen.errors.length === 0, seen.errors[0]);
    expect(seen.failed.length === 0, `failed: ${seen.failed[0]}`);
    const { host } = new URL(program.url);
    const others = seen.urls.filter(url => new URL(url).host !== host);
    expect(others.length === 0, `outside: ${others[0]}`);
    const paths = seen.urls.map(url => new URL(url).pathname).join(' ');
    expect(paths === '/ /_lodger/feed', `asked for ${paths}`);
  });
  await check('the program is killed: the badge says lost, and when it tries again', async () => {
    await program.kill();
    await becomes(page, 'lost', 3000);
    await until('a countdown', async () => /^lost:\s+trying again in \d\.\d s/.test(await badge(page)), 3000);
  });
  await check('lost: readable in light and dark, nothing too wide', () => look(page, overflow));
  await check('the button that tries at once is reached by the keyboard', async () => {
    await until('a longer wait', async () => /in [1-9]\.\d s/.test(await badge(page)), 20_000);
    await page.evaluate(startOfPage);
    for (let i = 0; i < 2 && await page.evaluate(() => document.activeElement.id) !== 'again'; i++) await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement.id) === 'again', 'the focus is elsewhere');
  });
  await check('the program is started again: live again', async () => {
    const feeds = seen.feeds;
    await program.start();
    await becomes(page, 'live', 15_000);
    expect(seen.feeds > feeds, 'by no new feed');
    await until('its own row', () => row(page, 'ws', '/_lodger/feed'));
  });
  await check('meanwhile no error but refused connections', () => {
    const others = seen.errors.filter(error => !/WebSocket connection to .* failed/.test(error));
    expect(others.length === 0, others[0]);
  });
}

// The frame around them

function usage() {
  const { positionals: [program, out], values } = parseArgs({
    allowPositionals: true,
    options: { modules: { type: 'string' }, browser: { type: 'string' }, warm: { type: 'string' } },
  });
  const warm = Number(values.warm ?? 6);
  if (!program || !out || !(warm >= 0)) {
    throw new Error('usage: node run.mjs PROGRAM OUT_DIR [--modules DIR] [--browser PATH] [--warm SECONDS]');
  }
  return {
    program, out, warm,
    modules: resolve(values.modules ?? out),
    browser: values.browser ?? '/usr/bin/chromium',
  };
}

function playwright(modules) {
  return createRequire(join(modules, 'any.js'))('playwright-core').chromium;
}

async function all({ program: path, out, warm, browser: executablePath }, chromium, program) {
  await program.start();
  const browser = await chromium.launch({ executablePath, args: BROWSER_ARGS, timeout: 30_000 });
  program.onStop(() => browser.close());
  const context = await browser.newContext({
    viewport: { width: 1200, height: 780 }, colorScheme: 'light', reducedMotion: 'reduce',
  });
  context.setDefaultTimeout(10_000);
  const main = await open(context, program.url);
  await served(main);
  const echo = await connections(main, program, warm);
  await acts(main, program);
  await looks(context, main, program.url, out);
  echo?.end();
  await check('a connection that has gone leaves the table', () =>
    until('no row ws /echo', async () => !await row(main.page, 'ws', '/echo')));
  await silent(browser, program.url);
  await hostile(context, program.url);
  await secure(browser, path, { check, expect, until, open, becomes, rows, row, button, items, overflow });
  await comesBack(main, program);
}

async function main() {
  const options = usage();
  mkdirSync(options.out, { recursive: true });
  const program = new Program(options.program);
  process.once('SIGTERM', () => process.exit(143));
  const tooLong = sleep(LIMIT + options.warm * 1000).then(() => { throw new Error('took too long'); });
  try {
    await Promise.race([all(options, playwright(options.modules), program), tooLong]);
  } catch (error) {
    tally.failed += 1;
    console.log(`FAILED  the run itself: ${String(error.message).split('\n')[0]}`);
  } finally {
    await program.stop();
  }
  console.log(`${tally.passed} passed, ${tally.failed} failed`);
  process.exit(tally.failed ? 1 : 0);
}

main().catch(error => { console.error(error.message); process.exit(2); });
