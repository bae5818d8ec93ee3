# title: The last admin of a system stays
# why: A system without an admin can't be repaired from inside.
# owner: security
# severity: denies, warns
package lockstep

import data.lockstep.lib

deny contains {
	"code": "last-admin/none-left",
	"resource": sprintf("AccessGrant/%s", [min(names)]),
	"msg": sprintf("%s would be left without an admin: keep one, or add the next one first", [system]),
	"msg_ja": sprintf("%s の管理者がいなくなります。一人は残すか、先に次の管理者を追加してください", [system]),
} if {
	some [system, _] in last_admin_before
	not system in input.systems_leaving
	names := {name | some [s, name] in last_admin_before; s == system}
	count({name | some [s, name] in last_admin_after; s == system}) == 0
}

warn contains {
	"code": "last-admin/all-end",
	"resource": sprintf("AccessGrant/%s", [min(names)]),
	"msg": sprintf("every admin of %s has an end, and the last one's will be held: give one no `until`", [system]),
	"msg_ja": sprintf("%s の管理者は全員に期限があり、最後の一人の期限が来ても保留されます。期限のない管理者を一人は置いてください", [system]),
} if {
	some change in input.changes
	change.kind == "AccessGrant"
	some [system, _] in last_admin_after
	names := {name | some [s, name] in last_admin_after; s == system}
	lasting := {name | some name in names; not is_string(input.after.AccessGrant[name].spec.until)}
	count(lasting) == 0
}

last_admin_before contains [system, name] if {
	some name, grant in input.before.AccessGrant
	lib.is_admin(name)
	lib.holds(grant)
	some system in grant.systems
}

last_admin_after contains [system, name] if {
	some name, grant in input.after.AccessGrant
	lib.is_admin(name)
	lib.holds(grant)
	some system in grant.systems
}
