package lockstep_test.authorship

people := {
	"sato": {"name": "佐藤", "forge": "sato-h", "roles": ["operator"], "systems": ["medical"], "ids": ["user001"]},
	"mori": {"name": "森", "forge": "mori", "roles": ["security"], "systems": ["voicedrive"], "ids": ["user002"]},
}

facts(author, users, changes) := {
	"proposal": {"author": author, "approvals": [{"user": user} | some user in users], "files": []},
	"people": people,
	"changes": changes,
}

grant(name, direction) := {"op": "create", "kind": "AccessGrant", "name": name, "systems": ["medical"], "before": null, "after": {}, "direction": direction}

denied(facts) := {m.code | some m in denials} if denials := data.lockstep.deny with input as facts

warned(facts) := {m.code | some m in warnings} if warnings := data.lockstep.warn with input as facts

recused(facts) := {r.person | some r in all} if all := data.lockstep.recuse with input as facts

test_only_the_author_approved if "authorship/self-approval" in denied(facts("sato", ["sato"], []))

test_nobody_approved_yet if not "authorship/self-approval" in denied(facts("sato", [], []))

test_someone_else_approved_too if {
	f := facts("sato", ["sato", "mori"], [])
	not "authorship/self-approval" in denied(f)
	"authorship/self-approval" in warned(f)
}

test_only_someone_else_approved if {
	f := facts("sato", ["mori"], [])
	not "authorship/self-approval" in denied(f)
	not "authorship/self-approval" in warned(f)
}

test_who_gains_is_recused if recused(facts("sato", ["mori"], [grant("readonly/user002", "widening")])) == {"mori"}

test_who_gains_under_the_forge_login_is_recused if recused(facts("mori", [], [grant("admin/sato-h", "widening")])) == {"sato"}

test_who_loses_is_not_recused if recused(facts("sato", ["mori"], [grant("readonly/user002", "narrowing")])) == set()

test_a_stranger_gains if recused(facts("sato", ["mori"], [grant("readonly/user999", "widening")])) == set()
