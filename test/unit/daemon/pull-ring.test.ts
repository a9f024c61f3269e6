import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { filterPulls, matchesPattern, parsePullsQuery, PullRing } from '../../../src/daemon/pull-ring.ts';
import { divide } from '../../../src/daemon/pull-tally.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { arrivedOrigin, localOrigin, passedOrigin } from '../../../src/pull/blob-origin.ts';
import { blobPullOf, peerOf, pullOf } from '../status/fixture.ts';

describe('The ring of pulls', () => {
  it('keeps the last thousand', () => {
    const ring = new PullRing();
    for (let n = 0; n < 1_200; n++) ring.add(pullOf({ image: `app:${n}`, blobs: [] }));
    assert.equal(ring.all.length, 1_000);
    assert.equal(ring.all[0]?.image, 'app:1199');
  });

  it('keeps fewer if they have many blobs', () => {
    const ring = new PullRing();
    const blobs = Array.from({ length: 256 }, (_, n) =>
      blobPullOf({ digest: digestOf(Buffer.from(String(n))) }),
    );
    for (let n = 0; n < 100; n++) ring.add(pullOf({ image: `app:${n}`, blobs }));
    assert.equal(ring.all.length, Math.floor(10_000 / 256));
    assert.equal(ring.all[0]?.image, 'app:99');
  });

  it('is asked for slow ones, for images, and for some', () => {
    const pulls = [
      pullOf({ image: 'r/team/app:v1', seconds: 1 }),
      pullOf({ image: 'r/tool:v2', seconds: 20 }),
    ];
    const ask = (query: string): readonly string[] => {
      const wanted = parsePullsQuery(new URLSearchParams(query));
      if (typeof wanted === 'string') throw new Error(wanted);
      return filterPulls(pulls, wanted).map(({ image }) => image);
    };
    assert.deepEqual(ask(''), ['r/team/app:v1', 'r/tool:v2']);
    assert.deepEqual(ask('slow=20'), ['r/tool:v2']);
    assert.deepEqual(ask('slow=20.001'), []);
    assert.deepEqual(ask('limit=1'), ['r/team/app:v1']);
    assert.deepEqual(ask('image=t*:v2&slow=0.5'), ['r/tool:v2']);
  });

  it('refuses questions that it cannot read', () => {
    for (const query of [
      'slow=',
      'slow=-1',
      'slow=1e3',
      'slow=99999999',
      'limit=0',
      'limit=1001',
      'limit=x',
    ]) {
      assert.equal(typeof parsePullsQuery(new URLSearchParams(query)), 'string', query);
    }
    assert.equal(typeof parsePullsQuery(new URLSearchParams(`image=${'x'.repeat(2_000)}`)), 'string');
    assert.equal(parsePullsQuery(new URLSearchParams('slows=1')), 'there is no parameter "slows"');
  });

  it('matches parts of names, in their order', () => {
    assert.ok(matchesPattern('docker.io/library/alpine:3', 'alpine'));
    assert.ok(matchesPattern('docker.io/library/alpine:3', 'io*pine*3'));
    assert.ok(!matchesPattern('docker.io/library/alpine:3', 'alpine*library'));
    assert.ok(!matchesPattern('docker.io', 'docker*o*o'));
  });
});

describe('The bytes of a request', () => {
  const [a, b] = [peerOf(1), peerOf(2)];

  it('of a whole blob are divided exactly', () => {
    const byPeer = new Map([
      [a, 7],
      [b, 3],
    ]);
    const origin = arrivedOrigin({ present: 33, fromRegistry: 11, byPeer, wholeAt: 5 });
    assert.deepEqual(divide(33, origin).sources, { store: 12, peers: 10, registry: 11 });
    assert.deepEqual(divide(33, origin).byPeer, byPeer);
    assert.deepEqual(divide(33, localOrigin(33)).sources, { store: 33, peers: 0, registry: 0 });
    assert.deepEqual(divide(33, passedOrigin(33, 13)).sources, { store: 13, peers: 0, registry: 20 });
    assert.deepEqual(divide(0, localOrigin(0)).sources, { store: 0, peers: 0, registry: 0 });
  });

  it('always add up, and go to no source that brought nothing', () => {
    const bytes = fc.nat(1e12);
    fc.assert(
      fc.property(bytes, bytes, bytes, bytes, (sent, store, peers, registry) => {
        const origin = { ...localOrigin(store), peers, registry };
        const { sources } = divide(sent, origin);
        assert.equal(sources.store + sources.peers + sources.registry, sent);
        if (store + peers + registry === 0) return;
        for (const source of ['store', 'peers', 'registry'] as const) {
          assert.ok(sources[source] >= 0);
          if (origin[source] === 0) assert.equal(sources[source], 0);
        }
      }),
    );
  });
});
