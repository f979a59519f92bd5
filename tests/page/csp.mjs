// The Content-Security-Policy of the live page: everything is forbidden, except the one style and
// the one script that the page holds, named by their hashes, and its own feed.
//
//     node tests/page/csp.mjs            prints the two hashes
//     node tests/page/csp.mjs --policy   prints the policy: what `src/app/live/page.csp` holds
//     node tests/page/csp.mjs --check    compares; exit 1 if the file is not the page's policy
//
// After any change of the page: node tests/page/csp.mjs --policy > src/app/live/page.csp

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const live = new URL('../../src/app/live/', import.meta.url);
const read = name => readFileSync(new URL(name, live), 'utf8');

// The hash covers the text between the tags to the last newline.
function only(html, tag) {
  const found = [...html.matchAll(new RegExp(`<${tag}\\b[^>]*>([^]*?)</${tag}>`, 'g'))];
  if (found.length !== 1) throw new Error(`the page holds ${found.length} <${tag}>, not one`);
  return found[0][1];
}

const sha256 = text => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/// The two sources that the policy names.
export function hashes() {
  const html = read('page.html');
  return { style: sha256(only(html, 'style')), script: sha256(only(html, 'script')) };
}

/// The policy as it must be for the page as it is.
export function policy() {
  const { style, script } = hashes();
  return [
    "default-src 'none'", `style-src ${style}`, `script-src ${script}`, "connect-src 'self'",
    'img-src data:', "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
  ].join('; ');
}

/// The policy as it is sent.
export const committed = () => read('page.csp').trimEnd();

function main(mode) {
  if (mode === '--policy') {
    console.log(policy());
  } else if (mode === '--check') {
    const same = policy() === committed();
    console.log(same ? 'page.csp is the policy of page.html' : 'page.csp is not the policy of page.html: write it anew');
    process.exitCode = same ? 0 : 1;
  } else {
    const { style, script } = hashes();
    console.log(`style  ${style}\nscript ${script}`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv[2]);
