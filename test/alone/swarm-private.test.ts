/** Private images in a cluster: nodes share them, but give them only to callers that the registry admits. */
import assert from 'node:assert/strict';
import { KIB, MIB } from '../../src/util/clock.ts';
import type { CriCredentials } from '../support/cri.ts';
import { shared } from '../support/fixture.ts';
import { buildImage, largestBlob } from '../support/images.ts';
import { Lan } from '../support/lan.ts';
import { run } from '../support/program.ts';
import { Registry, type RegistryOptions } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { inOneOfThreeGoes, Pulls, stock, type Wares } from '../support/swarm-pulls.ts';
import { SwarmScene, type SwarmNode } from '../support/swarm-scene.ts';
import { TokenServer } from '../support/token-server.ts';

const LAYERS: readonly number[] = [32 * MIB, 20 * MIB, 8 * MIB, 200 * KIB];
const REPOSITORY = 'private/app';
const NODES = 5;
/** Registry bytes over image bytes; four would be no sharing. */
const MOST = 1.1;
/** Registry bytes over image bytes: one chunk at most, if a peer was slow. */
const NEXT_TO_NOTHING = 0.05;
/** Each node's pods have their own pull secret. */
const USERS: Readonly<Record<string, string>> = Object.fromEntries(
  Array.from({ length: NODES }, (_, i) => [`node-${i + 1}`, `secret of node-${i + 1}`]),
);

requires(
  'root',
  'docker-registry',
  'containerd',
  'ip',
  'nft',
  'htpasswd',
  'openssl',
)('a private image', () => {
  const lab = shared(async (stack) => {
    const pantry = stack.use(await Registry.start());
    const wares = await stock(pantry, await buildImage({ seed: 'private', layers: LAYERS }), REPOSITORY);
    return { storage: pantry.storage, wares };
  });

  const check = async (lan: Lan, guard: Pick<RegistryOptions, 'users' | 'tokenAuth'>): Promise<void> => {
    const { storage, wares } = lab();
    await using scene = await SwarmScene.create({ storage, lan, guard, nodes: NODES });
    const [last, ...others] = scene.nodes;
    assert.ok(last !== undefined);
    await (await Pulls.start(scene, wares, { nodes: others, auth: secretOf })).succeed(MOST);

    const image = `${scene.registry.host}/${wares.path}`;
    for (const auth of [undefined, { username: last.name, password: 'wrong' }]) {
      const refused = await scene.pull(last, wares.path, auth);
      assert.notEqual(refused.error, undefined, 'a pull without the right secret fails');
      assert.equal(await last.containerd.cri.imageStatus(image), undefined);
    }
    await assertRefused(last, scene, wares);
    // With its own secret, it gets the bytes from the others.
    await (await Pulls.start(scene, wares, { nodes: [last], auth: secretOf })).succeed(NEXT_TO_NOTHING);
    await assertRefused(last, scene, wares);
  };

  it('behind Basic authentication is pulled by each node with its own secret, and not without one', () =>
    inOneOfThreeGoes(async () => {
      await using lan = await Lan.create();
      await check(lan, { users: USERS });
    }));

  it('behind a token server is pulled by each node with its own secret, and not without one', () =>
    inOneOfThreeGoes(async () => {
      await using lan = await Lan.create();
      const address = await lan.addTestProcess();
      await using tokens = await TokenServer.start({ users: USERS, address });
      await check(lan, { tokenAuth: tokens.auth });
    }));
});

function secretOf({ name }: SwarmNode): CriCredentials {
  return { username: name, password: USERS[name] ?? '' };
}

/** Asserts that the node's mirror gives neither manifest nor blob to a caller without credentials. */
async function assertRefused({ weir, host }: SwarmNode, scene: SwarmScene, { image }: Wares): Promise<void> {
  for (const path of [`manifests/v1`, `manifests/${image.digest}`, `blobs/${largestBlob(image).digest}`]) {
    const url = weir.urlOf(scene.registry.host, `${REPOSITORY}/${path}`);
    const within = host.namespace.enter;
    const { code, stderr } = await run('/bin/busybox', ['wget', '-O', '/dev/null', url], { within });
    assert.notEqual(code, 0, path);
    assert.match(stderr, / 401 /, path);
  }
}
