# title: What several policies need
# why: One place that knows how names and specs are read.
# owner: platform
package lockstep.lib

resource(change) := concat("/", [change.kind, change.name])

author := input.proposal.author

# The systems that the author is of; none for an author who is not under `people`.
author_systems := {system | some system in input.people[author].systems}

# The day of judging, to compare with dates.
today := substring(input.now, 0, 10)

# Whether a resource holds at the time of judging: `from` has come and `until` has not. One without dates always does.
holds(resource) if not resource.holds == false

# How much of everyone a flag reached before a change: nobody while its dates kept it off.
exposure_before(change) := 0 if change.before_holds == false

exposure_before(change) := exposure(change.before) if not change.before_holds == false

# How much of everyone a flag reaches, from 0 to 100. A flag that is absent reaches nobody.
exposure(spec) := 0 if not switched_on(spec)

exposure(spec) := spec.rollout if {
	switched_on(spec)
	is_number(spec.rollout)
}

exposure(spec) := 100 if {
	switched_on(spec)
	not is_number(spec.rollout)
}

switched_on(spec) if spec.enabled == true

# Whether a field holds a text that says something.
has_text(spec, field) if {
	is_string(spec[field])
	trim_space(spec[field]) != ""
}

# `AccessGrant/admin/user001`
is_admin(name) if startswith(name, "admin/")

# Who is given access: what follows the level in the name.
grantee(name) := trim_prefix(name, concat("", [split(name, "/")[0], "/"]))

# Whether a person is given access by a change, under any of the ids by which systems know them.
gains(person, change) if {
	change.kind == "AccessGrant"
	change.direction == "widening"
	grantee(change.name) in ids(person)
}

ids(person) := {person, input.people[person].forge} | {id | some id in input.people[person].ids}

# Grants of admin that the proposal adds or lengthens.
admin_grants contains change if {
	some change in input.changes
	change.kind == "AccessGrant"
	change.direction == "widening"
	is_admin(change.name)
}

# A list of names in a sentence: at most three, then how many more.
listed(names) := concat(", ", names) if count(names) <= 3

listed(names) := sprintf("%s + %d", [concat(", ", array.slice(names, 0, 3)), count(names) - 3]) if count(names) > 3
