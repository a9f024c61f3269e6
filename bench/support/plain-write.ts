/**
 * What it costs to write to a new file, with nothing else: on a virtual machine that gives free memory back to its host, the
 * first touch of a page of the cache can cost ten times the write itself.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { GIB, MIB } from '../../src/util/clock.ts';

/** Bytes that are written: enough to reach past memory that was freed just before. */
const SIZE = 512 * MIB;
const BLOCK = 1 * MIB;

/** CPU seconds per GiB. The file stays, so that its memory is not used again. @param path of the new file */
export function plainWrite(path: string): number {
  const block = Buffer.alloc(BLOCK, 'a plain write');
  const fd = openSync(path, 'wx');
  try {
    const before = process.cpuUsage();
    for (let at = 0; at < SIZE; at += BLOCK) writeSync(fd, block, 0, BLOCK, at);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1e6 / (SIZE / GIB);
  } finally {
    closeSync(fd);
  }
}
