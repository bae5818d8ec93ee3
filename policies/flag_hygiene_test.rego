package lockstep_test.flag_hygiene

facts(change, new) := {
	"now": "2026-11-22T03:00:00Z",
	"proposal": {"author": "sato", "approvals": [], "files": []},
	"changes": [object.union({"kind": "FeatureFlag", "name": "ai", "systems": ["medical"], "new": new, "gone": false}, change)],
}

codes(messages) := {m.code | some m in messages; startswith(m.code, "flag-hygiene/")}

denied(facts) := codes(denials) if denials := data.lockstep.deny with input as facts

warned(facts) := codes(warnings) if warnings := data.lockstep.warn with input as facts

whole := {"enabled": false, "owner": "sato", "expires": "2027-03-31"}

bare := {"enabled": false}

both := {"flag-hygiene/owner", "flag-hygiene/expires"}

test_a_new_flag_with_both if {
	f := facts({"op": "create", "before": null, "after": whole}, true)
	denied(f) == set()
	warned(f) == set()
}

test_a_new_flag_with_neither if denied(facts({"op": "create", "before": null, "after": bare}, true)) == both

test_an_old_flag_with_neither if {
	f := facts({"op": "update", "before": bare, "after": bare}, false)
	denied(f) == set()
	warned(f) == both
}

test_an_old_flag_on_one_more_system if denied(facts({"op": "create", "before": null, "after": bare}, false)) == set()

test_taking_the_owner_away if denied(facts({"op": "update", "before": whole, "after": object.remove(whole, ["owner"])}, false)) == {"flag-hygiene/owner"}

test_an_expired_flag if warned(facts({"op": "update", "before": whole, "after": object.union(whole, {"expires": "2026-11-21"})}, false)) == {"flag-hygiene/expired"}

test_a_deleted_flag if {
	f := facts({"op": "delete", "before": bare, "after": null}, false)
	denied(f) == set()
	warned(f) == set()
}
