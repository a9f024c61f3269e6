/** A registry that says that it has a digest must not get the bytes that another one has delivered. */
import assert from 'node:assert/strict';
import { ATTACK_NEEDS, AttackScene, isBeginningOf } from '../support/attack-scene.ts';
import { requires } from '../support/requires.ts';

requires(...ATTACK_NEEDS)('a registry that claims to have a digest', () => {
  it('opens no bytes that it has not delivered, however often it was believed before', async () => {
    await using scene = await AttackScene.start({ node: () => ({ settings: { 'pull.linger': '0s' } }) });
    const { evil, secret } = scene;
    const path = (repository: string): string => `${repository}/blobs/${secret.digest}`;
    // Before anybody has the blob: two requests meet, and the second one is told by HEAD that the digest is there.
    const [isAsked, isBelieved] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    evil.handler = (asked, response) => {
      response.writeHead(200, { 'content-length': secret.size });
      if (asked.method === 'HEAD') {
        response.end();
        if (asked.url?.startsWith('/v2/x/two/') === true) isBelieved.resolve();
        return;
      }
      response.flushHeaders(); // and no byte
      isAsked.resolve();
    };
    const gone = new AbortController();
    const first = scene.asAttacker(path('x/one'), scene.node(), { signal: gone.signal });
    await isAsked.promise;
    const second = scene.asAttacker(path('x/two'), scene.node(), { signal: gone.signal });
    await isBelieved.promise;
    const head = await scene.asAttacker(path('x/two'), scene.node(), { method: 'HEAD' });
    assert.equal(head.status, 200, 'it is believed as to what it has');
    gone.abort();
    await Promise.allSettled([first, second]);
    while ((await scene.node().metrics()).sum('weir_blobs_in_flight') > 0);

    await scene.victimPulls();
    evil.requests.length = 0;
    for (const repository of ['x/one', 'x/two']) {
      const limit = { signal: AbortSignal.timeout(4000) };
      const stolen = await scene.asAttacker(path(repository), scene.node(), limit).catch(() => undefined);
      const body = stolen?.body ?? Buffer.of();
      assert.equal(
        isBeginningOf(secret, body),
        false,
        `${body.length} private bytes, in the name of ${repository}`,
      );
    }
    assert.ok(evil.requests.length > 0, 'its own bytes are asked for');
  });

  it('opens no bytes to other members by a node in access mode open', async () => {
    await using scene = await AttackScene.start({
      nodes: 2,
      node: (index) => ({ settings: { 'access.mode': index === 0 ? 'open' : 'verify' } }),
    });
    const { evil, secret } = scene;
    evil.handler = (asked, response) => {
      if (asked.method === 'HEAD') response.writeHead(200, { 'content-length': secret.size }).end();
      else response.writeHead(404).end();
    };
    await scene.victimPulls(scene.node(0));
    const limit = { signal: AbortSignal.timeout(8000) };
    const stolen = await scene
      .asAttacker(`x/y/blobs/${secret.digest}`, scene.node(1), limit)
      .catch(() => undefined);
    const body = stolen?.body ?? Buffer.of();
    assert.equal(
      isBeginningOf(secret, body),
      false,
      `${body.length} private bytes came by way of the open node`,
    );
    // The open node stays open for its own callers.
    assert.equal((await scene.anonymous(`blobs/${secret.digest}`, scene.node(0))).digest, secret.digest);
  });
});
