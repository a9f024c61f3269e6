import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { Program } from '../../support/program.ts';

const MODULE = new URL('../../../src/daemon/watchdog.ts', import.meta.url).href;
const TIMEOUT = 500;

/** A process with a watchdog that then does `work`. */
function start(work: string): Promise<Program> {
  const script = `
    const { startWatchdog } = await import(${JSON.stringify(MODULE)});
    const watchdog = startWatchdog({ hangTimeout: ${TIMEOUT}, warn: (message) => console.log(message) });
    setInterval(() => {}, 1000);
    console.log('started');
    ${work}`;
  return Program.start({ command: process.execPath, args: ['--input-type=module', '--eval', script] });
}

describe('the watchdog', () => {
  it('kills a process whose event loop is stuck, and says so', async () => {
    await using program = await start('setTimeout(() => { for (;;); }, 300);');
    assert.equal((await program.exited).signal, 'SIGKILL');
    await program.line(/"state":"R".*no sign of life for 0\.5 s/);
  });

  it('kills a process that is stopped', async () => {
    await using program = await start('');
    await program.line(/started/);
    program.signal('SIGSTOP');
    assert.equal((await program.exited).signal, 'SIGKILL');
    await program.line(/"state":"T"/);
  });

  it('leaves one alone that lives, and one that has ended its watchdog', async () => {
    await using living = await start('');
    await using disposed = await start(`
      watchdog[Symbol.dispose]();
      setImmediate(() => setImmediate(() => console.log('disposed'))); // its pipe is closed then
    `);
    await Promise.all([living.line(/started/), disposed.line(/disposed/)]);
    disposed.signal('SIGSTOP');
    await delay(4 * TIMEOUT); // nothing is to happen in this time
    assert.equal(living.exit, undefined);
    assert.equal(disposed.exit, undefined);
    disposed.signal('SIGCONT');
  });
});
