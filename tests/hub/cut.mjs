// Cuts what GitHub publishes down to what the tests read: for each request that is described, its parameters and its body as
// JSON Schema; of the webhook examples, the events that are used. Also makes the test App's key, so that none is committed.
import crypto from 'node:crypto';
import fs from 'node:fs';

const here = new URL('.', import.meta.url);
const read = (path) => JSON.parse(fs.readFileSync(new URL(`node_modules/${path}`, here), 'utf8'));
const write = (name, text) => fs.writeFileSync(new URL(`generated/${name}`, here), text);

const PARTS = [
  'branches', 'check-runs', 'check-suites', 'collaborators', 'commits', 'compare', 'contents', 'forks', 'git', 'hooks',
  'installation', 'issues', 'labels', 'merges', 'pulls', 'rules', 'rulesets', 'statuses',
];
const OTHERS = /^\/(user|users\/\{username\}|rate_limit|app|app\/(hook|installations).*|installation\/(repositories|token)|orgs\/\{org\}(\/(teams|members|memberships|installation).*)?)$/;
const EVENTS = [
  'check_run', 'check_suite', 'create', 'delete', 'installation', 'installation_repositories', 'issue_comment', 'issues',
  'label', 'merge_group', 'ping', 'pull_request', 'pull_request_review', 'push', 'repository', 'star', 'status', 'workflow_run',
];

const description = read('@octokit/openapi/generated/api.github.com.json');

const resolve = (value) => {
  let found = value;
  while (found?.$ref) {
    found = found.$ref.slice(2).split('/').reduce((at, key) => at[key], description);
  }
  return found;
};

// OpenAPI 3.0 says `nullable` where JSON Schema has a type of its own for null.
const schema = (given, depth = 0) => {
  if (Array.isArray(given)) return given.map((one) => schema(one, depth + 1));
  if (given === null || typeof given !== 'object') return given;
  const from = resolve(given);
  if (depth > 40) return {};
  const out = {};
  for (const [key, value] of Object.entries(from)) {
    if (['description', 'example', 'examples', 'title', 'default', 'nullable', 'deprecated', 'externalDocs'].includes(key) || key.startsWith('x-')) continue;
    if (key === 'properties') {
      out.properties = Object.fromEntries(Object.entries(value).map(([name, one]) => [name, schema(one, depth + 1)]));
    } else if (['enum', 'required', 'type', 'format', 'pattern'].includes(key)) {
      out[key] = value;
    } else {
      out[key] = schema(value, depth + 1);
    }
  }
  return from.nullable ? { anyOf: [out, { type: 'null' }] } : out;
};

const requests = [];
for (const [path, methods] of Object.entries(description.paths)) {
  const part = path.match(/^\/repos\/\{owner\}\/\{repo\}(?:\/([^/]+))?/);
  const wanted = part ? part[1] === undefined || PARTS.includes(part[1]) : OTHERS.test(path);
  // The same comparison is described twice.
  if (!wanted || path.endsWith('/compare/{base}...{head}')) continue;
  for (const method of ['get', 'post', 'put', 'patch', 'delete']) {
    const operation = methods[method];
    if (!operation) continue;
    const parameters = [...(methods.parameters ?? []), ...(operation.parameters ?? [])].map(resolve);
    const named = (place) => Object.fromEntries(parameters.filter((one) => one.in === place)
      .map((one) => [one.name, { required: one.required ?? false, schema: schema(one.schema) }]));
    const body = resolve(operation.requestBody);
    requests.push({
      method: method.toUpperCase(),
      path,
      parameters: named('path'),
      query: named('query'),
      body: body?.content?.['application/json']
        ? { required: body.required ?? false, schema: schema(body.content['application/json'].schema) }
        : null,
    });
  }
}

const webhooks = {};
for (const { name, examples } of read('@octokit/webhooks-examples/api.github.com/index.json')) {
  if (EVENTS.includes(name)) webhooks[name] = examples;
}

const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
fs.mkdirSync(new URL('generated/', here), { recursive: true });
write('requests.json', JSON.stringify(requests));
write('webhooks.json', JSON.stringify(webhooks));
// The standard's own schema, to hold our SARIF against. A pattern in it has a bracket too many, which only lenient engines take.
const sarif = read('@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json');
for (const part of ['run', 'toolComponent']) delete sarif.definitions[part].properties.language.pattern;
write('sarif.json', JSON.stringify(sarif));
write('app.pem', privateKey.export({ type: 'pkcs1', format: 'pem' }));
console.log(`${requests.length} requests described, ${Object.keys(webhooks).length} kinds of webhook`);
