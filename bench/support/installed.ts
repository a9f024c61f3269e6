/** The program as the image and the .deb hold it: the bundle takes less memory than the sources. */
import { fileURLToPath } from 'node:url';
import { bundle, NODE_FLAG } from '../../deploy/image/bundle.ts';
import type { NodeProgram } from '../../test/support/weir.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Bundles it into `folder`; resolves with the command that starts it. */
export async function installInto(folder: string): Promise<NodeProgram> {
  await bundle(ROOT, folder);
  return [process.execPath, NODE_FLAG, `${folder}/main.mjs`];
}
