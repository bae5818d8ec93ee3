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
