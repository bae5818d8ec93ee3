package lockstep_test.governance

security := {"mori": {"forge": "mori", "roles": ["security"], "systems": [], "ids": []}}

facts(files, settings_changed, people) := {
	"proposal": {"author": "sato", "approvals": [], "files": files},
	"settings_changed": settings_changed,
	"people": people,
	"changes": [],
}

needs(facts) := {[need.from, need.count] | some need in all; startswith(need.because, "it changes the rules")} if all := data.lockstep.approval with input as facts

test_a_document_is_no_rule if needs(facts(["config/feature-flags.json", "alerts/emergency.md"], false, security)) == set()

test_each_rule_is_one if {
	every file in ["lockstep.yaml", "shared-config/lockstep.yaml", "policies/rollout.rego", "kinds/Ward.schema.json", ".github/workflows/ci.yml"] {
		needs(facts([file], false, security)) == {[["*"], 2], [["security"], 1]}
	}
}

test_settings_by_another_name if needs(facts(["elsewhere.yaml"], true, security)) == {[["*"], 2], [["security"], 1]}

test_nobody_has_the_role_yet if needs(facts(["lockstep.yaml"], true, {})) == {[["*"], 2]}
