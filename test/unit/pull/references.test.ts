/** Tags across the cluster: one member asks upstream for all, and any member's memory serves when it is gone. */
import assert from 'node:assert/strict';
import { MINUTE, SECOND, systemClock, type Clock } from '../../../src/clock.ts';
import { isWeirError, WeirError } from '../../../src/errors.ts';
import type { Member, Membership } from '../../../src/membership/member.ts';
import { MEDIA_TYPES } from '../../../src/oci/manifest.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseManifestReference } from '../../../src/oci/reference.ts';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import { Identity } from '../../../src/peer/identity.ts';
import type { PeerName } from '../../../src/peer/peer-name.ts';
import { Access } from '../../../src/pull/access.ts';
import type { ManifestRequest } from '../../../src/pull/manifest-request.ts';
import { Manifests } from '../../../src/pull/manifests.ts';
import { References } from '../../../src/pull/references.ts';
import { Catalog } from '../../../src/store/catalog.ts';
import { callerOf, type Caller } from '../../../src/upstream/caller.ts';
import type { Credential } from '../../../src/upstream/credential.ts';
import { MemoryStore } from '../../support/memory-store.ts';

const digest = digestOf(Buffer.from('manifest'));
const repository = parseRepository(parseRegistryHost('registry.test'), 'team/app');

/** What upstream is asked, and what it answers. */
class FakeUpstream {
  heads = 0;
  answer: (caller: Caller) => Error | undefined = () => undefined;

  readonly headManifest = (
    _repository: unknown,
    _reference: unknown,
    options: { readonly caller?: Caller | undefined } = {},
  ): Promise<{ digest: typeof digest; mediaType: string; size: number }> => {
    this.heads++;
    const failure = this.answer(options.caller ?? 'configured');
    if (failure !== undefined) return Promise.reject(failure);
    return Promise.resolve({ digest, mediaType: MEDIA_TYPES.ociManifest, size: 8 });
  };

  readonly speaksFor = (): boolean => false;

  readonly getManifest = (): Promise<never> => Promise.reject(new Error('not asked for here'));
  readonly headBlob = (): Promise<never> => Promise.reject(new Error('not asked for here'));
}

interface TestNode {
  readonly manifests: Manifests;
  readonly references: References;
}

class TestCluster {
  readonly upstream: FakeUpstream = new FakeUpstream();
  readonly nodes: Map<PeerName, TestNode> = new Map();
  readonly dead: Set<PeerName> = new Set();
  asked = 0;
  /** Milliseconds that have passed besides the real ones. */
  passed = 0;
  readonly #members: readonly Member[];

  constructor(size: number) {
    const names = Array.from({ length: size }, () => Identity.generate().peer);
    this.#members = names.toSorted((a, b) => (a < b ? -1 : 1)).map((peer) => memberOf(peer));
    for (const member of this.#members) this.nodes.set(member.peer, this.#node(member));
  }

  get all(): readonly TestNode[] {
    return [...this.nodes.values()];
  }

  #node(self: Member): TestNode {
    const clock: Clock = {
      ...systemClock,
      now: () => Date.now() + this.passed,
      monotonic: () => performance.now() + this.passed,
    };
    const catalog = Catalog.open(':memory:');
    const { upstream } = this;
    const options = { mode: 'verify', ttl: 10 * MINUTE, offlineTtl: 24 * 60 * MINUTE } as const;
    const access = new Access({ ...options, catalog, upstream, clock });
    const references: References = new References({
      membership: { self, live: () => this.#members } as unknown as Membership,
      ask: (peer, question, { signal = AbortSignal.timeout(SECOND) }) => {
        this.asked++;
        const node = this.dead.has(peer) ? undefined : this.nodes.get(peer);
        if (node === undefined) return Promise.reject(new WeirError('peer_unreachable', 'it is dead'));
        return node.references.answer(question, signal);
      },
      clock,
      answer: (question) => manifests.answer(question),
    });
    const quiet = { cacheHit: nothing, cacheMiss: nothing, staleTag: nothing, problem: nothing };
    const manifests: Manifests = new Manifests({
      providers: [],
      store: new MemoryStore(),
      catalog,
      upstream,
      access,
      clock,
      tagTtl: 5 * SECOND,
      observer: quiet,
      peers: { references: () => references, fetch: () => Promise.resolve(undefined), stored: nothing },
    });
    return { manifests, references };
  }
}

function memberOf(peer: PeerName): Member {
  return { peer } as unknown as Member;
}

function nothing(): void {
  // Nobody listens.
}

function request(credential?: Credential): ManifestRequest {
  return {
    repository,
    reference: parseManifestReference('v1'),
    accept: MEDIA_TYPES.ociManifest,
    caller: callerOf(repository.registry, credential),
  };
}

const offline = (): Error => new WeirError('upstream_unreachable', 'the registry is down');

describe('References', () => {
  it('costs upstream at most 3 requests when 50 nodes resolve one tag at once', async () => {
    const cluster = new TestCluster(50);
    const found = await Promise.all(cluster.all.map(({ manifests }) => manifests.head(request())));
    assert.ok(found.every((each) => each.digest === digest && !each.stale));
    assert.ok(cluster.upstream.heads >= 1 && cluster.upstream.heads <= 3, `${cluster.upstream.heads}`);
    await Promise.all(cluster.all.map(({ manifests }) => manifests.head(request())));
    assert.ok(cluster.upstream.heads <= 3, 'within the window nobody asks again');
  });

  it('does so when the member in charge is dead, too', async () => {
    const cluster = new TestCluster(20);
    await cluster.all[0]?.manifests.head(request());
    const before = cluster.upstream.heads;
    assert.equal(before, 1);
    cluster.passed = 6 * SECOND;
    // Whoever was asked dies; some node then has to find another one.
    for (const peer of [...cluster.nodes.keys()].slice(0, 7)) cluster.dead.add(peer);
    const alive = [...cluster.nodes].filter(([peer]) => !cluster.dead.has(peer)).map(([, node]) => node);
    await Promise.all(alive.map(({ manifests }) => manifests.head(request())));
    // Both in charge dead is possible, and then each node asks for itself.
    assert.ok(cluster.upstream.heads <= before + alive.length, `${cluster.upstream.heads}`);
  });

  it('passes on what upstream refuses, with its challenge', async () => {
    const cluster = new TestCluster(10);
    const challenge = 'Bearer realm="https://auth.test/token"';
    cluster.upstream.answer = (caller) =>
      typeof caller === 'string'
        ? new WeirError('upstream_unauthorized', 'who are you?', { detail: { challenge } })
        : undefined;
    const refused = await Promise.allSettled(cluster.all.map(({ manifests }) => manifests.head(request())));
    for (const outcome of refused) {
      assert.ok(outcome.status === 'rejected' && isWeirError(outcome.reason, 'upstream_unauthorized'));
      assert.equal(outcome.reason.detail['challenge'], challenge);
    }
    assert.ok(cluster.upstream.heads <= 3, `${cluster.upstream.heads}`);
    const token = { kind: 'bearer', token: 'one-for-all' } as const;
    const found = await Promise.all(cluster.all.map(({ manifests }) => manifests.head(request(token))));
    assert.ok(found.every((each) => each.digest === digest));
    assert.ok(cluster.upstream.heads <= 6, `${cluster.upstream.heads}`);
  });

  it('never speaks of Basic credentials to anybody', async () => {
    const cluster = new TestCluster(10);
    const basic = { kind: 'basic', username: 'me', password: 'secret' } as const;
    await Promise.all(cluster.all.map(({ manifests }) => manifests.head(request(basic))));
    assert.equal(cluster.asked, 0);
    assert.equal(cluster.upstream.heads, 10);
  });

  it('finds in any memory what upstream said, when it is gone', async () => {
    const cluster = new TestCluster(30);
    const [first, , , , last] = cluster.all;
    const [other] = cluster.all.slice(-1);
    await first?.manifests.head(request());
    cluster.upstream.answer = offline;
    cluster.passed = MINUTE;
    for (const node of [last, other]) {
      const found = await node?.manifests.head(request());
      assert.deepEqual([found?.digest, found?.stale], [digest, true]);
    }
  });

  it('does not make a grant younger by passing it around', async () => {
    const cluster = new TestCluster(3);
    const [first, second, third] = cluster.all;
    await first?.manifests.head(request());
    cluster.upstream.answer = offline;
    cluster.passed = 23 * 60 * MINUTE;
    assert.ok((await second?.manifests.head(request()))?.stale);
    cluster.passed = 25 * 60 * MINUTE;
    await assert.rejects(
      async () => third?.manifests.head(request()),
      (error) => isWeirError(error, 'upstream_unreachable'),
    );
  });

  it('says what upstream does not have', async () => {
    const cluster = new TestCluster(10);
    cluster.upstream.answer = () => new WeirError('manifest_unknown', 'no such tag');
    await assert.rejects(
      async () => cluster.all[3]?.manifests.head(request()),
      (error) => isWeirError(error, 'manifest_unknown'),
    );
  });

  it('answers nonsense with an error of the peer', async () => {
    const [node] = new TestCluster(1).all;
    const { signal } = new AbortController();
    await assert.rejects(
      async () => node?.references.answer(new Uint8Array([255, 1, 2]), signal),
      (error) => isWeirError(error, 'peer_protocol'),
    );
  });
});
