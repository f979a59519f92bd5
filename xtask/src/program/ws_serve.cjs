// Echoes over the npm package `ws`, with permessage-deflate on offer. Prints where it listens.
// usage: NODE_PATH=... node ws_serve.cjs
'use strict';
const { WebSocketServer } = require('ws');

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: true });
server.on('listening', () => console.log(`http://127.0.0.1:${server.address().port}/`));
server.on('connection', (peer) => {
  peer.on('message', (data, binary) => peer.send(data, { binary }));
  peer.on('error', (error) => console.error(error.message));
});
