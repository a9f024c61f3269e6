/** Synchronous file calls of byte workers, each done in full. */
import { readSync, writeSync, writevSync } from 'node:fs';

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

/** Writes all bytes: write(2) may write fewer than it was given, on a full disk above all. @throws the system's error */
export function writeWhole(fd: number, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}

/** Writes all buffers, one behind the other. @throws the system's error */
export function writeAll(fd: number, buffers: readonly Uint8Array[], position: number): void {
  let written = buffers.length === 0 ? 0 : writevSync(fd, buffers, position);
  let at = position;
  for (const buffer of buffers) {
    const already = Math.min(written, buffer.length);
    written -= already;
    if (already < buffer.length) writeWhole(fd, buffer.subarray(already), at + already);
    at += buffer.length;
  }
}
