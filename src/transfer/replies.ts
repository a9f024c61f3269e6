/** Sends the answer to one request at the data port. */
import type { ServerResponse } from 'node:http';
import { SECOND } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { openBody, type RateLimit } from '../http/body.ts';
import type { BufferPool } from '../util/buffer-pool.ts';
import type { ChunkFetch, ServedChunk } from './chunk-exchange.ts';
import { formatAttestation, HEADER, LIMITS } from './wire-format.ts';

type Chunk = Extract<ServedChunk, { kind: 'chunk' }>;
type Refusal = Exclude<ServedChunk, Chunk>;

/** Milliseconds in which a reader must take one buffer of 256 KiB: a slower one holds a slot that others want. */
export const READER_TIMEOUT: number = 10 * SECOND;

export interface ReplyOptions {
  readonly pool: BufferPool;
  readonly rateLimit: RateLimit | undefined;
  readonly readerTimeout: number;
  /** Aborted when the asker is gone. */
  readonly gone: AbortSignal;
  readonly onSent: (bytes: number) => void;
  /** Called before each buffer; throws if this peer may not have more bytes. */
  readonly mayGoOn: () => void;
}

/** @throws WeirError `internal` if the chunk is not the requested one; an error of reading; `aborted` */
export async function sendChunk(
  response: ServerResponse,
  request: ChunkFetch,
  chunk: Chunk,
  options: ReplyOptions,
): Promise<void> {
  let sent = false;
  try {
    checkChunk(request, chunk);
    const { start, end } = chunk;
    const read = (target: Buffer, position: number): Promise<number> => {
      options.mayGoOn();
      return chunk.read(target, position);
    };
    const body = { ...options, start, end, read, clientTimeout: options.readerTimeout };
    await sendBody(response, request, chunk, body);
    sent = true;
  } finally {
    chunk.close(sent);
  }
}

async function sendBody(
  response: ServerResponse,
  request: ChunkFetch,
  chunk: Chunk,
  body: Parameters<typeof openBody>[1],
): Promise<void> {
  const { start, end, size, attestation } = chunk;
  const opened = end > start ? await openBody(response, body, body.gone) : undefined;
  try {
    response.writeHead(request.range === undefined ? 200 : 206, {
      'content-length': end - start,
      ...(request.range !== undefined && { 'content-range': `bytes ${start}-${end - 1}/${size}` }),
      ...(attestation !== undefined && { [HEADER.attestation]: formatAttestation(attestation) }),
    });
    await opened?.send();
    response.end();
  } finally {
    opened?.release();
  }
}

/** The asker would refuse other bytes, so they must not be sent. */
function checkChunk({ range }: ChunkFetch, { start, end, size }: Chunk): void {
  const fits =
    range === undefined
      ? start === 0 && end === size && size <= LIMITS.whole
      : start === range.start && end === range.end && end <= size;
  if (!fits)
    throw new WeirError('internal', `bytes ${start} to ${end} of ${size} are not the requested ones`);
}

export function sendRefusal(response: ServerResponse, answer: Refusal): void {
  switch (answer.kind) {
    case 'absent':
      return sendStatus(response, 404);
    case 'busy':
      return sendStatus(response, 503, { [HEADER.load]: Math.min(answer.load, LIMITS.load) });
    case 'retry':
      return sendStatus(response, 503, { [HEADER.retry]: Math.min(Math.ceil(answer.after), LIMITS.retry) });
    case 'redirect':
      return sendStatus(response, 307, {
        [HEADER.holders]: answer.holders.slice(0, LIMITS.holders).join(','),
      });
    case 'unable':
      return sendStatus(response, 403, { [HEADER.unable]: 1 });
  }
}

export function sendStatus(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string | number>> = {},
): void {
  response.writeHead(status, { ...headers, 'content-length': 0 });
  response.end();
}
