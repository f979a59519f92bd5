// The page over https: HTTP/2, and its feed as a WebSocket on a stream of it (RFC 8441), which a
// browser asks for by itself. The certificate is made on the spot, so the browser must not look.

import { Program } from './program.mjs';

/// How the browser is started for it.
export const TRUSTING = '--ignore-certificate-errors';

/// Runs in the page: sends each text and gives what came back, then closes politely.
async function echoes(texts) {
  const socket = new WebSocket(new URL('/echo', location.href.replace(/^http/, 'ws')));
  await new Promise((done, fail) => { socket.onopen = done; socket.onerror = () => fail(new Error('no socket')); });
  const heard = [];
  for (const text of texts) {
    socket.send(text);
    heard.push(await new Promise(done => { socket.onmessage = event => done(event.data); }));
  }
  window.echo = socket;
  return heard;
}

const cells = (all, proto, path) => all.find(row => row[0] === proto && row[1] === path);

/// Starts a program of its own with --tls, and looks at it with what `run.mjs` looks with.
export async function secure(browser, path, { check, expect, until, open, becomes, rows, row, button, items, overflow }) {
  const program = new Program(path, ['--tls']);
  await program.start();
  const context = await browser.newContext({ viewport: { width: 1200, height: 780 }, ignoreHTTPSErrors: true });
  context.setDefaultTimeout(10_000);
  const { page, seen } = await open(context, program.url);

  await check('https: it becomes live', async () => {
    expect(program.url.startsWith('https:'), program.url);
    await becomes(page, 'live');
    expect(seen.urls.some(url => url.startsWith('wss:')), `asked for ${seen.urls.join(' ')}`);
  });
  await check('https: the browser speaks HTTP/2, and the protocol column says h2', async () => {
    const hop = await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol);
    expect(hop === 'h2', `the browser says ${hop}`);
    await until('a row h2', () => row(page, 'h2', '–'));
  });
  await check('https: version, cipher and ALPN stand beside it', async () => {
    const tls = (await row(page, 'h2', '–'))[3];
    expect(/^TLSv1\.3 TLS13_\w+ alpn h2/.test(tls), tls);
  });
  await check('https: the feed is a WebSocket on a stream of that connection', async () => {
    const all = await until('a row ws', async () => { const all = await rows(page); return cells(all, 'ws', '/_lodger/feed') && all; });
    const [feed, connection] = [cells(all, 'ws', '/_lodger/feed'), cells(all, 'h2', '–')];
    expect(feed[2] === connection[2] && feed[3] === connection[3], `${feed[2]} ${feed[3]}`);
  });
  await check('https: a WebSocket of the page echoes over HTTP/2', async () => {
    const texts = ['hello', 'é'.repeat(40_000), ''];
    const heard = await page.evaluate(echoes, texts);
    expect(JSON.stringify(heard) === JSON.stringify(texts), `heard ${heard.map(text => text.length)}`);
    const echo = await until('its row', () => row(page, 'ws', '/echo'));
    expect(echo[3].endsWith('alpn h2') && echo[2] === (await row(page, 'h2', '–'))[2], echo.join(' '));
    await page.evaluate(() => window.echo.close());
    await until('no row', async () => !await row(page, 'ws', '/echo'));
  });
  await check('https: the buttons open sockets to the program itself', async () => {
    await button(page, 'open').click();
    const socket = () => row(page, 'ws', '/_lodger/socket');
    expect((await until('a socket', socket))[3].startsWith('TLSv1.'), (await socket())[3]);
    await until('five streams', async () => (await items(page, 'streams')).filter(text => text.endsWith('open')).length === 5);
  });
  await check('https: no console error, no failed request, nothing too wide', async () => {
    expect(seen.errors.length === 0, seen.errors[0]);
    expect(seen.failed.length === 0, `failed: ${seen.failed[0]}`);
    await page.setViewportSize({ width: 360, height: 780 });
    expect(await overflow(page) === 0, `${await overflow(page)} px too wide`);
  });
  await context.close();
  await program.stop();
}
