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
}
