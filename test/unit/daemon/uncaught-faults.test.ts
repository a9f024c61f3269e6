import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { watchFaults } from '../../../src/daemon/uncaught-faults.ts';
import { WeirError } from '../../../src/util/errors.ts';
import { Program } from '../../support/program.ts';

interface Line {
  readonly level: 'error' | 'fatal';
  readonly fields: Readonly<Record<string, unknown>>;
}

function scene() {
  const process = new EventEmitter();
  const lines: Line[] = [];
  const log =
    (level: Line['level']) =>
    (fields: Line['fields']): void =>
      void lines.push({ level, fields });
  const state = { now: 0, rejections: 0, ended: 0 };
  const faults = watchFaults({
    process,
    logger: { error: log('error'), fatal: log('fatal') } as never,
    now: () => state.now,
    onRejection: () => void state.rejections++,
    end: () => void state.ended++,
  });
  return { process, lines, state, faults };
}

describe('watchFaults', () => {
  it('logs an unhandled rejection with its stack, counts it, and lets the node go on', () => {
    const { process, lines, state } = scene();
    process.emit('unhandledRejection', new WeirError('aborted', 'the caller gave up'));
    assert.equal(state.rejections, 1);
    assert.equal(state.ended, 0);
    assert.equal(lines[0]?.level, 'error');
    assert.match(String(lines[0]?.fields['stack']), /the caller gave up\n\s+at /);
  });

  it('logs one line a second for thousands of rejections, with their number', () => {
    const { process, lines, state } = scene();
    for (let i = 0; i < 1000; i++) process.emit('unhandledRejection', 'no error at all');
    assert.equal(lines.length, 1);
    state.now = 1000;
    process.emit('unhandledRejection', new Error('another'));
    assert.equal(state.rejections, 1001);
    assert.deepEqual(
      lines.map(({ fields }) => fields['unlogged']),
      [undefined, 999],
    );
  });

  it('ends the node after it logged an uncaught exception', () => {
    const { process, lines, state } = scene();
    process.emit('uncaughtException', new TypeError('a fault of Weir'));
    assert.equal(state.ended, 1);
    assert.equal(lines[0]?.level, 'fatal');
    assert.match(String(lines[0]?.fields['stack']), /a fault of Weir/);
  });

  it('removes its listeners when it is disposed', () => {
    const { process, faults } = scene();
    faults[Symbol.dispose]();
    assert.deepEqual(process.eventNames(), []);
  });

  it('writes the line of an exception to stderr before the process ends', async () => {
    const url = (path: string): string => JSON.stringify(new URL(`../../../${path}`, import.meta.url).href);
    const script = `
      const { watchFaults } = await import(${url('src/daemon/uncaught-faults.ts')});
      const { createLogger } = await import(${url('src/daemon/logger.ts')});
      const logger = await createLogger({ level: 'info', format: 'json', isTerminal: false });
      watchFaults({ process, logger, now: () => 0, onRejection: () => {}, end: () => process.exit(70) });
      process.once('SIGUSR2', () => { logger.info('the last line'); throw new TypeError('the second'); });
      setInterval(() => {}, 1000);
      Promise.reject(new Error('the first'));`;
    await using program = await Program.start({
      command: process.execPath,
      args: ['--input-type=module', '--eval', script],
      within: ['sh', '-c', 'exec "$@" >/dev/null', 'sh'],
    });
    await program.line(/the first/);
    program.signal('SIGUSR2');
    assert.equal((await program.exited).code, 70);
    await program.line(/the second/);
    const levels = program.lines.map((line) => (JSON.parse(line) as { readonly level: string }).level);
    // A write that was under way may end behind that of the last line: all are there, in whatever order.
    assert.deepEqual(levels.toSorted(), ['error', 'fatal', 'info']);
  });
});
