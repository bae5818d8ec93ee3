# title: A grant of admin needs the security role and someone of a second system
# why: Admin rights are the way to every other change, so no single team hands them out.
# owner: security
# severity: asks for approval
package lockstep

import data.lockstep.lib

approval contains {
	"from": ["security"],
	"count": 1,
	"because": sprintf("it grants admin: %s", [admin_grant_names]),
	"because_ja": sprintf("管理者権限の付与: %s", [admin_grant_names]),
} if {
	count(lib.admin_grants) > 0
}

# The security officer who approves is not at the same time the second system's owner: two needs, two people.
approval contains {
	"from": admin_grant_second_owners,
	"count": 1,
	"because": sprintf("it grants admin, which a second system's owner must agree to: %s", [admin_grant_names]),
	"because_ja": sprintf("管理者権限の付与には別システムの担当者の同意が必要です: %s", [admin_grant_names]),
} if {
	count(lib.admin_grants) > 0
	count(input.systems) > 1
	count(admin_grant_second_owners) > 0
}

deny contains {
	"code": "admin-grant/no-second-owner",
	"msg": sprintf("%s: nobody of a system other than the author's could approve; add people with `systems` to lockstep.yaml", [admin_grant_names]),
	"msg_ja": sprintf("%s: 提案者と別のシステムの担当者がいません。lockstep.yaml の people に systems を書いてください", [admin_grant_names]),
} if {
	count(lib.admin_grants) > 0
	count(input.systems) > 1
	count(admin_grant_second_owners) == 0
}

admin_grant_names := lib.listed(sort({lib.resource(change) | some change in lib.admin_grants}))

admin_grant_second_owners := sort({person |
	some person, facts in input.people
	person != lib.author
	not "security" in facts.roles
	some system in facts.systems
	not system in lib.author_systems
})
