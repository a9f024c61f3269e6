/** Reads small files whole, with a bound: configuration and secrets. */
import { open } from 'node:fs/promises';
import { errorMessage, systemCode, WeirError } from '../util/errors.ts';

/** The text of the file at `path` (UTF-8); undefined if there is none; more than `maxBytes` is an error. */
export type ReadFile = (path: string, maxBytes: number) => Promise<string | undefined>;

/**
 * Reads from the disk. A pipe, such as that of the shell's `<(…)`, is read to its end too.
 * @throws WeirError `config_invalid` if the file cannot be read or is larger than `maxBytes`
 */
export const readFileBounded: ReadFile = async (path, maxBytes) => {
  try {
    await using file = await open(path, 'r');
    const buffer = Buffer.alloc(maxBytes + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    if (length > maxBytes)
      throw new WeirError('config_invalid', `${path}: larger than the allowed ${maxBytes} bytes`);
    return buffer.toString('utf8', 0, length);
  } catch (error) {
    if (error instanceof WeirError) throw error;
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined;
    throw new WeirError('config_invalid', `${path}: cannot be read: ${errorMessage(error)}`, {
      cause: error,
    });
  }
};
