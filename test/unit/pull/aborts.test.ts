/** A caller that goes away, at every moment of its request: it breaks nothing for others, and leaves nothing behind. */
import assert from 'node:assert/strict';
import { readdir, readlink } from 'node:fs/promises';
import { KIB, MIB, SECOND } from '../../../src/util/clock.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { parseManifestReference } from '../../../src/oci/reference.ts';
import { parseRegistryHost, parseRepository, type Repository } from '../../../src/oci/repository.ts';
import type { BlobRequest } from '../../../src/pull/blobs-options.ts';
import { readBody } from '../../support/body-collector.ts';
import { seededBytes } from '../../support/bytes.ts';
import { eventually } from '../../support/eventually.ts';
import { Unhandled } from '../../support/faults.ts';
import { MirrorFixture, type MirrorFixtureOptions } from '../../support/mirror-fixture.ts';
import { actAtTurn, turnsOf } from '../../support/turns.ts';

/** Moments of one request that are tried: all of the first ones, the rest evenly spread. */
const FIRST_TURNS = 40;
const OTHER_TURNS = 40;
/** Milliseconds: work of earlier callers goes on for a moment. */
const STALL = 10 * SECOND;
/** As in src/pull/pass-through.ts. */
const MAX_PASS_THROUGH = 16;
const NAME = 'a/b';

interface Scene {
  readonly fixture: MirrorFixture;
  /** A blob that was not requested before. */
  fresh(): Digest;
}

/** Sends a request with this signal; anything that it opens is closed when it settles. */
type Ask = (signal: AbortSignal, digest: Digest) => Promise<void>;

describe('a caller that goes away at each turn of', () => {
  test('a blob that is not here', {}, (scene) => (signal, digest) => readBlob(scene, { signal, digest }));

  test('a blob whose registry does not answer', {}, (scene) => {
    down(scene);
    return (signal, digest) => readBlob(scene, { signal, digest });
  });

  test('a blob that is here', { accessTtl: -1 }, (scene) => {
    const digest = scene.fresh();
    return async (signal) => {
      if ((await scene.fixture.store.stat(digest)) === undefined) await readBlob(scene, { digest });
      await readBlob(scene, { signal, digest });
    };
  });

  test('a blob that passes through, as the store has no room', { quota: 64 * KIB }, (scene) => {
    return (signal, digest) => readBlob(scene, { signal, digest });
  });

  test('a blob that is here, as another registry delivered it', {}, (scene) => {
    return async (signal, digest) => {
      await readBlob(scene, { digest });
      await readBlob(scene, { signal, digest, repository: elsewhere(scene) });
    };
  });

  test('a blob that is here, of another registry that does not answer', {}, (scene) => {
    const digest = scene.fresh();
    return async (signal) => {
      if ((await scene.fixture.store.stat(digest)) === undefined) await readBlob(scene, { digest });
      down(scene);
      await readBlob(scene, { signal, digest, repository: elsewhere(scene) });
    };
  });

  test('the size of a blob', {}, (scene) => async (signal, digest) => {
    await scene.fixture.blobs.head(request(scene, { signal, digest }));
  });

  test('a manifest by its tag', {}, (scene) => {
    let tags = 0;
    return async (signal) => {
      const tag = `v${tags++}`;
      scene.fixture.registry.addImage(NAME, tag, seededBytes(KIB, tag));
      const reference = parseManifestReference(tag);
      const { repository } = request(scene, { digest: digestOf(Buffer.of()) });
      await scene.fixture.manifests.get({
        repository,
        reference,
        caller: 'configured',
        accept: undefined,
        signal,
      });
    };
  });

  test('a manifest by its digest, whose registry does not answer', {}, (scene) => {
    down(scene);
    return async (signal, digest) => {
      const reference = { kind: 'digest', digest } as const;
      const { repository } = request(scene, { digest });
      await scene.fixture.manifests.get({
        repository,
        reference,
        caller: 'configured',
        accept: undefined,
        signal,
      });
    };
  });
});

function test(title: string, options: MirrorFixtureOptions, prepare: (scene: Scene) => Ask): void {
  it(title, async function () {
    this.timeout(60 * SECOND);
    using unhandled = new Unhandled();
    await using fixture = await MirrorFixture.start({
      linger: 0,
      retries: 0,
      stallTimeout: STALL,
      ...options,
    });
    let blobs = 0;
    const scene: Scene = {
      fixture,
      fresh: () => fixture.registry.addBlob(NAME, seededBytes(2 * MIB + 100, `${title} ${blobs++}`)),
    };
    const ask = prepare(scene);
    const settles = async (signal: AbortSignal, digest: Digest): Promise<void> =>
      ask(signal, digest).catch(() => undefined);
    const never = new AbortController().signal;
    await settles(never, scene.fresh()); // modules that are loaded at first use take turns, too
    const usual = scene.fresh();
    const turns = await turnsOf(() => settles(never, usual));
    const step = Math.max(1, Math.floor((turns - FIRST_TURNS) / OTHER_TURNS));
    let aborted = 0;
    for (let at = 0; at < turns; at += at < FIRST_TURNS ? 1 : step) {
      const stop = new AbortController();
      const digest = scene.fresh();
      await actAtTurn(
        at,
        () => {
          aborted++;
          stop.abort(new Error(`gone at turn ${at}`));
        },
        () => settles(stop.signal, digest),
      );
    }
    assert.ok(aborted > 10, `${aborted} of ${turns} turns were tried`);
    await atRest(fixture);
    assert.deepEqual(unhandled.reasons, []);
    fixture.registry.intercept = () => false;
    await assertPlaces(scene);
  });
}

function request(scene: Scene, more: Partial<BlobRequest> & { readonly digest: Digest }): BlobRequest {
  const repository = parseRepository(parseRegistryHost(scene.fixture.registry.host), NAME);
  return { repository, caller: 'configured', resuming: false, dependent: true, ...more };
}

/** The same repository of the same registry under another name: to Weir it is another registry. */
function elsewhere({ fixture }: Scene): Repository {
  const port = fixture.registry.host.split(':')[1];
  return parseRepository(parseRegistryHost(`localhost:${port}`), NAME);
}

async function readBlob(
  scene: Scene,
  more: Partial<BlobRequest> & { readonly digest: Digest },
): Promise<void> {
  await using reading = await scene.fixture.blobs.open(request(scene, more));
  await readBody(reading, { step: 256 * KIB, ...(more.signal && { signal: more.signal }) });
}

function down({ fixture }: Scene): void {
  fixture.registry.intercept = (incoming) => {
    incoming.socket.destroy();
    return true;
  };
}

/** Waits until no download is left, and no file of the data folder is open but the catalog. */
async function atRest(fixture: MirrorFixture): Promise<void> {
  await eventually(async () => {
    const open = await openFiles(fixture.folder);
    assert.deepEqual({ downloads: fixture.blobs.inFlight, open }, { downloads: 0, open: [] });
  });
  // Node.js reports an unhandled rejection at the end of a turn.
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
}

async function openFiles(folder: string): Promise<readonly string[]> {
  const open: string[] = [];
  for (const fd of await readdir('/proc/self/fd')) {
    const path = await readlink(`/proc/self/fd/${fd}`).catch(() => '');
    if (path.startsWith(folder) && /blobs|partial/.test(path.slice(folder.length))) open.push(path);
  }
  return open;
}

/** All places for blobs that pass through are free again. */
async function assertPlaces(scene: Scene): Promise<void> {
  const stored = scene.fresh();
  await readBlob(scene, { digest: stored });
  const isStored = (await scene.fixture.store.stat(stored)) !== undefined;
  const all = await Promise.all(
    Array.from({ length: MAX_PASS_THROUGH }, () => {
      const digest = isStored ? stored : scene.fresh();
      return scene.fixture.blobs.open(request(scene, { digest, repository: elsewhere(scene) }));
    }),
  );
  for (const reading of all) {
    assert.equal(digestOf(await readBody(reading)), reading.digest);
    await reading[Symbol.asyncDispose]();
  }
}
