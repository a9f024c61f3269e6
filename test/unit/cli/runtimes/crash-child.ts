/**
 * `weir host` of a machine below argv[2], `configure` or `restore` as argv[3], that SIGKILL ends at its argv[4]th change
 * of the disk (0: the first): for a write, in the middle of it. Prints `done` where it comes to its end.
 */
import fs from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { configureHost, restoreHost } from '../../../../src/cli/runtimes/host-setup.ts';
import { STATE_FOLDER } from '../../../../src/host/original-files.ts';
import { MIRROR } from './fixture.ts';

type AnyFunction = (...parameters: unknown[]) => Promise<unknown>;

const [, , root = '', command, step = ''] = process.argv;
let left = Number(step);

function dieAtStep(): void {
  if (left-- === 0) process.kill(process.pid, 'SIGKILL');
}

const promises = fs.promises as unknown as Record<string, AnyFunction>;
for (const name of ['rename', 'rm', 'mkdir', 'rmdir', 'chmod', 'open']) {
  const original = promises[name];
  if (original === undefined) throw new Error(`there is no ${name}`);
  promises[name] = async (...parameters) => {
    const isRead = name === 'open' && parameters[1] === undefined;
    if (!isRead) dieAtStep();
    return original(...parameters);
  };
}
const handle = await open(import.meta.filename);
const prototype = Object.getPrototypeOf(handle) as Pick<FileHandle, 'writeFile'>;
await handle.close();
const writeFile = prototype.writeFile;
prototype.writeFile = async function (this: FileHandle, text) {
  if (typeof text !== 'string') throw new Error('a text was expected');
  const half = text.length >> 1;
  await writeFile.call(this, text.slice(0, half));
  dieAtStep();
  await writeFile.call(this, text.slice(half));
};
syncBuiltinESMExports();

const options = { root, stateFolder: STATE_FOLDER, runtimes: undefined, dryRun: false };
const wish = {
  mirrorUrl: MIRROR,
  registries: ['_default', 'ghcr.io'],
  direct: [],
  resolve: 'mirror',
} as const;
if (command === 'configure') await configureHost(wish, options);
else await restoreHost(options);
console.log('done');
