//! The shipped policies, as `lockstep init` puts them into a new config repo.

macro_rules! shipped {
    ($file:literal) => {
        (
            concat!("policies/", $file),
            include_str!(concat!("../../policies/", $file)),
        )
    };
}

/// Path in the config repo, and content: `("policies/rollout.rego", include_str!("../../policies/rollout.rego"))`. A test compares the
/// table with the folder, so that a policy can't be shipped without its row.
pub const POLICIES: &[(&str, &str)] = &[
    shipped!("admin_grant.rego"),
    shipped!("admin_grant_test.rego"),
    shipped!("approvals.rego"),
    shipped!("approvals_test.rego"),
    shipped!("authorship.rego"),
    shipped!("authorship_test.rego"),
    shipped!("checklist.rego"),
    shipped!("checklist_test.rego"),
    shipped!("flag_hygiene.rego"),
    shipped!("flag_hygiene_test.rego"),
    shipped!("freeze.rego"),
    shipped!("freeze_test.rego"),
    shipped!("governance.rego"),
    shipped!("governance_test.rego"),
    shipped!("interview_types.rego"),
    shipped!("interview_types_test.rego"),
    shipped!("ip_block.rego"),
    shipped!("ip_block_test.rego"),
    shipped!("last_admin.rego"),
    shipped!("last_admin_test.rego"),
    shipped!("lib.rego"),
    shipped!("rollout.rego"),
    shipped!("rollout_test.rego"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    #[test]
    fn every_policy_of_the_folder_is_in_the_table() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let Ok(entries) = std::fs::read_dir(&folder) else {
            assert!(super::POLICIES.is_empty());
            return;
        };
        let shipped: BTreeMap<String, String> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "rego"))
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy();
                (
                    format!("policies/{name}"),
                    std::fs::read_to_string(&path).unwrap(),
                )
            })
            .collect();
        let table: BTreeMap<String, String> = super::POLICIES
            .iter()
            .map(|(p, t)| ((*p).to_owned(), (*t).to_owned()))
            .collect();
        assert_eq!(table, shipped);
    }
}
