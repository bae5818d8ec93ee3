// A SCIM server as a product would have one: built on a library that answers a PATCH with the resource, and with nothing where nothing changed, and
// whose resources carry no version. Each first part of a path is a store of its own. The port is printed; when the input ends, so does the server.
import express from 'express';
import SCIMMY from 'scimmy';
import SCIMMYRouters from 'scimmy-routers';

const stores = new Map();
const of = (tenant, kind) => {
  const key = `${tenant}/${kind}`;
  if (!stores.has(key)) stores.set(key, new Map());
  return stores.get(key);
};

let next = 0;
const resource = (kind, type, unique) => SCIMMY.Resources.declare(type)
  .ingress((asked, data, tenant) => {
    const store = of(tenant, kind);
    const id = asked.id ?? `${kind}-${next += 1}`;
    if (asked.id && !store.has(id)) throw new SCIMMY.Types.Error(404, null, `Resource ${id} not found`);
    const twin = [...store.values()].find((other) => other.id !== id && other[unique].toLowerCase() === data[unique].toLowerCase());
    if (twin) throw new SCIMMY.Types.Error(409, 'uniqueness', `${unique} is taken`);
    const kept = { ...JSON.parse(JSON.stringify(data)), id };
    store.set(id, kept);
    return structuredClone(kept);
  })
  .egress((asked, tenant) => {
    const store = of(tenant, kind);
    if (!asked.id) return structuredClone([...store.values()]);
    if (!store.has(asked.id)) throw new SCIMMY.Types.Error(404, null, `Resource ${asked.id} not found`);
    return structuredClone(store.get(asked.id));
  })
  .degress((asked, tenant) => { of(tenant, kind).delete(asked.id); });

resource('user', SCIMMY.Resources.User, 'userName');
resource('group', SCIMMY.Resources.Group, 'displayName');

const app = express();
app.use('/:tenant/v2', new SCIMMYRouters({
  type: 'bearer',
  docUri: 'http://localhost/',
  handler: (request) => {
    if (request.header('Authorization') !== `Bearer ${process.argv[2]}`) throw new Error('who are you?');
    return 'lockstep';
  },
  context: (request) => request.params.tenant,
}));
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume().on('end', () => process.exit(0));
