// The program under test, and a WebSocket client that is not the browser's.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';

export const sleep = ms => new Promise(done => { setTimeout(done, ms); });

const START = 10_000;       // milliseconds until it must have said its URL

/// One program, started and killed any number of times; from its second start on the same port.
export class Program {
  #path; #more; #child = null; #stops = [];
  url = null;
  port = 0;

  /// `more` are arguments of `serve`.
  constructor(path, more = []) {
    this.#path = path;
    this.#more = more;
    process.on('exit', () => this.#child?.kill('SIGKILL'));
  }

  async start() {
    const child = spawn(this.#path, ['serve', '--listen', `127.0.0.1:${this.port}`, ...this.#more], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    let said = '', complaint = '';
    child.stderr.on('data', bytes => { complaint = `${complaint}${bytes}`.slice(-2000); });
    await new Promise((done, fail) => {
      setTimeout(fail, START, new Error(`it said no URL, but: ${said}${complaint}`)).unref();
      child.on('error', fail);
      child.on('exit', code => fail(new Error(`it ended with ${code}: ${complaint}`)));
      child.stdout.on('data', bytes => {
        said = `${said}${bytes}`.slice(0, 10_000);
        const url = said.match(/https?:\/\/127\.0\.0\.1:(\d+)/);
        if (!url) return;
        this.port = Number(url[1]);
        this.url = `${url[0]}/`;
        done();
      });
    });
  }

  /// Ends it without a goodbye.
  async kill() {
    const child = this.#child;
    this.#child = null;
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  /// What else must end when all ends.
  onStop(stop) { this.#stops.push(stop); }

  async stop() {
    for (const stop of this.#stops) await Promise.race([stop().catch(() => {}), sleep(5000)]);
    await this.kill();
  }
}

/// A connected WebSocket client: `ask` sends a text and gives the next text, `end` hangs up.
export async function dial(port, path) {
  const headers = {
    Connection: 'Upgrade', Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
  };
  const asked = request({ host: '127.0.0.1', port, path, headers, timeout: 5000 });
  asked.on('response', answer => asked.destroy(new Error(`no upgrade, but ${answer.statusCode}`)));
  asked.on('timeout', () => asked.destroy(new Error('no answer to the upgrade')));
  asked.end();
  const [, socket, head] = await once(asked, 'upgrade');
  socket.setTimeout(0);
  socket.on('error', () => {});
  let input = head;
  socket.on('data', bytes => { input = Buffer.concat([input, bytes]); socket.emit('more'); });
  const next = async end => {
    for (;;) {
      const frame = unframed(input);
      if (frame) { input = input.subarray(frame.used); return frame; }
      if (Date.now() > end) throw new Error('no echo');
      await Promise.race([once(socket, 'more'), sleep(500)]);
    }
  };
  return {
    async ask(text) {
      socket.write(masked(TEXT, Buffer.from(text)));
      for (const end = Date.now() + 5000; ;) {
        const { opcode, payload } = await next(end);
        if (opcode === PING) socket.write(masked(PONG, payload));
        else if (opcode === TEXT) return payload.toString();
        else throw new Error(`a frame of opcode ${opcode}`);
      }
    },
    end() { socket.destroy(); },
  };
}

const TEXT = 1, PING = 9, PONG = 10;

/// A whole frame of a client, at most 65,535 bytes: RFC 6455, section 5.2.
function masked(opcode, payload) {
  const key = randomBytes(4), n = payload.length;
  const length = n < 126 ? [0x80 | n] : [0x80 | 126, n >> 8, n & 255];
  return Buffer.concat([Buffer.from([0x80 | opcode, ...length]), key, payload.map((byte, i) => byte ^ key[i % 4])]);
}

/// The frame at the front of what a server sent, or null if it is not all there.
function unframed(bytes) {
  if (bytes.length < 2) return null;
  const short = bytes[1] < 126, from = short ? 2 : 4;
  if (bytes.length < from) return null;
  if (!(bytes[0] & 0x80) || bytes[1] > 126) throw new Error('not one short frame');
  const used = from + (short ? bytes[1] : bytes.readUInt16BE(2));
  return bytes.length < used ? null : { opcode: bytes[0] & 15, payload: bytes.subarray(from, used), used };
}
