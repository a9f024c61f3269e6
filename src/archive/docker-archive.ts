/**
 * The images of an archive that `docker save` wrote before 25, or `podman save`: manifest.json names configs and layers by
 * their paths. Such an image has no manifest of a registry, so one is made. It depends on the content alone: the same
 * archive has the same digest on each node.
 */
import * as v from 'valibot';
import { digestOf, tryParseDigest, type Digest } from '../oci/digest.ts';
import { MEDIA_TYPES } from '../oci/manifest.ts';
import { parseImageReference } from '../oci/reference.ts';
import {
  MAX_IMAGES,
  orInvalid,
  parseJson,
  readDocument,
  type ArchiveContent,
  type ArchivedFile,
  type ArchivedImage,
} from './archive-content.ts';
import { followed, invalid, pathOf, shown } from './tar-entries.ts';

/** Layers of one image: overlayfs takes 500 lower folders. */
const MAX_LAYERS = 1_000;

const listSchema = v.array(
  v.object({
    Config: v.string(),
    RepoTags: v.nullish(v.array(v.string()), []),
    Layers: v.nullish(v.pipe(v.array(v.string()), v.maxLength(MAX_LAYERS)), []),
  }),
);
const configSchema = v.object({
  rootfs: v.object({ diff_ids: v.nullish(v.array(v.string()), []) }),
});

/** @throws WeirError `archive_invalid` */
export async function dockerImages(content: ArchiveContent): Promise<readonly ArchivedImage[]> {
  const bytes = content.documents.get('manifest.json');
  if (bytes === undefined) throw invalid('it has neither index.json (OCI) nor manifest.json (docker save)');
  const list = v.safeParse(listSchema, parseJson('manifest.json', bytes));
  if (!list.success) throw invalid(`manifest.json is no list of images: ${v.summarize(list.issues)}`);
  if (list.output.length > MAX_IMAGES) throw invalid(`more than ${MAX_IMAGES} images`);
  const images: ArchivedImage[] = [];
  for (const { Config, RepoTags, Layers } of list.output) {
    const config = fileAt(content, Config);
    const layers = Layers.map((path) => fileAt(content, path));
    await checkLayers(content, config.digest, layers);
    const manifest = Buffer.from(JSON.stringify(manifestOf(config, layers)));
    const digest = digestOf(manifest);
    const size = manifest.length;
    await content.sink.keep(digest, size, only(manifest));
    const sizes = new Map([{ digest, size }, config, ...layers].map((blob) => [blob.digest, blob.size]));
    images.push({
      names: RepoTags.map((name) => orInvalid(() => parseImageReference(name))),
      mediaType: MEDIA_TYPES.ociManifest,
      digest,
      size,
      blobs: Array.from(sizes, ([each, bytesOf]) => ({ digest: each, size: bytesOf })),
    });
  }
  return images;
}

function fileAt({ files, blobs, links }: ArchiveContent, named: string): ArchivedFile {
  const path = followed(pathOf(named), links);
  const file = files.get(path);
  if (file !== undefined) return file;
  const digest = tryParseDigest(path.replace(/^blobs\/([^/]+)\/([^/]+)$/, '$1:$2'));
  const size = digest && blobs.get(digest);
  if (digest === undefined || size === undefined) throw invalid(`${shown(named)} is missing`);
  return { digest, size, isGzip: false };
}

/** The config lists the digest of each layer without compression. A runtime checks those of compressed layers. */
async function checkLayers(
  content: ArchiveContent,
  config: Digest,
  layers: readonly ArchivedFile[],
): Promise<void> {
  const bytes = await readDocument(content, 'the config', config);
  const parsed = v.safeParse(configSchema, parseJson(`the config ${config}`, bytes));
  if (!parsed.success) throw invalid(`${config} is no config of an image: ${v.summarize(parsed.issues)}`);
  const { diff_ids: listed } = parsed.output.rootfs;
  if (listed.length !== layers.length) {
    throw invalid(`${layers.length} layers, and ${listed.length} in the config ${config}`);
  }
  for (const [at, { digest, isGzip }] of layers.entries()) {
    if (!isGzip && digest !== listed[at])
      throw invalid(`layer ${at + 1} has the digest ${digest}, and ${shown(listed[at] ?? '')} in the config`);
  }
}

function manifestOf(config: ArchivedFile, layers: readonly ArchivedFile[]): unknown {
  return {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: { mediaType: MEDIA_TYPES.ociConfig, digest: config.digest, size: config.size },
    layers: layers.map(({ digest, size, isGzip }) => ({
      mediaType: isGzip ? MEDIA_TYPES.ociLayerGzip : MEDIA_TYPES.ociLayer,
      digest,
      size,
    })),
  };
}

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield await Promise.resolve(bytes);
}
