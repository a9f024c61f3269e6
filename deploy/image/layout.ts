/** The content of an OCI layout (image spec, image-layout.md). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MIB } from '../../src/util/clock.ts';

interface Descriptor {
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string };
}

export interface LayoutImage {
  readonly architecture: string;
  readonly digest: string;
  /** Compressed bytes of each layer, the lowest first. */
  readonly layers: readonly number[];
  readonly config: Readonly<Record<string, unknown>>;
}

export interface Layout {
  /** Digest of the index. */
  readonly digest: string;
  readonly images: readonly LayoutImage[];
}

export async function readLayout(folder: string): Promise<Layout> {
  const read = async (path: string): Promise<Record<string, unknown>> =>
    JSON.parse(await readFile(join(folder, path), 'utf8')) as Record<string, unknown>;
  const blob = ({ digest }: Descriptor): Promise<Record<string, unknown>> =>
    read(join('blobs', digest.replace(':', '/')));
  const [top] = (await read('index.json'))['manifests'] as readonly Descriptor[];
  if (top === undefined) throw new Error(`${folder} holds no image`);
  const index = await blob(top);
  const images: LayoutImage[] = [];
  for (const child of index['manifests'] as readonly Descriptor[]) {
    const manifest = await blob(child);
    images.push({
      architecture: child.platform?.architecture ?? '',
      digest: child.digest,
      layers: (manifest['layers'] as readonly Descriptor[]).map(({ size }) => size),
      config: await blob(manifest['config'] as Descriptor),
    });
  }
  return { digest: top.digest, images };
}

export async function describeLayout(folder: string): Promise<string> {
  const { digest, images } = await readLayout(folder);
  const mib = (bytes: number): string => (bytes / MIB).toFixed(1);
  const lines = images.map(({ architecture, digest: own, layers }) => {
    const total = layers.reduce((sum, size) => sum + size, 0);
    return `  ${architecture.padEnd(6)} ${own}  ${mib(total)} MiB compressed (layers: ${layers.map(mib).join(' + ')})`;
  });
  return [`${folder}: index ${digest}`, ...lines].join('\n');
}
