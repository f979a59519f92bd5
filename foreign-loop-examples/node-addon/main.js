// lodger in Node's own loop: `node main.js ADDON`.
'use strict';

const addon = { exports: {} };
process.dlopen(addon, require('path').resolve(process.argv[2]));
const lodger = addon.exports;

const { port } = lodger.start({
  listen: process.env.LODGER_LISTEN,
  feed: process.env.LODGER_FEED,
  host: `Node.js ${process.version}`,
});
const scheme = process.env.LODGER_CERTIFICATE ? 'https' : 'http';
console.log(`listening on ${scheme}://127.0.0.1:${port}`);

// The host's own timer. Once it is cleared and the guest has left, Node ends by itself.
const timer = setInterval(() => {
  if (lodger.tick()) clearInterval(timer);
}, 10);
