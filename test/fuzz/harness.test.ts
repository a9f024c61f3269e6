/** The harness finds the faults of targets that are wrong on purpose. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { WeirError } from '../../src/util/errors.ts';
import { parseRangeHeader } from '../../src/oci/range.ts';
import { TempDir } from '../support/temp.ts';
import { Chance } from './harness/chance.ts';
import { Coverage } from './harness/coverage.ts';
import { fuzz, type Outcome } from './harness/fuzz.ts';
import { MAX_INPUT, mutated } from './harness/mutate.ts';
import { pure, unlessRefused, type Run } from './harness/target.ts';

const SEEDS = ['hello world', '{"a": [1, 2, 3]}'];

async function outcomeOf(run: Run, runs = 3000): Promise<Outcome & { readonly file: Buffer }> {
  await using dir = await TempDir.create('fuzz-harness');
  const target = pure({ name: 'wrong', seeds: SEEDS, run });
  const outcome = await fuzz(target, { seed: 7, runs, folder: dir.path, isGuided: false });
  const [name] = await readdir(dir.path);
  return { ...outcome, file: name === undefined ? Buffer.alloc(0) : await readFile(dir.join(name)) };
}

describe('the fuzzer', () => {
  it('accepts named refusals, and reports all other errors with the input', async () => {
    const refusing = (input: Buffer): void => {
      if (input.includes('\0')) throw new WeirError('bad_request', 'a NUL');
    };
    const tolerant = await outcomeOf((input) => unlessRefused(['bad_request'], () => refusing(input)));
    assert.deepEqual(tolerant.findings, []);
    const { findings, file } = await outcomeOf(refusing);
    assert.equal(findings.length, 1, 'one of a kind');
    assert.match(findings[0]?.problem ?? '', /a NUL[^]*seed 7, input \d+$/);
    assert.ok(file.includes('\0'));
  });

  it('reports rejected promises, too', async () => {
    const { findings } = await outcomeOf(async (input) => {
      await Promise.resolve();
      if (input.length > 100) throw new TypeError('too long for me');
    });
    assert.match(findings[0]?.problem ?? '', /too long for me/);
  });

  it('reports an input that takes too long', async () => {
    const { findings } = await outcomeOf((input) => {
      const until = performance.now() + (input.length > 5000 ? 210 : 0);
      while (performance.now() < until);
    });
    assert.match(findings[0]?.problem ?? '', /took \d+ ms, more than 200 ms/);
  });

  it('reports growing memory, but not bounded memory', async () => {
    const held: Buffer[] = [];
    const growing = await outcomeOf(() => void held.push(Buffer.alloc(1024)), 20_000);
    assert.match(growing.findings[0]?.problem ?? '', /memory grows: \d{4}\.\d bytes an input/);
    held.length = 0;
    const bounded = await outcomeOf(() => void (held[held.length % 1000] = Buffer.alloc(1024)), 20_000);
    assert.deepEqual(bounded.findings, []);
  });

  it('detects inputs that reach new code', async () => {
    using coverage = await Coverage.start();
    const newBy = async (...headers: readonly string[]): Promise<number> => {
      for (const header of headers) parseRangeHeader(header, 100);
      const found = await coverage.look();
      coverage.keep(found);
      return found.length;
    };
    assert.ok((await newBy('bytes=0-9')) > 0);
    assert.equal(await newBy('bytes=0-9', 'bytes=5-6'), 0);
    assert.ok((await newBy('bytes=5-6', 'bytes=200-300')) > 0);
  });

  it('ends the process at an input that never ends, and keeps the input', async () => {
    await using dir = await TempDir.create('fuzz-hang');
    const module = new URL('./harness/watchdog.ts', import.meta.url).href;
    const script = `
      import { Watchdog } from ${JSON.stringify(module)};
      const watchdog = new Watchdog('wrong', ${JSON.stringify(dir.path)}, 100);
      watchdog.begin(Buffer.from('for ever'));
      for (;;);`;
    const running = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
    await assert.rejects(running, {
      signal: 'SIGKILL',
      stderr: /wrong: an input has not ended within 100 ms/,
    });
    const [name = ''] = await readdir(dir.path);
    assert.equal(await readFile(dir.join(name), 'utf8'), 'for ever');
  });

  it('makes the same inputs from the same seed', () => {
    const made = (): readonly Buffer[] => {
      const chance = new Chance(5);
      const pool = SEEDS.map((seed) => Buffer.from(seed));
      return Array.from({ length: 2000 }, () => mutated({ pool, words: ['x'] }, chance));
    };
    const inputs = made();
    assert.deepEqual(made(), inputs);
    assert.ok(inputs.every(({ length }) => length <= MAX_INPUT));
    assert.ok(new Set(inputs.map((input) => input.toString('latin1'))).size > 1500);
  });
});
