use proptest::prelude::*;

use super::*;
use crate::ids::Digest;

/// RFC 6962, section 2.1, as it is written there.
fn naive(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [leaf] => *leaf,
        _ => {
            let k = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(k);
            node_hash(naive(left), naive(right))
        }
    }
}

/// PATH(m, D[n]) of the same section.
fn naive_path(m: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = if m < k {
        (naive_path(m, left), naive(right))
    } else {
        (naive_path(m - k, right), naive(left))
    };
    path.push(sibling);
    path
}

/// SUBPROOF(m, D[n], b).
fn naive_subproof(m: usize, leaves: &[Digest], whole: bool) -> Vec<Digest> {
    if m == leaves.len() {
        return if whole {
            Vec::new()
        } else {
            vec![naive(leaves)]
        };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = if m <= k {
        (naive_subproof(m, left, whole), naive(right))
    } else {
        (naive_subproof(m - k, right, false), naive(left))
    };
    path.push(sibling);
    path
}

fn leaves(n: usize) -> Vec<Digest> {
    (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn gathered(stretches: Vec<std::ops::Range<u64>>, leaves: &[Digest]) -> Vec<Digest> {
    let mut gather = Gather::new(stretches);
    leaves.iter().for_each(|leaf| gather.push(*leaf));
    gather.finish().unwrap()
}

#[test]
fn roots_are_those_that_everybody_knows() {
    let hex = |root: Digest| root.to_hex();
    assert_eq!(
        hex(Range::new().root()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(
        hex(root_of([leaf_hash(b"")])),
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    );
    let inputs: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    assert_eq!(
        hex(root_of(inputs.map(leaf_hash))),
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    );
}

#[test]
fn a_tree_is_taken_up_from_its_parts() {
    let all = leaves(100);
    for size in 0..=100_usize {
        let mut range = Range::new();
        all[..size].iter().for_each(|leaf| range.push(*leaf));
        let mut again = Range::from_parts(range.size(), range.roots().to_vec()).unwrap();
        all[size..].iter().for_each(|leaf| again.push(*leaf));
        assert_eq!(again.root(), naive(&all));
    }
    assert_eq!(Range::from_parts(3, vec![Digest::of(b"")]), None);
}

#[test]
fn a_proof_of_what_is_not_there_is_none() {
    assert_eq!(inclusion(3, 3), None);
    assert_eq!(consistency(4, 3), None);
    let mut short = Gather::new(inclusion(0, 4).unwrap());
    short.push(leaf_hash(b""));
    assert_eq!(short.finish(), None);
    let one = leaf_hash(b"one");
    assert_eq!(
        verify_inclusion(one, 0, 0, &[], one),
        Err(TreeFault::Outside)
    );
    assert_eq!(
        verify_inclusion(one, 0, 1, &[one], one),
        Err(TreeFault::Length)
    );
    assert_eq!(
        verify_inclusion(one, 0, 2, &[], one),
        Err(TreeFault::Length)
    );
}

proptest! {
    #[test]
    fn roots_and_proofs_are_those_of_the_definition(size in 1_usize..200, at in 0_usize..200) {
        let all = leaves(size);
        let root = root_of(all.iter().copied());
        prop_assert_eq!(root, naive(&all));

        let index = at % size;
        let path = gathered(inclusion(index as u64, size as u64).unwrap(), &all);
        prop_assert_eq!(&path, &naive_path(index, &all));
        prop_assert_eq!(verify_inclusion(all[index], index as u64, size as u64, &path, root), Ok(()));

        let from = at % size + 1;
        let proof = gathered(consistency(from as u64, size as u64).unwrap(), &all);
        prop_assert_eq!(&proof, &naive_subproof(from, &all, true));
        let first = naive(&all[..from]);
        let checked = verify_consistency((from as u64, first), (size as u64, root), &proof);
        prop_assert_eq!(checked, Ok(()));
    }

    #[test]
    fn a_proof_that_was_touched_proves_nothing(
        size in 2_usize..200, at in 0_usize..200, hit in 0_usize..20, bit in 0_u8..8
    ) {
        let all = leaves(size);
        let root = naive(&all);
        let flip = |hash: Digest| {
            let mut bytes = *hash.as_bytes();
            bytes[0] ^= 1 << bit;
            Digest::from_bytes(bytes)
        };
        let index = at % size;
        let (index64, size64) = (index as u64, size as u64);
        let mut path = naive_path(index, &all);
        let place = hit % path.len();
        path[place] = flip(path[place]);
        prop_assert!(verify_inclusion(all[index], index64, size64, &path, root).is_err());
        let path = naive_path(index, &all);
        prop_assert!(verify_inclusion(flip(all[index]), index64, size64, &path, root).is_err());
        let elsewhere = (index + 1) % size;
        prop_assert!(verify_inclusion(all[index], elsewhere as u64, size64, &path, root).is_err());
        prop_assert!(verify_inclusion(all[index], index64, size64, &path[1..], root).is_err());

        let from = at % (size - 1) + 1;
        let (first, mut proof) = (naive(&all[..from]), naive_subproof(from, &all, true));
        let old = (from as u64, first);
        prop_assert!(verify_consistency((old.0, flip(first)), (size64, root), &proof).is_err());
        prop_assert!(verify_consistency(old, (size64, flip(root)), &proof).is_err());
        prop_assert!(verify_consistency(old, (size64, root), &proof[1..]).is_err());
        let place = hit % proof.len();
        proof[place] = flip(proof[place]);
        prop_assert!(verify_consistency(old, (size64, root), &proof).is_err());
    }

    #[test]
    fn texts_of_any_kind_are_read_without_harm(text in ".{0,200}") {
        let _ = text.parse::<Note>();
        let _ = Checkpoint::peek(&text);
        let _ = text.parse::<InclusionProof>();
        let _ = text.parse::<VerifierKey>();
    }
}

fn key(n: u8) -> SignerKey {
    SignerKey::from_seed("config.example/lockstep", &[n; 32]).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: "config.example/lockstep".to_owned(),
        size: 3,
        root: naive(&leaves(3)),
    }
}

/// The example of the signed-note specification, made by another implementation.
#[test]
fn a_note_signed_elsewhere_is_believed() {
    let key: VerifierKey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
        .parse()
        .unwrap();
    let note = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n\n\
                \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let note: Note = note.parse().unwrap();
    let trusted = [key.clone()];
    assert_eq!(note.verify(&trusted).unwrap().name(), "PeterNeumann");
    assert_eq!(
        key.to_string(),
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    );
}

#[test]
fn keys_are_read_back_and_never_shown() {
    use secrecy::{ExposeSecret as _, SecretString};
    let key = key(7);
    let again = SignerKey::from_secret(&key.to_secret()).unwrap();
    assert_eq!(again.public(), key.public());
    assert_eq!(
        key.public().to_string().parse::<VerifierKey>().as_ref(),
        Ok(key.public())
    );
    let shown = format!("{key:?} {:?} {:?}", key.to_secret(), key.public());
    assert!(!shown.contains("PRIVATE"), "{shown}");
    let secret = key.to_secret().expose_secret().to_owned();
    let fault = |text: String| SignerKey::from_secret(&SecretString::from(text)).unwrap_err();
    assert_eq!(fault(secret[8..].to_owned()), KeyFault::PrivateForm);
    assert_eq!(fault(secret.replacen("config", "other", 1)), KeyFault::Hash);
    assert_eq!(fault(secret[..secret.len() - 4].to_owned()), KeyFault::Key);
    assert_eq!(
        "a b+00000000+AQ==".parse::<VerifierKey>(),
        Err(KeyFault::Name)
    );
    assert_eq!("name".parse::<VerifierKey>(), Err(KeyFault::Form));
}

#[test]
fn a_checkpoint_is_believed_by_its_key_alone() {
    let signed = checkpoint().sign(&key(1));
    let open = |text: &str, n: u8| Checkpoint::open(text, &[key(n).public().clone()]);
    assert_eq!(open(&signed, 1).unwrap(), checkpoint());
    assert!(matches!(
        open(&signed, 2),
        Err(CheckpointFault::Note(NoteFault::Unknown { .. }))
    ));
    let altered = signed.replacen("\n3\n", "\n4\n", 1);
    assert!(matches!(
        open(&altered, 1),
        Err(CheckpointFault::Note(NoteFault::Signature { .. }))
    ));
    let other_log = key(1).sign(&checkpoint().to_string().replace("config", "other"));
    assert!(matches!(
        open(&other_log, 1),
        Err(CheckpointFault::Origin { .. })
    ));
    for text in [
        "a\n03\n",
        "a\n-3\n",
        "a\n3\n",
        "a\n3\nAAAA\n",
        "\n3\nAAAA\n",
    ] {
        let fault = open(&key(1).sign(text), 1).unwrap_err();
        assert_eq!(fault, CheckpointFault::Form, "{text:?}");
    }
    let extended = key(1).sign(&format!("{}more\n", checkpoint()));
    assert_eq!(open(&extended, 1), Err(CheckpointFault::Form));
}

#[test]
fn a_proof_is_checked_with_nothing_but_the_key() {
    let entry = |n: usize| n.to_be_bytes().to_vec();
    let all = leaves(3);
    let proof = InclusionProof {
        entry: entry(1),
        index: 1,
        hashes: naive_path(1, &all),
        checkpoint: checkpoint().sign(&key(1)),
    };
    let text = proof.to_string();
    let read: InclusionProof = text.parse().unwrap();
    assert_eq!(read, proof);
    let trusted = [key(1).public().clone()];
    assert_eq!(read.verify(&trusted).unwrap(), checkpoint());
    let other = InclusionProof {
        entry: entry(2),
        ..proof.clone()
    };
    assert_eq!(
        other.verify(&trusted),
        Err(ProofFault::Tree(TreeFault::Root))
    );
    for (from, to) in [
        ("tlog-proof@v1", "tlog-proof@v2"),
        ("extra ", "extra"),
        ("index 1", "index 01"),
        ("index 1\n", "index 1\nAAAA\n"),
        ("\n\n", "\n"),
    ] {
        assert!(
            text.replacen(from, to, 1)
                .parse::<InclusionProof>()
                .is_err()
        );
    }
}
