/** A credential that is configured on one node must not open anything to callers of another. */
import assert from 'node:assert/strict';
import { MIB } from '../../src/util/clock.ts';
import { ATTACK_NEEDS, AttackScene, PRIVATE } from '../support/attack-scene.ts';
import { requires } from '../support/requires.ts';

requires(...ATTACK_NEEDS)('credentials that are configured on one node', () => {
  it('open private images to no caller of another node, by any of its routes', async () => {
    // Tags have owners among the members: the configured node is one of them for some of several tags.
    const tags = Array.from({ length: 12 }, (_, i) => `v${i}`);
    await using scene = await AttackScene.start({ nodes: 3, layer: 2 * MIB, configured: [0], tags });
    const { registry, image } = scene;
    const [configured, ...others] = scene.cluster.nodes;
    assert.ok(configured !== undefined);
    const paths = [
      ...tags.map((tag) => `manifests/${tag}`),
      `manifests/${image.digest}`,
      ...image.blobs.map(({ digest }) => `blobs/${digest}`),
    ];

    await scene.victimPulls(configured);
    for (const path of paths) await scene.anonymous(path, configured);
    for (const other of others) {
      for (const path of paths) {
        const { status, body } = await scene.anonymous(path, other);
        assert.equal(status, 401, `${path}: ${status}, ${body.length} bytes`);
      }
    }
    // Tags that nobody has pulled are not opened either, for any owner of the tag.
    for (let i = 0; i < 8; i++) {
      for (const other of others) {
        const answer = await scene.anonymous(`manifests/unknown-${i}`, other);
        assert.equal(answer.status, 401);
        assert.match(answer.headers.get('www-authenticate') ?? '', /^Bearer realm="http:\/\/127\.0\.0\.1:/);
      }
    }
    // Its own callers are served, as documented.
    for (const path of paths) assert.equal((await scene.anonymous(path, configured)).status, 200, path);
    // And a caller with a credential of its own gets what that one opens.
    await scene.victimPulls(others[0]);
    assert.ok(registry.accessLog.matching(`/v2/${PRIVATE}/`, 'GET').length > 0);
  });
});
