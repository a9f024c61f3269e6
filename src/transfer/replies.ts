/** Sends the answer to one request at the data port. */
import type { ExchangeResponse } from '../http/exchange.ts';
import { SECOND } from '../util/clock.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import type { ChunkFetch, ServedChunk } from './chunk-exchange.ts';
import { formatAttestation, HEADER, LIMITS } from './wire-format.ts';

type Chunk = Extract<ServedChunk, { kind: 'chunk' }>;
type Refusal = Exclude<ServedChunk, Chunk>;

/** Milliseconds in which a reader must take one buffer of 256 KiB: a slower one holds a slot that others want. */
export const READER_TIMEOUT: number = 10 * SECOND;

/**
 * @param mayGoOn throws if this peer may not have bytes
 * @throws WeirError `internal` if the chunk is not the requested one; an error of reading; `aborted`
 */
export async function sendChunk(
  response: ExchangeResponse,
  request: ChunkFetch,
  chunk: Chunk,
  mayGoOn: () => void,
): Promise<void> {
  let sent = false;
  try {
    checkChunk(request, chunk);
    mayGoOn();
    await sendBody(response, request, chunk);
    sent = true;
  } catch (error) {
    if (isWeirError(error, 'store_corrupt')) await chunk.corrupt?.();
    throw error;
  } finally {
    chunk.close(sent);
  }
}

async function sendBody(response: ExchangeResponse, request: ChunkFetch, chunk: Chunk): Promise<void> {
  const { start, end, size, attestation, body, presentIn, stop } = chunk;
  response.writeHead(request.range === undefined ? 200 : 206, {
    'content-length': end - start,
    ...(request.range !== undefined && { 'content-range': `bytes ${start}-${end - 1}/${size}` }),
    ...(attestation !== undefined && { [HEADER.attestation]: formatAttestation(attestation) }),
  });
  if (body instanceof Uint8Array) await response.write(body.subarray(start, end));
  else if ((await response.send(body, start, end, { presentIn, stop })) < end) {
    // Bytes of a second fetch must not go out with attestations of the first one's chunks.
    throw new WeirError('aborted', 'the blob turned out wrong, or its pull was given up');
  }
  response.end();
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

export function sendRefusal(response: ExchangeResponse, answer: Refusal): void {
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
  response: ExchangeResponse,
  status: number,
  headers: Readonly<Record<string, string | number>> = {},
): void {
  response.writeHead(status, { ...headers, 'content-length': 0 });
  response.end();
}
