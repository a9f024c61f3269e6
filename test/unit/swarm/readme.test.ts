/** src/swarm/README.md names files and numbers: they must be those of the code. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as parameters from '../../../src/swarm/parameters.ts';
import { HOUR, KIB, MINUTE, SECOND } from '../../../src/util/clock.ts';

const SWARM = join(import.meta.dirname, '../../../src/swarm');
const README = readFileSync(join(SWARM, 'README.md'), 'utf8');
const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  ms: 1,
  s: SECOND,
  min: MINUTE,
  h: HOUR,
  KiB: KIB,
};

/** The rows of the table in a section, cell by cell, without its head. */
function rows(section: string): readonly (readonly string[])[] {
  const [, text = ''] = README.split(`## ${section}\n`);
  const lines = (text.split('\n## ')[0] ?? '').split('\n').filter((line) => line.startsWith('|'));
  return lines.slice(2).map((line) => line.split('|').slice(1, -1));
}

/** What stands between backticks. */
function namesIn(cell = ''): readonly string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
}

/** `10 ms, 30 ms; 0.5` gives 10, 30, 0.5. */
function valuesIn(cell = ''): readonly number[] {
  return cell.split(/[,;]/).map((text) => {
    const [, number, unit = ''] = /^ *([\d.]+) ?([a-zA-Z]*) *$/.exec(text) ?? [];
    return Number(number) * (UNITS[unit] ?? NaN);
  });
}

describe('src/swarm/README.md', () => {
  it('lists each number of parameters.ts once, with its value', () => {
    const { PARAMETERS, ...constants } = parameters;
    const known: Readonly<Record<string, unknown>> = { ...PARAMETERS, ...constants };
    const listed = rows('Numbers').flatMap(([names]) => namesIn(names));
    assert.deepEqual(listed.toSorted(), Object.keys(known).toSorted());
    for (const [names, values] of rows('Numbers')) {
      const wanted = namesIn(names).flatMap((name) => known[name]);
      assert.deepEqual(valuesIn(values), wanted, `the values of ${names?.trim()}`);
    }
  });

  it('names each file of src/swarm once', () => {
    const listed = rows('Files').flatMap(([names]) => namesIn(names));
    const files = readdirSync(SWARM).filter((name) => name.endsWith('.ts'));
    assert.deepEqual(listed.toSorted(), files.toSorted());
  });

  it('names files that exist for each stall', () => {
    const named = rows('What happens on a stall').flatMap(([, names]) => namesIn(names));
    assert.ok(named.length > 20, `${named.length} files`);
    for (const name of named) assert.ok(statSync(join(SWARM, name)).isFile(), name);
  });
});
