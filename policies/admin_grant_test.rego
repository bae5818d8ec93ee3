package lockstep_test.admin_grant

people := {
	"sato": {"forge": "sato", "roles": ["operator"], "systems": ["medical"], "ids": []},
	"ito": {"forge": "ito", "roles": ["operator"], "systems": ["medical"], "ids": []},
	"mori": {"forge": "mori", "roles": ["security"], "systems": ["voicedrive"], "ids": []},
	"abe": {"forge": "abe", "roles": ["manager"], "systems": ["voicedrive"], "ids": []},
}

facts(names, people, systems) := {
	"proposal": {"author": "sato", "approvals": [], "files": []},
	"people": people,
	"systems": {system: {} | some system in systems},
	"changes": [change |
		some name in names
		change := {"op": "create", "kind": "AccessGrant", "name": name, "systems": ["medical"], "before": null, "after": {}, "direction": "widening"}
	],
}

both := ["medical", "voicedrive"]

asked(facts) := {need.from |
	some need in needs
	contains(need.because, "grants admin")
} if {
	needs := data.lockstep.approval with input as facts
}

denied(facts) := {m.code | some m in denials} if denials := data.lockstep.deny with input as facts

test_security_and_a_second_system if asked(facts(["admin/u1"], people, both)) == {["security"], ["abe"]}

test_readonly_asks_for_neither if asked(facts(["readonly/u1"], people, both)) == set()

test_one_system_has_no_second if asked(facts(["admin/u1"], people, ["medical"])) == {["security"]}

test_several_are_one_need if count(asked(facts(["admin/u1", "admin/u2", "admin/u3", "admin/u4"], people, both))) == 2

test_nobody_of_a_second_system if {
	f := facts(["admin/u1"], object.remove(people, ["abe"]), both)
	"admin-grant/no-second-owner" in denied(f)
	asked(f) == {["security"]}
}

test_somebody_of_a_second_system if not "admin-grant/no-second-owner" in denied(facts(["admin/u1"], people, both))
