/**
 * A member that all others ask for a tag lies. It must not send their runtimes, with their passwords, to a token server
 * of its own, and must not make them pull an image of its choice.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { MINUTE, SECOND } from '../../src/util/clock.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { parseRegistryHost, parseRepository, repositoryKey } from '../../src/oci/repository.ts';
import type { PeerId } from '../../src/protocol/peer-id.ts';
import { hashText, rank } from '../../src/cluster/hrw.ts';
import { encodeReferenceAnswer } from '../../src/protocol/reference-messages.ts';
import { ATTACK_NEEDS, AttackScene, PRIVATE, PUBLIC } from '../support/attack-scene.ts';
import { seededBytes } from '../support/bytes.ts';
import { request } from '../support/client.ts';
import { EvilPeer } from '../support/evil-peer.ts';
import { TestRegistry } from '../support/mirror-fixture.ts';
import { requires } from '../support/requires.ts';

const NODES = 3;
const EVIL_REALM = 'https://token.attacker.example/token';
const KNOWN_WITHIN = 20 * SECOND;

requires(...ATTACK_NEEDS)("a member's word on a tag", function () {
  this.timeout(2 * MINUTE);
  let scene: AttackScene;
  let evil: EvilPeer;
  let answer: Uint8Array;
  let self: PeerId;

  before(async () => {
    scene = await AttackScene.start({ nodes: NODES, layer: 100_000 });
    const { keyFile, bootstrap } = scene.cluster;
    evil = await EvilPeer.start({ keyFile, bootstrap, answers: () => answer });
    await scene.cluster.settled(NODES + 1);
    const end = performance.now() + KNOWN_WITHIN;
    while (evil.table.live().length <= NODES && performance.now() < end) await delay(20);
    self = (await scene.node().status()).peer;
  });

  after(async () => {
    await evil[Symbol.asyncDispose]();
    await scene[Symbol.asyncDispose]();
  });

  beforeEach(() => {
    evil.questions.length = 0;
    scene.registry.accessLog.clear();
  });

  /** A tag for which the first node asks the evil member first; an attacker finds such a name as easily. */
  function tagOfTheEvil(host: string, repository: string): string {
    const key = repositoryKey(parseRepository(parseRegistryHost(host), repository));
    for (let i = 0; ; i++) {
      const ranked = rank(evil.table.live(), hashText(`reference ${key}:v${i}`), 2).map(({ peer }) => peer);
      if (ranked[0] === evil.peer && !ranked.includes(self)) return `v${i}`;
    }
  }

  it('does not become a challenge', async () => {
    const tag = tagOfTheEvil(scene.registry.host, PRIVATE);
    // The field of an earlier version: status 3 (refused), and in field 5 the place to send the password to.
    const challenge = Buffer.from(`Bearer realm="${EVIL_REALM}",service="registry"`);
    answer = Buffer.concat([Buffer.of(0x08, 3, 0x2a, challenge.length), challenge]);
    for (const path of [`manifests/${tag}`, `manifests/${tag}`]) {
      const { status, headers } = await scene.anonymous(path);
      assert.equal(status, 401);
      const told = headers.get('www-authenticate') ?? '';
      assert.ok(!told.includes('attacker'), told);
      assert.ok(told.includes(scene.tokens.auth.realm), told);
    }
    assert.ok(evil.questions.length > 0, 'the evil member was not asked');
    await scene.registry.accessLog.settled();
    const asked = scene.registry.accessLog.matching('/manifests/');
    assert.ok(asked.length > 0, 'nobody has asked the registry');
  });

  it('cannot name another image than the registry', async () => {
    await using registry = await TestRegistry.start();
    const tag = tagOfTheEvil(registry.host, PUBLIC);
    const { manifest } = registry.addImage(PUBLIC, tag, seededBytes(1000));
    answer = encodeReferenceAnswer({
      status: 'found',
      digest: digestOf(Buffer.from('an image of the attacker')),
      mediaType: MEDIA_TYPES.ociManifest,
      size: 24,
      granted: 0,
      stale: false,
    });
    const url = scene.node().urlOf(registry.host, `${PUBLIC}/manifests/${tag}`);
    const { status, headers } = await request(url, { method: 'HEAD' });
    assert.equal(status, 200);
    assert.equal(headers.get('docker-content-digest'), manifest);
    assert.ok(evil.questions.length > 0, 'the evil member was not asked');
  });
});
