/** The images of an OCI image layout (image spec, image-layout.md), from its index.json. */
import * as v from 'valibot';
import { isWeirError } from '../util/errors.ts';
import { tryParseDigest, type Digest } from '../oci/digest.ts';
import { parseManifest, type Descriptor } from '../oci/manifest.ts';
import { parseImageReference, type ImageReference } from '../oci/reference.ts';
import {
  MAX_IMAGES,
  orInvalid,
  parseJson,
  readDocument,
  type ArchiveContent,
  type ArchivedImage,
  type KeptBlob,
} from './archive-content.ts';
import { invalid, shown } from './tar-entries.ts';

/** Manifests of one image: real indexes list some dozens of platforms. */
const MAX_MANIFESTS = 256;
/** Depth of indexes within indexes; real images do not nest them deeper. */
const MAX_DEPTH = 3;
/** containerd's and Docker's annotation: the whole name. */
const WHOLE_NAME = 'io.containerd.image.name';
/** The spec's annotation: a tag, or as skopeo and podman write it, a name with its tag. */
const REF_NAME = 'org.opencontainers.image.ref.name';

const indexSchema = v.object({
  manifests: v.array(
    v.object({
      mediaType: v.nullish(v.string(), 'application/octet-stream'),
      digest: v.string(),
      size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
      annotations: v.nullish(v.record(v.string(), v.string()), {}),
    }),
  ),
});
const layoutSchema = v.object({ imageLayoutVersion: v.literal('1.0.0') });

/** @throws WeirError `archive_invalid` */
export async function layoutImages(content: ArchiveContent): Promise<readonly ArchivedImage[]> {
  const layout = content.documents.get('oci-layout');
  if (layout !== undefined && !v.is(layoutSchema, parseJson('oci-layout', layout))) {
    throw invalid('oci-layout names another version than 1.0.0');
  }
  const index = v.safeParse(
    indexSchema,
    parseJson('index.json', content.documents.get('index.json') ?? Buffer.of()),
  );
  if (!index.success) throw invalid(`index.json is no image index: ${v.summarize(index.issues)}`);
  const images = new Map<Digest, ArchivedImage>();
  for (const { mediaType, digest: text, size, annotations } of index.output.manifests) {
    const digest = tryParseDigest(text);
    if (digest === undefined) throw invalid(`index.json names ${shown(text)}, which is no digest`);
    const known = images.get(digest);
    const names = [...(known?.names ?? []), ...namesOf(annotations)];
    const blobs = known?.blobs ?? (await new Walk(content).image({ mediaType, digest, size }));
    images.set(digest, { names, mediaType, digest, size, blobs });
    if (images.size > MAX_IMAGES) throw invalid(`more than ${MAX_IMAGES} images`);
  }
  return [...images.values()];
}

function namesOf(annotations: Readonly<Record<string, string>>): readonly ImageReference[] {
  const name = annotations[WHOLE_NAME] ?? annotations[REF_NAME];
  // A bare tag, as the spec has it, does not say of which image.
  if (name === undefined || !/[/:]/.test(name)) return [];
  return [orInvalid(() => parseImageReference(name))];
}

/** Finds all that an image consists of, and checks that it is there. */
class Walk {
  readonly #content: ArchiveContent;
  readonly #found: Map<Digest, number> = new Map();
  #manifests = 0;

  constructor(content: ArchiveContent) {
    this.#content = content;
  }

  async image(root: Descriptor): Promise<readonly KeptBlob[]> {
    await this.#manifest(root, 0);
    return [...this.#found].map(([digest, size]) => ({ digest, size }));
  }

  async #manifest(descriptor: Descriptor, depth: number): Promise<void> {
    const { digest } = descriptor;
    if (this.#found.has(digest)) return;
    if (depth > MAX_DEPTH || ++this.#manifests > MAX_MANIFESTS)
      throw invalid(`${digest}: more manifests than an image has`);
    this.#blob('the manifest', descriptor);
    const manifest = this.#parse(digest, await readDocument(this.#content, 'the manifest', digest));
    if (manifest.kind === 'image') {
      this.#blob('the config', manifest.config);
      for (const layer of manifest.layers) {
        // Such a layer is fetched from elsewhere, and no archive has it.
        if ((layer.urls ?? []).length === 0) this.#blob('the layer', layer);
      }
      return;
    }
    // An archive of one platform still has the index of all.
    const present = manifest.manifests.filter((child) => this.#content.blobs.has(child.digest));
    if (present.length === 0) throw invalid(`the index ${digest} lists no manifest that is in the archive`);
    for (const child of present) await this.#manifest(child, depth + 1);
  }

  #parse(digest: Digest, bytes: Uint8Array): ReturnType<typeof parseManifest> {
    try {
      return parseManifest(bytes);
    } catch (cause) {
      if (isWeirError(cause, 'reference_invalid')) throw invalid(`${digest}: ${cause.message}`, cause);
      throw cause;
    }
  }

  #blob(what: string, { digest, size }: KeptBlob): void {
    const present = this.#content.blobs.get(digest);
    if (present === undefined) throw invalid(`${what} ${digest} is missing`);
    if (present !== size) throw invalid(`${what} ${digest} has ${present} bytes, and is listed with ${size}`);
    this.#found.set(digest, size);
  }
}
