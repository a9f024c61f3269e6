/** The image of this tree, built once for all tests of a run. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readLayout, type Layout, type LayoutImage } from '../../deploy/image/layout.ts';
import { HOST_PLATFORM } from './images.ts';
import { runOk } from './program.ts';
import { madeOnce } from './run-folder.ts';

const BUILD: string = fileURLToPath(new URL('../../deploy/image/build.ts', import.meta.url));
const PACKAGE = new URL('../../package.json', import.meta.url);

export interface BuiltImage {
  /** Folder with the layout and the bills of materials. */
  readonly folder: string;
  /** Folder of the OCI layout. */
  readonly layoutFolder: string;
  readonly version: string;
  readonly layout: Layout;
}

/** Programs that {@link builtImage} needs, for `requires`. */
export const BUILDING: readonly string[] = ['root', 'buildah', 'skopeo', 'apt-get', 'npm', 'flock'];

let built: Promise<BuiltImage> | undefined;

export async function builtImage(): Promise<BuiltImage> {
  built ??= build();
  return built;
}

async function build(): Promise<BuiltImage> {
  const folder = await madeOnce('image', [process.execPath, BUILD, '--out']);
  const { version } = JSON.parse(await readFile(PACKAGE, 'utf8')) as { version: string };
  const layoutFolder = join(folder, 'weir');
  return { folder, layoutFolder, version, layout: await readLayout(layoutFolder) };
}

export function imageOf({ layout }: BuiltImage, architecture: string): LayoutImage {
  const found = layout.images.find((image) => image.architecture === architecture);
  if (found === undefined) throw new Error(`the index has no image for ${architecture}`);
  return found;
}

/** Writes the image for this machine into one file, as `docker load`, `podman load` or `ctr image import` read it. */
export async function writeArchive(
  image: BuiltImage,
  format: 'oci-archive' | 'docker-archive',
  file: string,
  name: string,
): Promise<void> {
  const source = `oci:${image.layoutFolder}:${image.version}`;
  const arch = ['--override-os', 'linux', '--override-arch', HOST_PLATFORM.architecture];
  await runOk('skopeo', [
    '--insecure-policy',
    ...arch,
    'copy',
    '--quiet',
    source,
    `${format}:${file}:${name}`,
  ]);
}
