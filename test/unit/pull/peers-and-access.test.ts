/** Members learn no credential that is not for them, and get no bytes that are not for them. */
import assert from 'node:assert/strict';
import { MIB, SECOND } from '../../../src/util/clock.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import { ChunkLayout, chunkSizeFor } from '../../../src/protocol/chunk-layout.ts';
import { ChunkOwners } from '../../../src/swarm/chunk-owners.ts';
import { formatAuthorization } from '../../../src/upstream/credential.ts';
import { EvilScene } from '../../support/evil-scene.ts';
import { TestRegistry } from '../../support/mirror-fixture.ts';

const SIZE = 8 * MIB;
const PRIVATE = 'private/app';
const OWNER = { kind: 'basic', username: 'the-owner', password: 'the-password' } as const;

describe('members and credentials', function () {
  this.timeout(60 * SECOND);

  it('send a Bearer token to the owner that must fetch with it, and to nobody else', async () => {
    await using scene = await EvilScene.start();
    const { registry, honest, evil } = scene;
    registry.challenge = 'Bearer realm="http://127.0.0.1:1/token",service="test"';
    const { bytes, source, swarm } = scene.content(SIZE, PRIVATE);
    registry.repository(PRIVATE).authorization = 'Bearer secret-token';
    const credential = { kind: 'bearer', token: 'secret-token' } as const;
    const pulled = await Promise.all(honest.map((node) => node.pull({ ...source, credential })));
    for (const got of pulled) assert.ok(got.equals(bytes));
    // The evil peer owns about a third of the chunks, and has none of them.
    assert.ok(evil.requests.some(({ owner }) => owner !== undefined));
    const owners = new ChunkOwners(swarm, honest[0].table);
    const layout = new ChunkLayout(SIZE);
    for (const { owner, range } of evil.requests) {
      if (owner === undefined) continue;
      assert.deepEqual([owner.token, owner.repository], ['secret-token', PRIVATE]);
      assert.ok(
        owners.rankOf(layout.indexOf(range?.start ?? 0), evil.peer) >= 0,
        'it does not own this chunk',
      );
    }
    assert.deepEqual(evil.broken, []);
    assert.ok(!JSON.stringify(evil.messages).includes('secret-token'));
  });

  it('never let Basic credentials leave the node', async () => {
    await using scene = await EvilScene.start();
    const { registry, honest, evil } = scene;
    const { bytes, source } = scene.content(SIZE, PRIVATE);
    const authorization = formatAuthorization(OWNER);
    registry.repository(PRIVATE).authorization = authorization;
    const pulled = await Promise.all(honest.map((node) => node.pull({ ...source, credential: OWNER })));
    for (const got of pulled) assert.ok(got.equals(bytes));
    assert.ok(evil.requests.some(({ owner }) => owner !== undefined));
    assert.ok(evil.requests.every(({ owner }) => owner?.token === undefined));
    assert.deepEqual(evil.broken, []);
    assert.deepEqual(evil.questions, []);
    const seen = JSON.stringify([evil.messages, evil.requests]);
    for (const secret of [OWNER.username, OWNER.password, authorization.slice('Basic '.length)]) {
      assert.ok(!seen.includes(secret), secret);
    }
  });
});

describe('members and access', function () {
  this.timeout(60 * SECOND);

  it('give bytes only in the name of the registry that delivered them', async () => {
    await using scene = await EvilScene.start();
    const [holder] = scene.honest;
    const { source, swarm } = scene.content(SIZE, PRIVATE);
    await holder.pull(source);
    const member = holder.table.self;
    const range = { start: 0, end: chunkSizeFor(SIZE) };
    const asked = (registry: string) => {
      const named = { ...swarm, registry: parseRegistryHost(registry) };
      return scene.evil.ask(member, { swarm: named, range, owner: undefined });
    };
    assert.equal((await asked('attacker.example')).kind, 'absent');
    assert.equal((await asked(swarm.registry)).kind, 'chunk');
  });

  it('give nothing, as owner, to a peer that asks in the name of another registry', async () => {
    await using scene = await EvilScene.start();
    const [holder] = scene.honest;
    const { source, swarm } = scene.content(SIZE, PRIVATE);
    await holder.pull(source);
    const member = holder.table.self;
    const { name } = parseRepository(parseRegistryHost('attacker.example'), 'any/thing');
    const answer = await scene.evil.ask(member, {
      swarm: { ...swarm, registry: parseRegistryHost('attacker.example') },
      range: { start: 0, end: chunkSizeFor(SIZE) },
      owner: { repository: name, token: undefined, size: SIZE },
    });
    assert.notEqual(answer.kind, 'chunk');
  });

  it("do not give a registry's private blob to another registry that claims to hold it", async () => {
    await using scene = await EvilScene.start();
    await using attacker = await TestRegistry.start();
    const [holder, victim] = scene.honest;
    const { bytes, digest, source } = scene.content(SIZE, PRIVATE);
    await holder.pull(source);
    const sentBefore = holder.cluster.traffic.toPeers;
    // It accepts every HEAD, and has no byte of the blob.
    attacker.intercept = (request, response) => {
      const isHead = request.method === 'HEAD';
      const headers = { 'content-length': SIZE, 'docker-content-digest': digest };
      if (isHead) response.writeHead(200, headers).end();
      else response.writeHead(404).end();
      return true;
    };
    const stolen = victim.pull({ registry: attacker.host, repository: 'any/thing', digest });
    await assert.rejects(stolen, (error) => isWeirError(error));
    assert.equal(holder.cluster.traffic.toPeers, sentBefore);
    // The same node gets the blob in the name of the registry that has it.
    assert.ok((await victim.pull(source)).equals(bytes));
    assert.ok(holder.cluster.traffic.toPeers > sentBefore);
  });

  it('give a member without a credential no more than upstream does', async () => {
    await using scene = await EvilScene.start();
    const { registry, honest } = scene;
    const [holder, other] = honest;
    const { source } = scene.content(SIZE, PRIVATE);
    registry.repository(PRIVATE).authorization = formatAuthorization(OWNER);
    await holder.pull({ ...source, credential: OWNER });
    const sentBefore = holder.cluster.traffic.toPeers;
    await assert.rejects(other.pull(source), (error) => isWeirError(error, 'upstream_unauthorized'));
    assert.equal(holder.cluster.traffic.toPeers, sentBefore);
  });
});
