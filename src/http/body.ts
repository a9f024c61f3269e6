/**
 * Sends a body of known length. Two buffers take turns: one is filled while the other is written. A client that reads
 * slowly holds these two and no other memory.
 */
import type { ServerResponse } from 'node:http';
import { KIB } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import type { BufferPool } from '../util/buffer-pool.ts';

/** Bytes of a whole body that are written at a time. */
const SLICE = 256 * KIB;

/** A limit on bytes per second that bodies share. */
export interface RateLimit {
  /** Bytes that are written at a time. */
  readonly step: number;
  take(bytes: number, options: { readonly signal: AbortSignal }): Promise<void>;
}

export interface BodyOptions {
  /** Position of the first byte that is sent. */
  readonly start: number;
  /** Position after the last byte that is sent. */
  readonly end: number;
  /** Reads into `target`. @returns bytes, at least 1 */
  readonly read: (target: Buffer, position: number, signal: AbortSignal) => Promise<number>;
  /** Milliseconds in which the client must take a buffer. */
  readonly clientTimeout: number;
  readonly pool: BufferPool;
  readonly rateLimit?: RateLimit | undefined;
  /** Aborted when the client is gone. */
  readonly gone: AbortSignal;
  /** So many more bytes were handed to the connection. */
  readonly onSent?: ((bytes: number) => void) | undefined;
}

/** A body whose first bytes are there, before the header is sent. */
export interface Body {
  /** Sends the whole body. @throws an error of reading; `aborted` if the client left, or took nothing for too long */
  send(): Promise<void>;
  /** Gives the buffers back; to be called when nothing is being sent any more. */
  release(): void;
}

type Buffers = readonly [Buffer, Buffer];

/**
 * Waits until the first bytes are there (or the body is known to be empty), so that a failure before that can still be
 * answered with an error.
 * @param signal ends the wait for these first bytes
 */
export async function openBody(
  response: ServerResponse,
  options: BodyOptions,
  signal: AbortSignal,
): Promise<Body> {
  const { pool, start, read } = options;
  const buffers: Buffers = [pool.take(), pool.take()];
  const release = (): void => buffers.forEach((buffer) => pool.give(buffer));
  try {
    const first = await read(window(buffers[0], start, options), start, signal);
    return { release, send: () => pump(response, options, buffers, first) };
  } catch (error) {
    release();
    throw error;
  }
}

async function pump(
  response: ServerResponse,
  options: BodyOptions,
  buffers: Buffers,
  first: number,
): Promise<void> {
  const { start, end, gone, read, rateLimit, onSent, clientTimeout } = options;
  let [current, other] = buffers;
  let length = first;
  let position = start;
  let written: Promise<void> = Promise.resolve();
  try {
    while (position < end) {
      if (length === 0) throw new WeirError('internal', `the source ended at byte ${position} of ${end}`);
      await rateLimit?.take(length, { signal: gone });
      await written;
      written = write(response, current.subarray(0, length), clientTimeout, gone);
      written.catch(() => undefined); // awaited before the next write, or below
      position += length;
      onSent?.(length);
      [current, other] = [other, current];
      length = position < end ? await read(window(current, position, options), position, gone) : 0;
    }
  } finally {
    await written; // the buffer must not be reused while it is being written
  }
}

function window(buffer: Buffer, position: number, { end, rateLimit }: BodyOptions): Buffer {
  return buffer.subarray(0, Math.min(rateLimit?.step ?? buffer.length, buffer.length, end - position));
}

/**
 * Sends bytes that are all here. @throws WeirError `aborted` if the client left, or took nothing for too long
 * @param timeout milliseconds in which the client must take {@link SLICE}
 */
export async function sendBytes(
  response: ServerResponse,
  bytes: Uint8Array,
  timeout: number,
  gone: AbortSignal,
): Promise<void> {
  for (let at = 0; at < bytes.length; at += SLICE)
    await write(response, bytes.subarray(at, at + SLICE), timeout, gone);
  response.end();
}

/** Settles when the bytes have left for the kernel. */
function write(
  response: ServerResponse,
  bytes: Uint8Array,
  timeout: number,
  gone: AbortSignal,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onGone = (): void => reject(gone.reason);
  const timer = setTimeout(() => {
    reject(new WeirError('aborted', `the client took no byte for ${timeout / 1000} s`));
    // `response.socket` is null while an earlier response is being sent on this connection.
    response.req.socket.destroy();
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
 * ranges. That is no failure of this node, and no reason to send the client upstream.
 */
function connectionGone(cause: Error): WeirError {
  return new WeirError('aborted', 'the client closed the connection', { cause });
}
