#!/usr/bin/env python3
"""A system that pulls: keeps its state in a JSON file in step with Lockstep, by asking and never being asked.

    pull-client.py http://lockstep.example.org:8800/pull/v1/voicedrive TOKEN_FILE STATE_FILE
"""
import json, os, pathlib, sys, time, urllib.error, urllib.request

base, token_file, state_file = sys.argv[1:4]
token, path = pathlib.Path(token_file).read_text().strip(), pathlib.Path(state_file)
# "resources" by kind and name; "staged" by changeset, prepared and not yet decided.
state = json.loads(path.read_text()) if path.exists() else {"revision": None, "resources": {}, "staged": {}}

def ask(method, where, body=None, timeout=30, headers={}):
    request = urllib.request.Request(base + where, method=method, data=None if body is None else json.dumps(body).encode())
    for name, value in {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers}.items():
        request.add_header(name, value)
    return urllib.request.urlopen(request, timeout=timeout)

def save():  # durable before anything is said of it
    with open(f"{path}.new", "w") as file:
        json.dump(state, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)

def report():  # all that is held; the answer is its digest
    held = [{"kind": kind, "name": name, "spec": spec} for kind, of in state["resources"].items() for name, spec in of.items()]
    with ask("PUT", "/state", {"revision": state["revision"], "resources": held}) as answer:
        return json.load(answer)["digest"]

def look():  # does what waits; repeating it has no further effect
    waiting = json.load(ask("GET", "/changesets"))["changesets"]
    for one in waiting:
        said = {"prepare": prepare, "commit": commit, "abort": abort}[one["phase"]](one)
        ask("POST", f"/changesets/{one['id']}", said).close()
    if not waiting:
        report()

def prepare(one):
    if report() != one["base_digest"]:
        return {"status": "other_base"}
    reasons = [{"kind": c["kind"], "name": c["name"], "message": "no Unheard is kept here"} for c in one["changes"] if c["kind"] == "Unheard"]
    if reasons:
        return {"status": "refused", "reasons": reasons}
    state["staged"][one["id"]] = one
    save()
    return {"status": "prepared"}

def commit(one):
    state["staged"].pop(one["id"], None)
    for change in one["changes"]:  # as staged; once more where that was done before
        of = state["resources"].setdefault(change["kind"], {})
        of.pop(change["name"], None) if change["op"] == "delete" else of.update({change["name"]: change["spec"]})
    state["revision"] = one["revision"]
    save()
    return {"status": "committed", "digest": report()}

def abort(one):
    state["staged"].pop(one["id"], None)
    save()
    return {"status": "aborted"}

last = None
while True:
    try:
        look()
        with ask("GET", "/events", timeout=45, headers={"Last-Event-ID": last} if last else {}) as events:
            print("connected", flush=True)
            for line in events:  # a silence longer than three heartbeats is a dead connection
                if line.startswith(b"id:"):
                    last = line[3:].strip().decode()
                elif line.startswith((b"event:", b":")):  # a heartbeat too, so that Lockstep knows that this runs
                    look()
    except urllib.error.HTTPError as error:
        print(f"{error.code}: {error.read().decode()}", file=sys.stderr, flush=True)
    except (OSError, ValueError) as error:
        print(f"away: {error}", file=sys.stderr, flush=True)
    time.sleep(1)
