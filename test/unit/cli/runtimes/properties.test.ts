/** What must hold for any file that a machine may have. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { stringify as tomlOf } from 'smol-toml';
import { stringify as yamlOf } from 'yaml';
import { daemonJsonEdit } from '../../../../src/cli/runtimes/daemon-json.ts';
import type { Edit } from '../../../../src/cli/runtimes/edit.ts';
import { hostsTomlEdit } from '../../../../src/cli/runtimes/hosts-toml.ts';
import { registriesYamlEdit } from '../../../../src/cli/runtimes/registries-yaml.ts';
import { Machine, MIRROR, PATHS } from './fixture.ts';

const url = fc.webUrl({ withQueryParameters: false });
const word = fc.stringMatching(/^[a-z]{1,8}$/);
const eol = fc.constantFrom('\n', '\r\n');
/** Space and comments between lines, and a last line that may lack its end. */
const dress = (text: string, end: string, gaps: readonly number[], comment: string): string => {
  const lines = text.trimEnd().split('\n');
  const dressed: string[] = [];
  for (const [index, line] of lines.entries()) {
    const above = gaps[index % gaps.length] ?? 0;
    for (let gap = 0; gap < above; gap += 1) dressed.push(gap % 2 === 0 ? '' : `# ${comment}`);
    dressed.push(line);
  }
  return dressed.join(end);
};
const dressed = (text: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .tuple(text, eol, fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }), word, fc.boolean())
    .map(([plain, end, gaps, comment, ended]) => dress(plain, end, gaps, comment) + (ended ? end : ''));

const hostTable = fc.record(
  {
    capabilities: fc.subarray(['pull', 'resolve', 'push']),
    skip_verify: fc.boolean(),
    header: fc.dictionary(word, word),
  },
  { requiredKeys: [] },
);
const hostsToml = dressed(
  fc
    .record({ server: url, host: fc.dictionary(url, hostTable, { maxKeys: 3 }) }, { requiredKeys: [] })
    .map((file) => tomlOf(file)),
);
const daemonJson = fc
  .tuple(
    fc.dictionary(word, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 }),
    fc.option(fc.array(url, { maxLength: 3 }), { nil: undefined }),
    fc.constantFrom(0, 1, 2, 4, '\t'),
    eol,
  )
  .map(([rest, mirrors, indent, end]) =>
    JSON.stringify({ ...rest, ...(mirrors && { 'registry-mirrors': mirrors }) }, null, indent).replaceAll(
      '\n',
      end,
    ),
  );
const registriesYaml = dressed(
  fc
    .record(
      {
        mirrors: fc.dictionary(
          fc.oneof(word, fc.constant('*')),
          fc.record({ endpoint: fc.array(url, { maxLength: 2 }) }),
          {
            maxKeys: 3,
          },
        ),
        configs: fc.dictionary(word, fc.record({ auth: fc.record({ username: word }) }), { maxKeys: 2 }),
      },
      { requiredKeys: [] },
    )
    .map((file) => yamlOf(file)),
);

interface Format {
  readonly name: string;
  readonly path: string;
  readonly files: fc.Arbitrary<string>;
  readonly edit: Edit;
  /** An edit by hand that is a file of this format still. */
  readonly edited: (text: string) => string;
  readonly kept: string;
  /** Whether it sends a name to another registry, so that it is left alone. */
  readonly isElsewhere?: (text: string) => boolean;
}

const FORMATS: readonly Format[] = [
  {
    name: 'hosts.toml',
    path: PATHS.hosts,
    files: hostsToml,
    edit: hostsTomlEdit({ mirrorUrl: MIRROR, resolve: 'registry' }, '_default'),
    edited: (text) => `${text}\n[host."https://by.hand"]\n`,
    kept: 'https://by.hand',
    isElsewhere: (text) => /^server = /m.test(text),
  },
  {
    name: 'daemon.json',
    path: PATHS.docker,
    files: daemonJson,
    edit: daemonJsonEdit(MIRROR),
    edited: (text) => text.replace('{', '{"by-hand": [true], '),
    kept: '"by-hand"',
  },
  {
    name: 'registries.yaml',
    path: PATHS.k3s,
    files: registriesYaml,
    edit: registriesYamlEdit(MIRROR, ['*']),
    edited: (text) => `by: hand\n${text}`,
    kept: 'by: hand',
  },
];

for (const { name, path, files, edit, edited, kept, isElsewhere = () => false } of FORMATS) {
  describe(`any ${name}`, function () {
    this.timeout(60_000); // hundreds of times it waits for the disk, which others keep busy
    it('comes back byte for byte, also after a second configure by another version', async () => {
      await fc.assert(
        fc.asyncProperty(fc.option(files, { nil: undefined }), async (text) => {
          await using machine = await Machine.create({
            [PATHS.containerdConfig]: '',
            '/etc/rancher/k3s/x': '',
          });
          await machine.write('/usr/bin/dockerd', '');
          if (text !== undefined) await machine.write(path, text);
          const before = await machine.snapshot();
          await machine.configure();
          const isLeft = isElsewhere(text ?? '');
          assert.equal((await machine.read(path)).includes(MIRROR), !isLeft);
          assert.equal((await machine.configure()).changed, 0, 'a second time changes nothing');
          await machine.configure({ mirrorUrl: 'http://127.0.0.1:4999' });
          assert.ok(isLeft || !(await machine.read(path)).includes(MIRROR), 'the mirror of before is gone');
          await machine.restore();
          assert.deepEqual(await machine.snapshot(), before);
        }),
        { numRuns: 40 },
      );
    });

    it('is the same after adding twice', () => {
      fc.assert(fc.property(files, (text) => assert.equal(edit.add(edit.add(text)), edit.add(text))));
    });

    it('keeps text that was written by hand in between, and loses our part', () => {
      fc.assert(
        fc.property(fc.option(files, { nil: undefined }), (text) => {
          const rest = edit.remove(edited(edit.add(text)), text) ?? '';
          assert.ok(rest.includes(kept), rest);
          assert.ok(!rest.includes(MIRROR), rest);
        }),
      );
    });
  });
}
