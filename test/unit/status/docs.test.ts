/** docs/admin-api.md must list each field of the reports with its type, and no other field. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { importsSchema } from '../../../src/status/import-report.ts';
import { logLevelSchema } from '../../../src/status/log-level.ts';
import { pullsSchema } from '../../../src/status/pull-report.ts';
import { preheatSchema, preheatsSchema } from '../../../src/status/preheat-report.ts';
import { peersSchema, statusSchema } from '../../../src/status/status-report.ts';
import { freedSchema, listingSchema, pinSchema } from '../../../src/status/store-report.ts';

const PAGE = join(import.meta.dirname, '../../../docs/admin-api.md');

/** The parts of a valibot schema that this test reads. */
interface Schema {
  readonly type: string;
  readonly entries?: Readonly<Record<string, Schema>>;
  readonly item?: Schema;
  readonly wrapped?: Schema;
}

const TYPES: Readonly<Record<string, string>> = { picklist: 'string', custom: 'string', record: 'object' };

/** `path type` of each field with a value or a list. */
function fieldsOf(schema: Schema, path: string, optional: boolean): string[] {
  if (schema.wrapped !== undefined) return fieldsOf(schema.wrapped, path, true);
  const own = `${path} ${TYPES[schema.type] ?? schema.type}${optional ? '?' : ''}`;
  if (schema.item !== undefined) {
    const inner = schema.item.entries === undefined ? [] : fieldsOf(schema.item, `${path}[]`, optional);
    return [own, ...inner];
  }
  if (schema.entries === undefined) return [own];
  return Object.entries(schema.entries).flatMap(([name, field]) =>
    fieldsOf(field, path === '' ? name : `${path}.${name}`, optional),
  );
}

async function documented(section: string): Promise<readonly string[]> {
  const text = await readFile(PAGE, 'utf8');
  const [, part = ''] = text.split(`## ${section}\n`);
  const rows = (part.split(/\n###? /)[0] ?? '').matchAll(/^\| `([^`]+)` \| (\S+) \|/gm);
  return [...rows].map(([, field, type]) => `${field} ${type}`);
}

describe('docs/admin-api.md', () => {
  it('lists the fields of /v1/status', async () => {
    assert.deepEqual(await documented('/v1/status'), fieldsOf(statusSchema as unknown as Schema, '', false));
  });

  it('lists the fields of /v1/imports', async () => {
    const fields = fieldsOf(importsSchema, '', false);
    assert.deepEqual(await documented('/v1/imports'), fields);
  });

  it('lists the fields of /v1/store, and of the answers to its changes', async () => {
    assert.deepEqual(await documented('/v1/store'), fieldsOf(listingSchema as unknown as Schema, '', false));
    for (const [section, schema] of [
      ['Answer: freed', freedSchema],
      ['Answer: pins', pinSchema],
    ] as const) {
      const fields = fieldsOf(schema as unknown as Schema, '', false).filter(
        (field) => !field.startsWith('store.'),
      );
      assert.deepEqual(await documented(section), [...fields, 'store object']);
    }
  });

  it('lists the fields of /v1/peers', async () => {
    assert.deepEqual(await documented('/v1/peers'), fieldsOf(peersSchema as unknown as Schema, '', false));
  });

  it('lists the fields of /v1/preheats', async () => {
    const all = fieldsOf(preheatSchema, '', false);
    assert.deepEqual(await documented('/v1/preheats'), all);
    const summary = fieldsOf(preheatsSchema, '', false).slice(1);
    const own = all.filter((field) => !field.startsWith('members'));
    assert.deepEqual(
      summary.map((field) => field.replace('preheats[].', '')),
      own,
    );
  });

  it('lists the fields of /v1/pulls', async () => {
    assert.deepEqual(await documented('/v1/pulls'), fieldsOf(pullsSchema as unknown as Schema, '', false));
  });

  it('lists the fields of /v1/log-level', async () => {
    const fields = fieldsOf(logLevelSchema, '', false);
    assert.deepEqual(await documented('/v1/log-level'), fields);
  });
});
