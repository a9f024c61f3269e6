/** The data folder: chunk maps, and a folder that somebody else has written to. */
import assert from 'node:assert/strict';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../../src/util/clock.ts';
import { parseRegistryHost } from '../../../src/oci/repository.ts';
import { ChunkMap } from '../../../src/store/chunk-map.ts';
import { DataFolder, isPartialName, partialName, registryMark } from '../../../src/store/data-folder.ts';
import { FsStore } from '../../../src/store/fs-store.ts';
import { ChunkLayout } from '../../../src/protocol/chunk-layout.ts';
import { filesInside } from '../../support/byte-workers.ts';
import { TempDir } from '../../support/temp.ts';
import { pure, settledUnlessRefused, type Target } from '../harness/target.ts';
import { DIGEST, DIGEST_512 } from './samples.ts';

function mapOf(size: number): Uint8Array {
  const map = new ChunkMap(new ChunkLayout(size));
  if (map.layout.count > 0) map.set(0, new Uint8Array(32).fill(9));
  return map.encode();
}

export const chunkMap = pure({
  name: 'chunk-map',
  seeds: [0, 1, 128 * 1024, 5_000_000, 2 ** 31].map(mapOf),
  words: ['WEIRCHK1'],
  run: (input) => {
    const map = ChunkMap.decode(input);
    if (map === undefined) return;
    const { layout, present } = map;
    assert.equal(layout.count, present.length);
    assert.equal(ChunkMap.decode(map.encode())?.layout.size, layout.size);
    assert.ok(present.firstClear() <= layout.count && present.count <= layout.count);
    for (const index of [0, layout.count - 1]) if (index >= 0) map.hash(index);
  },
});

const REGISTRY = parseRegistryHost('quay.io');
const NAMES = [DIGEST, DIGEST_512].map((digest) => partialName({ registry: REGISTRY, digest }));

export const dataFolder: Target = {
  name: 'data-folder',
  share: 3,
  isPure: false,
  limit: 5000,
  seeds: [
    `file partial/${NAMES[0]} abc\nfile partial/${NAMES[0]}.chunks WEIRCHK1\n`,
    `folder partial/${NAMES[1]}\nlink partial/${NAMES[0]} ../../canary\nfile partial/x y\n`,
    `link blobs/sha256/${DIGEST.slice(7)} ../../nowhere\nfolder chunks/sha256/${DIGEST.slice(7)}\n`,
    `file blobs/sha256/${DIGEST.slice(7)} a\nlink partial/../x /\nfile blobs/sha512/y z\n`,
  ],
  words: [
    'file ',
    'folder ',
    'link ',
    'partial/',
    'blobs/sha256/',
    'chunks/sha256/',
    '.chunks',
    ...NAMES.map((name) => `partial/${name}`),
    ' ../../canary',
    '\n',
    '%00',
  ],
  open: async (stack) => {
    const dir = stack.use(await TempDir.create('fuzz-store'));
    await writeFile(dir.join('canary'), 'alive');
    return async (input) => {
      const folder = new DataFolder(dir.join('data'));
      await rm(folder.root, { recursive: true, force: true });
      await folder.create();
      for (const line of input.toString('utf8').split('\n').slice(0, 20)) await place(folder, line);
      const store = await FsStore.open({
        folder,
        quota: 1e9,
        partialMaxAge: 1e9,
        clock: systemClock,
        files: filesInside(),
      });
      for (const digest of [DIGEST, DIGEST_512]) {
        await settledUnlessRefused(['store_corrupt', 'store_unusable'], async () => {
          await using blob = await store.open(digest);
          await blob?.read(Buffer.alloc(10), 0);
        });
        await settledUnlessRefused(['store_unusable'], async () => {
          await using ingest = await store.resume({ registry: REGISTRY, digest });
          assert.ok((ingest?.presentBytes ?? 0) >= 0);
        });
      }
      await store[Symbol.asyncDispose]();
      assert.equal(await readFile(dir.join('canary'), 'utf8'), 'alive');
    };
  },
};

/** Creates the entry that a line describes, as far as the system can; always within the data folder. */
async function place(folder: DataFolder, line: string): Promise<void> {
  const [kind, path = '', text = ''] = line.split(' ');
  const file = join(folder.root, path);
  if (
    !file.startsWith(`${folder.root}/`) ||
    /^(?:blobs|chunks|partial)(?:\/(?:sha256|sha512))?\/?$/.test(path)
  )
    return;
  isPartialName(path);
  registryMark(path);
  try {
    if (kind === 'file') await writeFile(file, text);
    if (kind === 'folder') await mkdir(file);
    if (kind === 'handshake') await symlink(text, file);
  } catch (error) {
    if (!(error instanceof Error)) throw error; // an invalid name, or one that exists
  }
}
