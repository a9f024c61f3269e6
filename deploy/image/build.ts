/**
 * Builds the image: `node deploy/image/build.ts [--out FOLDER] [--arch amd64]…`, or `make image`.
 *
 * ```
 * src/, node_modules  → bundle.ts        the program as a few files
 * npm                 → node-package.ts  Node.js, locked by package-lock.json
 * Debian              → debian.ts        shared libraries, certificate authorities
 *                       rootfs.ts        the two layers as folders, the bill of materials (sbom.ts) in one of them
 *                       buildah.ts       layers, configuration, index → an OCI layout
 * ```
 * The same inputs give the same digest, on any day and in any folder.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Buildah, type ImageFacts } from './buildah.ts';
import { bundle } from './bundle.ts';
import { CommandError, requirePrograms, runOk } from './command.ts';
import { fetchDebian } from './debian.ts';
import { describeLayout } from './layout.ts';
import { fetchNode } from './node-package.ts';
import { ARCHITECTURES, type Architecture } from './platforms.ts';
import { makeBase, makeProgram } from './rootfs.ts';
import { makeSbom } from './sbom.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface BuildOptions {
  /** Gets `weir/`, an OCI layout, and `weir-<arch>.cdx.json`. */
  readonly out: string;
  /** Default: all. */
  readonly architectures?: readonly Architecture[];
  /** Folder that keeps fetched files; default: `.cache/image` of the tree. */
  readonly cache?: string;
  /** Called with each step. */
  readonly onStep?: (step: string) => void;
}

const PROGRAMS = ['apt-get', 'buildah', 'dpkg-deb', 'npm', 'sha256sum', 'tar'];

/** @returns the folder of the OCI layout; its tag is the version */
export async function buildImage(options: BuildOptions): Promise<{ layout: string; version: string }> {
  const {
    architectures = ARCHITECTURES,
    cache = join(ROOT, '.cache/image'),
    onStep = () => undefined,
  } = options;
  requirePrograms(PROGRAMS);
  const out = resolve(options.out);
  const manifest = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const facts = await readFacts(manifest.version);
  const work = await mkdtemp(join(tmpdir(), 'weir-image-'));
  try {
    await mkdir(out, { recursive: true });
    await using buildah = await Buildah.create(join(work, 'storage'));
    const npm = await bundle(ROOT, join(work, 'bundle'));
    const images: string[] = [];
    for (const arch of architectures) {
      onStep(`${arch.name}: Node.js from npm, libraries from Debian`);
      const node = await fetchNode(ROOT, cache, arch);
      const debian = await fetchDebian(cache, arch);
      const sbom = makeSbom({ version: facts.version, arch, npm, node, debian });
      onStep(`${arch.name}: layers`);
      const [base, program] = [join(work, arch.name, 'base'), join(work, arch.name, 'program')];
      await makeBase(base, arch, node, debian);
      await makeProgram(program, join(work, 'bundle'), npm, join(ROOT, 'LICENSE'), sbom);
      images.push(await buildah.image(arch, base, program, facts));
      await writeFile(join(out, `weir-${arch.name}.cdx.json`), sbom);
      await rm(join(work, arch.name), { recursive: true });
    }
    const layout = join(out, 'weir');
    onStep('index');
    await buildah.writeIndex(images, layout, facts.version);
    return { layout, version: facts.version };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** SOURCE_DATE_EPOCH if it is set (reproducible-builds.org), else the date of the commit. */
async function readFacts(version: string): Promise<ImageFacts> {
  const git = (format: string): Promise<string> =>
    runOk('git', ['-C', ROOT, 'log', '-1', `--format=${format}`]).catch(() => '');
  const epoch = process.env['SOURCE_DATE_EPOCH'] ?? (await git('%ct'));
  return { version, revision: await git('%H'), created: Number(epoch) };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { out: { type: 'string' }, arch: { type: 'string', multiple: true } },
  });
  const wanted = values.arch ?? ARCHITECTURES.map(({ name }) => name);
  const architectures = ARCHITECTURES.filter(({ name }) => wanted.includes(name));
  if (architectures.length !== new Set(wanted).size) {
    throw new CommandError(`--arch takes ${ARCHITECTURES.map(({ name }) => name).join(' and ')}`);
  }
  const { layout, version } = await buildImage({
    out: values.out ?? join(ROOT, 'dist/image'),
    architectures,
    onStep: (step) => console.error(`image: ${step}`),
  });
  console.log(await describeLayout(layout));
  console.log(`\npush it:  skopeo copy --all oci:${layout}:${version} docker://REGISTRY/weir:${version}`);
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    console.error(`image: ${error.message}`);
    process.exitCode = 1;
  }
}
