# title: Nothing widening during a freeze
# why: While few people watch, nothing is opened up.
# owner: operations
# severity: denies
package lockstep

import data.lockstep.lib

deny contains {
	"code": "freeze/widening",
	"resource": lib.resource(change),
	"msg": sprintf("%s gives more during the freeze %s: wait until %s", [lib.resource(change), freeze.name, freeze.until]),
	"msg_ja": sprintf("凍結期間 %s の間は範囲を広げられません (%s)。%s まで待ってください", [freeze.name, lib.resource(change), freeze.until]),
} if {
	some freeze in input.freezes_active
	some change in input.changes
	change.direction == "widening"
	not change.kind in freeze.except
	not change.direction in freeze.except
	not freeze_lets_through(freeze)
}

# `role:security` in `except`: it does not stop what someone with this role proposes or approves.
freeze_lets_through(freeze) if {
	some exception in freeze.except
	startswith(exception, "role:")
	some person in freeze_people
	trim_prefix(exception, "role:") in input.people[person].roles
}

freeze_people contains lib.author

# Who gains by the proposal lets nothing through for themselves.
freeze_people contains given.user if {
	some given in input.proposal.approvals
	count({change | some change in input.changes; lib.gains(given.user, change)}) == 0
}
