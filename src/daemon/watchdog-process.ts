/**
 * What the watchdog's own process runs: it reads signs of life from its standard input, and kills its parent when
 * these stay away.
 *
 * Handed to Node.js as text (`--eval`), so that it works from a bundle too and loads nothing: whatever it needs must be
 * inside of the function.
 *
 * Time is counted in ticks of its own, not on the clock: where the whole machine is held up (starved, suspended), its
 * ticks stay away too, and a healthy parent is not blamed. Nor does time count in which threads of the parent wanted to
 * run and others had the cores (proc_pid_schedstat): what takes a moment on a machine at rest takes many seconds then.
 * It ends when its parent does, which closes the input.
 */

/**
 * @param patience ticks of `interval` milliseconds without a sign of life
 * @param most the same, however long the parent had to wait for a core
 */
export function watchParent(parent: number, interval: number, patience: number, most: number): void {
  const { readdirSync, readFileSync, writeSync } = process.getBuiltinModule('node:fs');
  const LATE = 2; // ticks: between two signs of life there is one
  let silent = 0;
  let waitedBefore = 0;
  // What is sent to all processes of a service is for the node: it ends in order, and then this one.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => undefined);
  process.stdin.on('data', () => (silent = 0));
  process.stdin.on('end', () => process.exit());
  setInterval(() => {
    silent += 1;
    // At each tick one file of each thread would be read: only when a sign of life has stayed away.
    if (silent === LATE) waitedBefore = waited();
    if (silent <= patience) return;
    if (process.ppid !== parent) process.exit();
    const starved = Math.max(0, waited() - waitedBefore);
    if (silent <= most && silent * interval - starved <= patience * interval) return;
    try {
      // T: stopped, D: waiting for a disk, R: running, perhaps in a loop (proc_pid_stat(5)).
      const state = /\) (\S)/.exec(readFileSync(`/proc/${parent}/stat`, 'latin1'))?.[1];
      const seconds = (interval * (silent - 1)) / 1000;
      const msg = `no sign of life for ${seconds} s: the node is killed, so that runtimes pull directly`;
      const line = {
        level: 'error',
        time: new Date().toISOString(),
        state,
        waitedForCpu: starved / 1000,
        msg,
      };
      writeSync(2, `${JSON.stringify(line)}\n`);
    } catch {
      // Nobody reads the log, or the pipe is full: the kill matters more.
    }
    process.kill(parent, 'SIGKILL');
    process.exit();
  }, interval);

  /** Milliseconds for which threads of the parent have waited for a core; 0 where the kernel does not count that. */
  function waited(): number {
    let nanoseconds = 0;
    try {
      for (const thread of readdirSync(`/proc/${parent}/task`)) {
        const [, delay = '0'] = readFileSync(`/proc/${parent}/task/${thread}/schedstat`, 'latin1').split(' ');
        nanoseconds += Number(delay);
      }
    } catch {
      // A thread has ended meanwhile: what was read will do.
    }
    return nanoseconds / 1e6;
  }
}
