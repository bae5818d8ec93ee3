// Starts the emulator on a free port of its own, and gives the front in the tests a door to its store: git objects and refs that
// were pushed go in, those that were made through the API come out. The first line of the standard input is the seed; when
// the input ends the emulator does too, so that no test leaves one behind.
import crypto from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import readline from 'node:readline';

const dist = new URL('node_modules/emulate/dist/', import.meta.url);
// The store is reached through the part of the package that holds the GitHub service; its file name carries a digest.
const part = fs.readdirSync(dist).find((name) => name.endsWith('.js') && /^ +githubPlugin,$/m.test(fs.readFileSync(new URL(name, dist), 'utf8')));
const github = await import(new URL(part, dist));
const { createEmulator } = await import(new URL('api.js', dist));

const lines = readline.createInterface({ input: process.stdin });
const seed = JSON.parse(await new Promise((given) => lines.once('line', given)));
lines.on('close', () => process.exit(0));

let port;
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function listening(...args) {
  this.once('listening', () => { port = this.address().port; });
  return listen.apply(this, args);
};

const objectId = (type, content) => crypto.createHash('sha1').update(`${type} ${content.length}\0`).update(content).digest('hex');

const seconds = (date) => {
  const zone = date.match(/([+-])(\d{2}):?(\d{2})$/);
  return `${Math.floor(Date.parse(date) / 1000)} ${zone ? zone[1] + zone[2] + zone[3] : '+0000'}`;
};

const commitBytes = (row) => Buffer.from([
  `tree ${row.tree_sha}`,
  ...row.parent_shas.map((sha) => `parent ${sha}`),
  `author ${row.author_name} <${row.author_email}> ${seconds(row.author_date)}`,
  `committer ${row.committer_name} <${row.committer_email}> ${seconds(row.committer_date)}`,
  '',
  row.message.endsWith('\n') ? row.message : `${row.message}\n`,
].join('\n'));

const treeBytes = (row) => {
  const key = (entry) => Buffer.from(entry.type === 'tree' ? `${entry.path}/` : entry.path);
  return Buffer.concat([...row.tree].sort((a, b) => Buffer.compare(key(a), key(b)))
    .flatMap((entry) => [Buffer.from(`${entry.mode.replace(/^0+/, '')} ${entry.path}\0`), Buffer.from(entry.sha, 'hex')]));
};

const blobBytes = (row) => Buffer.from(row.content, row.encoding === 'base64' ? 'base64' : 'utf8');

const register = github.githubPlugin.register;
github.githubPlugin.register = function registering(app, store, webhooks, ...rest) {
  const gh = github.getGitHubStore(store);
  const repoOf = (name) => gh.repos.findOneBy('full_name', name);
  // Before the service's own routes: one of those takes every path of three parts.
  const door = (name, answer) => app.post(`/_hub/${name}`, async (c) => {
    if (c.req.header('x-hub-door') !== seed.door) return c.json({ message: 'Not Found' }, 404);
    return c.json(await answer(await c.req.json()));
  });

  const pointAt = (repo, ref, sha) => {
    const name = ref.slice('refs/heads/'.length);
    const row = gh.refs.findBy('repo_id', repo.id).find((one) => one.ref === ref);
    const branch = gh.branches.findBy('repo_id', repo.id).find((one) => one.name === name);
    if (sha === null) {
      if (row) gh.refs.delete(row.id);
      if (branch) gh.branches.delete(branch.id);
      return;
    }
    if (row) gh.refs.update(row.id, { sha });
    else gh.refs.insert({ repo_id: repo.id, ref, sha, node_id: `ref-${ref}` });
    if (!ref.startsWith('refs/heads/')) return;
    if (branch) gh.branches.update(branch.id, { sha });
    else gh.branches.insert({ repo_id: repo.id, name, sha, protected: false });
  };

  // Objects and refs as they now are in git. Answers which open pull requests have moved, and which lost their branch.
  door('sync', ({ repo: name, networks, blobs, trees, commits, refs }) => {
    const repo = repoOf(name);
    for (const into of networks.map(repoOf)) {
      const put = (collection, sha, row) => {
        if (collection.findBy('repo_id', into.id).some((one) => one.sha === sha)) return;
        const { id } = collection.insert({ repo_id: into.id, sha, node_id: '', ...row });
        collection.update(id, { node_id: `${sha.slice(0, 12)}-${id}` });
      };
      for (const [sha, content] of blobs) {
        const bytes = Buffer.from(content, 'base64');
        const text = bytes.toString('utf8');
        const plain = !text.includes('\0') && Buffer.from(text, 'utf8').equals(bytes);
        put(gh.blobs, sha, { content: plain ? text : content, encoding: plain ? 'utf-8' : 'base64', size: bytes.length });
      }
      for (const [sha, tree] of trees) put(gh.trees, sha, { tree, truncated: false });
      for (const { sha, ...row } of commits) put(gh.commits, sha, { user_id: null, ...row });
    }
    const moved = [];
    const orphaned = [];
    for (const [ref, sha] of Object.entries(refs)) {
      pointAt(repo, ref, sha);
      for (const pull of gh.pullRequests.all()) {
        if (pull.state !== 'open' || pull.head_repo_id !== repo.id || `refs/heads/${pull.head_ref}` !== ref) continue;
        if (sha === null) {
          orphaned.push(pull.number);
        } else if (pull.head_sha !== sha) {
          const base = gh.branches.findBy('repo_id', pull.base_repo_id).find((one) => one.name === pull.base_ref);
          gh.pullRequests.update(pull.id, { head_sha: sha, base_sha: base?.sha ?? pull.base_sha });
          moved.push({ number: pull.number, before: pull.head_sha });
        }
      }
    }
    return { moved, orphaned };
  });

  // What was made through the API: objects after these rows, and all refs.
  door('made', ({ repo: name, after }) => {
    const repo = repoOf(name);
    const rows = (collection, type, bytes) => collection.findBy('repo_id', repo.id)
      .filter((row) => row.id > (after[type] ?? 0))
      .map((row) => ({ type, row: row.id, sha: row.sha, content: bytes(row) }))
      // Rows that came from git may hold what this form does not, such as a signature: git has those.
      .filter(({ sha, content }) => objectId(type, content) === sha)
      .map((one) => ({ ...one, content: one.content.toString('base64') }));
    return {
      objects: [...rows(gh.blobs, 'blob', blobBytes), ...rows(gh.trees, 'tree', treeBytes), ...rows(gh.commits, 'commit', commitBytes)],
      refs: Object.fromEntries(gh.refs.findBy('repo_id', repo.id).map((one) => [one.ref, one.sha])),
    };
  });

  // A pull request that the front has merged in git.
  door('merged', ({ repo: name, number, sha, login }) => {
    const repo = repoOf(name);
    const now = new Date().toISOString();
    const by = gh.users.findOneBy('login', login);
    const pull = gh.pullRequests.findBy('repo_id', repo.id).find((one) => one.number === number);
    const closed = { state: 'closed', closed_at: now };
    gh.pullRequests.update(pull.id, { ...closed, merged: true, merged_at: now, merged_by_id: by?.id ?? null, merge_commit_sha: sha, mergeable: null, mergeable_state: 'unknown' });
    const issue = gh.issues.findBy('repo_id', repo.id).find((one) => one.number === number);
    if (issue) gh.issues.update(issue.id, { ...closed, closed_by_id: by?.id ?? null });
    return {};
  });

  const hooks = (event, owner, repo) => webhooks.getSubscriptions(owner, repo)
    .filter((hook) => hook.active && (event === 'ping' || hook.events.includes('*') || hook.events.includes(event)))
    .map(({ id, url, secret }) => ({ id, url, secret: secret ?? null }));

  door('hooks', ({ event, owner, repo }) => hooks(event, owner, repo));

  // Until everything that has happened is told, so that events keep the order of the requests.
  const telling = [];
  door('told', async () => {
    await Promise.all(telling.splice(0));
    return {};
  });

  register.call(this, app, store, webhooks, ...rest);

  // The front delivers: with GitHub's headers, and with everything in the payload that GitHub has there.
  webhooks.dispatch = async (event, action, payload, owner, repo) => {
    telling.push(fetch(`${seed.front}/_hub/event`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-hub-door': seed.door },
      body: JSON.stringify({ event, payload, owner, repo }),
    }).catch(() => {}));
  };
};

await createEmulator({ service: 'github', port: 0, baseUrl: seed.front, seed: seed.seed });
console.log(JSON.stringify({ port }));
