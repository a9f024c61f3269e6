/** `weir export` */
import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { OciArchiveWriter } from '../../archive/oci-archive.ts';
import { formatBytes } from '../client/format.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { pullImage } from '../client/pull-image.ts';
import { loadConfig } from '../../config/load.ts';
import { readFileBounded } from '../../config/read-file.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import { formatImageReference, parseImageReference } from '../../oci/reference.ts';
import { WeirError } from '../../util/errors.ts';
import { withSignals, type CliContext } from '../context.ts';
import { explainSilence, authFilesOf, parseMirror } from './pull-command.ts';

export async function runExportCommand(
  text: string,
  options: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<void> {
  const { config: file, platform, output, allPlatforms } = options;
  const { config } = await loadConfig({
    env: context.env,
    file: typeof file === 'string' ? file : undefined,
    readFile: readFileBounded,
  });
  const image = parseImageReference(text, config['mirror.default-registry']);
  const mirror = parseMirror(String(options['mirror']));
  const wanted = typeof platform === 'string' ? parsePlatform(platform) : undefined;
  const path = typeof output === 'string' ? output : undefined;
  if (path === undefined && context.stdout.isTTY === true) {
    throw new WeirError('bad_request', 'an archive is nothing for a terminal: name a file with -o');
  }
  const partial = path === undefined ? undefined : `${path}.partial`;
  await withSignals(async (signal) => {
    const target = partial === undefined ? context.stdout : createWriteStream(partial);
    const archive = new OciArchiveWriter(target, partial !== undefined);
    try {
      const manifests = new Map<Digest, Descriptor>();
      const pulled = await pullImage({
        image,
        mirror,
        platform: wanted,
        allPlatforms: allPlatforms === true,
        concurrency: 1, // the blobs of a tar stand one behind the other
        registries: config.registries,
        caFile: config['upstream.ca-file'] || undefined,
        authFiles: authFilesOf(options['authfile'], config['upstream.docker-config'], context.env),
        warn: (message) => void context.stderr.write(`weir: warning: ${message}\n`),
        environment: context.env,
        onManifest: async (manifest, bytes) => {
          manifests.set(manifest.digest, manifest);
          await archive.document(manifest.digest, bytes);
        },
        onProgress: (event) => {
          if (event.kind === 'started') archive.begin(event.blob.digest, event.blob.size);
          if (event.kind === 'finished') archive.end();
        },
        sink: (_blob, chunk) => archive.write(chunk),
        signal,
      });
      // Of an index with one of its images, the archive is of that image: the others are not there.
      const images = [...manifests.values()];
      const root = allPlatforms === true ? manifests.get(pulled.digest) : images.at(-1);
      if (root === undefined) throw new WeirError('internal', 'an image without a manifest');
      const { digest, size, mediaType } = root;
      await archive.finish({ mediaType, digest, size }, image);
      if (partial !== undefined && path !== undefined) await rename(partial, path);
      const summary = `${formatImageReference(image)} ${digest} ${formatBytes(pulled.bytes)}`;
      (path === undefined ? context.stderr : context.stdout).write(`${summary}\n`);
    } catch (error) {
      await archive.abandon();
      if (partial !== undefined) await rm(partial, { force: true });
      throw explainSilence(error, mirror, 'or give another one with --mirror');
    }
  });
}
