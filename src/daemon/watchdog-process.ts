/**
 * What the watchdog's own process runs: it reads signs of life from its standard input, and kills its parent when
 * these stay away.
 *
 * Handed to Node.js as text (`--eval`), so that it works from a bundle too and loads nothing: whatever it needs must be
 * inside of the function.
 *
 * Time is counted in ticks of its own, not on the clock: where the whole machine is held up (starved, suspended), its
 * ticks stay away too, and a healthy parent is not blamed. It ends when its parent does, which closes the input.
 */

/** @param patience ticks of `interval` milliseconds without a sign of life */
export function watchParent(parent: number, interval: number, patience: number): void {
  const { readFileSync, writeSync } = process.getBuiltinModule('node:fs');
  let silent = 0;
  // What is sent to all processes of a service is for the node: it ends in order, and then this one.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => undefined);
  process.stdin.on('data', () => (silent = 0));
  process.stdin.on('end', () => process.exit());
  setInterval(() => {
    silent += 1;
    if (silent <= patience) return;
    if (process.ppid !== parent) process.exit();
    try {
      // T: stopped, D: waiting for a disk, R: running, perhaps in a loop (proc_pid_stat(5)).
      const state = /\) (\S)/.exec(readFileSync(`/proc/${parent}/stat`, 'latin1'))?.[1];
      const seconds = (interval * patience) / 1000;
      const msg = `no sign of life for ${seconds} s: the node is killed, so that runtimes pull directly`;
      const line = { level: 'error', time: new Date().toISOString(), state, msg };
      writeSync(2, `${JSON.stringify(line)}\n`);
    } catch {
      // Nobody reads the log, or the pipe is full: the kill matters more.
    }
    process.kill(parent, 'SIGKILL');
    process.exit();
  }, interval);
}
