//! The sample config repo, as the demo puts it into a fresh repository.

macro_rules! sample {
    ($file:literal) => {
        (
            $file,
            include_str!(concat!("../../../shared-config/", $file)),
        )
    };
}

/// Path in the config repo, and content. A test compares the table with the folder.
pub(super) const FILES: &[(&str, &str)] = &[
    sample!("README.md"),
    sample!("alerts/emergency.md"),
    sample!("alerts/influenza-season.md"),
    sample!("compliance/appi-2025.md"),
    sample!("compliance/medical-info-safety-guideline.md"),
    sample!("config/access-control.json"),
    sample!("config/feature-flags.json"),
    sample!("config/interview-types.json"),
    sample!("config/wards.yaml"),
    sample!("experiments/booking-button.md"),
    sample!("incidents/2025-09-15-db-pool-postmortem.md"),
    sample!("incidents/2025-09-15-db-pool.md"),
    sample!("kinds/Ward.schema.json"),
    sample!("lockstep.yaml"),
    sample!("schemas/AccessGrant.schema.json"),
    sample!("schemas/Config.schema.json"),
    sample!("schemas/FeatureFlag.schema.json"),
    sample!("schemas/InterviewType.schema.json"),
    sample!("security/urgent.md"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    fn files(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found)
            } else {
                found.push(path)
            }
        }
    }

    #[test]
    fn every_file_of_the_sample_is_in_the_table() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shared-config");
        let mut found = Vec::new();
        files(&root, &mut found);
        let there: BTreeSet<String> = found
            .iter()
            .map(|p| {
                p.strip_prefix(&root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        let table: BTreeSet<String> = super::FILES
            .iter()
            .map(|(path, _)| (*path).to_owned())
            .collect();
        assert_eq!(there, table);
    }
}
