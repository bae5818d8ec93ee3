# title: A rollout rises by at most 25 points a proposal, and not while an incident is open
# why: What goes wrong should go wrong for few, and not on top of what is wrong already.
# owner: operations
# severity: denies
package lockstep

import data.lockstep.lib

rollout_step := 25

# Measured in who it reaches, so switching on a flag whose rollout stood at 100 is a rise by 100.
rollout_rises contains {"change": change, "from": from, "to": to, "rise": to - from} if {
	some change in input.changes
	change.kind == "FeatureFlag"
	from := lib.exposure_before(change)
	to := lib.exposure(change.after)
	to > from
}

deny contains {
	"code": "rollout/step",
	"resource": lib.resource(rise.change),
	"msg": sprintf(
		"%s would go from %v%% to %v%% on %s: at most %d points a proposal, so set rollout to %v now and go on later",
		[rise.change.name, rise.from, rise.to, concat(", ", rise.change.systems), rollout_step, rise.from + rollout_step],
	),
	"msg_ja": sprintf(
		"%s が %s で %v%% から %v%% に上がります。一度の提案で上げられるのは %d ポイントまでです。まず rollout を %v にしてください",
		[rise.change.name, concat(", ", rise.change.systems), rise.from, rise.to, rollout_step, rise.from + rollout_step],
	),
} if {
	some rise in rollout_rises
	rise.rise > rollout_step
}

deny contains {
	"code": "rollout/incident",
	"resource": lib.resource(rise.change),
	"msg": sprintf(
		"%s must not rise while incident %s is open on %s: wait until it is resolved",
		[rise.change.name, incident.name, concat(", ", sort(hit))],
	),
	"msg_ja": sprintf(
		"%s は、%s のインシデント %s が解決するまで上げられません",
		[rise.change.name, concat(", ", sort(hit)), incident.name],
	),
} if {
	some rise in rollout_rises
	some incident in input.incidents_open
	hit := {system | some system in rise.change.systems; rollout_affects(incident, system)}
	count(hit) > 0
}

rollout_affects(incident, system) if system in incident.systems

# An incident that does not say what it affects may affect anything.
rollout_affects(incident, _) if count(incident.systems) == 0
