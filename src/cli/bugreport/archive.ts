/** Packs the files of a bug report into a gzipped tar. */
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { pack as createPack } from 'tar-stream';
import type { ReportFile } from './contents.ts';

/** Its owner alone may read what it unpacks to. */
const FILE_MODE = 0o600;

/** In memory, as the log is bounded: a run that is ended leaves no half of an archive. @param folder that all files are in */
export async function archiveOf(
  folder: string,
  files: readonly ReportFile[],
  mtime: Date,
): Promise<Uint8Array> {
  const pack = createPack();
  for (const { name, text } of files) {
    pack.entry({ name: `${folder}/${name}`, mode: FILE_MODE, mtime }, Buffer.from(text));
  }
  pack.finalize();
  return await promisify(gzip)(await buffer(pack));
}
