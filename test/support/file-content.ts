/** Bytes of a test in a file without a name, for byte workers to read. */
import { openSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import type { FileContent } from '../../src/util/content.ts';

const CONTENTS = new WeakMap<Uint8Array, FileContent>();

/** The same file for the same bytes. It is open until the process ends. */
export function fileOf(bytes: Uint8Array): FileContent {
  const known = CONTENTS.get(bytes);
  if (known !== undefined) return known;
  const path = join(tmpdir(), `weir-content-${randomUUID()}`);
  const fd = openSync(path, 'wx+');
  unlinkSync(path);
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, bytes.length - at, at);
  const content = { fd, size: bytes.length };
  CONTENTS.set(bytes, content);
  return content;
}
