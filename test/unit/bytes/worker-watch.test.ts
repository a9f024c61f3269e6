/** Byte workers that hang or end: real threads that loop, wait in the kernel, or throw. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { WeirError } from '../../../src/util/errors.ts';
import { ByteWorkers } from '../../../src/bytes/byte-workers.ts';
import { WorkerWatch } from '../../../src/bytes/worker-watch.ts';
import { TempDir } from '../../support/temp.ts';

interface Scene extends AsyncDisposable {
  readonly workers: ByteWorkers;
  /** Settles with the name and the error of the first event of the watch. */
  readonly event: Promise<{ readonly name: string; readonly error: WeirError }>;
  /** The names of all its events so far. */
  readonly names: readonly string[];
}

/** A thread begins as a byte worker does. */
const BEGIN = `const { parentPort } = require('node:worker_threads');
  const tid = Number(require('node:fs').readlinkSync('/proc/thread-self').split('/').pop());
  parentPort.postMessage({ part: 'started', tid });`;

/** @param codes what each thread runs, in the order in which they start; the last one repeats */
function watch(codes: readonly string[], hangTimeout = 200): Scene {
  let started = 0;
  const spawn = (): Worker => {
    const code = codes[Math.min(started++, codes.length - 1)] ?? '';
    return new Worker(BEGIN + code, { eval: true });
  };
  const workers = new ByteWorkers({ count: 1, spawn });
  const { promise, resolve } = Promise.withResolvers<{ name: string; error: WeirError }>();
  const names: string[] = [];
  const on = (name: string) => (error: WeirError) => {
    names.push(name);
    resolve({ name, error });
  };
  const onHung = on('hung');
  const watched = new WorkerWatch({ workers, hangTimeout, onHung, onStuck: on('stuck'), onMany: on('many') });
  const dispose = async (): Promise<void> => {
    watched[Symbol.dispose]();
    await workers[Symbol.asyncDispose]();
  };
  return { workers, event: promise, names, [Symbol.asyncDispose]: dispose };
}

const ANSWERS = `parentPort.on('message', ({ part }) => {
  if (part === 'stop') parentPort.close();
  else parentPort.postMessage({ part: 'alive' });
});`;

describe('WorkerWatch', () => {
  it('ends a worker that loops, and another takes its place', async () => {
    await using scene = watch([`parentPort.on('message', () => { for (;;); });`, ANSWERS]);
    const [first] = scene.workers.threads;
    const lost = new Promise<WeirError>((resolve) => first?.onLost(resolve));
    const { name, error } = await scene.event;
    assert.equal(name, 'hung');
    assert.match(error.message, /byte worker 0 gave no sign of life/);
    assert.equal((await lost).code, 'worker_lost');
    assert.equal(scene.workers.find(0), undefined);
    assert.equal(scene.workers.threads.length, 1);
  });

  it('leaves workers alone that answer', async () => {
    await using scene = watch([ANSWERS], 100);
    const [thread] = scene.workers.threads;
    for (let pings = 0, before = true; pings < 20;) {
      await new Promise((resolve) => setImmediate(resolve));
      const isAlive = thread?.isAlive === true;
      if (before && !isAlive) pings++; // a ping has just been sent
      before = isAlive;
    }
    assert.deepEqual(scene.names, []);
  });

  it('says so if a worker hangs in a system call and cannot be ended', async () => {
    await using temp = await TempDir.create('stuck');
    const fifo = temp.join('fifo');
    spawnSync('mkfifo', [fifo]);
    const code = `parentPort.once('message', () => require('node:fs').openSync(${JSON.stringify(fifo)}, 'r'));`;
    await using scene = watch([code, ANSWERS]);
    await scene.event;
    while (!scene.names.includes('stuck')) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(scene.names.slice(0, 2), ['hung', 'stuck']);
    closeSync(openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK)); // the thread goes on, and ends
  });

  it('gives up if workers end again and again', async () => {
    await using scene = watch([`setTimeout(() => { throw new Error('a defect'); }, 1);`]);
    const { name, error } = await scene.event;
    assert.equal(name, 'many');
    assert.match(error.message, /byte worker 7 has ended: a defect/);
  });
});
