/** Waves against an embedded registry; nodes are made up: a registry as mirror, and a status that grows. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { KIB } from '../../../../src/util/clock.ts';
import { generateImage, type GeneratedImage } from '../../../../src/cli/demo/image.ts';
import { EmbeddedRegistry } from '../../../../src/cli/demo/embedded-registry.ts';
import { runWave, type WaveNode, type WaveOptions, type WaveOutcome } from '../../../../src/cli/demo/wave.ts';
import { WeirError } from '../../../../src/util/errors.ts';
import { parseImageReference } from '../../../../src/oci/reference.ts';
import { eventually } from '../../../support/eventually.ts';
import { bitmapOf, statusOf, transferOf } from '../../status/fixture.ts';

async function wave(
  registry: EmbeddedRegistry,
  more: Partial<WaveOptions>,
  isTTY = false,
): Promise<{ outcome: WaveOutcome; text: string }> {
  let text = '';
  const output = new Writable({
    write: (chunk: Buffer, _, done) => {
      text += chunk.toString();
      done();
    },
  });
  if (isTTY) Object.assign(output, { isTTY, columns: 80, rows: 24 });
  const outcome = await runWave({
    title: 'Wave',
    image: parseImageReference(`${registry.host}/demo/app:v1`),
    dockerConfig: undefined,
    pullers: 2,
    link: undefined,
    registry: () => registry.stats,
    output,
    color: false,
    signal: new AbortController().signal,
    ...more,
  });
  return { outcome, text: stripVTControlCharacters(text) };
}

describe('a wave of the demo', () => {
  let directory = '';
  let image: GeneratedImage;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'weir-test-'));
    image = await generateImage(directory, { seed: 'w', layers: [300 * KIB, 100 * KIB] });
  });
  after(() => rm(directory, { recursive: true }));

  async function serve(): Promise<EmbeddedRegistry> {
    const registry = await EmbeddedRegistry.start();
    registry.add('demo/app', 'v1', image);
    return registry;
  }

  /** Has got all layers from peers when it is looked at for the second time. */
  function nodeOf(name: string, mirror: URL): WaveNode {
    let looks = 0;
    const layers = [...image.blobs.values()].filter(({ size }) => size > 64 * KIB);
    const transfers = layers.map(({ digest, size }) =>
      transferOf('', {
        digest,
        size,
        chunks: 2,
        bitmap: bitmapOf(2, [0, 1]),
        upstream_bitmap: bitmapOf(2, []),
      }),
    );
    return {
      name,
      child: { mirror, isRunning: true },
      admin: {
        status: async () => {
          const { totals } = statusOf();
          looks += 1;
          if (looks === 1)
            return statusOf({ transfers: [], totals: { ...totals, from_peers: 5, from_upstream: 7 } });
          return statusOf({ transfers, totals: { ...totals, from_peers: 405, from_upstream: 8 } });
        },
      },
    };
  }

  it('pulls from the registry once for each client without nodes', async () => {
    await using registry = await serve();
    const { outcome, text } = await wave(registry, { pullers: 3 });
    assert.deepEqual(
      outcome.pulls.map(({ name }) => name),
      ['client-1', 'client-2', 'client-3'],
    );
    const blobs = outcome.pulls[0]?.pulled?.blobs.filter(({ role }) => role !== 'manifest') ?? [];
    assert.equal(outcome.registryBytes, 3 * blobs.reduce((sum, { size }) => sum + size, 0));
    assert.equal(outcome.registryRequests, registry.stats.requests);
    assert.equal(outcome.peerBytes, 0);
    assert.match(text, /^Wave\n.*100 %.*= 3\.00 × image\n/);
    assert.match(text, / {2}client-3 {2}█+ 100 %/);
  });

  it('limits clients without nodes to the speed of a link', async () => {
    await using registry = await serve();
    const { outcome } = await wave(registry, { pullers: 1, link: 1000 * KIB });
    assert.ok(outcome.seconds >= 0.35, `400 KiB at 1000 KiB/s took ${outcome.seconds} s`);
  });

  it('shows the bytes from peers, and counts this wave alone', async () => {
    await using mirror = await serve();
    await using registry = await serve();
    const pullers = [nodeOf('node-1', mirror.url), nodeOf('node-2', mirror.url)];
    const { outcome, text } = await wave(registry, { pullers }, true);
    assert.deepEqual([outcome.registryBytes, outcome.registryRequests, outcome.peerBytes], [0, 0, 800]);
    assert.match(text, / {2}node-2 {2}▒+ 100 % /);
    const unseen = await wave(registry, { pullers: [nodeOf('node-1', mirror.url)], registry: undefined });
    assert.deepEqual([unseen.outcome.registryBytes, unseen.outcome.registryRequests], [1, undefined]);
  });

  it('goes on for the others if one cannot pull, and names it', async () => {
    await using mirror = await serve();
    await using empty = await EmbeddedRegistry.start();
    const pullers = [nodeOf('node-1', empty.url), nodeOf('node-2', mirror.url)];
    const { outcome, text } = await wave(mirror, { pullers });
    const [first, second] = outcome.pulls;
    assert.equal(first?.error?.code, 'manifest_unknown');
    assert.ok(second?.pulled);
    assert.match(text, /node-1 .*manifest_u…/);
  });

  it('ends with the reason of the signal', async () => {
    await using registry = await serve();
    const controller = new AbortController();
    const reason = new WeirError('aborted', 'enough');
    const running = wave(registry, { link: KIB, signal: controller.signal });
    const rejected = assert.rejects(running, reason);
    await eventually(() => assert.notEqual(registry.stats.requests, 0));
    controller.abort(reason);
    await rejected;
  });
});
