/** The exit codes of `weir`, written once for the code, `weir --help` and docs/cli.md. */
import { isWeirError, toWeirError, type ErrorCode } from '../util/errors.ts';

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  locked: 3,
  addressInUse: 4,
  notVerified: 5,
  unwell: 6,
  partial: 7,
  /** EX_SOFTWARE of sysexits(3); Node.js itself never ends with it. */
  crashed: 70,
  /** EX_OSERR. */
  workers: 71,
} as const;

/** Ends a node one of whose threads hangs in a system call: SIGALRM, as nothing else here sends it. */
export const STUCK_SIGNAL = 'SIGALRM';

export const EXIT_CODES: readonly { readonly code: string; readonly meaning: string }[] = [
  { code: '0', meaning: 'Done; for `weir node`: stopped by SIGTERM or SIGINT, and drained' },
  { code: '1', meaning: 'Failed' },
  { code: '2', meaning: 'The command line or the configuration is wrong' },
  { code: '3', meaning: 'The data folder is in use by another node' },
  { code: '4', meaning: 'An address to listen on is in use' },
  { code: '5', meaning: 'Received content has a wrong digest' },
  { code: '6', meaning: '`weir doctor` has found something that is wrong' },
  { code: '7', meaning: '`weir preheat --wait`: a chosen node does not have all images' },
  {
    code: '70',
    meaning: 'A defect of Weir; for `weir node`: it ended at once, and should be started again',
  },
  {
    code: '71',
    meaning: 'For `weir node`: threads that move content ended again and again; it should be started again',
  },
  { code: '128+n', meaning: 'Ended by signal n: 130 for SIGINT, 143 for SIGTERM' },
  {
    code: '137',
    meaning: 'For `weir node`: its main thread hung (`mirror.hang-timeout`), so its watchdog ended it',
  },
  {
    code: '142',
    meaning:
      'For `weir node`: a thread that moves content hung in a system call, as on a disk that does not answer',
  },
];

const CODES: Readonly<Partial<Record<ErrorCode, number>>> = {
  config_invalid: EXIT.usage,
  reference_invalid: EXIT.usage,
  name_invalid: EXIT.usage,
  digest_invalid: EXIT.usage,
  bad_request: EXIT.usage,
  store_locked: EXIT.locked,
  address_in_use: EXIT.addressInUse,
  digest_mismatch: EXIT.notVerified,
};

export function exitCodeOf(error: unknown): number {
  return CODES[toWeirError(error).code] ?? EXIT.failed;
}

/** `weir: …`, followed by the causes of a failure, without a stack. */
export function describeError(error: unknown): string {
  const messages: string[] = [];
  let cause: unknown = error;
  while (cause instanceof Error && messages.length < 5) {
    if (cause.message !== '' && !messages.some((message) => message.includes((cause as Error).message))) {
      messages.push(cause.message);
    }
    cause = cause.cause;
  }
  if (messages.length === 0) messages.push(String(error));
  const [first = '', ...rest] = messages;
  if (isWeirError(error, 'config_invalid') && first.includes('\n')) {
    return `weir: the configuration is not valid:\n${first.replaceAll(/^/gm, '  ')}`;
  }
  return `weir: ${[first, ...rest].join(': ')}`;
}
