import assert from 'node:assert/strict';
import { create, toBinary } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { isWeirError } from '../../../src/util/errors.ts';
import { MESSAGE_LIMITS, type SwarmMessage } from '../../../src/protocol/messages.ts';
import { decodeSwarmMessage, encodeSwarmMessage, MAX_MESSAGE_BYTES } from '../../../src/protocol/codec.ts';
import { multihashOf } from '../../../src/protocol/multihash.ts';
import { SwarmMessageSchema } from '../../../src/protocol/weir_pb.ts';
import { parseDigest } from '../../../src/oci/digest.ts';
import { parseRegistryHost } from '../../../src/oci/repository.ts';
import { messages } from './arbitraries.ts';

const DIGEST = parseDigest(`sha256:${'ab'.repeat(32)}`);
const SWARM = { registry: parseRegistryHost('ghcr.io'), digest: DIGEST };

/** Decodes, and allows only `peer_protocol` as an error. */
function decodedOrRefused(bytes: Uint8Array): SwarmMessage | undefined {
  try {
    return decodeSwarmMessage(bytes);
  } catch (error) {
    assert.ok(isWeirError(error, 'peer_protocol'), String(error));
    return undefined;
  }
}

const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

const refuses = (body: Parameters<typeof create<typeof SwarmMessageSchema>>[1]): void => {
  const bytes = toBinary(
    SwarmMessageSchema,
    create(SwarmMessageSchema, { registry: 'ghcr.io', digest: multihashOf(DIGEST), ...body }),
  );
  assert.throws(
    () => decodeSwarmMessage(bytes),
    (error) => isWeirError(error, 'peer_protocol'),
  );
};

describe('the swarm codec', () => {
  it('decodes what it encoded', () => {
    fc.assert(
      fc.property(messages, (message) => {
        const bytes = encodeSwarmMessage(message);
        assert.ok(bytes.length <= MAX_MESSAGE_BYTES);
        assert.deepEqual(decodeSwarmMessage(bytes), message);
      }),
    );
  });

  it('writes the same bytes as ever (golden)', () => {
    const bytes = encodeSwarmMessage({ swarm: SWARM, kind: 'have', indices: [7, 3, 4, 5] });
    const head = `0a0767686372 2e696f 1222 1220${'ab'.repeat(32)}`.replaceAll(' ', '');
    assert.equal(Buffer.from(bytes).toString('hex'), `${head}3a060a0403030101`);
  });

  it('encodes a run of chunks in a few bytes', () => {
    const indices = Array.from({ length: 1024 }, (_, i) => 5000 + i);
    const message: SwarmMessage = { swarm: SWARM, kind: 'have', indices };
    assert.ok(encodeSwarmMessage(message).length < 70);
  });

  it('encodes chunks without neighbours within the bound of a message', () => {
    const indices = Array.from({ length: 1024 }, (_, i) => i * 100);
    const bytes = encodeSwarmMessage({ swarm: SWARM, kind: 'have', indices });
    assert.ok(bytes.length <= MAX_MESSAGE_BYTES);
    assert.deepEqual(decodeSwarmMessage(bytes), { swarm: SWARM, kind: 'have', indices });
  });

  it('throws only peer_protocol for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void decodedOrRefused(bytes)),
      {
        numRuns: 2000,
      },
    );
  });

  it('throws only peer_protocol for cut or changed messages, and keeps its bounds', () => {
    fc.assert(
      fc.property(
        messages,
        fc.nat(),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
        (message, cut, changes) => {
          const bytes = encodeSwarmMessage(message);
          const damaged = bytes.slice(0, cut % (bytes.length + 1));
          for (const [at, value] of changes) if (damaged.length > 0) damaged[at % damaged.length] = value;
          const read = decodedOrRefused(damaged);
          if (read?.kind === 'have') assert.ok(read.indices.length <= MESSAGE_LIMITS.indices);
          if (read?.kind === 'handshake') assert.ok(read.have.length <= MESSAGE_LIMITS.chunks / 8);
          if (read?.kind === 'attested') assert.ok(read.attestations.length <= MESSAGE_LIMITS.attestations);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('ignores unknown kinds and unknown fields', () => {
    const known = encodeSwarmMessage({ swarm: SWARM, kind: 'claim', index: 3, held: false });
    const head = known.subarray(0, known.length - 4); // tag, length, tag and value of the body
    const unknownKind = Buffer.concat([head, Buffer.from([0xfa, 0x07, 0x01, 0x00])]); // field 127, one byte
    assert.equal(decodeSwarmMessage(unknownKind), undefined);
    const unknownField = Buffer.concat([known, Buffer.from([0xfa, 0x07, 0x01, 0x00])]);
    assert.deepEqual(decodeSwarmMessage(unknownField), {
      swarm: SWARM,
      kind: 'claim',
      index: 3,
      held: false,
    });
  });

  it('reads unknown choices as the harmless one', () => {
    const bytes = toBinary(
      SwarmMessageSchema,
      create(SwarmMessageSchema, {
        registry: 'ghcr.io',
        digest: multihashOf(DIGEST),
        body: { case: 'bye', value: { reason: 99 } },
      }),
    );
    assert.deepEqual(decodeSwarmMessage(bytes), {
      swarm: SWARM,
      kind: 'bye',
      reason: 'done',
    });
  });

  it('refuses messages beyond the bounds', () => {
    const attestation = {
      index: 0,
      hash: new Uint8Array(32),
      by: new Uint8Array(32),
      signature: new Uint8Array(64),
    };
    refuses({ registry: 'not a host', body: { case: 'announce', value: {} } });
    refuses({ digest: new Uint8Array(34), body: { case: 'announce', value: {} } });
    refuses({ body: { case: 'announce', value: { size: BigInt(MESSAGE_LIMITS.size) + 1n } } });
    refuses({ body: { case: 'peers', value: { peers: times(33, { peer: new Uint8Array(32) }) } } });
    refuses({ body: { case: 'peers', value: { peers: [{ peer: new Uint8Array(31) }] } } });
    refuses({ body: { case: 'handshake', value: { have: new Uint8Array(MESSAGE_LIMITS.chunks / 8 + 1) } } });
    refuses({ body: { case: 'have', value: { runs: times(2050, 1) } } });
    refuses({ body: { case: 'have', value: { runs: [MESSAGE_LIMITS.chunks, 1] } } });
    refuses({ body: { case: 'have', value: { runs: [0, 1025] } } });
    refuses({ body: { case: 'have', value: { runs: [0, 4_000_000_000] } } });
    refuses({ body: { case: 'have', value: { runs: [4_000_000_000, 1] } } });
    refuses({ body: { case: 'have', value: { runs: [1, 1, 1] } } });
    refuses({ body: { case: 'attested', value: { fetchGroup: 131_073, attestations: [] } } });
    refuses({ body: { case: 'attested', value: { fetchGroup: 0, attestations: [] } } });
    refuses({ body: { case: 'attested', value: { fetchGroup: 1, attestations: times(65, attestation) } } });
    refuses({
      body: {
        case: 'attested',
        value: { fetchGroup: 1, attestations: [{ ...attestation, hash: new Uint8Array(31) }] },
      },
    });
    refuses({ body: { case: 'claim', value: { index: MESSAGE_LIMITS.chunks } } });
  });

  it('keeps no view of the frame', () => {
    const frame = encodeSwarmMessage({
      swarm: SWARM,
      kind: 'handshake',
      size: 1,
      have: Uint8Array.from([0xff]),
      asks: false,
    });
    const read = decodeSwarmMessage(frame);
    assert.ok(read?.kind === 'handshake');
    assert.notEqual(read.have.buffer, frame.buffer);
    assert.equal(read.have.buffer.byteLength, 1);
  });
});
