/**
 * A misbehaving member, in a process of its own, so that the victim's memory is measured without it. It sends many
 * streams of rubbish to each protocol of the network at an address.
 *
 *     node attacker.ts <multiaddr> <streams for each protocol>
 */
import { randomBytes, randomInt } from 'node:crypto';
import type { Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { parseDigest } from '../../../src/oci/digest.ts';
import { parseManifestReference } from '../../../src/oci/reference.ts';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import { encodeSwarmMessage } from '../../../src/protocol/codec.ts';
import {
  encodeSyncHead,
  encodeGossip,
  encodeHello,
  encodePages,
} from '../../../src/protocol/sync-messages.ts';
import { encodeFrame } from '../../../src/protocol/frames.ts';
import { encodeReferenceQuestion } from '../../../src/protocol/reference-messages.ts';
import { signMember } from '../../../src/protocol/signed-record.ts';
import { startBareNode } from '../../support/bare-node.ts';
import { KEY } from '../../support/test-network.ts';

/** With the number of streams that a peer may have open at one time: more would be reset unread. */
const PROTOCOLS: readonly (readonly [protocol: string, parallel: number])[] = [
  ['/weir/hello/1.0', 4],
  ['/weir/members/1.0', 1],
  ['/weir/kad/1.0.0', 16],
  ['/meshsub/1.2.0', 1],
  ['/weir/id/1.0.0', 1],
];

const identity = Identity.generate();
const record = signMember(identity, {
  peer: identity.peer,
  sequence: 1,
  name: 'bad',
  zone: '',
  controlAddresses: [],
  dataAddresses: [],
  fingerprint: new Uint8Array(),
  version: '0',
  leaving: false,
});
const swarm = { registry: parseRegistryHost('ghcr.io'), digest: parseDigest(`sha256:${'ab'.repeat(32)}`) };
const hello = encodeFrame(encodeHello(record));
const good = [
  encodeSwarmMessage({ swarm, kind: 'handshake', size: 9, have: randomBytes(900), asks: true }),
  encodeSwarmMessage({ swarm, kind: 'have', indices: [1, 2, 3, 1000] }),
  encodeSyncHead({ self: record, digests: randomBytes(512), differing: new Uint8Array() }),
  encodeGossip(record),
  ...encodePages([{ record, age: 0 }]),
  encodeReferenceQuestion({
    repository: parseRepository(swarm.registry, 'org/app'),
    reference: parseManifestReference('v1'),
    accept: 'application/json',
    token: 'abc',
    knownOnly: false,
  }),
].map(encodeFrame);

function rubbish(): Uint8Array {
  const base = good[randomInt(good.length)] ?? hello;
  switch (randomInt(6)) {
    case 0:
      return randomBytes(randomInt(1, 400)); // no frame at all
    case 1:
      return encodeFrame(randomBytes(randomInt(1, 400)));
    case 2:
      return base.subarray(0, randomInt(1, base.length)); // cut off
    case 3:
      return damaged(base);
    case 4:
      return Buffer.concat([hello, damaged(base), encodeFrame(randomBytes(100))]);
    default:
      return Buffer.from([0xff, 0xff, 0x03, ...randomBytes(50)]); // 64 KiB are promised, and never come
  }
}

function damaged(frame: Uint8Array): Uint8Array {
  const copy = new Uint8Array(frame);
  for (let i = randomInt(1, 4); i > 0; i -= 1) copy[randomInt(copy.length)] = randomInt(256);
  return copy;
}

const [, , address = '', count = '1'] = process.argv;
const libp2p = await startBareNode(identity, KEY);

/** Opens a stream, sends the bytes, and waits for its end; any end is right. */
async function say(protocol: string, bytes: Uint8Array): Promise<boolean> {
  let stream: Stream | undefined;
  try {
    const connection = await libp2p.dial(multiaddr(address), { signal: AbortSignal.timeout(5000) });
    stream = await connection.newStream(protocol, {
      maxOutboundStreams: 100,
      signal: AbortSignal.timeout(5000),
    });
    stream.send(bytes);
    const isClosed = stream.status === 'open' ? Promise.withResolvers<void>() : undefined;
    stream.addEventListener('close', () => isClosed?.resolve());
    await stream.close({ signal: AbortSignal.timeout(1000) });
    if (stream.status === 'open') await Promise.race([isClosed?.promise, timeout(5)]);
    stream.abort(new Error('done'));
    return true;
  } catch (error) {
    stream?.abort(error instanceof Error ? error : new Error(String(error)));
    return stream !== undefined;
  }
}

function timeout(ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  setTimeout(resolve, ms);
  return promise;
}

const said: Record<string, number> = {};
for (const [protocol, parallel] of PROTOCOLS) {
  let left = Number(count);
  said[protocol] = 0;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      if (await say(protocol, rubbish())) said[protocol] = (said[protocol] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
}
console.log(JSON.stringify(said));
await libp2p.stop();
