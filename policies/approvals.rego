# title: A widening change needs two approvals, any other one
# why: Giving more is the risk; taking back in an emergency must be quick.
# owner: security
# severity: asks for approval
package lockstep

import data.lockstep.lib

approval contains {
	"from": ["*"],
	"count": 2,
	"because": sprintf("it gives more: %s", [lib.listed(approvals_widening)]),
	"because_ja": sprintf("範囲を広げる変更です: %s", [lib.listed(approvals_widening)]),
} if {
	count(approvals_widening) > 0
}

# Also where no resource changes at all: a text that only people read is read by a second one first.
approval contains {
	"from": ["*"],
	"count": 1,
	"because": "every change is seen by a second person",
	"because_ja": "どの変更も提案者以外の一人が確認します",
} if {
	count(approvals_widening) == 0
}

approvals_widening := sort({lib.resource(change) |
	some change in input.changes
	change.direction == "widening"
})
