# title: Neither the author nor the person who gains may approve
# why: A change that one person can make alone is not reviewed.
# owner: security
# severity: denies, discounts approvals
package lockstep

import data.lockstep.lib

# The author's approval never counts; this says so, instead of leaving people to wonder what is missing.
deny contains {
	"code": "authorship/self-approval",
	"msg": sprintf("%s proposed this and is the only one who approved it: ask someone else to approve", [lib.author]),
	"msg_ja": sprintf("提案者の %s しか承認していません。ほかの人に承認を依頼してください", [lib.author]),
} if {
	count(input.proposal.approvals) > 0
	every approval in input.proposal.approvals {
		approval.user == lib.author
	}
}

warn contains {
	"code": "authorship/self-approval",
	"msg": sprintf("%s proposed this, so this approval does not count", [lib.author]),
	"msg_ja": sprintf("提案者 %s 自身の承認は数えません", [lib.author]),
} if {
	some own in input.proposal.approvals
	own.user == lib.author
	some other in input.proposal.approvals
	other.user != lib.author
}

recuse contains {
	"person": person,
	"because": sprintf("%s gains by %s", [person, lib.resource(change)]),
	"because_ja": sprintf("%s は %s で権限を得る本人です", [person, lib.resource(change)]),
} if {
	some change in input.changes
	some person, _ in input.people
	lib.gains(person, change)
}
