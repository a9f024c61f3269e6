/** Synchronous file calls of byte workers, each done in full. */
import { readSync, writeSync } from 'node:fs';
import { KIB } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';

/** Bytes that are read at a time: about 0.3 ms with their hash, in which sockets wait. */
const STEP = 512 * KIB;

/** Fills `target`; false if the file ends before. @throws the system's error */
export function readWhole(fd: number, target: Uint8Array, position: number): boolean {
  let done = 0;
  while (done < target.length) {
    const bytesRead = readSync(fd, target, done, target.length - done, position + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
}

/**
 * The bytes of a partial blob's file from `start` to `end`, in steps. Each step is valid until the next.
 * @throws WeirError `store_corrupt` if the file is shorter; the system's error
 */
export function* readSteps(fd: number, start: number, end: number): Generator<Uint8Array, void, undefined> {
  const buffer = Buffer.allocUnsafeSlow(Math.max(0, Math.min(STEP, end - start)));
  for (let at = start; at < end; at += STEP) {
    const part = buffer.subarray(0, end - at);
    if (!readWhole(fd, part, at)) {
      throw new WeirError('store_corrupt', 'the partial blob was cut short from outside');
    }
    yield part;
  }
}

/** Writes all bytes: write(2) may write fewer than it was given, on a full disk above all. @throws the system's error */
export function writeWhole(fd: number, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}
