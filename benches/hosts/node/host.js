// The measured guest in Node.js's own loop: `node host.js ADDON MODE [SECONDS]`.
'use strict';

const [, , path, mode, seconds] = process.argv;
const addon = { exports: {} };
process.dlopen(addon, require('path').resolve(path));
const { begin, left, tick } = addon.exports;

function arm() {
  setTimeout(() => { if (tick() === 0) arm(); }, left());
}

if (begin(mode, Number(seconds || 10)) !== 0) throw new Error('there is no such mode');
arm();
