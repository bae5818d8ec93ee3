package lockstep_test.last_admin

grants(names) := {"AccessGrant": {name: {"spec": {}, "systems": systems} | some name, systems in names}}

facts(before, after) := {
	"now": "2026-11-22T03:00:00Z",
	"proposal": {"author": "sato", "approvals": [], "files": []},
	"changes": [],
	"before": before,
	"after": after,
	"systems_leaving": [],
}

denied(facts) := {m.msg | some m in denials; m.code == "last-admin/none-left"} if denials := data.lockstep.deny with input as facts

two := grants({"admin/a": ["medical", "voicedrive"], "admin/b": ["medical"], "readonly/c": ["medical", "voicedrive"]})

test_nothing_changed if count(denied(facts(two, two))) == 0

test_one_of_two_goes if count(denied(facts(two, grants({"admin/a": ["medical", "voicedrive"]})))) == 0

test_the_last_of_one_system_goes if {
	messages := denied(facts(two, grants({"admin/b": ["medical"]})))
	count(messages) == 1
	some message in messages
	startswith(message, "voicedrive ")
}

test_all_go if count(denied(facts(two, {}))) == 2

test_readonly_is_no_admin if count(denied(facts(two, grants({"readonly/a": ["medical", "voicedrive"]})))) == 2

test_an_admin_whose_time_is_not_now_is_none if {
	over := {"AccessGrant": {"admin/a": {"spec": {"until": "2026-11-21"}, "systems": ["medical", "voicedrive"], "holds": false}}}
	count(denied(facts(two, over))) == 2
}

test_an_admin_until_later_is_one if count(denied(facts(two, ending))) == 0

ending := {"AccessGrant": {"admin/a": {"spec": {"until": "2026-12-31T00:00:00+09:00"}, "systems": ["medical", "voicedrive"]}}}

warned(facts) := {m.msg | some m in warnings; m.code == "last-admin/all-end"} if warnings := data.lockstep.warn with input as facts

changed(before, after) := object.union(facts(before, after), {"changes": [{
	"op": "update",
	"kind": "AccessGrant",
	"name": "admin/a",
	"systems": ["medical"],
	"before": {},
	"after": {"until": "2026-12-31T00:00:00+09:00"},
	"direction": "narrowing",
}]})

test_all_admins_end if count(warned(changed(two, ending))) == 2

test_one_admin_stays if {
	both := {"AccessGrant": object.union(ending.AccessGrant, grants({"admin/b": ["medical", "voicedrive"]}).AccessGrant)}
	count(warned(changed(two, both))) == 0
}

test_nothing_is_warned_of_where_no_access_changes if count(warned(facts(two, ending))) == 0

test_a_system_that_leaves_needs_none if {
	leaving := object.union(facts(two, grants({"admin/b": ["medical"]})), {"systems_leaving": ["voicedrive"]})
	count(denied(leaving)) == 0
}

test_there_never_was_one if count(denied(facts({}, {}))) == 0
