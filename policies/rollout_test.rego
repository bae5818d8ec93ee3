package lockstep_test.rollout

off := {"enabled": false, "rollout": 100}

at(rollout) := {"enabled": true, "rollout": rollout}

facts(before, after, incidents) := {
	"proposal": {"author": "sato", "approvals": [], "files": []},
	"incidents_open": incidents,
	"changes": [{"op": "update", "kind": "FeatureFlag", "name": "ai", "systems": ["medical", "voicedrive"], "before": before, "after": after}],
}

denied(facts) := {m.code | some m in denials; startswith(m.code, "rollout/")} if denials := data.lockstep.deny with input as facts

test_a_step_of_25 if denied(facts(at(10), at(35), [])) == set()

test_a_step_of_26 if denied(facts(at(10), at(36), [])) == {"rollout/step"}

test_the_message_says_what_to_do if {
	denials := data.lockstep.deny with input as facts(at(10), at(70), [])
	some m in denials
	m.code == "rollout/step"
	m.resource == "FeatureFlag/ai"
	m.msg == "ai would go from 10% to 70% on medical, voicedrive: at most 25 points a proposal, so set rollout to 35 now and go on later"
}

test_falling_is_free if denied(facts(at(100), at(0), [])) == set()

test_switching_on_counts if denied(facts(off, at(100), [])) == {"rollout/step"}

test_switching_on_a_little if denied(facts(off, at(20), [])) == set()

test_without_rollout_it_is_everyone if denied(facts(off, {"enabled": true}, [])) == {"rollout/step"}

test_switching_off_is_free if denied(facts(at(100), off, [])) == set()

test_a_new_flag_starts_small if {
	denied(facts(null, at(25), [])) == set()
	denied(facts(null, at(100), [])) == {"rollout/step"}
}

test_deleting_is_free if denied(facts(at(100), null, [])) == set()

test_an_incident_on_its_system if denied(facts(at(10), at(20), [{"name": "db", "systems": ["medical"]}])) == {"rollout/incident"}

test_an_incident_elsewhere if denied(facts(at(10), at(20), [{"name": "db", "systems": ["payroll"]}])) == set()

test_an_incident_that_names_no_system if denied(facts(at(10), at(20), [{"name": "db", "systems": []}])) == {"rollout/incident"}

test_falling_in_an_incident if denied(facts(at(20), at(10), [{"name": "db", "systems": ["medical"]}])) == set()

unlit(before, after) := object.union(facts(before, after, []), {"changes": [object.union(
	{"op": "update", "kind": "FeatureFlag", "name": "ai", "systems": ["medical"], "before": before, "after": after},
	{"before_holds": false},
)]})

# Its dates kept it off, so an earlier `from` or a later `until` lights it up for everyone it is set to.
test_what_dates_kept_off_reached_nobody if denied(unlit(at(100), at(100))) == {"rollout/step"}

test_what_dates_kept_off_may_start_small if denied(unlit(at(25), at(25))) == set()
