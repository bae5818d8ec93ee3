package lockstep_test.freeze

facts(kind, direction, freezes) := {
	"proposal": {"author": "sato", "approvals": [], "files": []},
	"freezes_active": freezes,
	"changes": [{"op": "create", "kind": kind, "name": "x", "systems": ["medical"], "before": null, "after": {}, "direction": direction}],
}

year_end := [{"name": "year-end", "until": "2027-01-04T00:00:00+09:00", "except": ["narrowing", "Notice"]}]

denied(facts) := {m.resource | some m in denials; m.code == "freeze/widening"} if denials := data.lockstep.deny with input as facts

test_widening if denied(facts("FeatureFlag", "widening", year_end)) == {"FeatureFlag/x"}

test_narrowing if denied(facts("FeatureFlag", "narrowing", year_end)) == set()

test_neutral if denied(facts("FeatureFlag", "neutral", year_end)) == set()

test_an_exempt_kind if denied(facts("Notice", "widening", year_end)) == set()

test_an_exempt_direction if denied(facts("FeatureFlag", "widening", [{"name": "x", "until": "y", "except": ["widening"]}])) == set()

test_no_freeze if denied(facts("FeatureFlag", "widening", [])) == set()

people := {
	"sato": {"forge": "sato", "roles": ["operator"], "systems": ["medical"], "ids": []},
	"mori": {"forge": "mori", "roles": ["security"], "systems": ["voicedrive"], "ids": ["user002"]},
}

by_role := [{"name": "year-end", "until": "2027-01-04T00:00:00+09:00", "except": ["narrowing", "role:security"]}]

by(author, approvers, change) := object.union(facts("FeatureFlag", "widening", by_role), {
	"people": people,
	"proposal": {"author": author, "approvals": [{"user": user} | some user in approvers], "files": []},
	"changes": [object.union({"kind": "FeatureFlag", "name": "x", "direction": "widening", "systems": ["medical"]}, change)],
})

test_nobody_of_the_role if count(denied(by("sato", ["sato"], {}))) == 1

test_the_role_proposes if denied(by("mori", [], {})) == set()

test_the_role_approves if denied(by("sato", ["mori"], {})) == set()

test_the_role_approves_its_own_gain if count(denied(by("sato", ["mori"], {"kind": "AccessGrant", "name": "admin/user002"}))) == 1

test_a_stranger_has_no_role if count(denied(by("nobody", ["nobody"], {}))) == 1

test_another_freeze_without_the_role if {
	f := object.union(by("mori", [], {}), {"freezes_active": array.concat(by_role, year_end)})
	count(denied(f)) == 1
}
