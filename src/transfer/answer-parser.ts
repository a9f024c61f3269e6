/** Interprets the head of an answer to one request. Strict: bytes that were not requested are refused. */
import { WeirError } from '../util/errors.ts';
import { tryParsePeerId, type PeerId } from '../protocol/peer-id.ts';
import type { Attestation } from '../protocol/attestation.ts';
import type { AnswerHead } from './answer-head.ts';
import type { ChunkAnswer, ChunkFetch } from './chunk-exchange.ts';
import { HEADER, LIMITS, parseNumber, parseAttestation } from './wire-format.ts';

export type Interpretation =
  /** The peer has the request in hand; the answer itself follows. */
  | { readonly kind: 'interim' }
  /** A chunk of `length` bytes follows. */
  | {
      readonly kind: 'chunk';
      readonly length: number;
      readonly size: number;
      readonly attestation: Attestation | undefined;
    }
  /** Nothing follows. */
  | { readonly kind: 'answer'; readonly answer: Exclude<ChunkAnswer, { readonly kind: 'chunk' }> };

const CONTENT_RANGE = /^bytes ([0-9]{1,15})-([0-9]{1,15})\/([0-9]{1,15})$/;

/** @throws WeirError `peer_protocol`; `peer_cut` if the peer says that it failed */
export function interpret(head: AnswerHead, request: ChunkFetch): Interpretation {
  const { status, headers } = head;
  if (status < 200 && status !== 101) return { kind: 'interim' };
  const length = parseNumber(headers.get('content-length'), LIMITS.chunk);
  if (length === undefined || headers.has('transfer-encoding') || headers.has('content-encoding')) {
    throw refuse(status, 'without the length of its body');
  }
  if (status === 200 || status === 206) return interpretChunk(head, request, length);
  if (length !== 0) throw refuse(status, 'with a body');
  return { kind: 'answer', answer: interpretRefusal(head, request) };
}

function interpretChunk(
  { status, headers }: AnswerHead,
  { range }: ChunkFetch,
  length: number,
): Interpretation {
  const text = headers.get(HEADER.attestation);
  const attestation = text === undefined ? undefined : parseAttestation(text);
  if (text !== undefined && attestation === undefined) throw refuse(status, 'with a malformed attestation');
  if (range === undefined) {
    if (status !== 200 || length > LIMITS.whole) throw refuse(status, 'to a request for a small blob');
    return { kind: 'chunk', length, size: length, attestation };
  }
  if (status !== 206) throw refuse(status, 'to a request for a range');
  const [, first, last, total] = CONTENT_RANGE.exec(headers.get('content-range') ?? '') ?? [];
  const size = Number(total);
  const isAsked =
    Number(first) === range.start && Number(last) === range.end - 1 && length === range.end - range.start;
  if (!isAsked || size < range.end || size > LIMITS.size)
    throw refuse(status, 'with another range than requested');
  return { kind: 'chunk', length, size, attestation };
}

function interpretRefusal(
  { status, headers }: AnswerHead,
  { owner }: ChunkFetch,
): Exclude<ChunkAnswer, { readonly kind: 'chunk' }> {
  if (status === 404) return { kind: 'absent' };
  if (status === 403 && headers.get(HEADER.unable) === '1') return { kind: 'unable' };
  const load = parseNumber(headers.get(HEADER.load), LIMITS.load);
  if (status === 503 && load !== undefined) return { kind: 'busy', load };
  const after = parseNumber(headers.get(HEADER.retry), LIMITS.retry);
  if (status === 503 && after !== undefined) return { kind: 'retry', after };
  const holders = parseHolders(headers.get(HEADER.holders));
  if (status === 307 && holders !== undefined && owner !== undefined) return { kind: 'redirect', holders };
  if (status >= 500) throw new WeirError('peer_cut', `the peer failed (status ${status})`);
  throw refuse(status, 'that this request cannot have');
}

function parseHolders(text: string | undefined): readonly PeerId[] | undefined {
  const names = (text ?? '').split(',');
  const holders = names.map((name) => tryParsePeerId(name)).filter((peer) => peer !== undefined);
  const isRight = holders.length === names.length && holders.length <= LIMITS.holders;
  return isRight ? holders : undefined;
}

function refuse(status: number, what: string): WeirError {
  return new WeirError('peer_protocol', `an answer of status ${status} ${what}`);
}
