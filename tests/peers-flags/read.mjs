// Reads a file of flag definitions with the in-process provider, and prints what each user gets: {flag: {user: [value, reason, variant]}}.
// Arguments: the file, the flags and the users, each separated by commas; a user may be `id@team`.
import { OpenFeature } from '@openfeature/server-sdk';
import { FlagdProvider } from '@openfeature/flagd-provider';

const [file, flags, users] = process.argv.slice(2);
await OpenFeature.setProviderAndWait(
  new FlagdProvider({ resolverType: 'in-process', offlineFlagSourcePath: file }),
);
const client = OpenFeature.getClient();
const seen = {};
for (const flag of flags.split(',')) {
  const text = flag.startsWith('text_');
  const read = text ? 'getStringDetails' : 'getBooleanDetails';
  seen[flag] = {};
  for (const user of users.split(',')) {
    const [targetingKey, team] = user.split('@');
    const context = team ? { targetingKey, team } : { targetingKey };
    const got = await client[read](flag, text ? 'by code' : false, context);
    seen[flag][user] = [got.value, got.errorCode ?? got.reason, got.variant ?? null];
  }
}
console.log(JSON.stringify(seen));
// The provider goes on watching the file.
process.exit(0);
