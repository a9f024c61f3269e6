/**
 * Reads of a pool's connections into memory that is used again. By default Node.js makes a new buffer for each read of a
 * socket: 16,000 to a GiB, whose garbage costs a fifth of the CPU of a pull from a registry.
 *
 * A connection has two buffers and takes turns. Whoever takes the bytes (response.ts) is done with them before the next read,
 * except while it has paused: bytes that come then are copied.
 */
import type { Socket, OnReadOpts } from 'node:net';
import { KIB } from '../util/clock.ts';

/** Bytes that are read at a time. */
const READ = 128 * KIB;
/** Bytes after which a paused connection is read no further: above those of one read, which would stop it each time. */
export const READ_AHEAD: number = 256 * KIB;

/** For all connections of a pool: `net.connect` and `tls.connect` take it as `onread`. */
export function reusedMemory(): OnReadOpts {
  const spare = new WeakMap<Socket, Uint8Array>();
  /** For the next read of the connection that has just been read: Node.js asks for it at once. */
  let next: Uint8Array | undefined;
  const buffer = (): Uint8Array => {
    const taken = next ?? Buffer.allocUnsafeSlow(READ);
    next = undefined;
    return taken;
  };
  // Node.js calls it as a method of the socket (lib/internal/stream_base_commons.js).
  const callback = function (this: Socket, length: number, read: Uint8Array): boolean {
    const bytes = Buffer.from(read.buffer, read.byteOffset, length);
    const isPaused = this.readableLength > 0; // the other buffer is still wanted
    const goesOn = this.push(isPaused ? Buffer.from(bytes) : bytes);
    next = read;
    if (!isPaused) {
      next = spare.get(this) ?? Buffer.allocUnsafeSlow(READ);
      spare.set(this, read);
    }
    return goesOn;
  };
  return { buffer, callback };
}
