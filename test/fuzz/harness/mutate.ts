/** Makes an input by mutating others. Pure: randomness is handed in. */
import type { Chance } from './chance.ts';

/** Bytes of one input: more than any message, and enough for quadratic work to show. */
export const MAX_INPUT: number = 64 * 1024;
/** Changes to one input. */
const MAX_CHANGES = 6;
/** A part is repeated up to 2^16 times: many readers refuse long input, and are slow within their bound. */
const MAX_DOUBLINGS = 17;
/** Depth of brackets: enough to overflow the stack of a recursive reader. */
const MAX_DEPTH = 20_000;

const NUMBERS = [
  0n,
  1n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0xffffn,
  0x1_0000n,
  0x7fff_ffffn,
  0xffff_ffffn,
  2n ** 40n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];
const DECIMALS = [
  ...NUMBERS.map(String),
  '-1',
  '-0',
  '00',
  '1e9',
  '1e999',
  '0x10',
  '1.5',
  'NaN',
  '999999999999999',
];
const TEXTS = [
  '\0',
  '\r\n',
  '\r\n\r\n',
  '\n',
  '\t',
  ' ',
  '"',
  '\\',
  '\\u0000',
  '%00',
  '%2f',
  '%',
  '../',
  '//',
  '@',
  ':',
  ',',
  ';',
  '=',
  '#',
  '\u0085',
  '\u2028',
  '\ufeff',
  '\ufffd',
  '\u202e',
  'é',
  'e\u0301',
  'ı',
  'ſ',
  '😀',
  '__proto__',
  'constructor',
  'null',
  'true',
];
/** Invalid UTF-8: overlong, a lone surrogate, out of range, cut short. */
const BAD_UTF8 = [[0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82], [0xff]];
const RUNS = [',', ';', '.', '/', '=', '-', ':', '#', '\\', '"', 'a', '0', '\r', '%'];
const BRACKETS = [
  ['[', ']'],
  ['{"a":', '}'],
  ['(', ')'],
  ['"', '"'],
  ['{', '}'],
  ['<', '>'],
  ['a:\n ', ''],
  ['- ', ''],
  ['a.', ''],
];

interface Sources {
  /** Other inputs. */
  readonly pool: readonly Buffer[];
  readonly words: readonly string[];
}

type Change = (input: Buffer, sources: Sources, chance: Chance) => Buffer;

const flip: Change = (input, _, chance) => {
  const copy = Buffer.from(input);
  const at = chance.below(copy.length);
  if (copy.length > 0) copy[at] = (copy[at] ?? 0) ^ (1 << chance.below(8));
  return copy;
};
const put: Change = (input, _, chance) => {
  const copy = Buffer.from(input);
  if (copy.length > 0) copy[chance.below(copy.length)] = chance.below(256);
  return copy;
};
const insert: Change = (input, _, chance) => inserted(input, chance.bytes(1 + chance.below(8)), chance);
const remove: Change = (input, _, chance) => {
  const [start, end] = part(input, chance);
  return Buffer.concat([input.subarray(0, start), input.subarray(end)]);
};
const truncate: Change = (input, _, chance) => input.subarray(0, chance.below(input.length + 1));
const duplicate: Change = (input, _, chance) => {
  const [start, end] = part(input, chance);
  const times = chance.oneIn(4) ? 2 ** chance.below(MAX_DOUBLINGS) : 1 + chance.below(4);
  const most = Math.min(times, MAX_INPUT / Math.max(1, end - start));
  const copies = Array<Buffer>(Math.ceil(most)).fill(input.subarray(start, end));
  return Buffer.concat([input.subarray(0, end), ...copies, input.subarray(end)]);
};
/**
 * A long run of one character next to a separator, and a character that ends it: patterns that match it in several
 * ways are slow then.
 */
const pad: Change = (input, _, chance) => {
  const text = input.toString('latin1', 0, 4096);
  const at = chance.pick([...text.matchAll(/[^a-z0-9]|$/gi)]).index + 1;
  const own = text[chance.oneIn(2) ? at - 1 : at] ?? ' ';
  const run = chance
    .pick([' ', ' ', '\t', own, own, ...RUNS])
    .repeat(2 ** (4 + chance.below(MAX_DOUBLINGS - 5)));
  const end = chance.oneIn(2) ? '' : chance.pick(['\x01', '\0', '!', 'a', '\xff', '"']);
  return Buffer.concat([input.subarray(0, at), Buffer.from(run + end, 'latin1'), input.subarray(at)]);
};
const splice: Change = (input, { pool }, chance) => {
  const other = chance.pick(pool);
  const [start, end] = part(other, chance);
  return Buffer.concat([
    input.subarray(0, chance.below(input.length + 1)),
    other.subarray(start, chance.oneIn(2) ? end : other.length),
    ...(chance.oneIn(2) ? [input.subarray(chance.below(input.length + 1))] : []),
  ]);
};
const binaryNumber: Change = (input, _, chance) => {
  const wide = Buffer.alloc(8);
  wide.writeBigUInt64BE(BigInt.asUintN(64, chance.pick(NUMBERS)));
  const number = wide.subarray(8 - 2 ** chance.below(4));
  const copy = Buffer.from(input);
  if (chance.oneIn(2)) number.reverse();
  copy.set(number.subarray(0, copy.length), chance.below(Math.max(1, copy.length - number.length)));
  return copy;
};
/** A length prefix, as in protobuf and frames. */
const varint: Change = (input, _, chance) => {
  const bytes: number[] = [];
  let rest = chance.pick(NUMBERS);
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return inserted(input, Buffer.from([...bytes, Number(rest)]), chance);
};
const decimal: Change = (input, _, chance) => {
  const text = input.toString('latin1');
  const numbers = [...text.slice(0, 4096).matchAll(/[0-9]+/g)];
  if (numbers.length === 0) return inserted(input, Buffer.from(chance.pick(DECIMALS)), chance);
  const { index, 0: digits } = chance.pick(numbers);
  const replaced = text.slice(0, index) + chance.pick(DECIMALS) + text.slice(index + digits.length);
  return Buffer.from(replaced, 'latin1');
};
const word: Change = (input, { words }, chance) =>
  inserted(input, Buffer.from(chance.pick(words.length > 0 ? words : TEXTS)), chance);
const text: Change = (input, _, chance) =>
  inserted(
    input,
    chance.oneIn(4) ? Buffer.from(chance.pick(BAD_UTF8)) : Buffer.from(chance.pick(TEXTS)),
    chance,
  );
const nest: Change = (input, _, chance) => {
  const depth = chance.oneIn(4) ? chance.below(MAX_DEPTH) : 1 + chance.below(20);
  const [open = '', close = ''] = chance.pick(BRACKETS);
  const [start, end] = part(input, chance);
  return Buffer.concat([
    input.subarray(0, start),
    Buffer.from(open.repeat(depth)),
    input.subarray(start, end),
    Buffer.from(chance.oneIn(4) ? '' : close.repeat(depth)),
    input.subarray(end),
  ]);
};
const lines: Change = (input, _, chance) => {
  const all = input.toString('latin1').split('\n');
  const [from, to] = [chance.below(all.length), chance.below(all.length)];
  all.splice(to, 0, ...(chance.oneIn(2) ? all.splice(from, 1) : [all[from] ?? '']));
  return Buffer.from(all.join('\n'), 'latin1');
};
const letterCase: Change = (input, _, chance) => {
  const [start, end] = part(input, chance);
  const changed = input.toString('latin1', start, end);
  const flipped = chance.oneIn(2) ? changed.toUpperCase() : changed.toLowerCase();
  return Buffer.concat([input.subarray(0, start), Buffer.from(flipped, 'latin1'), input.subarray(end)]);
};

const CHANGES: readonly Change[] = [
  flip,
  flip,
  put,
  insert,
  remove,
  remove,
  truncate,
  duplicate,
  pad,
  pad,
  splice,
  splice,
  binaryNumber,
  varint,
  decimal,
  decimal,
  word,
  word,
  word,
  text,
  nest,
  lines,
  letterCase,
];

/** An input of the pool with some changes; seldom, random bytes. */
export function mutated(sources: Sources, chance: Chance): Buffer {
  if (chance.oneIn(40)) return chance.bytes(chance.below(300));
  let input = chance.pick(sources.pool);
  const changes = 1 + chance.below(chance.oneIn(2) ? 2 : MAX_CHANGES);
  for (let i = 0; i < changes; i++)
    input = chance.pick(CHANGES)(input, sources, chance).subarray(0, MAX_INPUT);
  return input;
}

function part(input: Buffer, chance: Chance): readonly [start: number, end: number] {
  const start = chance.below(input.length + 1);
  const most = chance.oneIn(3) ? input.length - start : Math.min(16, input.length - start);
  return [start, start + chance.below(most + 1)];
}

function inserted(input: Buffer, bytes: Buffer, chance: Chance): Buffer {
  const at = chance.below(input.length + 1);
  return Buffer.concat([input.subarray(0, at), bytes, input.subarray(at)]);
}
