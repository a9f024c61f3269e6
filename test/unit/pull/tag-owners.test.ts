/** Tags across the cluster: owners ask upstream for all, and any member's memory serves while upstream is gone. */
import assert from 'node:assert/strict';
import { MINUTE, SECOND, systemClock, type Clock } from '../../../src/util/clock.ts';
import { isWeirError, WeirError } from '../../../src/util/errors.ts';
import type { Membership } from '../../../src/cluster/membership.ts';
import type { Member } from '../../../src/protocol/member.ts';
import { MEDIA_TYPES } from '../../../src/oci/manifest.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseManifestReference } from '../../../src/oci/reference.ts';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import { Access } from '../../../src/pull/access.ts';
import type { ManifestRequest } from '../../../src/pull/manifest-request.ts';
import { Manifests } from '../../../src/pull/manifests.ts';
import { ownersOf, TagOwners } from '../../../src/pull/tag-owners.ts';
import { Catalog } from '../../../src/store/catalog.ts';
import { callerOf, type Caller } from '../../../src/upstream/caller.ts';
import type { Credential } from '../../../src/upstream/credential.ts';
import type { Store } from '../../../src/store/store.ts';
import { encodeReferenceAnswer, type ReferenceAnswer } from '../../../src/protocol/reference-messages.ts';

const digest = digestOf(Buffer.from('manifest'));
const repository = parseRepository(parseRegistryHost('registry.test'), 'team/app');

const LIE = { digest: digestOf(Buffer.from('a lie')), mediaType: MEDIA_TYPES.ociManifest, size: 8 };

/** Tags are never stored. */
const NO_STORE: Pick<Store, 'ingest'> = {
  ingest: () => Promise.reject(new Error('a tag was stored')),
};

/** Upstream: counts its requests, and gives the answer that a test wants. */
class FakeUpstream {
  heads = 0;
  digest = digest;
  mediaType: string = MEDIA_TYPES.ociManifest;
  answer: (caller: Caller) => Error | undefined = () => undefined;

  readonly headManifest = (
    _repository: unknown,
    _reference: unknown,
    options: { readonly caller?: Caller | undefined } = {},
  ): Promise<{ digest: typeof digest; mediaType: string; size: number }> => {
    this.heads++;
    const failure = this.answer(options.caller ?? 'configured');
    if (failure !== undefined) return Promise.reject(failure);
    return Promise.resolve({ digest: this.digest, mediaType: this.mediaType, size: 8 });
  };

  readonly speaksFor = (): boolean => false;
  readonly checkReach = (): void => undefined;

  readonly getManifest = (): Promise<never> => Promise.reject(new Error('not asked for here'));
  readonly headBlob = (): Promise<never> => Promise.reject(new Error('not asked for here'));
}

interface TestNode {
  readonly manifests: Manifests;
  readonly tagOwners: TagOwners;
}

class TestCluster {
  readonly upstream: FakeUpstream = new FakeUpstream();
  readonly nodes: Map<PeerId, TestNode> = new Map();
  readonly dead: Set<PeerId> = new Set();
  /** Their answer to any query. */
  readonly liars: Map<PeerId, ReferenceAnswer> = new Map();
  readonly suspected: PeerId[] = [];
  asked = 0;
  /** Milliseconds that have passed besides the real ones. */
  passed = 0;
  readonly members: readonly Member[];

  constructor(size: number) {
    const names = Array.from({ length: size }, () => Identity.generate().peer);
    this.members = names.toSorted((a, b) => (a < b ? -1 : 1)).map((peer) => memberOf(peer));
    for (const member of this.members) this.nodes.set(member.peer, this.#node(member));
  }

  get all(): readonly TestNode[] {
    return [...this.nodes.values()];
  }

  /** A node that asks other members about the tag. */
  asker(tag: string): TestNode {
    const owners = ownersOf(this.members, { repository, reference: parseManifestReference(tag) });
    const found = [...this.nodes].find(([peer]) => !owners.includes(peer));
    if (found === undefined) throw new Error('all are asked themselves');
    return found[1];
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
    const references: TagOwners = new TagOwners({
      membership: {
        self,
        live: () => this.members,
        suspect: (peer: PeerId) => this.suspected.push(peer),
      } as unknown as Membership,
      ask: (peer, question, { signal = AbortSignal.timeout(SECOND) }) => {
        this.asked++;
        const node = this.dead.has(peer) ? undefined : this.nodes.get(peer);
        if (node === undefined) return Promise.reject(new WeirError('peer_unreachable', 'it is dead'));
        const lie = this.liars.get(peer);
        if (lie !== undefined) return Promise.resolve(encodeReferenceAnswer(lie));
        return node.tagOwners.answer(question, signal);
      },
      clock,
      answer: (question) => manifests.answer(question),
    });
    const quiet = { cacheHit: nothing, cacheMiss: nothing, staleTag: nothing, problem: nothing };
    const manifests: Manifests = new Manifests({
      providers: [],
      store: NO_STORE,
      catalog,
      upstream,
      access,
      clock,
      tagTtl: 5 * SECOND,
      observer: { ...quiet, handedOut: () => undefined },
      peers: { tagOwners: () => references, fetch: () => Promise.resolve(undefined), stored: nothing },
    });
    return { manifests, tagOwners: references };
  }
}

function memberOf(peer: PeerId): Member {
  return { peer, controlAddresses: [] } as unknown as Member;
}

function nothing(): void {
  // No port listens.
}

function request(credential?: Credential, tag = 'v1'): ManifestRequest {
  return {
    repository,
    reference: parseManifestReference(tag),
    accept: MEDIA_TYPES.ociManifest,
    caller: callerOf(repository.registry, credential),
  };
}

const offline = (): Error => new WeirError('upstream_unreachable', 'the registry is down');

describe('the owners of a tag', () => {
  const reference = parseManifestReference('v1');
  const at = (host: string): Member =>
    ({ peer: Identity.generate().peer, controlAddresses: [`/ip4/${host}/tcp/4772`] }) as unknown as Member;

  it('are at two different places, however many peer IDs one place has', () => {
    const attackers = Array.from({ length: 8 }, () => at('10.9.9.9'));
    for (let turn = 0; turn < 50; turn++) {
      const honest = Array.from({ length: 4 }, (_, i) => at(`10.0.0.${i}`));
      const [one, other] = ownersOf([...attackers, ...honest], { repository, reference });
      const isEvil = (peer: PeerId | undefined): boolean => attackers.some((each) => each.peer === peer);
      assert.ok(!isEvil(one) || !isEvil(other));
    }
  });

  it('are the first two in rank if all members are at one place', () => {
    const members = Array.from({ length: 5 }, () => at('10.9.9.9'));
    const owners = ownersOf(members, { repository, reference });
    assert.equal(new Set(owners).size, 4);
    assert.deepEqual(ownersOf(members.slice(0, 1), { repository, reference }), [members[0]?.peer]);
    assert.deepEqual(ownersOf([], { repository, reference }), []);
  });
});

describe('TagOwners', () => {
  it('sends upstream at most 3 requests if 50 nodes resolve one tag at once', async () => {
    const cluster = new TestCluster(50);
    const found = await Promise.all(cluster.all.map(({ manifests }) => manifests.head(request())));
    assert.ok(found.every((each) => each.digest === digest && !each.stale));
    assert.ok(cluster.upstream.heads >= 1 && cluster.upstream.heads <= 3, `${cluster.upstream.heads}`);
    await Promise.all(cluster.all.map(({ manifests }) => manifests.head(request())));
    assert.ok(cluster.upstream.heads <= 3, 'a node asks again within the window');
  });

  it('shows a tag that has moved within its time, whoever was asked when', async () => {
    const cluster = new TestCluster(6);
    const asker = cluster.asker('v1');
    const others = cluster.all.filter((node) => node !== asker);
    await Promise.all(others.map(({ manifests }) => manifests.head(request())));
    cluster.passed = 4.5 * SECOND;
    await systemClock.sleep(5, {});
    assert.equal((await asker.manifests.head(request())).digest, digest);
    cluster.upstream.digest = LIE.digest;
    cluster.passed = 5.5 * SECOND;
    await systemClock.sleep(5, {}); // lru-cache reads the clock once in a millisecond
    assert.equal((await asker.manifests.head(request())).digest, LIE.digest);
  });

  it('sends about one request for each node that is alive if owners are dead', async () => {
    const cluster = new TestCluster(20);
    await cluster.all[0]?.manifests.head(request());
    const before = cluster.upstream.heads;
    assert.ok(before <= 2, `${before}`);
    cluster.passed = 6 * SECOND;
    // The members that were asked die; other nodes then have to find other owners.
    for (const peer of [...cluster.nodes.keys()].slice(0, 7)) cluster.dead.add(peer);
    const alive = [...cluster.nodes].filter(([peer]) => !cluster.dead.has(peer)).map(([, node]) => node);
    await Promise.all(alive.map(({ manifests }) => manifests.head(request())));
    // Both owners may be dead. If only one of the two backups is alive, it asks for the others, and nobody agrees with it:
    // then each node asks for itself.
    const backups = 2;
    assert.ok(cluster.upstream.heads <= before + alive.length + backups, `${cluster.upstream.heads}`);
  });

  it('asks upstream itself if upstream refuses, once for each caller, and passes the challenge on', async () => {
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
    assert.equal(cluster.upstream.heads, 10, 'a node has not asked, or asked twice');
    await Promise.allSettled(
      cluster.all.flatMap(({ manifests }) =>
        ['v1', 'v2'].map((tag) => manifests.head(request(undefined, tag))),
      ),
    );
    assert.equal(cluster.upstream.heads, 10, 'a caller that was refused a moment ago has asked again');
    const token = { kind: 'bearer', token: 'one-for-all' } as const;
    const found = await Promise.all(cluster.all.map(({ manifests }) => manifests.head(request(token))));
    assert.ok(found.every((each) => each.digest === digest));
    assert.ok(cluster.upstream.heads <= 13, `${cluster.upstream.heads}`);
  });

  it('asks upstream itself if the two owners disagree, whichever of them lies', async () => {
    const cluster = new TestCluster(10);
    const asker = cluster.asker('v1');
    const [one, other] = ownersOf(cluster.members, { repository, reference: parseManifestReference('v1') });
    for (const liar of [one, other]) {
      const { heads } = cluster.upstream;
      cluster.passed += MINUTE;
      cluster.liars.set(liar as PeerId, { status: 'found', ...LIE, granted: 0, stale: false });
      const found = await asker.manifests.head(request());
      assert.equal(found.digest, digest);
      assert.ok(cluster.upstream.heads > heads);
      cluster.liars.clear();
    }
  });

  it('believes no single member that there is no such tag, or that upstream cannot be reached', async () => {
    const cluster = new TestCluster(10);
    const [one] = ownersOf(cluster.members, { repository, reference: parseManifestReference('v1') });
    for (const status of ['unknown', 'unreachable', 'refused'] as const) {
      cluster.passed += MINUTE;
      cluster.liars.set(one as PeerId, { status });
      assert.equal((await cluster.asker('v1').manifests.head(request())).digest, digest);
    }
  });

  it('believes the majority of members while upstream cannot be reached', async () => {
    const cluster = new TestCluster(6);
    await Promise.all(cluster.all.map(({ manifests }) => manifests.head(request())));
    cluster.upstream.answer = offline;
    cluster.passed = MINUTE;
    for (const peer of [...cluster.nodes.keys()].slice(0, 2)) {
      cluster.liars.set(peer, { status: 'found', ...LIE, granted: 0, stale: true });
    }
    const remembered = await cluster.all.at(-1)?.tagOwners.recall({
      ...request(),
      reference: parseManifestReference('v1'),
    });
    assert.equal(remembered?.digest, digest);
  });

  it('sends no query and no answer that would look like a breach of the protocol', async () => {
    const cluster = new TestCluster(6);
    const long = 'x'.repeat(5000);
    const asker = cluster.asker('v1');
    await asker.manifests.head({ ...request(), accept: long });
    assert.equal(cluster.asked, 0, 'a caller made this node send a query that no member accepts');
    for (const mediaType of [long, 'a type\u0007']) {
      cluster.passed += MINUTE;
      cluster.upstream.mediaType = mediaType;
      assert.equal((await asker.manifests.head(request())).mediaType, mediaType);
    }
    assert.deepEqual(cluster.suspected, []);
  });

  it('never sends Basic credentials to a member', async () => {
    const cluster = new TestCluster(10);
    const basic = { kind: 'basic', username: 'me', password: 'secret' } as const;
    await Promise.all(cluster.all.map(({ manifests }) => manifests.head(request(basic))));
    assert.equal(cluster.asked, 0);
    assert.equal(cluster.upstream.heads, 10);
  });

  it('finds the answer of upstream in any member while upstream cannot be reached', async () => {
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

  it('reports a tag that upstream does not have', async () => {
    const cluster = new TestCluster(10);
    cluster.upstream.answer = () => new WeirError('manifest_unknown', 'no such tag');
    await assert.rejects(
      async () => cluster.all[3]?.manifests.head(request()),
      (error) => isWeirError(error, 'manifest_unknown'),
    );
  });

  it('refuses a malformed query as an error of the peer', async () => {
    const [node] = new TestCluster(1).all;
    const { signal } = new AbortController();
    await assert.rejects(
      async () => node?.tagOwners.answer(new Uint8Array([255, 1, 2]), signal),
      (error) => isWeirError(error, 'peer_protocol'),
    );
  });
});
