use super::*;
use crate::forge::ReviewKind;
use crate::ids::{Digest, PlanDigest};

const MORI: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILr6KeWeC4gEEYo4Tx8+q43wR+yrLCZKbjPQNpZKPHaA mori@example.com";
const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGgrqAuwYupof9slyRx9t5ZCzNJgGFjy+m4cpC8jzjks b";
const NISTP256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBFPmy9PwMbS4eZ0mfkue/tW+Oqelc5Dd85GSe9m+E9OzXGL87RClhHDEuFGYA0vftM4p0sKm1w2SRdtPwjYsUSU= e";

/// Made by `ssh-keygen -Y sign -n lockstep` over the text of [`review`] on proposal 7, with the keys above.
const BY_MORI: &str = "\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAguvop5Z4LiAQRijhPHz6rjfBH7K
ssJkpuM9A2lko8doAAAAAIbG9ja3N0ZXAAAAAAAAAABnNoYTUxMgAAAFMAAAALc3NoLWVk
MjU1MTkAAABAq4tzcGZCnH2gGnf1I6Yk54oxzQfnUJxS65Z6Tv70GCZCNKuRca4NphNk1W
kMASn5fvjhoZdiwL869NfVG/aTCA==
-----END SSH SIGNATURE-----";
const BY_NISTP256: &str = "\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAAGgAAAATZWNkc2Etc2hhMi1uaXN0cDI1NgAAAAhuaXN0cDI1NgAAAE
EEU+bL0/AxtLh5nSZ+S57+1b46p6VzkN3zkZJ72b4T07NcYvztEKWEcMS4UZgDS9+0zinS
wqbXDZJF20/CNixRJQAAAAhsb2Nrc3RlcAAAAAAAAAAGc2hhNTEyAAAAZAAAABNlY2RzYS
1zaGEyLW5pc3RwMjU2AAAASQAAACEAvoSpPEaOzmgzUoa0SFvMHtG97O7OoH43MWbW7qY/
/eUAAAAgD0+My2kFXnIO6lkNMG6PzsbMF83hEDoZIOxoTG+lfQQ=
-----END SSH SIGNATURE-----";
/// The same text by the same key, for `-n git`.
const FOR_GIT: &str = "\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAguvop5Z4LiAQRijhPHz6rjfBH7K
ssJkpuM9A2lko8doAAAAADZ2l0AAAAAAAAAAZzaGE1MTIAAABTAAAAC3NzaC1lZDI1NTE5
AAAAQGcA9xxnAuFt4R6X0zJrnR2wQbX0w6/9m/4bLXPwvA8OFbuoezQ5pSFVmOzG5b/+fZ
mM3UOE8xzQLUTbBcQWeAA=
-----END SSH SIGNATURE-----";

fn review() -> Review {
    Review {
        user: "mori-r".to_owned(),
        kind: ReviewKind::Approve,
        commit: "1".repeat(40).parse().unwrap(),
        plan: Some(PlanDigest(Digest::of(b"plan"))),
        at: "2026-11-27T12:00:00Z".parse().unwrap(),
        message: "よい \"&\"".to_owned(),
        signature: None,
    }
}

#[test]
fn what_is_signed_is_written_in_one_way_only() {
    insta::assert_snapshot!(signed_text(7, &review()), @r#"{"at":"2026-11-27T12:00:00Z","commit":"1111111111111111111111111111111111111111","form":"lockstep review 1","kind":"approve","message":"よい \"&\"","plan":"64879f7d6b960a01909762d911a32d4582c20010c5641ee90278b644a9e3b525","proposal":7,"user":"mori-r"}"#);
    // A signature is no part of what is signed.
    let signed = Review {
        signature: Some(BY_MORI.to_owned()),
        ..review()
    };
    assert_eq!(signed_text(7, &signed), signed_text(7, &review()));
}

#[test]
fn what_ssh_keygen_signed_is_taken() {
    assert_eq!(verify(MORI, 7, &review(), BY_MORI), Ok(()));
    assert_eq!(verify(NISTP256, 7, &review(), BY_NISTP256), Ok(()));
    assert_eq!(
        verify(MORI, 7, &review(), &format!("\n{BY_MORI}\n\n")),
        Ok(())
    );
}

#[test]
fn it_fits_nothing_else() {
    let other = |change: &dyn Fn(&mut Review)| {
        let mut review = review();
        change(&mut review);
        verify(MORI, 7, &review, BY_MORI)
    };
    let text = Err(SignatureFault::OtherText);
    assert_eq!(verify(MORI, 8, &review(), BY_MORI), text);
    assert_eq!(other(&|r| r.user = "mori".to_owned()), text);
    assert_eq!(other(&|r| r.kind = ReviewKind::Comment), text);
    assert_eq!(other(&|r| r.commit = "2".repeat(40).parse().unwrap()), text);
    assert_eq!(other(&|r| r.plan = None), text);
    assert_eq!(
        other(&|r| r.plan = Some(PlanDigest(Digest::of(b"more")))),
        text
    );
    assert_eq!(
        other(&|r| r.at = "2026-11-27T12:00:01Z".parse().unwrap()),
        text
    );
    assert_eq!(other(&|r| r.message.clear()), text);
}

#[test]
fn other_keys_and_broken_signatures_are_told_apart() {
    let verified = |key, signature| verify(key, 7, &review(), signature);
    assert_eq!(verified(OTHER, BY_MORI), Err(SignatureFault::OtherKey));
    assert_eq!(verified(MORI, BY_NISTP256), Err(SignatureFault::OtherKey));
    assert_eq!(verified(MORI, FOR_GIT), Err(SignatureFault::Unreadable));
    assert_eq!(verified(MORI, ""), Err(SignatureFault::Unreadable));
    let cut = BY_MORI.get(..BY_MORI.len() - 60).unwrap();
    assert_eq!(verified(MORI, cut), Err(SignatureFault::Unreadable));
    assert_eq!(
        verified("ssh-ed25519 AAAA", BY_MORI),
        Err(SignatureFault::NoKey)
    );
}
