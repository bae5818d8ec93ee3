# title: A checklist item is ticked only by someone of its system
# why: An auditor asks the person who ticked it what was done.
# owner: compliance
# severity: denies
package lockstep

import data.lockstep.lib

deny contains {
	"code": "checklist/other-system",
	"resource": lib.resource(change),
	"msg": sprintf("%s ticks an item of %s without being of %s: ask %s to propose it", [lib.author, system, system, checklist_people(system)]),
	"msg_ja": sprintf("%s は %s の担当ではないため、この項目を完了にできません。%s に提案を依頼してください", [lib.author, system, checklist_people(system)]),
} if {
	some change in input.changes
	change.kind == "ComplianceItem"
	checklist_done(change.after)
	not checklist_done(change.before)
	system := split(change.name, "/")[1]
	not system in lib.author_systems
}

checklist_done(spec) if spec.done == true

checklist_people(system) := "someone who is" if count(checklist_members(system)) == 0

checklist_people(system) := lib.listed(checklist_members(system)) if count(checklist_members(system)) > 0

checklist_members(system) := sort({person | some person, facts in input.people; system in facts.systems})
