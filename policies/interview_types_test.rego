package lockstep_test.interview_types

types := {
	"mental": {"spec": {"name": "Mental"}, "systems": ["medical"]},
	"regular": {"spec": {"name": "Regular"}, "systems": ["medical"]},
	"old": {"spec": {"name": "Old", "retired": true, "successor": "regular"}, "systems": ["medical"]},
}

facts(op, name, after) := {
	"proposal": {"author": "sato", "approvals": [], "files": []},
	"before": {"InterviewType": types},
	"after": {"InterviewType": state},
	"changes": [{"op": op, "kind": "InterviewType", "name": name, "systems": ["medical"], "before": object.get(types, [name, "spec"], null), "after": after, "new": op == "create", "gone": op == "delete"}],
} if {
	state := object.union(object.remove(types, [name]), {n: {"spec": after} | some n in [name]; after != null})
}

denied(facts) := {trim_prefix(m.code, "interview-types/") |
	some m in denials
	startswith(m.code, "interview-types/")
} if {
	denials := data.lockstep.deny with input as facts
}

test_renaming if denied(facts("update", "mental", {"name": "Mental health"})) == set()

test_adding if denied(facts("create", "new", {"name": "New", "retired": false})) == set()

test_deleting if denied(facts("delete", "mental", null)) == {"deleted"}

test_taking_it_from_one_system if {
	f := facts("delete", "mental", null)
	kept := [object.union(change, {"gone": false}) | some change in f.changes]
	denied(object.union(f, {"changes": kept})) == set()
}

test_retiring_without_successor if denied(facts("update", "mental", {"retired": true})) == {"no-successor"}

test_retiring_with_successor if denied(facts("update", "mental", {"retired": true, "successor": "regular"})) == set()

test_a_date_retires_too if denied(facts("update", "mental", {"retired": "2026-12-01"})) == {"no-successor"}

test_a_successor_that_is_not_there if denied(facts("update", "mental", {"retired": true, "successor": "none"})) == {"successor"}

test_a_successor_that_is_retired if denied(facts("update", "mental", {"retired": true, "successor": "old"})) == {"successor"}

test_its_own_successor if denied(facts("update", "mental", {"retired": true, "successor": "mental"})) == {"successor"}

test_an_id_that_comes_back if denied(facts("update", "old", {"name": "Something else"})) == {"reused"}
