# title: The last admin of a system stays
# why: A system without an admin can't be repaired from inside.
# owner: security
# severity: denies
package lockstep

import data.lockstep.lib

deny contains {
	"code": "last-admin/none-left",
	"resource": sprintf("AccessGrant/%s", [some_admin]),
	"msg": sprintf("%s would be left without an admin: keep one, or add the next one first", [system]),
	"msg_ja": sprintf("%s の管理者がいなくなります。一人は残すか、先に次の管理者を追加してください", [system]),
} if {
	some system in last_admin_systems
	not system in input.systems_leaving
	count(last_admin_of(input.after, system)) == 0
	some_admin := min(last_admin_of(input.before, system))
}

last_admin_systems contains system if {
	some name, grant in input.before.AccessGrant
	lib.is_admin(name)
	lib.holds(grant.spec)
	some system in grant.systems
}

last_admin_of(state, system) := {name |
	some name, grant in state.AccessGrant
	lib.is_admin(name)
	lib.holds(grant.spec)
	system in grant.systems
}
