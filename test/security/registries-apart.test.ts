/**
 * A registry that is asked for another one's digest must get nothing of the other: neither its bytes nor the credentials of
 * its callers. And wrong answers of the attacker's registry must not reach the other's callers.
 */
import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { rm } from 'node:fs/promises';
import { MIB } from '../../src/util/clock.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { DataFolder } from '../../src/store/data-folder.ts';
import { ATTACK_NEEDS, AttackScene, isBeginningOf, PRIVATE, VICTIM } from '../support/attack-scene.ts';
import { basic, bearer, request, type Answer } from '../support/client.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { shared } from '../support/fixture.ts';
import { HttpServer } from '../support/http-server.ts';
import type { TestBlob } from '../support/images.ts';
import { pathOf } from '../support/images.ts';
import { requires } from '../support/requires.ts';

/** Bytes of the private blob that come before its registry breaks off. */
const HALF = 24 * MIB;
/** Bytes that the attacker's registry sends before it falls silent. */
const SENT_BY_EVIL = 2 * MIB;

requires(...ATTACK_NEEDS)('two registries that name one digest', () => {
  const scene = shared(async (stack) => {
    const node = { settings: { 'pull.linger': '0s', 'mirror.patient-timeout': '5s' } };
    return stack.use(await AttackScene.start({ node: () => node }));
  });

  /** The victim's registry behind a proxy of its own: to a node it is another registry each time. */
  const ask = async (
    front: FaultProxy,
    path: string,
    headers: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<Answer> =>
    request(scene().node().urlOf(front.host, `${PRIVATE}/${path}`), { headers, ...(signal && { signal }) });

  const token = async (): Promise<Record<string, string>> => bearer(await scene().token());

  /** The victim's pull ends half-way; the partial blob stays on the node. */
  async function leaveHalf(front: FaultProxy, secret: TestBlob): Promise<void> {
    front.setRules({ path: pathOf(secret.digest), method: /^GET$/, fault: { kind: 'stall-at', at: HALF } });
    const gone = new AbortController();
    const url = scene().node().urlOf(front.host, `${PRIVATE}/blobs/${secret.digest}`);
    const response = await fetch(url, { headers: await token(), signal: gone.signal });
    assert.equal(response.status, 200);
    const reader = response.body?.getReader();
    for (let read = 0; read < HALF - MIB;) read += (await reader?.read())?.value?.length ?? 0;
    gone.abort();
    await reader?.closed.catch(() => undefined);
    for (;;) {
      const metrics = await scene().node().metrics();
      if (metrics.sum('weir_blobs_in_flight') === 0) break;
    }
    front.setRules();
  }

  it('a registry is not given the bytes of a blob that another one has sent in part', async () => {
    const { secret, registry } = scene();
    await using evil = await HttpServer.start(sayItHas(secret, 0));
    await using front = await FaultProxy.start(registry.url);
    await leaveHalf(front, secret);
    const partial = (await scene().node().metrics()).sum('weir_store_partial_bytes');
    assert.ok(partial >= HALF / 2, `${partial} bytes of the victim's pull are on the node`);

    const url = scene().node().urlOf(evil.host, `x/y/blobs/${secret.digest}`);
    const stolen = await request(url, { signal: AbortSignal.timeout(8000) }); // it hangs, as its registry does
    assert.ok(evil.requests.length > 0, 'it was asked');
    assert.equal(
      isBeginningOf(secret, stolen.body),
      false,
      `${stolen.body.length} private bytes were given away`,
    );
    for (const { headers } of evil.requests) {
      const from = Number(/^bytes=([0-9]+)-/.exec(String(headers['range'] ?? ''))?.[1] ?? 0);
      assert.ok(
        from <= SENT_BY_EVIL,
        `it was asked for what is behind byte ${from}, which another one has sent`,
      );
    }
    // The owner goes on from where it was.
    const owned = await ask(front, `blobs/${secret.digest}`, await token());
    assert.equal(owned.digest, secret.digest);
    const sent = front.bytes(pathOf(secret.digest));
    assert.ok(sent < secret.size + 8 * MIB, `the owner's registry sent ${sent} bytes`);
  });

  it('wrong bytes of one registry reach no caller of another, neither at once nor later', async () => {
    const { secret, registry } = scene();
    await using front = await FaultProxy.start(registry.url);
    await using evil = await HttpServer.start((_, response) => {
      response.writeHead(200, { 'content-length': secret.size });
      response.write(Buffer.alloc(20 * MIB, 'A'));
    });
    const gone = new AbortController();
    const url = scene().node().urlOf(evil.host, `x/y/blobs/${secret.digest}`);
    const garbage = await fetch(url, { signal: gone.signal });
    await garbage.body?.getReader().read();
    const atOnce = await ask(front, `blobs/${secret.digest}`, await token());
    assert.equal(atOnce.digest, secret.digest, 'while the other registry sends its own');
    gone.abort();
    await using later = await FaultProxy.start(registry.url);
    const afterwards = await ask(later, `blobs/${secret.digest}`, await token());
    assert.equal(afterwards.digest, secret.digest, 'while the garbage is still on the disk');
  });

  it('a registry that fails with a digest sends no caller of another one away', async () => {
    const { secret, registry } = scene();
    await using front = await FaultProxy.start(registry.url);
    await using evil = await HttpServer.start((_, response) => void response.writeHead(500).end());
    const failed = await request(scene().node().urlOf(evil.host, `x/y/blobs/${secret.digest}`));
    assert.equal(failed.status, 404);
    const owned = await ask(front, `blobs/${secret.digest}`, await token());
    assert.equal(owned.status, 200);
    assert.equal(owned.digest, secret.digest);
  });

  it('the media type of a manifest is not what another registry calls it', async () => {
    const { evil, image, registry } = scene();
    await using front = await FaultProxy.start(registry.url);
    const path = `manifests/${image.digest}`;
    const before = await ask(front, path, await token());
    assert.equal(before.status, 200);
    for (const type of ['application/vnd.docker.distribution.manifest.list.v2+json', 'text/html']) {
      evil.handler = (_, response) => {
        response.writeHead(200, { 'content-type': type, 'content-length': image.bytes.length });
        response.end(image.bytes);
      };
      const own = await scene().asAttacker(`x/y/${path}`);
      assert.equal(own.status, 200, 'a registry that has the bytes may have them');
      for (const answer of [own, await ask(front, path, await token())]) {
        assert.equal(answer.headers.get('content-type'), image.mediaType);
      }
    }
  });
});

requires(...ATTACK_NEEDS)('a registry that asks for credentials in mid-blob', () => {
  for (const kind of ['Bearer', 'Basic']) {
    it(`is not sent the ${kind} credential of a caller of another one`, async () => {
      await using scene = await AttackScene.start();
      const { secret, evil, registry } = scene;
      // The node had the blob from its registry once, and has not got it any more.
      await scene.victimPulls();
      await scene.node().terminate();
      await rm(new DataFolder(scene.node().dataFolder).blob(secret.digest));
      await scene.node().restart();
      const seen = Promise.withResolvers<void>();
      const refused = Promise.withResolvers<void>();
      evil.handler = (asked, response) => {
        if (asked.headers.range === undefined && evil.requests.length === 1) {
          response.writeHead(200, { 'content-length': secret.size });
          response.write(Buffer.alloc(SENT_BY_EVIL, 'garbage'), () => seen.resolve());
          void refused.promise.then(() => response.socket?.destroy());
          return;
        }
        response.writeHead(401, { 'www-authenticate': 'Basic realm="mine"' }).end();
      };
      const signal = AbortSignal.timeout(20_000);
      const mine = { headers: { authorization: 'Bearer mine' }, signal };
      const attacker = scene
        .asAttacker(`x/z/blobs/${secret.digest}`, scene.node(), mine)
        .catch(() => undefined);
      await seen.promise;
      const headers =
        kind === 'Bearer' ? bearer(await scene.token()) : basic(VICTIM.username, VICTIM.password);
      const url = scene.node().urlOf(registry.host, `${PRIVATE}/blobs/${secret.digest}`);
      const victim = await fetch(url, { headers, signal });
      refused.resolve(); // it breaks off, and asks for credentials when it is asked again
      const got = await victim.bytes().catch(() => undefined);
      await attacker;
      const theirs = evil.requests.map((each) => each.headers['authorization']);
      assert.ok(theirs.length > 1, 'it was asked again after it broke off');
      const stolen = theirs.filter((each) => each !== undefined && each !== 'Bearer mine');
      assert.deepEqual(stolen, [], 'a credential for another registry was sent');
      assert.equal(got && digestOf(got), secret.digest, 'the victim has its own bytes');
    });
  }
});

/** Claims to have the blob, answers ranges as if it had their beginning, and sends bytes of its own from there. */
function sayItHas(
  { size }: TestBlob,
  byte: number,
): (asked: IncomingMessage, response: ServerResponse) => void {
  return (asked, response) => {
    const start = Number(/^bytes=([0-9]+)-/.exec(asked.headers.range ?? '')?.[1] ?? 0);
    const head = { 'content-length': size - start };
    if (start === 0) response.writeHead(200, head);
    else response.writeHead(206, { ...head, 'content-range': `bytes ${start}-${size - 1}/${size}` });
    if (asked.method === 'HEAD') response.end();
    else response.write(Buffer.alloc(Math.min(size - start, SENT_BY_EVIL), byte)); // and nothing follows
  };
}
