/** Sends the answer to one request at the data port. */
import type { ServerResponse } from 'node:http';
import { SECOND } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { openBody, type Pace } from '../http/body.ts';
import type { BufferPool } from '../util/buffer-pool.ts';
import type { PieceRequest, ServedPiece } from './chunk-exchange.ts';
import { formatStatement, HEADER, LIMITS } from './wire-format.ts';

type Piece = Extract<ServedPiece, { kind: 'piece' }>;
type Refusal = Exclude<ServedPiece, Piece>;

/** Milliseconds in which a reader must take one buffer of 256 KiB; or it holds a slot that others want. */
export const READER_TIMEOUT: number = 10 * SECOND;

export interface ReplyOptions {
  readonly pool: BufferPool;
  readonly pace: Pace | undefined;
  readonly readerTimeout: number;
  /** Aborted when the asker is gone. */
  readonly gone: AbortSignal;
  readonly onSent: (bytes: number) => void;
  /** Asked before each buffer; throws where this asker may have nothing (any more). */
  readonly mayGoOn: () => void;
}

/** @throws WeirError `internal` where the piece is another than asked for; what reading threw; `aborted` */
export async function sendPiece(
  response: ServerResponse,
  request: PieceRequest,
  piece: Piece,
  options: ReplyOptions,
): Promise<void> {
  let sent = false;
  try {
    checkPiece(request, piece);
    const { start, end } = piece;
    const read = (target: Buffer, position: number): Promise<number> => {
      options.mayGoOn();
      return piece.read(target, position);
    };
    const body = { ...options, start, end, read, clientTimeout: options.readerTimeout };
    await sendBody(response, request, piece, body);
    sent = true;
  } finally {
    piece.close(sent);
  }
}

async function sendBody(
  response: ServerResponse,
  request: PieceRequest,
  piece: Piece,
  body: Parameters<typeof openBody>[1],
): Promise<void> {
  const { start, end, size, statement } = piece;
  const opened = end > start ? await openBody(response, body, body.gone) : undefined;
  try {
    response.writeHead(request.range === undefined ? 200 : 206, {
      'content-length': end - start,
      ...(request.range !== undefined && { 'content-range': `bytes ${start}-${end - 1}/${size}` }),
      ...(statement !== undefined && { [HEADER.statement]: formatStatement(statement) }),
    });
    await opened?.send();
    response.end();
  } finally {
    opened?.release();
  }
}

/** What the asker would not take must not leave. */
function checkPiece({ range }: PieceRequest, { start, end, size }: Piece): void {
  const fits =
    range === undefined
      ? start === 0 && end === size && size <= LIMITS.whole
      : start === range.start && end === range.end && end <= size;
  if (!fits)
    throw new WeirError('internal', `bytes ${start} to ${end} of ${size} are not what was asked for`);
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
