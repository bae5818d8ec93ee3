# title: The rules themselves change only with two approvals, one of them by security
# why: Who may decide, and by which rules, is the most far-reaching change of all, and no system shows it.
# owner: security
# severity: asks for approval
package lockstep

import data.lockstep.lib

approval contains {
	"from": ["*"],
	"count": 2,
	"because": sprintf("it changes the rules: %s", [lib.listed(governance_touched)]),
	"because_ja": sprintf("ルールそのものを変更します: %s", [lib.listed(governance_touched)]),
} if {
	count(governance_touched) > 0
}

# Where nobody has the role yet, the two approvals must do: otherwise it could never be given to anyone.
approval contains {
	"from": ["security"],
	"count": 1,
	"because": sprintf("it changes the rules: %s", [lib.listed(governance_touched)]),
	"because_ja": sprintf("ルールそのものを変更します: %s", [lib.listed(governance_touched)]),
} if {
	count(governance_touched) > 0
	some facts in input.people
	"security" in facts.roles
}

governance_touched := sort({file |
	some file in input.proposal.files
	governance_is_rule(file)
} | governance_settings)

governance_is_rule(file) if endswith(file, "lockstep.yaml")

governance_is_rule(file) if endswith(file, ".rego")

governance_is_rule(file) if endswith(file, ".schema.json")

governance_is_rule(file) if startswith(file, ".github/")

# The settings may differ though the file's name is not among those above.
governance_settings contains "lockstep.yaml" if input.settings_changed
