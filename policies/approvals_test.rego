package lockstep_test.approvals

facts(directions) := {
	"proposal": {"author": "sato", "approvals": [], "files": []},
	"changes": [{"op": "update", "kind": "FeatureFlag", "name": sprintf("flag_%d", [i]), "systems": ["medical"], "direction": d} | some i, d in directions],
}

needs(facts) := {[need.count, need.because] | some need in all; need.from == ["*"]} if all := data.lockstep.approval with input as facts

test_widening_needs_two if needs(facts(["widening"])) == {[2, "it gives more: FeatureFlag/flag_0"]}

test_narrowing_needs_one if needs(facts(["narrowing"])) == {[1, "every change is seen by a second person"]}

test_neutral_needs_one if {some need in needs(facts(["neutral"])); need[0] == 1}

test_nothing_on_a_system_needs_one if {some need in needs(facts([])); need[0] == 1}

test_mixed_needs_two if {some need in needs(facts(["narrowing", "widening", "neutral"])); need[0] == 2}

test_many_are_listed_shortly if {
	needs(facts(["widening", "widening", "widening", "widening", "widening"])) == {[2, "it gives more: FeatureFlag/flag_0, FeatureFlag/flag_1, FeatureFlag/flag_2 + 2"]}
}
