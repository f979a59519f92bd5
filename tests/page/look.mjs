// How the page looks: three screenshots, and what can be measured about them.

import { join } from 'node:path';

const AA = 4.5;             // WCAG 2.2, 1.4.3: the contrast of text

const VIEWS = [
  { name: 'light', colorScheme: 'light', width: 1200, height: 1100 },
  { name: 'dark', colorScheme: 'dark', width: 1200, height: 1100 },
  { name: 'narrow', colorScheme: 'light', width: 360, height: 1600 },
  { name: null, colorScheme: 'dark', width: 700, height: 780 },
  { name: null, colorScheme: 'light', width: 320, height: 640 },
];

/// Looks at the page in each view and leaves it in the first. Throws at what is wrong. Screenshots
/// go to `out`, if it is given.
export async function look(page, overflow, out = null) {
  const grounds = {};
  for (const { name, colorScheme, width, height } of VIEWS) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await page.setViewportSize({ width, height });
    await page.evaluate(() => scrollTo(0, 0));
    const wide = await overflow(page);
    if (wide !== 0) throw new Error(`${wide} px too wide at ${width} px`);
    const { ground, faint } = await page.evaluate(contrast, AA);
    if (faint.length) throw new Error(`${colorScheme}: too faint: ${faint.join(', ')}`);
    grounds[colorScheme] = ground;
    if (name && out) await page.screenshot({ path: join(out, `${name}.png`), animations: 'disabled' });
  }
  if (grounds.light === grounds.dark) throw new Error(`light and dark are both ${grounds.light}`);
  await page.emulateMedia({ colorScheme: VIEWS[0].colorScheme, reducedMotion: 'reduce' });
  await page.setViewportSize({ width: VIEWS[0].width, height: VIEWS[0].height });
}

/// Runs in the page: its ground, and each text that stands out too little from what is behind it.
function contrast(least) {
  const parts = colour => colour.match(/[\d.]+/g).map(Number);
  const light = colour => parts(colour).slice(0, 3)
    .map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if ((parts(colour)[3] ?? 1) === 1) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const faint = [];
  for (const node of document.body.querySelectorAll('*')) {
    const own = [...node.childNodes].some(child => child.nodeType === Node.TEXT_NODE && child.data.trim());
    if (!own || !node.checkVisibility()) continue;
    const [dark, bright] = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dark + 0.05);
    if (ratio < least) faint.push(`${node.id || node.className || node.tagName} ${ratio.toFixed(2)}`);
  }
  return { ground: behind(document.body), faint: [...new Set(faint)] };
}
