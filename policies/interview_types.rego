# title: An interview type is retired with a successor, never deleted, and its id is never used again
# why: Records of years ago point to these ids.
# owner: operations
# severity: denies
package lockstep

import data.lockstep.lib

deny contains {
	"code": "interview-types/deleted",
	"resource": lib.resource(change),
	"msg": sprintf("%s must not be deleted, old records point to it: write `\"retired\": true` and a `successor`", [change.name]),
	"msg_ja": sprintf("%s は削除できません（過去の記録が参照しています）。\"retired\": true と successor を書いてください", [change.name]),
} if {
	some change in interview_types_changes
	change.op == "delete"
	# Taken from one system only, it is still there.
	change.gone
}

deny contains {
	"code": "interview-types/no-successor",
	"resource": lib.resource(change),
	"msg": sprintf("%s is retired without a successor: name the type that replaces it, as `\"successor\": \"…\"`", [change.name]),
	"msg_ja": sprintf("%s の後継がありません。\"successor\" に置き換え先の種別を書いてください", [change.name]),
} if {
	some change in interview_types_changes
	interview_types_retired(change.after)
	not lib.has_text(change.after, "successor")
}

deny contains {
	"code": "interview-types/successor",
	"resource": lib.resource(change),
	"msg": sprintf("%s is retired in favour of %s, which %s: name a type that is in use", [change.name, change.after.successor, problem.en]),
	"msg_ja": sprintf("%s の後継 %s は%s。使用中の種別を指定してください", [change.name, change.after.successor, problem.ja]),
} if {
	some change in interview_types_changes
	interview_types_retired(change.after)
	lib.has_text(change.after, "successor")
	problem := interview_types_problem(change.after.successor)
}

deny contains {
	"code": "interview-types/reused",
	"resource": lib.resource(change),
	"msg": sprintf("%s is retired and its id is never used again: add a type with a new id", [change.name]),
	"msg_ja": sprintf("%s は廃止済みで、同じ id は再利用できません。新しい id で追加してください", [change.name]),
} if {
	some change in interview_types_changes
	interview_types_retired(input.before.InterviewType[change.name].spec)
	change.op != "delete"
	not interview_types_retired(change.after)
}

interview_types_problem(successor) := {"en": "does not exist", "ja": "存在しません"} if {
	not input.after.InterviewType[successor]
}

interview_types_problem(successor) := {"en": "is retired itself", "ja": "廃止済みです"} if {
	interview_types_retired(input.after.InterviewType[successor].spec)
}

# `retired` may be `true`, or the date since when.
interview_types_retired(spec) if {
	spec.retired
	spec.retired != null
}

interview_types_changes contains change if {
	some change in input.changes
	change.kind == "InterviewType"
}
