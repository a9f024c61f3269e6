/**
 * Encodes and decodes swarm messages (weir.proto, docs/protocol.md).
 *
 * A decoded message respects every bound of MESSAGE_LIMITS and holds copies, never views of the frame. A newer peer
 * may send messages of an unknown kind, which decode to undefined, and unknown fields, which are ignored. The indices of
 * `have` travel as runs, which take about a tenth of the bytes while a blob fills from its front.
 */
import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { assertNever } from '../util/errors.ts';
import type { PeerId } from './peer-id.ts';
import { MESSAGE_LIMITS, type SwarmKey, type SwarmMessage } from './messages.ts';
import { attestationFromWire, attestationToWire, attestingPeer, chunkIndex } from './attestation-codec.ts';
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

/**
 * Bytes of one message: `handshake` has at most 16 KiB of bitfield, `attested` 64 attestations of about 140 bytes. It
 * is small, because decoding allocates a multiple of what it reads.
 */
export const MAX_MESSAGE_BYTES = 24 * 1024;

const REASONS = ['full', 'absent', 'done'] as const;

type Body = NonNullable<MessageInitShape<typeof SwarmMessageSchema>['body']>;

export function encodeSwarmMessage(message: SwarmMessage): Uint8Array {
  const { registry, digest } = message.swarm;
  return toBinary(
    SwarmMessageSchema,
    create(SwarmMessageSchema, { registry, digest: multihashOf(digest), body: bodyOf(message) }),
  );
}

/** @returns undefined for an unknown kind of message @throws WeirError `peer_protocol` */
export function decodeSwarmMessage(bytes: Uint8Array): SwarmMessage | undefined {
  if (bytes.length > MAX_MESSAGE_BYTES) {
    throw protocolError(`a message of ${bytes.length} bytes, at most ${MAX_MESSAGE_BYTES} are allowed`);
  }
  const wire = parse(SwarmMessageSchema, bytes);
  if (wire.body.case === undefined) return undefined;
  const swarm = { registry: registryOf(wire.registry), digest: digestField(wire.digest) };
  return messageOf(swarm, wire.body);
}

function bodyOf(message: SwarmMessage): Body {
  switch (message.kind) {
    case 'announce':
      return { case: 'announce', value: { size: BigInt(message.size), complete: message.complete } };
    case 'peers': {
      const peers = message.peers.map(({ peer, complete }) => ({ peer: keyOf(peer), complete }));
      return { case: 'peers', value: { peers } };
    }
    case 'handshake': {
      const { size, have, asks } = message;
      return { case: 'handshake', value: { size: BigInt(size), have, asks } };
    }
    case 'bye':
      return { case: 'bye', value: { reason: REASONS.indexOf(message.reason) + 1 } };
    case 'have':
      return { case: 'have', value: { runs: runsOf(message.indices) } };
    case 'attested': {
      const attestations = message.attestations.map(attestationToWire);
      return { case: 'attested', value: { fetchGroup: message.fetchGroup, attestations } };
    }
    case 'claim':
      return { case: 'claim', value: { index: message.index, held: message.held } };
    case 'query':
      return { case: 'query', value: { size: BigInt(message.size) } };
    default:
      return assertNever(message);
  }
}

type KnownBody = Exclude<WireMessage['body'], { case: undefined }>;

function messageOf(swarm: SwarmKey, { case: kind, value }: KnownBody): SwarmMessage {
  switch (kind) {
    case 'announce':
      return { swarm, kind, size: sizeOf(value.size), complete: value.complete };
    case 'peers': {
      const peers = atMost('peers', value.peers, MESSAGE_LIMITS.peers).map(({ peer, complete }) => ({
        peer: peerOf('a peer', peer),
        complete,
      }));
      return { swarm, kind, peers };
    }
    case 'handshake': {
      const { length } = value.have;
      const have = bytesOf('have', value.have, Math.min(length, MESSAGE_LIMITS.chunks / 8));
      return { swarm, kind, size: sizeOf(value.size), have, asks: value.asks };
    }
    case 'bye':
      return { swarm, kind, reason: REASONS[value.reason - 1] ?? 'done' };
    case 'have': {
      const indices = atMost('indices', indicesOf(value.runs), MESSAGE_LIMITS.indices);
      return { swarm, kind, indices: indices.map(chunkIndex) };
    }
    case 'attested': {
      const fetchGroup = numberIn('fetch group', value.fetchGroup, 1, MESSAGE_LIMITS.fetchGroup);
      const peers = new Map<string, PeerId>();
      const attestations = atMost('attestations', value.attestations, MESSAGE_LIMITS.attestations).map(
        (attestation) => attestationFromWire(attestation, (key) => peerOnce(peers, key)),
      );
      return { swarm, kind, fetchGroup, attestations };
    }
    case 'claim':
      return { swarm, kind, index: chunkIndex(value.index), held: value.held };
    case 'query':
      return { swarm, kind, size: sizeOf(value.size) };
    default:
      return assertNever(kind);
  }
}

/** Base58 is slow, and most attestations of one message are by one owner. */
function peerOnce(peers: Map<string, PeerId>, key: Uint8Array): PeerId {
  const hex = Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
  const known = peers.get(hex);
  if (known !== undefined) return known;
  const peer = attestingPeer(key);
  peers.set(hex, peer);
  return peer;
}

function sizeOf(value: bigint): number {
  return numberIn('size', value, 0, MESSAGE_LIMITS.size);
}
