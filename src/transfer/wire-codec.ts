/**
 * Encodes and decodes what the frames of the peer wire carry (wire.proto, docs/protocol.md). What is decoded respects every
 * bound of {@link LIMITS}, and holds copies, never views of the frame.
 */
import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { assertNever } from '../util/errors.ts';
import { tryParseRepositoryName } from '../oci/repository.ts';
import type { Attestation } from '../protocol/attestation.ts';
import { attestationFromWire, attestationToWire } from '../protocol/attestation-codec.ts';
import {
  atMost,
  digestField,
  keyOf,
  numberIn,
  parse,
  peerOf,
  protocolError,
  registryOf,
} from '../protocol/fields.ts';
import { multihashOf } from '../protocol/multihash.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import {
  AnswerSchema,
  ConcerningSchema,
  HelloSchema,
  QuestionSchema,
  ReplySchema,
  RequestSchema,
  type Answer,
  type Chunk,
  type Delegation,
} from '../protocol/wire_pb.ts';
import type { ChunkAnswer, ChunkFetch, OwnerRequest } from './chunk-exchange.ts';
import { LIMITS } from './limits.ts';

/** The version within `weir/1` that this node speaks; both sides of a connection use the smaller one. */
export const MINOR_VERSION = 0;

type Body = NonNullable<MessageInitShape<typeof AnswerSchema>['body']>;

/** token68 (RFC 9110, section 11.2), no longer than the mirror accepts. */
const TOKEN = /^(?=.{1,16384}$)[A-Za-z0-9._~+/-]+=*$/;
const MAX_ID = 2 ** 32 - 1;

export interface Hello {
  readonly peer: PeerId;
  readonly minor: number;
}

/** An answer without the bytes of its chunk. */
export type AnswerHead =
  | { readonly kind: 'chunk'; readonly size: number; readonly attestation: Attestation | undefined }
  | Exclude<ChunkAnswer, { readonly kind: 'chunk' }>
  /** The peer failed, which says nothing about the blob. */
  | { readonly kind: 'failed' };

export function encodeHello({ peer, minor }: Hello): Uint8Array {
  return toBinary(HelloSchema, create(HelloSchema, { peer: keyOf(peer), minor }));
}

/** @throws WeirError `peer_protocol` */
export function decodeHello(bytes: Uint8Array): Hello {
  const { peer, minor } = parse(HelloSchema, bytes);
  return { peer: peerOf('the peer', peer), minor };
}

/** `cancel` and `acknowledged`. */
export function encodeConcerning(id: number): Uint8Array {
  return toBinary(ConcerningSchema, create(ConcerningSchema, { id }));
}

/** @throws WeirError `peer_protocol` */
export function decodeConcerning(bytes: Uint8Array): number {
  return parse(ConcerningSchema, bytes).id;
}

export function encodeRequest(id: number, { swarm, range, owner }: ChunkFetch): Uint8Array {
  const request = create(RequestSchema, {
    id: numberIn('id', id, 0, MAX_ID),
    registry: swarm.registry,
    digest: multihashOf(swarm.digest),
    start: BigInt(range?.start ?? 0),
    end: BigInt(range?.end ?? 0),
    ...(owner && { owner: delegationOf(owner) }),
  });
  return toBinary(RequestSchema, request);
}

function delegationOf({
  repository,
  size,
  token,
}: OwnerRequest): MessageInitShape<typeof RequestSchema>['owner'] {
  // Without a token that can be sent, the owner answers that it is unable.
  const sent = token !== undefined && TOKEN.test(token) ? token : '';
  return { repository, token: sent, ...(size !== undefined && { size: BigInt(size) }) };
}

/** @throws WeirError `peer_protocol` */
export function decodeRequest(bytes: Uint8Array): { readonly id: number; readonly request: ChunkFetch } {
  const { id, registry, digest, start, end, owner } = parse(RequestSchema, bytes);
  const range = rangeOf(start, end);
  const delegation = owner && ownerOf(owner);
  if (delegation?.size !== undefined && delegation.size < (range?.end ?? 0)) {
    throw protocolError('a range beyond the end of its blob');
  }
  const swarm = { registry: registryOf(registry), digest: digestField(digest) };
  return { id, request: { swarm, range, owner: delegation } };
}

function rangeOf(first: bigint, behind: bigint): ChunkFetch['range'] {
  if (first === 0n && behind === 0n) return undefined;
  const end = numberIn('end', behind, 1, LIMITS.size);
  const start = numberIn('start', first, Math.max(0, end - LIMITS.chunk), end - 1);
  return { start, end };
}

function ownerOf({ repository: name, size, token }: Delegation): OwnerRequest {
  const repository = tryParseRepositoryName(name);
  if (repository === undefined) throw protocolError('not a repository');
  if (token !== '' && !TOKEN.test(token)) throw protocolError('not a Bearer token');
  const bytes = size === undefined ? undefined : numberIn('size', size, 0, LIMITS.size);
  return { repository, size: bytes, token: token === '' ? undefined : token };
}

export function encodeAnswer(id: number, answer: AnswerHead): Uint8Array {
  return toBinary(AnswerSchema, create(AnswerSchema, { id, body: bodyOf(answer) }));
}

function bodyOf(answer: AnswerHead): Body {
  switch (answer.kind) {
    case 'chunk': {
      const { size, attestation } = answer;
      const signed = attestation && { attestation: attestationToWire(attestation) };
      return { case: 'chunk', value: { size: BigInt(size), ...signed } };
    }
    case 'busy':
      return { case: 'busy', value: { load: Math.min(answer.load, LIMITS.load) } };
    case 'retry':
      return { case: 'retry', value: { after: Math.min(Math.ceil(answer.after), LIMITS.retry) } };
    case 'redirect':
      return { case: 'redirect', value: { holders: answer.holders.slice(0, LIMITS.holders).map(keyOf) } };
    case 'absent':
    case 'unable':
    case 'failed':
      return { case: answer.kind, value: {} };
    default:
      return assertNever(answer);
  }
}

/** The number of the request, and its answer, which may be unknown. @throws WeirError `peer_protocol` */
export function decodeAnswer(bytes: Uint8Array): { readonly id: number; readonly answer: AnswerHead } {
  const { id, body } = parse(AnswerSchema, bytes);
  return { id, answer: answerOf(body) };
}

function answerOf(body: Answer['body']): AnswerHead {
  switch (body.case) {
    case 'chunk':
      return chunkOf(body.value);
    case 'busy':
      return { kind: 'busy', load: numberIn('load', body.value.load, 0, LIMITS.load) };
    case 'retry':
      return { kind: 'retry', after: numberIn('after', body.value.after, 0, LIMITS.retry) };
    case 'redirect': {
      const holders = atMost('holders', body.value.holders, LIMITS.holders);
      return { kind: 'redirect', holders: holders.map((key) => peerOf('a holder', key)) };
    }
    case 'absent':
    case 'unable':
    case 'failed':
      return { kind: body.case };
    case undefined:
      return { kind: 'failed' }; // of a later version
    default:
      return assertNever(body);
  }
}

function chunkOf({ size: total, attestation }: Chunk): AnswerHead {
  const size = numberIn('size', total, 0, LIMITS.size);
  if (attestation === undefined) return { kind: 'chunk', size, attestation: undefined };
  return { kind: 'chunk', size, attestation: attestationFromWire(attestation) };
}

export interface Asked {
  readonly id: number;
  readonly bytes: Uint8Array;
}

export function encodeQuestion({ id, bytes }: Asked): Uint8Array {
  return toBinary(QuestionSchema, create(QuestionSchema, { id, question: bytes }));
}

/** @throws WeirError `peer_protocol` */
export function decodeQuestion(body: Uint8Array): Asked {
  const { id, question } = parse(QuestionSchema, body);
  return { id, bytes: new Uint8Array(question) };
}

/** @param bytes empty if there is no reply */
export function encodeReply({ id, bytes }: Asked): Uint8Array {
  return toBinary(ReplySchema, create(ReplySchema, { id, reply: bytes }));
}

/** @throws WeirError `peer_protocol` */
export function decodeReply(body: Uint8Array): Asked {
  const { id, reply } = parse(ReplySchema, body);
  return { id, bytes: new Uint8Array(reply) };
}
