import assert from 'node:assert/strict';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { once, EventEmitter } from 'node:events';
import { join } from 'node:path';
import { MIB, systemClock } from '../../../src/util/clock.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { digestHex, digestOf, type Digest } from '../../../src/oci/digest.ts';
import { RuntimeContent } from '../../../src/store/runtime-content.ts';
import { filesInside } from '../../support/byte-workers.ts';
import { readAll, seededBytes } from '../../support/bytes.ts';
import { providerConformance } from '../../support/conformance.ts';
import { TempDir } from '../../support/temp.ts';

/** A content folder as containerd keeps it, and Weir's view of it. */
class Fixture implements AsyncDisposable {
  readonly events: EventEmitter = new EventEmitter();
  readonly problems: string[] = [];
  readonly #temp: TempDir;
  #content: RuntimeContent | undefined;

  private constructor(temp: TempDir) {
    this.#temp = temp;
  }

  static async create({ existing = true } = {}): Promise<Fixture> {
    const fixture = new Fixture(await TempDir.create('runtime-content'));
    if (existing) await fixture.makeFolder();
    fixture.#content = await RuntimeContent.open({
      root: fixture.#temp.join('content'),
      clock: systemClock,
      files: filesInside(),
      onAdded: ({ digest }) => fixture.events.emit(`+${digest}`),
      onRemoved: ({ digest }) => fixture.events.emit(`-${digest}`),
      onProblem: (message) => fixture.problems.push(message),
    });
    return fixture;
  }

  get provider(): RuntimeContent {
    return this.#content ?? assert.fail();
  }

  async makeFolder(): Promise<void> {
    await mkdir(this.#temp.join('content/blobs/sha256'), { recursive: true });
    await mkdir(this.#temp.join('content/ingest'), { recursive: true });
  }

  path(digest: Digest): string {
    return this.#temp.join('content/blobs/sha256', digestHex(digest));
  }

  /** As containerd commits: written elsewhere, then renamed. */
  async put(bytes: Uint8Array, digest: Digest = digestOf(bytes)): Promise<Digest> {
    const ingest = this.#temp.join('content/ingest', digestHex(digest));
    await writeFile(ingest, bytes);
    await rename(ingest, this.path(digest));
    return digest;
  }

  async add(bytes: Uint8Array): Promise<Digest> {
    const seen = once(this.events, `+${digestOf(bytes)}`);
    const digest = await this.put(bytes);
    await seen;
    return digest;
  }

  async remove(digest: Digest): Promise<void> {
    const seen = once(this.events, `-${digest}`);
    await rm(this.path(digest));
    await seen;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#content?.[Symbol.asyncDispose]();
    await this.#temp[Symbol.asyncDispose]();
  }
}

describe('RuntimeContent', () => {
  providerConformance(() => Fixture.create());

  it('finds blobs that were there before it', async () => {
    await using fixture = await Fixture.create();
    const digest = await fixture.put(seededBytes(1000));
    await fixture.provider.rescan();
    assert.equal((await fixture.provider.stat(digest))?.size, 1000);
  });

  it('waits for a folder that does not exist yet', async () => {
    await using fixture = await Fixture.create({ existing: false });
    assert.equal(fixture.provider.blobs, 0);
    assert.deepEqual(fixture.problems, []);
    await fixture.makeFolder();
    await fixture.provider.rescan();
    await fixture.add(seededBytes(1000));
    assert.equal(fixture.provider.blobs, 1);
  });

  it('does not serve a small blob that is damaged', async () => {
    await using fixture = await Fixture.create();
    const digest = digestOf(Buffer.from('right'));
    const seen = once(fixture.events, `+${digest}`);
    await fixture.put(Buffer.from('wrong'), digest);
    await seen;
    assert.equal(await fixture.provider.open(digest), undefined);
    assert.match(fixture.problems.join('\n'), /damaged/);
  });

  it('never completes a large blob that is damaged', async () => {
    await using fixture = await Fixture.create();
    const bytes = seededBytes(33 * MIB);
    const digest = digestOf(bytes);
    bytes[5] = (bytes[5] ?? 0) ^ 1;
    const seen = once(fixture.events, `+${digest}`);
    await fixture.put(bytes, digest);
    await seen;
    await using blob = await fixture.provider.open(digest);
    assert.ok(blob !== undefined);
    await assert.rejects(readAll(blob, 0, MIB), (error) => isWeirError(error, 'store_corrupt'));
  });

  it('ignores files that are no blobs', async () => {
    await using fixture = await Fixture.create();
    await writeFile(join(fixture.path(digestOf(Buffer.from(''))), '..', 'README'), 'no blob');
    await fixture.provider.rescan();
    assert.equal(fixture.provider.blobs, 0);
  });
});
