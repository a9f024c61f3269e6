/**
 * Upstream really misbehaves. Each row of the table is pulled twice side by side: without the mirror and through it.
 * Each pull has its own containerd and its own faulty proxy. The pull through the mirror must never end worse, nor
 * more than 5 s later, than the one without.
 */
import { KIB, MIB, SECOND } from '../../src/util/clock.ts';
import type { Fault, Rule } from '../support/fault-rules.ts';
import { shared } from '../support/fixture.ts';
import { buildImage, largestBlob, pathOf, type TestImage } from '../support/images.ts';
import { assertNoWorse, PullScene, pullBoth, type Expected } from '../support/pull-scene.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';

const [REPOSITORY, TAG] = ['mis/behave', 'v1'];
const IMAGE = `${REPOSITORY}:${TAG}`;
const MID = 10 * MIB;

interface Row {
  readonly title: string;
  readonly rules: (image: TestImage) => readonly Rule[];
  readonly mirror: Expected;
  /** Milliseconds after which a pull without the mirror counts as hung. */
  readonly hangs?: number;
}

/** The fault hits the first `times` answers for the large layer. */
const onLayer =
  (fault: Fault, times = Infinity): Row['rules'] =>
  (image) => [{ path: pathOf(largestBlob(image).digest), fault, times }];

/** The same for the small layer, which Weir verifies whole before it sends the first byte. */
const onSmallLayer =
  (fault: Fault, times = Infinity): Row['rules'] =>
  (image) => [{ path: pathOf((image.blobs[1] ?? image).digest), fault, times }];

const onTag =
  (fault: Fault, times = Infinity): Row['rules'] =>
  () => [{ path: /\/manifests\/v1/, fault, times }];

const onAll =
  (fault: Fault): Row['rules'] =>
  () => [{ path: /^/, fault }];

const answer = (status: number, headers: Record<string, string> = {}): Fault => ({
  kind: 'answer',
  status,
  headers: { 'content-type': 'application/json', ...headers },
  body: '{"errors":[]}',
});

const ROWS: readonly Row[] = [
  { title: 'nothing is wrong', rules: () => [], mirror: 'succeeds' },
  { title: 'reset at the start, once', rules: onLayer({ kind: 'reset' }, 1), mirror: 'succeeds' },
  { title: 'reset at the start, always', rules: onLayer({ kind: 'reset' }), mirror: 'as without it' },
  { title: 'reset in mid-blob, once', rules: onLayer({ kind: 'reset-at', at: MID }, 1), mirror: 'succeeds' },
  { title: 'reset of the tag, once', rules: onTag({ kind: 'reset' }, 1), mirror: 'succeeds' },
  { title: 'stall before the first byte, once', rules: onLayer({ kind: 'stall' }, 1), mirror: 'succeeds' },
  {
    title: 'stall before the first byte, always',
    rules: onLayer({ kind: 'stall' }),
    mirror: 'as without it',
  },
  { title: 'stall of the tag, once', rules: onTag({ kind: 'stall' }, 1), mirror: 'succeeds' },
  { title: 'stall in mid-blob, once', rules: onLayer({ kind: 'stall-at', at: MID }, 1), mirror: 'succeeds' },
  {
    title: 'stall in mid-blob, always',
    rules: onLayer({ kind: 'stall-at', at: MID }),
    mirror: 'as without it',
  },
  { title: 'clean cut in mid-blob, once', rules: onLayer({ kind: 'cut', at: MID }, 1), mirror: 'succeeds' },
  {
    title: 'clean cut in mid-blob, always',
    rules: onLayer({ kind: 'cut', at: MID }),
    mirror: 'succeeds',
  },
  {
    title: 'clean cut before the first byte, always',
    rules: onLayer({ kind: 'cut', at: 0 }),
    mirror: 'as without it',
  },
  {
    title: 'wrong bytes in a small blob, once',
    rules: onSmallLayer({ kind: 'flip', at: 9 }, 1),
    mirror: 'succeeds',
  },
  {
    title: 'wrong bytes in a small blob, always',
    rules: onSmallLayer({ kind: 'flip', at: 9 }),
    mirror: 'as without it',
  },
  {
    title: 'wrong bytes in a large blob, once',
    rules: onLayer({ kind: 'flip', at: MID }, 1),
    mirror: 'as without it',
  },
  {
    title: 'wrong bytes in a large blob, always',
    rules: onLayer({ kind: 'flip', at: MID }),
    mirror: 'as without it',
  },
  {
    title: 'a registry that sends 8 MiB/s',
    rules: onLayer({ kind: 'throttle', bytesPerSecond: 8 * MIB }),
    mirror: 'succeeds',
  },
  {
    title: 'a registry that delays a blob by 3 s',
    rules: onLayer({ kind: 'delay', ms: 3000 }),
    mirror: 'succeeds',
  },
  {
    title: 'a registry that delays every answer by 2.5 s',
    rules: onAll({ kind: 'delay', ms: 2500 }),
    mirror: 'succeeds',
  },
  {
    title: 'a registry that delays every answer by 4.5 s',
    rules: onAll({ kind: 'delay', ms: 4500 }),
    mirror: 'succeeds',
    hangs: 40 * SECOND,
  },
  { title: '401 for a blob', rules: onLayer(answer(401)), mirror: 'as without it' },
  { title: '401 for the tag', rules: onTag(answer(401)), mirror: 'as without it' },
  { title: '403 for a blob', rules: onLayer(answer(403)), mirror: 'as without it' },
  { title: '403 for the tag', rules: onTag(answer(403)), mirror: 'as without it' },
  { title: '404 for a blob, once', rules: onLayer(answer(404), 1), mirror: 'succeeds' },
  { title: '404 for a blob, always', rules: onLayer(answer(404)), mirror: 'as without it' },
  { title: '404 for the tag', rules: onTag(answer(404)), mirror: 'as without it' },
  {
    title: '429 for a blob, once',
    rules: onLayer(answer(429, { 'retry-after': '1' }), 1),
    mirror: 'succeeds',
  },
  {
    title: '429 for a blob, always',
    rules: onLayer(answer(429, { 'retry-after': '1' })),
    mirror: 'as without it',
  },
  { title: '500 for a blob, once', rules: onLayer(answer(500), 1), mirror: 'succeeds' },
  { title: '500 for a blob, always', rules: onLayer(answer(500)), mirror: 'as without it' },
  {
    title: '503 for a blob, once',
    rules: onLayer(answer(503, { 'retry-after': '1' }), 1),
    mirror: 'succeeds',
  },
  { title: '503 for a blob, always', rules: onLayer(answer(503)), mirror: 'as without it' },
  { title: '503 for the tag, once', rules: onTag(answer(503), 1), mirror: 'succeeds' },
];

requires(
  'root',
  'docker-registry',
  'containerd',
  'ctr',
)('misbehaviour: containerd', () => {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    const image = await buildImage({ seed: 'misbehaviour', layers: [200 * KIB, 40 * MIB] });
    await push(registry.url, REPOSITORY, TAG, image);
    return { registry, image };
  });

  for (const row of ROWS) {
    it(`a pull ends no worse than without the mirror: ${row.title}`, async () => {
      const { registry, image } = lab();
      await using direct = await PullScene.create(registry.url);
      await using mirrored = await PullScene.create(registry.url, {});
      direct.proxy.setRules(...row.rules(image));
      mirrored.proxy.setRules(...row.rules(image));
      const [without, through] = await pullBoth(direct, mirrored, IMAGE, row);
      await assertNoWorse(row.mirror, without, through, mirrored, image);
    });
  }
});
