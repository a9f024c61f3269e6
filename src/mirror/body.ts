/**
 * Copies a reading into a response. Two buffers take turns, so that one is read while the other is written; a
 * client that reads slowly holds these two and nothing else, and never slows the download down.
 */
import type { ServerResponse } from 'node:http';
import { KIB } from '../clock.ts';
import { WeirError } from '../errors.ts';
import type { Reading } from '../pull/reading.ts';
import type { Exchange } from './exchange.ts';

/** Large enough that system calls cost little, small enough that hundreds of slow readers cost little. */
const BUFFER_BYTES: number = 256 * KIB;
/** Buffers that are kept for the next response. */
const MAX_SPARE = 32;

export class BufferPool {
  readonly #spare: Buffer[] = [];

  take(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
  }

  give(buffer: Buffer): void {
    if (this.#spare.length < MAX_SPARE) this.#spare.push(buffer);
  }
}

export interface BodyOptions {
  readonly start: number;
  /** First byte that is not sent. */
  readonly end: number;
  /** Milliseconds in which the client must take a buffer. */
  readonly clientTimeout: number;
  readonly pool: BufferPool;
}

/** What of the body is there before the header is sent, and what follows it. */
export interface Body {
  /** Sends it all. @throws what reading threw; `aborted` where the client went away or took nothing for too long */
  send(): Promise<void>;
  /** Gives the buffers back; to be called once nothing is being sent. */
  release(): void;
}

/**
 * Waits until the first bytes are there (or the body is known to be empty), so that whatever fails until then can
 * still be answered with an error.
 */
export async function openBody(
  exchange: Exchange,
  reading: Reading,
  options: BodyOptions,
  signal: AbortSignal,
): Promise<Body> {
  const { pool, start, end } = options;
  const buffers = [pool.take(), pool.take()] as const;
  const release = (): void => buffers.forEach((buffer) => pool.give(buffer));
  try {
    const first = await reading.read(window(buffers[0], start, end), start, { signal });
    return { release, send: () => pump(exchange, reading, options, buffers, first) };
  } catch (error) {
    release();
    throw error;
  }
}

async function pump(
  exchange: Exchange,
  reading: Reading,
  { start, end, clientTimeout }: BodyOptions,
  buffers: readonly [Buffer, Buffer],
  first: number,
): Promise<void> {
  const { response, gone } = exchange;
  let [current, other] = buffers;
  let length = first;
  let position = start;
  let written: Promise<void> = Promise.resolve();
  try {
    while (position < end) {
      if (length === 0) throw new WeirError('internal', `${reading.digest} ended at ${position} of ${end}`);
      await written;
      written = write(response, current.subarray(0, length), clientTimeout, gone);
      written.catch(() => undefined); // awaited before the next write, or below
      position += length;
      exchange.sent(length);
      [current, other] = [other, current];
      length =
        position < end ? await reading.read(window(current, position, end), position, { signal: gone }) : 0;
    }
  } finally {
    await written; // the buffer must not be reused while it is being written
  }
}

function window(buffer: Buffer, position: number, end: number): Buffer {
  return buffer.subarray(0, Math.min(buffer.length, end - position));
}

/** Settles when the bytes have left for the kernel. */
function write(response: ServerResponse, bytes: Buffer, timeout: number, gone: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onGone = (): void => reject(gone.reason);
  const timer = setTimeout(() => {
    reject(new WeirError('aborted', `the client took no byte for ${timeout / 1000} s`));
    response.socket?.destroy();
  }, timeout);
  gone.addEventListener('abort', onGone, { once: true });
  if (gone.aborted) onGone();
  response.write(bytes, (error) => (error ? reject(connectionGone(error)) : resolve()));
  return promise.finally(() => {
    clearTimeout(timer);
    gone.removeEventListener('abort', onGone);
  });
}

/**
 * The client closed while bytes were on their way, as containerd 2 does with each of its parallel open-ended
 * ranges. That is no failure of ours, and no reason to send it upstream.
 */
function connectionGone(cause: Error): WeirError {
  return new WeirError('aborted', 'the client closed the connection', { cause });
}
