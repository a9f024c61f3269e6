/** Pages that tell where something is done name files and link to pages: each must exist, or a reader searches in vain. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../../..');
/** Pages name files from the root, from src/, or from their own folder. */
const BASES = ['', 'src'];
/** With its folder: a bare `options.ts` may be any of several. */
const PATH = /(?<![\w/.:-])(?:\.\.?\/)*(?:[\w-]+\/)+[\w.*-]+\.(?:ts|proto|sh)\b/g;
const LINK = /\]\((?!https?:)([^)#\s]+)(#[^)]*)?\)/g;

async function pages(): Promise<readonly string[]> {
  const found = ['docs/architecture.md', 'docs/protocol.md'];
  for await (const path of glob(['src/swarm/README.md', 'bench/*/README.md'], { cwd: ROOT }))
    found.push(path);
  return found;
}

/** With `*`, any file that it stands for. */
async function exists(path: string): Promise<boolean> {
  for await (const _ of glob(path, { cwd: ROOT })) return true;
  return false;
}

/** Whether the page has the heading whose anchor GitHub names so. */
async function hasSection(file: string, section: string): Promise<boolean> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return [...text.matchAll(/^#+ (.*)$/gm)].some(([, heading = '']) => {
    const anchor = heading.toLowerCase().replaceAll(/[^\w\- ]/g, '');
    return section === `#${anchor.replaceAll(' ', '-')}`;
  });
}

/** The files of `named` that are found from none of the folders. */
async function missing(named: Iterable<string>, folders: readonly string[]): Promise<readonly string[]> {
  const absent: string[] = [];
  for (const name of new Set(named)) {
    const tries = await Promise.all(folders.map((folder) => exists(join(folder, name))));
    if (!tries.includes(true)) absent.push(name);
  }
  return absent;
}

const named = (text: string): readonly string[] => text.match(PATH) ?? [];

describe('Files that the docs name', () => {
  it('exist', async () => {
    const absent: string[] = [];
    for (const page of await pages()) {
      const text = await readFile(join(ROOT, page), 'utf8');
      for (const name of await missing(named(text), [...BASES, dirname(page)]))
        absent.push(`${page}: ${name}`);
    }
    assert.deepEqual(absent, []);
  });

  it('exist if they are linked to, with their sections', async () => {
    const absent: string[] = [];
    for (const page of await pages()) {
      const text = await readFile(join(ROOT, page), 'utf8');
      for (const [, target = '', section] of text.matchAll(LINK)) {
        const file = join(ROOT, dirname(page), target);
        const isThere =
          section === undefined ? await exists(join(dirname(page), target)) : await hasSection(file, section);
        if (!isThere) absent.push(`${page}: ${target}${section ?? ''}`);
      }
    }
    assert.deepEqual(absent, []);
  });

  it('are many in architecture.md, from the mirror to the store', async () => {
    const files = new Set(named(await readFile(join(ROOT, 'docs/architecture.md'), 'utf8')));
    assert.ok(files.size >= 50, `${files.size} files`);
    for (const folder of ['mirror', 'pull', 'swarm', 'transfer', 'store']) {
      assert.ok(
        [...files].some((file) => file.startsWith(`${folder}/`)),
        folder,
      );
    }
  });

  it('are missed if they do not exist', async () => {
    const text = 'See `mirror/mirror.ts`, `swarm/nowhere.ts`, `systems/*.ts` and `gone/*.ts`.';
    assert.deepEqual(await missing(named(text), [...BASES, 'bench/crowd']), [
      'swarm/nowhere.ts',
      'gone/*.ts',
    ]);
  });
});
