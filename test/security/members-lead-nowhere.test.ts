/** A member must not make another node ask that node's own services. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { digestOf } from '../../src/oci/digest.ts';
import { parseManifestReference } from '../../src/oci/reference.ts';
import { parseRegistryHost, parseRepository, type RegistryHost } from '../../src/oci/repository.ts';
import type { Member } from '../../src/protocol/member.ts';
import {
  decodeReferenceAnswer,
  encodeReferenceQuestion,
  type ReferenceAnswer,
} from '../../src/protocol/reference-messages.ts';
import { request } from '../support/client.ts';
import { EvilPeer } from '../support/evil-peer.ts';
import { shared } from '../support/fixture.ts';
import { HttpServer, type Handler } from '../support/http-server.ts';
import { WeirCluster } from '../support/weir-cluster.ts';

const MANIFEST = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [],
  }),
);
const DIGEST = digestOf(MANIFEST);
const serve: Handler = (_, response) =>
  void response
    .writeHead(200, {
      'content-type': 'application/vnd.oci.image.index.v1+json',
      'content-length': MANIFEST.length,
      'docker-content-digest': DIGEST,
    })
    .end(MANIFEST);

describe('a member', () => {
  const lab = shared(async (stack) => {
    // A service of the node, and one that the operator has configured there.
    const inside = stack.use(await HttpServer.start(serve));
    const known = stack.use(await HttpServer.start(serve));
    const cluster = stack.use(await WeirCluster.start(1, { registries: [known.host] }));
    const { keyFile, bootstrap } = cluster;
    const evil = stack.use(await EvilPeer.start({ keyFile, bootstrap }));
    await cluster.settled(2);
    const victim = await other(evil);
    return { inside, known, node: cluster.node(0), evil, victim };
  });

  const names = (host: string): readonly RegistryHost[] => {
    const [, port = ''] = host.split(':');
    const hosts = ['127.0.0.1', 'localhost', 'localhost.', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]'];
    return hosts.map((each) => parseRegistryHost(`${each}:${port}`));
  };
  const inquire = async (registry: RegistryHost): Promise<ReferenceAnswer> => {
    const { evil, victim } = lab();
    const repository = parseRepository(registry, 'a/b');
    const reference = parseManifestReference('v1');
    const asked = { repository, reference, accept: undefined, token: undefined, knownOnly: false };
    return decodeReferenceAnswer(await evil.inquire(victim.peer, encodeReferenceQuestion(asked)));
  };
  const fetchManifest = (registry: RegistryHost): ReturnType<EvilPeer['ask']> => {
    const { evil, victim } = lab();
    const { name } = parseRepository(registry, 'a/b');
    const swarm = { registry, digest: DIGEST };
    return evil.ask(victim, { swarm, range: undefined, owner: { repository: name, token: undefined } });
  };

  it('learns nothing of a tag at a service of another node, and that service is not asked', async () => {
    const { inside } = lab();
    for (const registry of names(inside.host)) {
      assert.equal((await inquire(registry)).status, 'refused');
      assert.equal(inside.accepted, 0, registry);
    }
  });

  it('gets no manifest of such a service', async () => {
    const { inside } = lab();
    for (const registry of names(inside.host)) {
      assert.deepEqual(await fetchManifest(registry), { kind: 'unable' });
      assert.equal(inside.accepted, 0, registry);
    }
  });

  it('cannot use a connection that a caller of that node has opened', async () => {
    const { inside, node } = lab();
    const { status } = await request(node.urlOf(inside.host, 'x/y/tags/list'));
    assert.equal(status, 200, 'a caller may name a place that its runtime reaches');
    const before = inside.requests.length;
    assert.equal((await inquire(parseRegistryHost(inside.host))).status, 'refused');
    assert.deepEqual(await fetchManifest(parseRegistryHost(inside.host)), { kind: 'unable' });
    assert.equal(inside.requests.length, before);
  });

  it('gets an answer about a registry that the operator has configured', async () => {
    const { known } = lab();
    const registry = parseRegistryHost(known.host);
    const answer = await inquire(registry);
    assert.deepEqual([answer.status, answer.status === 'found' && answer.digest], ['found', DIGEST]);
    assert.equal((await fetchManifest(registry)).kind, 'chunk');
  });

  it('cannot lead that node from a configured registry to a place that is not configured', async () => {
    const { inside, known } = lab();
    const before = inside.requests.length;
    const registry = parseRegistryHost(known.host);
    try {
      for (const header of [
        { location: `${inside.url}/v2/` },
        { 'www-authenticate': `Bearer realm="${inside.url}/token",service="s"` },
      ]) {
        known.handler = (_, response) =>
          void response.writeHead('location' in header ? 307 : 401, header).end();
        const { name } = parseRepository(registry, 'a/b');
        const swarm = { registry, digest: digestOf(Buffer.from(JSON.stringify(header))) };
        const { evil, victim } = lab();
        const owner = { repository: name, token: undefined };
        assert.deepEqual(await evil.ask(victim, { swarm, range: undefined, owner }), { kind: 'unable' });
        assert.equal(inside.requests.length, before);
      }
    } finally {
      known.handler = serve;
    }
  });
});

/** The honest member. */
async function other(evil: EvilPeer): Promise<Member> {
  for (;;) {
    const found = evil.table.live().find(({ peer }) => peer !== evil.peer);
    if (found !== undefined) return found;
    await delay(20);
  }
}
