/**
 * Swarm messages to bytes and back (weir.proto, docs/protocol.md).
 *
 * What is decoded keeps every bound of MESSAGE_LIMITS and holds copies, never views of the frame. A message of a
 * kind that is not known here decodes to undefined, and unknown fields are passed over: a newer peer may send both.
 * Version 1.1 writes the indices of `have` as runs, about a tenth of the bytes while a blob fills from its front;
 * 1.0 does not know them.
 */
import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { SIGNATURE_BYTES } from './identity.ts';
import type { PeerName } from './peer-id.ts';
import { MESSAGE_LIMITS, type SwarmKey, type SwarmMessage } from './messages.ts';
import type { Statement } from './attestation.ts';
import {
  atMost,
  bytesOf,
  digestField,
  keyOf,
  numberIn,
  parse,
  peerOf,
  protocolError,
  registryOf,
} from './fields.ts';
import { multihashOf } from './multihash.ts';
import { indicesOf, runsOf } from './runs.ts';
import { SwarmMessageSchema, type SwarmMessage as WireMessage } from './weir_pb.ts';

/** Versions of the swarm protocol, newest first. */
export const SWARM_VERSIONS = ['1.1', '1.0'] as const;

export type SwarmVersion = (typeof SWARM_VERSIONS)[number];

/**
 * Bytes of one message: `link` has at most 16 KiB of bitfield, `seen` 64 statements of about 140 bytes. Small,
 * because what decoding allocates is a multiple of what it reads.
 */
export const MAX_MESSAGE_BYTES = 24 * 1024;

/** sha256. */
const HASH_BYTES = 32;
const REASONS = ['full', 'absent', 'done'] as const;
const STATES = ['have', 'fetching', 'none'] as const;

type Body = NonNullable<MessageInitShape<typeof SwarmMessageSchema>['body']>;

/** @param version what the receiver understands */
export function encodeSwarmMessage(message: SwarmMessage, version: SwarmVersion = '1.1'): Uint8Array {
  const { registry, digest } = message.swarm;
  return toBinary(
    SwarmMessageSchema,
    create(SwarmMessageSchema, { registry, digest: multihashOf(digest), body: bodyOf(message, version) }),
  );
}

/**
 * @param version what the two sides agreed on
 * @returns undefined for a kind of message that is not known
 * @throws WeirError `peer_protocol`
 */
export function decodeSwarmMessage(
  bytes: Uint8Array,
  version: SwarmVersion = '1.1',
): SwarmMessage | undefined {
  if (bytes.length > MAX_MESSAGE_BYTES) {
    throw protocolError(`a message of ${bytes.length} bytes, at most ${MAX_MESSAGE_BYTES} are allowed`);
  }
  const wire = parse(SwarmMessageSchema, bytes);
  if (wire.body.case === undefined) return undefined;
  const swarm = { registry: registryOf(wire.registry), digest: digestField(wire.digest) };
  return messageOf(swarm, wire.body, version);
}

function bodyOf(message: SwarmMessage, version: SwarmVersion): Body {
  switch (message.kind) {
    case 'join':
      return { case: 'join', value: { size: BigInt(message.size), complete: message.complete } };
    case 'sample': {
      const members = message.members.map(({ peer, complete }) => ({ peer: keyOf(peer), complete }));
      return { case: 'sample', value: { members } };
    }
    case 'link': {
      const { size, have, asks } = message;
      return { case: 'link', value: { size: BigInt(size), have, asks } };
    }
    case 'unlink':
      return { case: 'unlink', value: { reason: REASONS.indexOf(message.reason) + 1 } };
    case 'have': {
      const { indices } = message;
      return {
        case: 'have',
        value: version === '1.0' ? { indices: [...indices] } : { runs: runsOf(indices) },
      };
    }
    case 'seen': {
      const statements = message.statements.map(({ by, ...rest }) => ({ by: keyOf(by), ...rest }));
      return { case: 'seen', value: { extent: message.extent, statements } };
    }
    case 'ask-origin':
      return { case: 'askOrigin', value: { index: message.index } };
    case 'origin-state':
      break;
  }
  const { index, state } = message;
  return { case: 'originState', value: { index, state: STATES.indexOf(state) + 1 } };
}

type KnownBody = Exclude<WireMessage['body'], { case: undefined }>;

function messageOf(swarm: SwarmKey, { case: kind, value }: KnownBody, version: SwarmVersion): SwarmMessage {
  switch (kind) {
    case 'join':
      return { swarm, kind, size: sizeOf(value.size), complete: value.complete };
    case 'sample': {
      const members = atMost('members in a sample', value.members, MESSAGE_LIMITS.sample).map(
        ({ peer, complete }) => ({ peer: peerOf('a member', peer), complete }),
      );
      return { swarm, kind, members };
    }
    case 'link': {
      const { length } = value.have;
      const have = bytesOf('have', value.have, Math.min(length, MESSAGE_LIMITS.chunks / 8));
      return { swarm, kind, size: sizeOf(value.size), have, asks: value.asks };
    }
    case 'unlink':
      return { swarm, kind, reason: REASONS[value.reason - 1] ?? 'done' };
    case 'have': {
      const indices = version === '1.1' && value.runs.length > 0 ? indicesOf(value.runs) : value.indices;
      atMost('indices', indices, MESSAGE_LIMITS.indices);
      return { swarm, kind, indices: indices.map(indexOf) };
    }
    case 'seen': {
      const extent = numberIn('extent', value.extent, 1, MESSAGE_LIMITS.extent);
      const peers = new Map<string, PeerName>();
      const statements = atMost('statements', value.statements, MESSAGE_LIMITS.statements).map(
        ({ index, hash, by, signature, verified }): Statement => ({
          index: indexOf(index),
          hash: bytesOf('hash', hash, HASH_BYTES),
          by: namedOnce(peers, by),
          signature: bytesOf('signature', signature, SIGNATURE_BYTES),
          verified,
        }),
      );
      return { swarm, kind, extent, statements };
    }
    case 'askOrigin':
      return { swarm, kind: 'ask-origin', index: indexOf(value.index) };
    case 'originState':
      break;
  }
  const state = STATES[value.state - 1] ?? 'none';
  return { swarm, kind: 'origin-state', index: indexOf(value.index), state };
}

/** Base58 is slow, and most statements of one message are by one home. */
function namedOnce(peers: Map<string, PeerName>, key: Uint8Array): PeerName {
  const hex = Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
  const known = peers.get(hex);
  if (known !== undefined) return known;
  const peer = peerOf('who states it', key);
  peers.set(hex, peer);
  return peer;
}

function sizeOf(value: bigint): number {
  return numberIn('size', value, 0, MESSAGE_LIMITS.size);
}

function indexOf(value: number): number {
  return numberIn('chunk', value, 0, MESSAGE_LIMITS.chunks - 1);
}
