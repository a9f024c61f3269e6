import assert from 'node:assert/strict';
import { Program } from '../../support/program.ts';

const MODULE = new URL('../../../src/daemon/watchdog.ts', import.meta.url).href;
const TIMEOUT = 500;

/** A process with a watchdog that then does `work`. */
function start(
  work: string,
  { hangTimeout = TIMEOUT, within = [] as readonly string[] } = {},
): Promise<Program> {
  const script = `
    const { startWatchdog } = await import(${JSON.stringify(MODULE)});
    const watchdog = startWatchdog({ hangTimeout: ${hangTimeout}, warn: (message) => console.log(message) });
    setInterval(() => {}, 1000);
    console.log('started');
    ${work}`;
  return Program.start({
    command: process.execPath,
    args: ['--input-type=module', '--eval', script],
    within,
  });
}

describe('Watchdog', () => {
  it('kills a process whose event loop is stuck, and logs it', async () => {
    await using program = await start(
      "process.once('SIGUSR2', () => { for (;;); }); console.log('listens');",
    );
    await program.line(/listens/);
    program.signal('SIGUSR2');
    assert.equal((await program.exited).signal, 'SIGKILL');
    const told = /"state":"R","waitedForCpu":([\d.e-]+),.*no sign of life for ([\d.]+) s/;
    const [, waited, silent] = (await program.line(told)).map(Number);
    // Exact to the tick, plus the time that it waited for a core on a loaded machine.
    const ownTime = 1000 * ((silent ?? NaN) - (waited ?? NaN));
    assert.ok(ownTime > 0.9 * TIMEOUT - 1 && ownTime <= TIMEOUT + 1, `${ownTime} ms`);
  });

  it('kills a process that is stopped', async () => {
    await using program = await start('');
    await program.line(/started/);
    program.signal('SIGSTOP');
    assert.equal((await program.exited).signal, 'SIGKILL');
    await program.line(/"state":"T"/);
  });

  it('spares a process that waits for a core', async () => {
    // All on one core: 0.3 s of CPU take nine times as long, which is more than the watchdog waits on an idle machine.
    const [hangTimeout, within] = [1000, ['taskset', '--cpu-list', '0']];
    const work = `
      process.once('SIGUSR2', () => {
        const used = () => process.cpuUsage().user + process.cpuUsage().system;
        const [before, began] = [used(), performance.now()];
        while (used() - before < 300_000);
        console.log('took', performance.now() - began);
      });
      console.log('listens');`;
    await using program = await start(work, { hangTimeout, within });
    await program.line(/listens/);
    await using hogs = new AsyncDisposableStack();
    for (let i = 0; i < 8; i += 1) {
      const args = ['--eval', 'console.log("runs"); for (;;);'];
      const hog = hogs.use(await Program.start({ command: process.execPath, args, within }));
      await hog.line(/runs/);
    }
    program.signal('SIGUSR2');
    const [, took] = await program.line(/took ([\d.]+)/);
    assert.ok(Number(took) > hangTimeout, `it was not kept from running for long: ${took} ms`);
    assert.equal(program.exit, undefined);
  });

  it('spares a live process, and one that has disposed of its watchdog', async () => {
    await using living = await start('');
    await using disposed = await start(`
      watchdog[Symbol.dispose]();
      setImmediate(() => setImmediate(() => console.log('disposed'))); // the pipe of the watchdog is closed then
    `);
    await Promise.all([living.line(/started/), disposed.line(/disposed/)]);
    disposed.signal('SIGSTOP');
    // Time enough for their watchdogs to strike: those of two others do, one after the other.
    for (let others = 0; others < 2; others++) {
      await using other = await start('');
      await other.line(/started/);
      other.signal('SIGSTOP');
      assert.equal((await other.exited).signal, 'SIGKILL');
    }
    assert.equal(living.exit, undefined);
    assert.equal(disposed.exit, undefined);
    disposed.signal('SIGCONT');
  });
});
