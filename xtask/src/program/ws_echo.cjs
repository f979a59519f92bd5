// Echoes over the npm package `ws`: text, bytes, nothing, a long message, fragments, a ping.
// usage: NODE_PATH=... node ws_echo.cjs ws://HOST:PORT/echo (or wss://, to anybody's certificate)
'use strict';
const assert = require('node:assert');
const { WebSocket } = require('ws');

const peer = new WebSocket(process.argv[2], { perMessageDeflate: false, rejectUnauthorized: false });
const give_up = setTimeout(() => { throw new Error('no answer in 30 s'); }, 30_000);

const next = (event) => new Promise((resolve, reject) => {
  peer.once(event, (...args) => resolve(args));
  peer.once('error', reject);
});

async function echo(sent, { as = sent } = {}) {
  const heard = next('message');
  if (Array.isArray(sent)) {
    sent.forEach((part, i) => peer.send(part, { fin: i + 1 === sent.length }));
  } else {
    peer.send(sent);
  }
  const [data, binary] = await heard;
  assert.strictEqual(binary, Buffer.isBuffer(as));
  assert.ok(data.equals(Buffer.from(as)), `${data.length} bytes came back, or others`);
}

async function main() {
  await next('open');
  await echo('twenty bytes of text');
  await echo('');
  await echo('käse €');
  await echo(Buffer.from([0, 1, 254, 255]));
  await echo('x'.repeat(125) + 'y');
  await echo(Buffer.alloc(70_000, 7));
  await echo(Buffer.alloc(16 << 20, 9));
  await echo(['frag', 'ment', 'ed'], { as: 'fragmented' });
  const pong = next('pong');
  peer.ping('alive');
  assert.strictEqual(String((await pong)[0]), 'alive');
  const closed = next('close');
  peer.close(1000, 'done');
  assert.strictEqual((await closed)[0], 1000);
  clearTimeout(give_up);
  console.log('8 messages, a ping, a close');
}

main().catch((error) => { console.error(error.message); process.exit(1); });
