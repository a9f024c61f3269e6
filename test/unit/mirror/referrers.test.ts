/** Lists of referrers through the mirror: what stands in while the registry cannot be reached, and for whom. */
import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { KIB, MINUTE } from '../../../src/util/clock.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import { basic } from '../../support/client.ts';
import { MirrorFixture, type MirrorFixtureOptions } from '../../support/mirror-fixture.ts';
import { ShiftedClock } from '../../support/shifted-clock.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const ALICE = basic('alice', 'secret');
const MALLORY = basic('mallory', 'secret');

type Registry = 'there' | 'gone' | 'without the API' | 'throttling';

/** An image whose manifest a client has, and its registry. */
async function scene(options: MirrorFixtureOptions = {}) {
  const fixture = await MirrorFixture.start({ retries: 0, ...options });
  const { manifest } = fixture.registry.addImage('a/b', 'v1', Buffer.from('layer'));
  const made = {
    fixture,
    manifest,
    registry: 'there' as Registry,
    /** Bytes of padding in each list. */
    padding: 0,
    list: async (
      headers: Record<string, string> = {},
      query = '',
      digest: Digest = manifest,
    ): Promise<{ status: number; stale: string | null; asked: string; headers: Headers }> => {
      const ns = `ns=${fixture.registry.host}`;
      const response = await fetch(`${fixture.url}/v2/a/b/referrers/${digest}?${query}${ns}`, { headers });
      const body = await response.text();
      const asked = response.status === 200 ? (JSON.parse(body) as { asked: string }).asked : '';
      return {
        status: response.status,
        stale: response.headers.get('weir-stale'),
        asked,
        headers: response.headers,
      };
    },
    pull: async (headers: Record<string, string> = {}): Promise<number> =>
      (await fixture.get(`a/b/manifests/${manifest}`, { headers })).status,
    [Symbol.asyncDispose]: () => fixture[Symbol.asyncDispose](),
  };
  const answer = (response: ServerResponse, status: number, body: object): boolean => {
    response.writeHead(status, {
      'Content-Type': INDEX,
      'OCI-Filters-Applied': 'artifactType',
      ...(status === 200 && { Link: `</v2/a/b/referrers/${manifest}?last=x>; rel="next"` }),
    });
    response.end(JSON.stringify(body).padEnd(made.padding));
    return true;
  };
  fixture.registry.intercept = (request: IncomingMessage, response: ServerResponse): boolean => {
    if (made.registry === 'gone') {
      request.socket.resetAndDestroy();
      return true;
    }
    if (made.registry === 'throttling') return answer(response, 429, {});
    if (!request.url?.includes('/referrers/')) return false;
    const wanted = fixture.registry.repository('a/b').authorization;
    if (wanted !== undefined && request.headers.authorization !== wanted) return false;
    if (made.registry === 'without the API') return answer(response, 404, {});
    return answer(response, 200, { asked: request.url });
  };
  return made;
}

describe('referrers', () => {
  it('are asked of the registry each time, and stand in as last seen while it cannot be reached', async () => {
    await using at = await scene();
    assert.equal(await at.pull(), 200);
    const fresh = await at.list();
    assert.deepEqual([fresh.status, fresh.stale], [200, null]);
    await at.list();
    assert.equal(at.fixture.registry.count(/referrers/), 2);
    at.registry = 'gone';
    const stale = await at.list();
    assert.deepEqual([stale.status, stale.asked], [200, fresh.asked]);
    assert.equal(stale.stale, `referrers of ${at.manifest} as last seen`);
    for (const name of ['content-type', 'link', 'oci-filters-applied']) {
      assert.equal(stale.headers.get(name), fresh.headers.get(name), name);
    }
    assert.equal(stale.headers.get('weir-source'), 'store');
    at.registry = 'there';
    assert.equal((await at.list()).stale, null);
  });

  it('stand in for the same filter and page alone', async () => {
    await using at = await scene();
    await at.pull();
    const [one, other] = ['artifactType=a%2Fb&', 'last=x&'] as const;
    const { asked } = await at.list({}, one);
    at.registry = 'gone';
    assert.deepEqual([(await at.list({}, one)).asked, (await at.list({}, other)).status], [asked, 502]);
    assert.equal((await at.list()).status, 502);
  });

  it('stand in for an answer that there is no such API, so that clients look for the tag', async () => {
    await using at = await scene();
    await at.pull();
    at.registry = 'without the API';
    assert.equal((await at.list()).status, 404);
    at.registry = 'gone';
    const { status, stale } = await at.list();
    assert.deepEqual([status, stale !== null], [404, true]);
  });

  it('of a manifest that nobody was seen to be allowed are not remembered', async () => {
    await using at = await scene();
    assert.equal((await at.list()).status, 200);
    at.registry = 'gone';
    assert.equal((await at.list()).status, 502);
    at.registry = 'there';
    await at.pull();
    at.registry = 'gone';
    assert.equal((await at.list()).status, 502, 'not the answer from before');
  });

  it('stand in for callers alone that the registry let read the manifest', async () => {
    await using at = await scene();
    at.fixture.registry.repository('a/b').authorization = ALICE['authorization'] ?? '';
    assert.equal(await at.pull(ALICE), 200);
    assert.equal((await at.list(ALICE)).status, 200);
    assert.equal((await at.list(MALLORY)).status, 401);
    assert.equal((await at.list()).status, 401);
    at.registry = 'gone';
    assert.equal((await at.list(ALICE)).status, 200);
    assert.equal((await at.list(MALLORY)).status, 502);
    assert.equal((await at.list()).status, 401, 'with the last challenge, as for a manifest');
  });

  it('do not stand in for a caller whom the registry has refused since', async () => {
    await using at = await scene();
    at.fixture.registry.repository('a/b').authorization = ALICE['authorization'] ?? '';
    await at.pull(ALICE);
    await at.list(ALICE);
    at.fixture.registry.repository('a/b').authorization = MALLORY['authorization'] ?? '';
    assert.equal((await at.list(ALICE)).status, 401);
    at.registry = 'gone';
    assert.equal((await at.list(ALICE)).status, 502);
  });

  it('stand in no longer than a grant may, even if access is open', async () => {
    for (const mode of ['verify', 'open'] as const) {
      const clock = new ShiftedClock();
      await using at = await scene({ mode, clock, offlineTtl: 30 * MINUTE });
      await at.pull();
      await at.list();
      at.registry = 'gone';
      clock.advance(29 * MINUTE);
      assert.equal((await at.list()).status, 200, mode);
      clock.advance(2 * MINUTE);
      assert.equal((await at.list()).status, 502, mode);
    }
  });

  it('stand in for access.ttl alone while the registry throttles: a caller may be the cause', async () => {
    await using at = await scene();
    await at.pull();
    await at.list();
    at.registry = 'throttling';
    assert.equal((await at.list()).status, 200);
    const { catalog, registry } = at.fixture;
    const repository = parseRepository(parseRegistryHost(registry.host), 'a/b');
    catalog.setGrant(repository, 'anonymous', Date.now() - 11 * MINUTE);
    assert.equal((await at.list()).status, 502);
    at.registry = 'gone';
    assert.equal((await at.list()).status, 200);
  });

  it('are not remembered if the list is long', async () => {
    await using at = await scene();
    await at.pull();
    for (const [padding, status] of [
      [400 * KIB, 200],
      [600 * KIB, 502],
    ] as const) {
      at.padding = padding;
      at.registry = 'there';
      assert.equal((await at.list({}, `n=${padding}&`)).status, 200);
      at.registry = 'gone';
      assert.equal((await at.list({}, `n=${padding}&`)).status, status, `${padding} bytes`);
    }
  });
});
