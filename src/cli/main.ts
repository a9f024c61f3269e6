/** The entry point of the `weir` command; the launcher `weir` beside it starts it. */
import manifest from '../../package.json' with { type: 'json' };
import { SECOND } from '../util/clock.ts';
import { systemCode } from '../util/errors.ts';
import { Hangups } from './hangups.ts';

// First of all, as the rest takes a while to load: no terminal and no `systemctl reload` ends a node.
const hangups = process.argv[2] === 'node' ? new Hangups(process) : undefined;

/** Milliseconds after a command's end for which open handles may close, such as a slow socket. */
const LINGER = 2 * SECOND;

/** 128 + SIGPIPE, as of any program that loses its reader (`weir status --watch | head`). */
const BROKEN_PIPE = 141;
for (const output of [process.stdout, process.stderr]) {
  output.on('error', (error) => {
    if (systemCode(error) === 'EPIPE') process.exit(BROKEN_PIPE);
    throw error;
  });
}

const { runCli } = await import('./program.ts');
process.exitCode = await runCli(process.argv.slice(2), {
  version: manifest.version,
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  hangups,
});
// Not at once: output that a pipe has not taken yet would be lost.
setTimeout(() => process.exit(), LINGER).unref();
