/**
 * `/v1/imports` of the admin address: what was imported, and the only request there that changes anything. Every program
 * of the machine reaches the address, and an import speaks to the whole cluster. So whoever changes something shows the
 * token that lies in the node's data folder: it may read the folder, which is the node's own user's and root's.
 */
import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { IncomingMessage } from 'node:http';
import { MINUTE } from '../util/clock.ts';
import { errorMessage, isWeirError, toWeirError, WeirError } from '../util/errors.ts';
import { isSameSecret } from '../util/secret.ts';
import { parseImageReference, type ImageReference } from '../oci/reference.ts';
import type { Importer } from '../pull/importer.ts';
import { FILE_MODE, type DataFolder } from '../store/data-folder.ts';
import { nameOf, type ImportRecord } from '../store/import-records.ts';
import { IMPORT_TOKEN, type ImportReport, type ImportsReport } from '../status/import-report.ts';

/** Bytes of the token: nobody guesses so many. */
const TOKEN_BYTES = 32;
/** Milliseconds for which an archive may bring no byte: its reader may wait for a tape, or for a person. */
const STALL = 10 * MINUTE;

export class AdminImports {
  readonly #importer: Importer;
  readonly #token: string;

  private constructor(importer: Importer, token: string) {
    this.#importer = importer;
    this.#token = token;
  }

  /** Makes a new token. If it cannot be written, as on a full disk, nobody can show it until the next start. */
  static async open(
    importer: Importer,
    folder: DataFolder,
    onWarning: (message: string) => void,
  ): Promise<AdminImports> {
    const token = randomBytes(TOKEN_BYTES).toString('hex');
    const path = join(folder.root, IMPORT_TOKEN);
    try {
      await rm(`${path}.new`, { force: true });
      await using file = await open(`${path}.new`, 'wx', FILE_MODE);
      await file.writeFile(`${token}\n`);
      await rename(`${path}.new`, path);
    } catch (error) {
      onWarning(`cannot write ${path} (${errorMessage(error)}): nothing can be imported`);
    }
    return new AdminImports(importer, token);
  }

  /** @returns the status and the report, or a text that says why not */
  async answer(
    request: IncomingMessage,
  ): Promise<{ readonly status: number; readonly body: ImportsReport | string }> {
    try {
      const imports = await this.#do(request);
      return { status: 200, body: { trusted: this.#importer.isTrusted, imports: imports.map(reportOf) } };
    } catch (error) {
      const { code, message } = toWeirError(error);
      if (code === 'internal' || code === 'store_unusable') throw error;
      return { status: STATUSES[code] ?? toWeirError(error).status, body: `${message}\n` };
    } finally {
      request.resume(); // of an archive that is refused: the client would wait for it to be read
    }
  }

  async #do(request: IncomingMessage): Promise<readonly ImportRecord[]> {
    const name = nameIn(request.url ?? '');
    if (request.method === 'GET' || request.method === 'HEAD') return this.#importer.all;
    this.#checkToken(request.headers.authorization);
    if (request.method === 'DELETE') {
      if (name === undefined) throw new WeirError('bad_request', 'the name of the image is missing: ?name=');
      return [await this.#importer.remove(name)];
    }
    this.#importer.check();
    return await this.#importer.run(bodyOf(request), name);
  }

  /** @throws WeirError `import_refused` */
  #checkToken(header: string | undefined): void {
    const [, shown] = /^Bearer ([0-9a-f]+)$/i.exec(header ?? '') ?? [];
    if (shown !== undefined && isSameSecret(shown, this.#token)) return;
    throw new WeirError('import_refused', 'the import token in the data folder of this node was not shown');
  }
}

const STATUSES: Readonly<Partial<Record<string, number>>> = {
  store_full: 507,
  digest_mismatch: 400,
  manifest_unknown: 404,
  reference_invalid: 400,
  name_invalid: 400,
};

/** @throws WeirError `reference_invalid`, `name_invalid` */
function nameIn(target: string): ImageReference | undefined {
  const name = new URLSearchParams(target.split('?', 2)[1] ?? '').get('name');
  return name === null ? undefined : parseImageReference(name);
}

async function* bodyOf(request: IncomingMessage): AsyncGenerator<Uint8Array, void> {
  const stall = setTimeout(() => request.destroy(), STALL);
  try {
    // Destroyed with its reader, the request would take the answer with it.
    const parts = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
    for await (const part of parts) {
      stall.refresh();
      yield part;
    }
  } catch (cause) {
    throw isWeirError(cause)
      ? cause
      : new WeirError('aborted', 'the archive was not sent to its end', { cause });
  } finally {
    clearTimeout(stall);
  }
}

function reportOf(record: ImportRecord): ImportReport {
  const { digest, blobs, at } = record;
  const size = blobs.reduce((sum, blob) => sum + blob.size, 0);
  return { name: nameOf(record), digest, size, blobs: blobs.length, imported: new Date(at).toISOString() };
}
