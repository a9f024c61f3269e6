/**
 * What breaks in a cluster, on five real nodes behind shaped links, with clients that pull by containerd's rules: no pull fails
 * that passes without Weir, no byte is wrong, and nothing hangs. Times are told, and not judged. `WHOLE=1` runs all cases.
 */
import assert from 'node:assert/strict';
import { requires } from '../support/requires.ts';
import { CASES } from './cases.ts';
import { Site, type Summary } from './site.ts';

const MOST_IMAGES = 2.5;
const isWhole = process.env['WHOLE'] !== undefined;

const needs = ['root', 'docker-registry', 'ip', 'tc', 'nft', 'nsenter', 'unshare'];

requires(...needs)(`faults: ${isWhole ? 'all' : 'a part'}`, () => {
  const table: string[] = [];
  let usual: Summary | undefined;

  for (const each of CASES.filter(({ isShort }) => isWhole || isShort === true)) {
    it(each.title, async () => {
      await using site = await Site.create(each.site);
      const summary = await each.act(site);
      usual ??= summary;
      table.push(rowOf(each.title, summary, usual));
      const { wrong, failed, hung, images, errors } = summary;
      const why = errors.join('; ');
      assert.equal(wrong, 0, why);
      if (each.isDirectWorse !== true) assert.deepEqual({ failed, hung }, { failed: 0, hung: 0 }, why);
      assert.ok(images <= (each.images ?? MOST_IMAGES), `${images.toFixed(2)} images left the registry`);
    });
  }

  after(() => {
    process.stdout.write(`\n${[HEADER, ...table].join('\n')}\n`);
  });
});

const HEADER = 'failed wrong hung  slowest  usual   gap  images (past)  case';

/** `usual`: the slowest pull without a fault, which is the first case. */
function rowOf(
  title: string,
  { failed, wrong, hung, slowest, gap, images, past }: Summary,
  usual: Summary,
): string {
  const seconds = (value: number): string => `${value.toFixed(1)} s`.padStart(7);
  const share = `${images.toFixed(2)} (${past.toFixed(2)})`.padStart(13);
  const counts = [failed, wrong, hung].map((count) => String(count).padStart(5)).join(' ');
  return `${counts} ${seconds(slowest)} ${seconds(usual.slowest)} ${seconds(gap)} ${share}  ${title}`;
}
