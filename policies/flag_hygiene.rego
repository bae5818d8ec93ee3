# title: Every flag has an owner and an expiry
# why: A flag that nobody owns and that never ends is never cleaned up.
# owner: platform
# severity: denies new flags, warns of old ones
package lockstep

import data.lockstep.lib

deny contains {
	"code": sprintf("flag-hygiene/%s", [field]),
	"resource": lib.resource(change),
	"msg": sprintf("the new flag %s has no %s: add %s", [change.name, field, flag_hygiene_fields[field]]),
	"msg_ja": sprintf("新しいフラグ %s に %s がありません。%s を追加してください", [change.name, field, flag_hygiene_fields[field]]),
} if {
	some change in flag_hygiene_changes
	some field, _ in flag_hygiene_fields
	not lib.has_text(change.after, field)
	flag_hygiene_must_have(change, field)
}

warn contains {
	"code": sprintf("flag-hygiene/%s", [field]),
	"resource": lib.resource(change),
	"msg": sprintf("%s has no %s: add %s while you are at it", [change.name, field, flag_hygiene_fields[field]]),
	"msg_ja": sprintf("%s に %s がありません。この機会に %s を追加してください", [change.name, field, flag_hygiene_fields[field]]),
} if {
	some change in flag_hygiene_changes
	some field, _ in flag_hygiene_fields
	not lib.has_text(change.after, field)
	not flag_hygiene_must_have(change, field)
}

warn contains {
	"code": "flag-hygiene/expired",
	"resource": lib.resource(change),
	"msg": sprintf("%s expired on %s: remove the flag, or give it a new date and say why", [change.name, change.after.expires]),
	"msg_ja": sprintf("%s は %s に期限切れです。フラグを削除するか、理由を添えて期限を延ばしてください", [change.name, change.after.expires]),
} if {
	some change in flag_hygiene_changes
	lib.has_text(change.after, "expires")
	substring(change.after.expires, 0, 10) < lib.today
}

flag_hygiene_fields := {
	"owner": "`owner: \"sato\"`",
	"expires": "`expires: \"2027-03-31\"`",
}

flag_hygiene_changes contains change if {
	some change in input.changes
	change.kind == "FeatureFlag"
	change.op != "delete"
}

# One that only comes to one more system is not new.
flag_hygiene_must_have(change, _) if change.new

# What was there is not taken away.
flag_hygiene_must_have(change, field) if lib.has_text(change.before, field)
