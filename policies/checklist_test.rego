package lockstep_test.checklist

facts(author, before, after) := {
	"proposal": {"author": author, "approvals": [], "files": []},
	"people": {
		"sato": {"forge": "sato", "roles": [], "systems": ["medical"], "ids": []},
		"mori": {"forge": "mori", "roles": [], "systems": ["voicedrive"], "ids": []},
	},
	"changes": [{"op": "update", "kind": "ComplianceItem", "name": "appi-2025/medical/consent", "systems": ["medical"], "before": before, "after": after}],
}

denied(facts) := {m.msg | some m in denials; m.code == "checklist/other-system"} if denials := data.lockstep.deny with input as facts

done := {"action": "consent", "done": true}

open := {"action": "consent", "done": false}

test_by_someone_of_the_system if denied(facts("sato", open, done)) == set()

test_by_someone_of_another_system if denied(facts("mori", open, done)) == {"mori ticks an item of medical without being of medical: ask sato to propose it"}

test_by_a_stranger if count(denied(facts("nobody", open, done))) == 1

test_a_new_item_that_is_ticked if count(denied(facts("mori", null, done))) == 1

test_unticking_is_free if denied(facts("mori", done, open)) == set()

test_done_before if denied(facts("mori", done, done)) == set()

test_a_system_without_people if {
	f := object.union(facts("mori", open, done), {"people": {"sato": {"systems": ["payroll"]}}})
	denied(f) == {"mori ticks an item of medical without being of medical: ask someone who is to propose it"}
}
