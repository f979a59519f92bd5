// Node's http2 client against the program: many streams at once, a long body, a WebSocket (RFC 8441).
// usage: node over_tls.cjs https://HOST:PORT
'use strict';
const assert = require('node:assert');
const http2 = require('node:http2');
const { once } = require('node:events');

const peer = http2.connect(process.argv[2], { rejectUnauthorized: false });
const give_up = setTimeout(() => { throw new Error('no answer in 30 s'); }, 30_000);
peer.on('error', (error) => { throw error; });

async function ask(fields, body) {
  const stream = peer.request(fields);
  stream.end(body);
  const [head] = await once(stream, 'response');
  const parts = [];
  for await (const part of stream) parts.push(part);
  assert.strictEqual(head[':status'], 200);
  return Buffer.concat(parts);
}

// One text message, masked and cut in the middle of its header.
async function websocket() {
  const stream = peer.request(
    { ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/echo', 'sec-websocket-version': '13' },
    { endStream: false });
  const [head] = await once(stream, 'response');
  assert.strictEqual(head[':status'], 200);
  stream.write(Buffer.from([0x81]));
  stream.write(Buffer.from([0x82, 0, 0, 0, 0, 0x68, 0x69]));
  const [frame] = await once(stream, 'data');
  assert.deepStrictEqual([...frame], [0x81, 2, 0x68, 0x69]);
  stream.close();
}

async function main() {
  await once(peer, 'remoteSettings');
  assert.strictEqual(peer.alpnProtocol, 'h2');
  assert.ok(peer.remoteSettings.enableConnectProtocol, 'no RFC 8441');
  const pages = await Promise.all(Array.from({ length: 100 }, () => ask({ ':path': '/plaintext' })));
  assert.ok(pages.every((page) => String(page) === 'Hello, World!'));
  const body = Buffer.alloc(1 << 20, 'lodger ');
  assert.ok(body.equals(await ask({ ':method': 'POST', ':path': '/echo' }, body)), 'another body came back');
  await websocket();
  peer.close();
  clearTimeout(give_up);
  console.log('100 streams at once, 1 MiB there and back, a WebSocket');
}

main().catch((error) => { console.error(error.message); process.exit(1); });
