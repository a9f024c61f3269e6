/**
 * The code of the watchdog's process. It reads signs of life from its standard input, and kills its parent if they stop.
 *
 * Node.js gets the function as text (`--eval`), so that it works from a bundle too and loads nothing. So all that it needs
 * must be inside of the function.
 *
 * Time is counted in ticks of its own, not by the clock: if the whole machine is starved or suspended, its ticks stop too,
 * and a healthy parent is not blamed. Time in which threads of the parent waited for a core does not count either
 * (proc_pid_schedstat): a moment's work on an idle machine takes many seconds then.
 * The process ends with its parent, whose end closes the input.
 */

/**
 * @param limit ticks of `interval` milliseconds without a sign of life, time that the parent waited for a core left out
 * @param most the same, that time included
 */
export function watchParent(parent: number, interval: number, limit: number, most: number): void {
  const { readdirSync, readFileSync, writeSync } = process.getBuiltinModule('node:fs');
  const LATE = 2; // ticks; there is one between two signs of life
  let silent = 0;
  let waitedBefore = 0;
  // A signal to all processes of a service is for the node: it ends in order, and this process after it.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => undefined);
  process.stdin.on('data', () => (silent = 0));
  process.stdin.on('end', () => process.exit());
  setInterval(() => {
    silent += 1;
    // This reads one file per thread, so it is done only after a sign of life is missing, not at each tick.
    if (silent === LATE) waitedBefore = waited();
    if (silent <= limit) return;
    if (process.ppid !== parent) process.exit();
    const starved = Math.max(0, waited() - waitedBefore);
    if (silent <= most && silent * interval - starved <= limit * interval) return;
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
      // The log has no reader or a full pipe: the kill matters more.
    }
    process.kill(parent, 'SIGKILL');
    process.exit();
  }, interval);

  /** Milliseconds for which threads of the parent have waited for a core; 0 if the kernel does not count that. */
  function waited(): number {
    let nanoseconds = 0;
    try {
      for (const thread of readdirSync(`/proc/${parent}/task`)) {
        const [, delay = '0'] = readFileSync(`/proc/${parent}/task/${thread}/schedstat`, 'latin1').split(' ');
        nanoseconds += Number(delay);
      }
    } catch {
      // A thread has ended meanwhile: the others are enough.
    }
    return nanoseconds / 1e6;
  }
}
