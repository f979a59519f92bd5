// The ten laws of a guest in Node's own loop, each in a process of its own: `node run.js ADDON`.
'use strict';

const { spawnSync } = require('child_process');

const LAWS = [
  'law_1_idle_means_no_wakeups',
  'law_2_a_turn_is_bounded',
  'law_3_a_callback_may_run_the_host_again',
  'law_4_detaching_leaves_the_loop_as_it_was',
  'law_5_a_cancelled_timer_never_runs',
  'law_6_a_short_timer_is_late_by_microseconds',
  'law_7_a_waker_works_from_any_thread',
  'law_8_a_reused_number_is_nobody_elses',
  'law_9_a_paused_reader_costs_nothing',
  'law_10_nothing_is_added_to_the_process',
  'flow_control',
];
const ADAPTOR = ['several_guests_share_a_loop', 'a_hundred_stays_leave_nothing'];
const [, , path, way, law] = process.argv;

function one() {
  const addon = { exports: {} };
  process.dlopen(addon, require('path').resolve(path));
  // From a callback of the loop's, as everything in Node is.
  setImmediate(() => process.stdout.write(addon.exports.run(way, law)));
}

function all() {
  let failed = 0;
  const jobs = LAWS.flatMap((name) => [['nested', name], ['per_fd', name]]);
  jobs.push(...ADAPTOR.map((name) => ['nested', name]));
  for (const [how, name] of jobs) {
    const args = [__filename, path, how, name];
    const result = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 60000 });
    const good = result.status === 0;
    failed += good ? 0 : 1;
    console.log(`${how}::${name} ... ${good ? 'ok' : 'FAILED'}`);
    console.log(good ? result.stdout.trimEnd() : `${result.stderr}${result.signal || ''}`);
  }
  console.log(`${jobs.length - failed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

if (law) one(); else all();
