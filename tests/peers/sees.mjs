// What a user of a program sees: asks Unleash through its own client library, as a program would, until the answer is the one that is waited for.
// Arguments: the server's address, a backend token, the feature, the user, and the answer as JSON. The last answer is printed; one that does not
// become what is waited for in time ends with 1.
import { isDeepStrictEqual } from 'node:util';
import client from 'unleash-client';

const [url, token, feature, userId, wanted] = process.argv.slice(2);
const unleash = client.initialize({
  url: `${url}/api/`,
  appName: 'peer',
  refreshInterval: 200,
  disableMetrics: true,
  customHeaders: { Authorization: token },
  bootstrap: { data: [] },
  storageProvider: new client.InMemStorageProvider(),
});
unleash.on('error', () => {});

const sees = () => {
  const variant = unleash.getVariant(feature, { userId });
  return { enabled: unleash.isEnabled(feature, { userId }), variant: variant.enabled ? variant.payload?.value ?? variant.name : null };
};
const until = Date.now() + 20_000;
const look = () => {
  const seen = sees();
  const is = isDeepStrictEqual(seen, JSON.parse(wanted));
  if (!is && Date.now() < until) return setTimeout(look, 100);
  console.log(JSON.stringify(seen));
  process.exit(is ? 0 : 1);
};
unleash.once('synchronized', look);
setTimeout(() => { console.log('"nothing was read"'); process.exit(1); }, 25_000);
