import assert from 'node:assert/strict';
import { ImagePulls, type Asked } from '../../../src/daemon/image-pulls.ts';
import type { RequestEnd } from '../../../src/daemon/image-pull.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { parseManifestReference } from '../../../src/oci/reference.ts';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import { MAX_BLOBS_PER_PULL, type BlobPullReport, type PullReport } from '../../../src/status/pull-report.ts';
import { SECOND, type Clock } from '../../../src/util/clock.ts';
import { NO_WAITS } from '../../../src/util/waits.ts';
import { peerOf } from '../status/fixture.ts';

const REPOSITORY = parseRepository(parseRegistryHost('registry.example'), 'team/app');
const CLIENT = '127.0.0.1 containerd/2.1.4 linux';
const digest = (name: string): Digest => digestOf(Buffer.from(name));

/** Time stands still but for {@link pass}. */
class Scene {
  readonly images: PullReport[] = [];
  readonly blobs: BlobPullReport[] = [];
  readonly pulls: ImagePulls;
  #now = 1_000;
  #sleeper: PromiseWithResolvers<void> | undefined;
  /** Sleeps that began. */
  sleeps = 0;

  constructor() {
    const clock: Clock = {
      now: () => Date.UTC(2026, 0, 1),
      monotonic: () => this.#now,
      random: () => 0,
      sleep: (_ms, { signal } = {}) => {
        const sleeper = Promise.withResolvers<void>();
        signal?.addEventListener('abort', () => sleeper.reject(signal.reason), { once: true });
        this.#sleeper = sleeper;
        this.sleeps += 1;
        return sleeper.promise;
      },
    };
    this.pulls = new ImagePulls({
      clock,
      nameOf: (peer) => (peer === peerOf(2) ? 'node-2' : ''),
      onBlob: (_image, report) => void this.blobs.push(report),
      onImage: (report) => void this.images.push(report),
    });
  }

  /** Time passes, and who slept looks. */
  async pass(milliseconds: number): Promise<void> {
    this.#now += milliseconds;
    this.#sleeper?.resolve();
    for (let turns = 0; turns < 5; turns++) await Promise.resolve();
  }

  ask(reference: string, client = CLIENT): Asked {
    const what = { kind: 'manifest', reference: parseManifestReference(reference) } as const;
    return this.pulls.begin({ client, repository: REPOSITORY, what });
  }

  blob(name: string, client = CLIENT): Asked {
    const what = { kind: 'blob', digest: digest(name) } as const;
    return this.pulls.begin({ client, repository: REPOSITORY, what });
  }

  /** Ends the request for a manifest that has these layers, or is an index of these manifests. */
  got(asked: Asked, children: readonly string[], kind: 'image' | 'index' = 'image'): Digest {
    const bytes = manifest(children, kind);
    this.pulls.end(asked, end({ registry: bytes.length }), { digest: digestOf(bytes), bytes });
    return digestOf(bytes);
  }
}

function manifest(children: readonly string[], kind: 'image' | 'index'): Buffer {
  const descriptors = children.map((name) => ({ digest: digest(name), size: 10 }));
  const [config, ...layers] = descriptors;
  return Buffer.from(JSON.stringify(kind === 'image' ? { config, layers } : { manifests: descriptors }));
}

function end(
  { store = 0, peers = 0, registry = 0 }: Partial<RequestEnd['sources']>,
  more: Partial<RequestEnd> = {},
): RequestEnd {
  return {
    outcome: 'complete',
    sources: { store, peers, registry },
    byPeer: peers === 0 ? new Map() : new Map([[peerOf(2), peers]]),
    waits: NO_WAITS,
    seconds: 0,
    ...more,
  };
}

describe('Requests are put together to pulls:', () => {
  it('a tag, its index, a manifest and its blobs are one, that ends with the last blob', async () => {
    const scene = new Scene();
    const indexBytes = manifest(['child'], 'index');
    const root = digestOf(indexBytes);
    scene.pulls.end(scene.ask('v1'), end({}), { digest: root, bytes: undefined }); // HEAD
    scene.got(scene.ask(root), ['child'], 'index');
    scene.got(scene.ask(digest('child')), ['config', 'layer']);
    const config = scene.blob('config');
    const layer = scene.blob('layer');
    await scene.pass(250);
    scene.pulls.end(config, end({ registry: 10 }, { size: 10, seconds: 0.25, firstByteSeconds: 0.2 }));
    assert.equal(scene.images.length, 0);
    assert.deepEqual(
      scene.pulls.running.map(({ state }) => state),
      ['pulling'],
    );
    await scene.pass(750);
    scene.pulls.end(layer, end({ peers: 90 }, { size: 90, seconds: 1, firstByteSeconds: 0.5 }));
    const [image] = scene.images;
    assert.ok(image);
    assert.equal(image.image, 'registry.example/team/app:v1');
    assert.equal(image.digest, root);
    assert.equal(image.client, 'containerd/2.1.4');
    assert.equal(image.began, '2026-01-01T00:00:00.000Z');
    assert.deepEqual([image.state, image.seconds, image.first_byte_seconds], ['complete', 1, 0.2]);
    assert.equal(image.sources.peers, 90);
    assert.deepEqual(image.peers, [{ peer: peerOf(2), name: 'node-2', bytes: 90 }]);
    assert.deepEqual(
      image.blobs.map(({ seconds, first_byte_seconds: first }) => [seconds, first]),
      [
        [0.25, 0.2],
        [1, 0.5],
      ],
    );
    assert.deepEqual(
      scene.blobs.map((blob) => blob.digest),
      [digest('config'), digest('layer')],
    );
    assert.equal(scene.pulls.running.length, 0);
  });

  it('a client that does not ask for all blobs has ended its pull after half a minute', async () => {
    const scene = new Scene();
    scene.got(scene.ask('v1'), ['config', 'layer']);
    scene.pulls.end(scene.blob('config'), end({ store: 10 }, { size: 10 }));
    const long = scene.blob('layer');
    await scene.pass(600 * SECOND);
    assert.equal(scene.images.length, 0, 'it is being served');
    scene.pulls.end(long, end({ store: 5 }, { size: 10 }));
    await scene.pass(29 * SECOND);
    assert.equal(scene.images.length, 0);
    assert.equal(scene.blobs.length, 1, 'the rest of the layer may be asked for yet');
    await scene.pass(SECOND);
    assert.deepEqual(
      scene.images.map(({ seconds, bytes }) => [seconds, bytes > 15]),
      [[600, true]],
    );
    assert.equal(scene.blobs.length, 2);
    const { sleeps } = scene;
    await scene.pass(60 * SECOND);
    assert.equal(scene.sleeps, sleeps, 'an idle node is not woken');
    scene.ask('v2');
    assert.equal(scene.sleeps, sleeps + 1);
  });

  it('the tag is asked for again, after blobs: another pull', () => {
    const scene = new Scene();
    scene.got(scene.ask('v1'), ['config', 'layer']);
    scene.got(scene.ask('v1'), ['config', 'layer']); // HEAD and GET, or a second try with a token
    assert.equal(scene.images.length, 0);
    scene.pulls.end(scene.blob('config'), end({ store: 10 }, { size: 10 }));
    scene.ask('v1');
    assert.equal(scene.images.length, 1);
    assert.equal(scene.pulls.running.length, 1);
  });

  it('two clients, two tags and two repositories are told apart', () => {
    const scene = new Scene();
    scene.got(scene.ask('v1'), ['config', 'a']);
    scene.got(scene.ask('v2'), ['config', 'b']);
    scene.got(scene.ask('v1', '127.0.0.1 docker/28'), ['config', 'a']);
    scene.blob('a');
    scene.blob('b');
    scene.blob('a', '127.0.0.1 docker/28');
    const running = scene.pulls.running.map(({ image, client, blobs }) => [
      image.slice(-2),
      client,
      blobs.map((blob) => blob.digest),
    ]);
    assert.deepEqual(running, [
      ['v1', 'docker/28', [digest('a')]],
      ['v2', 'containerd/2.1.4', [digest('b')]],
      ['v1', 'containerd/2.1.4', [digest('a')]],
    ]);
  });

  it('blobs of no manifest are a pull of the repository', () => {
    const scene = new Scene();
    scene.pulls.end(scene.blob('a'), end({ store: 10 }, { size: 10 }));
    scene.pulls.end(scene.blob('b'), end({ store: 10 }, { size: 10 }));
    scene.pulls[Symbol.dispose]();
    assert.deepEqual(
      scene.images.map(({ image, blobs }) => [image, blobs.length]),
      [['registry.example/team/app', 2]],
    );
  });
});

describe('The outcome of a pull', () => {
  const outcomeAfter = (...ends: readonly RequestEnd[]): readonly (string | undefined)[] => {
    const scene = new Scene();
    for (const each of ends) scene.pulls.end(scene.blob('a'), each);
    scene.pulls.end(scene.blob('b'), end({ store: 10 }, { size: 10 }));
    scene.pulls[Symbol.dispose]();
    const [image] = scene.images;
    return [image?.state, image?.code, image?.blobs[0]?.state, image?.blobs[0]?.code];
  };
  const failed = end({ registry: 3 }, { size: 10, outcome: 'failed', code: 'upstream_cut' });

  it('is the worst of its blobs, each as it ended last', () => {
    assert.deepEqual(outcomeAfter(failed), ['failed', 'upstream_cut', 'failed', 'upstream_cut']);
    const over = end({}, { outcome: 'handed_over' });
    assert.deepEqual(outcomeAfter(failed, over), ['handed_over', undefined, 'handed_over', undefined]);
    const rest = end({ registry: 7 }, { size: 10 });
    assert.deepEqual(outcomeAfter(failed, rest), ['complete', undefined, 'complete', undefined]);
    const passed = end({ registry: 10 }, { size: 10, outcome: 'passed_through' });
    assert.deepEqual(outcomeAfter(passed).slice(0, 1), ['passed_through']);
  });

  it('is complete if a client closes parts that it has in full', () => {
    const part = end({ peers: 6 }, { size: 10, outcome: 'client_left' });
    assert.deepEqual(outcomeAfter(part)[0], 'client_left');
    assert.deepEqual(outcomeAfter(part, part)[0], 'complete');
  });

  it('is that of the manifest if there is none', () => {
    const scene = new Scene();
    scene.pulls.end(scene.ask('v1'), end({}, { outcome: 'failed', code: 'manifest_unknown' }));
    scene.pulls[Symbol.dispose]();
    assert.deepEqual([scene.images[0]?.state, scene.images[0]?.code], ['failed', 'manifest_unknown']);
  });
});

describe('What is remembered of running pulls is bounded:', () => {
  it('pulls', () => {
    const scene = new Scene();
    for (let n = 0; n < 300; n++) scene.pulls.end(scene.ask(`v${n}`), end({}));
    assert.equal(scene.pulls.running.length, 256);
    assert.equal(scene.images.at(0)?.image, 'registry.example/team/app:v0');
  });

  it('blobs', () => {
    const scene = new Scene();
    for (let n = 0; n < MAX_BLOBS_PER_PULL + 10; n++) {
      scene.pulls.end(scene.blob(`blob ${n}`), end({ store: 1 }, { size: 1 }));
    }
    scene.pulls[Symbol.dispose]();
    const [image] = scene.images;
    assert.deepEqual([image?.blobs.length, image?.more_blobs], [MAX_BLOBS_PER_PULL, 10]);
    assert.equal(image?.bytes, MAX_BLOBS_PER_PULL + 10);
    assert.equal(scene.blobs.length, MAX_BLOBS_PER_PULL + 10);
  });

  it('manifests that are no image, and lists of a thousand layers', () => {
    const scene = new Scene();
    const bytes = Buffer.from('no manifest');
    scene.pulls.end(scene.ask('v1'), end({}), { digest: digestOf(bytes), bytes });
    const layers = Array.from({ length: 2_000 }, (_, n) => `layer ${n}`);
    scene.got(scene.ask('v2'), layers);
    scene.pulls.end(scene.blob('layer 1999'), end({ store: 10 }, { size: 10 }));
    assert.deepEqual(
      scene.pulls.running.map(({ image, blobs }) => [image.slice(-2), blobs.length]),
      [
        ['v2', 1],
        ['v1', 0],
      ],
    );
  });
});
