/** Which member is blamed for a wrong hash or a missing chunk, and when. */
import assert from 'node:assert/strict';
import { HOUR, SECOND } from '../../../src/util/clock.ts';
import type { SuspicionReason } from '../../../src/cluster/membership.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseRegistryHost, type RegistryHost } from '../../../src/oci/repository.ts';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import type { Attestation } from '../../../src/protocol/attestation.ts';
import { RegistryDistrust } from '../../../src/swarm/registry-distrust.ts';
import { MissingChunks } from '../../../src/swarm/missing-chunks.ts';
import type { SwarmState } from '../../../src/swarm/swarm-state.ts';
import { Verdicts } from '../../../src/swarm/verdicts.ts';

const REGISTRY = parseRegistryHost('registry.test');
const SWARM = { registry: REGISTRY, digest: digestOf(Buffer.from('blob')) };
const [SELF, ONE, OTHER] = ['self', 'one', 'other'] as unknown as readonly [PeerId, PeerId, PeerId];

function attested(by: PeerId, index: number, hash: number, verified = false): Attestation {
  const signature = new Uint8Array(64).fill(hash);
  return { by, index, hash: new Uint8Array(32).fill(hash), signature, verified };
}

class Scene {
  now = 0;
  readonly blamed: [PeerId, SuspicionReason][] = [];
  readonly misled: PeerId[] = [];
  readonly attestations: (Attestation | undefined)[] = [];
  readonly distrust: RegistryDistrust = new RegistryDistrust({ now: () => this.now });
  readonly verdicts: Verdicts;

  constructor() {
    const { distrust } = this;
    const state = {
      swarm: SWARM,
      self: SELF,
      attestations: this.attestations,
      environment: { distrust, observer: { misled: (_: unknown, peer: PeerId) => this.misled.push(peer) } },
      isBelieved: (peer: PeerId) => !distrust.has(REGISTRY, peer),
      blame: (peer: PeerId, reason: SuspicionReason) => this.blamed.push([peer, reason]),
      forget: () => undefined,
    };
    this.verdicts = new Verdicts(state as unknown as SwarmState);
  }

  /** Each chunk's hash is 1. */
  judge(): void {
    this.verdicts.judge(() => new Uint8Array(32).fill(1));
  }
}

describe('Verdicts', () => {
  it('blames nobody before the whole blob is right', () => {
    const scene = new Scene();
    scene.attestations[0] = attested(ONE, 0, 1);
    scene.verdicts.contest(attested(OTHER, 0, 2, true));
    assert.deepEqual([scene.blamed, scene.misled], [[], []]);
  });

  it('bans the maker of a wrong verified attestation', () => {
    const scene = new Scene();
    scene.attestations[0] = attested(ONE, 0, 1);
    scene.verdicts.contest(attested(OTHER, 0, 2, true));
    scene.judge();
    assert.deepEqual([scene.blamed, scene.misled], [[[OTHER, 'wrong-hash']], []]);
  });

  it('distrusts the maker of another wrong attestation, for this registry alone', () => {
    const scene = new Scene();
    scene.attestations[0] = attested(ONE, 0, 2);
    scene.attestations[1] = attested(ONE, 1, 3);
    scene.judge();
    assert.deepEqual([scene.blamed, scene.misled], [[], [ONE]]);
    assert.ok(scene.distrust.has(REGISTRY, ONE));
    assert.ok(!scene.distrust.has(parseRegistryHost('other.test'), ONE));
    scene.now += HOUR;
    assert.ok(!scene.distrust.has(REGISTRY, ONE));
  });

  it('does not blame this node for the registry’s bytes', () => {
    const scene = new Scene();
    scene.attestations[0] = attested(SELF, 0, 2);
    scene.judge();
    assert.deepEqual([scene.blamed, scene.misled], [[], []]);
  });

  it('keeps a bounded number of attestations', () => {
    const scene = new Scene();
    for (let index = 0; index < 10_000; index++)
      scene.verdicts.contest(attested(OTHER, index % 1000, 2, true));
    scene.judge();
    assert.equal(scene.blamed.length, 512);
  });
});

describe('RegistryDistrust', () => {
  it('keeps a bounded number of pairs, and forgets the registry with the oldest pair first', () => {
    const distrust = new RegistryDistrust({ now: () => 0 });
    const flood = parseRegistryHost('flood.test');
    distrust.add(flood, ONE);
    distrust.add(REGISTRY, ONE);
    for (let i = 0; i < 9000; i++) distrust.add(`r${i}.test` as RegistryHost, OTHER);
    assert.equal(distrust.size, 8192);
    assert.ok(!distrust.has(flood, ONE));
    assert.ok(distrust.has('r8999.test' as RegistryHost, OTHER));
    distrust.add('r8999.test' as RegistryHost, OTHER);
    assert.equal(distrust.size, 8192);
  });
});

describe('MissingChunks', () => {
  it('blames a peer that does not send `bye` in time', () => {
    const timers = new Map<() => void, number>();
    const doubts = new MissingChunks({
      after: (ms, callback) => {
        timers.set(callback, ms);
        return () => timers.delete(callback);
      },
    });
    const broken: PeerId[] = [];
    for (const peer of [ONE, OTHER, OTHER]) doubts.about(SWARM, peer, () => broken.push(peer));
    assert.deepEqual([...timers.values()], [SECOND, SECOND]);
    doubts.settle(SWARM, ONE);
    for (const callback of timers.keys()) callback();
    assert.deepEqual(broken, [OTHER]);
  });
});
