/** `weir store`: its commands and their options. */
import { Argument, Option, type Command } from 'commander';
import type { StoreOrder } from '../status/store-report.ts';
import type { CliContext } from './context.ts';
import { adminOption, configOption } from './settings-options.ts';

/** Written here, as `weir version` must not pay for the modules of reports. */
const ORDERS: readonly StoreOrder[] = ['last-use', 'size', 'digest'];

export function addStoreCommand(program: Command, context: CliContext): void {
  const store = program
    .command('store')
    .summary('List the blobs in the store of a node, remove, pin and evict them')
    .description(
      'Lists what a node has in its store, and changes it, through its admin address. Changes need the token in the file ' +
        'that admin.token-file names; without that setting the node refuses them.',
    )
    .helpCommand(false);
  addList(store, context);
  addRemove(store, context);
  addPin(store, context, 'pin');
  addPin(store, context, 'unpin');
  addCollect(store, context);
}

function addList(store: Command, context: CliContext): void {
  const command = store
    .command('ls')
    .summary('List the blobs in the store')
    .description(
      'Lists the blobs in the store: the start of the digest, the size, the last use, the state, the time at which the ' +
        'node last found the whole blob right, what it is and where it came from. --json prints whole digests; ' +
        'docs/admin-api.md lists the fields.',
    )
    .addOption(new Option('--sort <BY>', 'order').choices(ORDERS).default('last-use', 'last-use'))
    .addOption(new Option('--limit <N>', 'list the first N only'))
    .addOption(new Option('--json', 'print the list as JSON'));
  addNodeOptions(command).action(async (options: Record<string, unknown>) => {
    const { runStoreList } = await import('./commands/store-command.ts');
    await runStoreList(options, context);
  });
}

function addRemove(store: Command, context: CliContext): void {
  const command = store
    .command('rm')
    .summary('Remove a blob from the store')
    .description('Removes a blob. A pull that asks for it fetches it again.')
    .addArgument(new Argument('<DIGEST>', 'digest of the blob, or its first 12 digits or more'))
    .addOption(new Option('--force', 'also if it is pinned or being read; running responses keep it'));
  addChangeOptions(command).action(async (blob: string, options: Record<string, unknown>) => {
    const { runStoreRemove } = await import('./commands/store-command.ts');
    await runStoreRemove(blob, options, context);
  });
}

function addPin(store: Command, context: CliContext, name: 'pin' | 'unpin'): void {
  const [summary, description] = {
    pin: [
      'Keep a blob, or the blobs of an image, in the store',
      'Pins a blob, or all blobs of an image that are in the store, with its manifests: they are never evicted, also after a ' +
        'restart. Of a tag, those of the digest that the registry named last. Pins may take half of store.quota.',
    ],
    unpin: ['Let blobs be evicted again', 'Removes the pin of a blob, or those of all blobs of an image.'],
  }[name];
  const command = store
    .command(name)
    .summary(summary ?? '')
    .description(description ?? '')
    .addArgument(
      new Argument(
        '<DIGEST|REF>',
        'digest of the blob, its first 12 digits or more, or an image such as alpine:3.20',
      ),
    );
  addChangeOptions(command).action(async (target: string, options: Record<string, unknown>) => {
    const { runStorePin } = await import('./commands/store-command.ts');
    await runStorePin(name, target, options, context);
  });
}

function addCollect(store: Command, context: CliContext): void {
  const command = store
    .command('gc')
    .summary('Evict blobs: down to a size, or those that were not used for a while')
    .description(
      'Evicts blobs and unfinished downloads, those first that were used least recently. Pinned blobs and those that are ' +
        'being read stay.',
    )
    .addOption(
      new Option('--to <SIZE>', 'evict until the store holds at most so much, such as 5GiB; 0B: all'),
    )
    .addOption(
      new Option('--unused <DURATION>', 'evict what was not used for so long, such as 24h').conflicts('to'),
    );
  addChangeOptions(command).action(async (options: Record<string, unknown>) => {
    const { runStoreCollect } = await import('./commands/store-command.ts');
    await runStoreCollect(options, context);
  });
}

function addChangeOptions(command: Command): Command {
  command
    .addOption(new Option('--json', 'print the answer of the node as JSON'))
    .addOption(
      new Option(
        '--token-file <FILE>',
        'file with the token of the node (default: admin.token-file of the configuration)',
      ),
    );
  return addNodeOptions(command);
}

function addNodeOptions(command: Command): Command {
  return command.addOption(adminOption()).addOption(configOption());
}
