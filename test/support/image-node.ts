/** A node that runs from the image, as every runtime must be able to run it. */
import assert from 'node:assert/strict';
import { MINUTE } from '../../src/util/clock.ts';
import { request } from './client.ts';
import { buildImage } from './images.ts';
import type { Program } from './program.ts';
import { push } from './push.ts';
import type { Registry } from './registry.ts';

/** Arguments of `weir` for a node on free ports of the machine's network. */
export const NODE_ARGUMENTS: readonly string[] = [
  ['node', '--mirror-listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'],
  ['--cluster-listen', '127.0.0.1:0', '--transfer-listen', '127.0.0.1:0'],
  ['--store-runtime-content', 'none', '--log-format', 'json'],
].flat();

/** Waits for the node that `program` runs, and pulls a new image through it. */
export async function assertServesPull(program: Program, registry: Registry, seed: string): Promise<void> {
  const timeout = 2 * MINUTE; // emulated, its start alone takes long
  const [line] = await program.line(/^.*"msg":"mirror listening".*$/, { timeout });
  const [url] = (JSON.parse(line) as { addresses: string[] }).addresses;
  await program.line(/"msg":"ready"/, { timeout });
  const image = await buildImage({ seed, layers: [3_000_000, 100] });
  await push(registry.url, `image/${seed}`, 'v1', image);
  const get = (path: string): ReturnType<typeof request> =>
    request(`${url}/v2/image/${seed}/${path}?ns=${encodeURIComponent(registry.host)}`);
  assert.equal((await get('manifests/v1')).digest, image.digest);
  for (const blob of image.blobs) assert.equal((await get(`blobs/${blob.digest}`)).digest, blob.digest);
}
