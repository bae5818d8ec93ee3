//! "Did you mean": the known name nearest to one that is not known.

use unicode_normalization::UnicodeNormalization as _;

#[cfg(test)]
mod tests;

/// Names longer than this are not compared: nobody mistypes them, and the comparison is quadratic.
const LONGEST: usize = 64;
/// Among more names than this none is suggested: every fault would be compared with all of them.
const CANDIDATES: usize = 300;

/// The candidate that differs least from `name`, if one is near enough to be what was meant: at most a third of its
/// characters inserted, dropped, replaced or swapped with a neighbour. Width and case do not count. None among more than
/// [`CANDIDATES`].
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = fold(name);
    if wanted.is_empty() || wanted.len() > LONGEST {
        return None;
    }
    let candidates: Vec<&str> = candidates.into_iter().take(CANDIDATES + 1).collect();
    if candidates.len() > CANDIDATES {
        return None;
    }
    let mut best: Option<(usize, &'a str)> = None;
    for candidate in candidates {
        let other = fold(candidate);
        let near = (wanted.len().max(other.len()) / 3).max(1);
        let limit = best.map_or(near, |(d, _)| near.min(d.saturating_sub(1)));
        if other.len() > LONGEST || wanted.len().abs_diff(other.len()) > limit {
            continue;
        }
        let distance = distance(&wanted, &other);
        if distance <= limit && distance < wanted.len() {
            best = Some((distance, candidate));
            if distance == 0 {
                break;
            }
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The hint that names the nearest candidate, or else lists them all where they are few.
pub fn hint<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(near) = nearest(name, candidates.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let mut all: Vec<&str> = candidates.into_iter().take(CANDIDATES + 1).collect();
    let few = all.len() <= CANDIDATES;
    all.sort_unstable();
    all.dedup();
    (few && !all.is_empty() && all.len() <= 12).then(|| format!("known: {}", all.join(", ")))
}

/// Width and case taken away, as a name is compared.
fn fold(text: &str) -> Vec<char> {
    text.nfkc()
        .flat_map(char::to_lowercase)
        .take(LONGEST + 1)
        .collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one to the other.
fn distance(a: &[char], b: &[char]) -> usize {
    let width = b.len() + 1;
    let mut before_last = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    let mut row = vec![0; width];
    let mut previous = None;
    for (i, x) in a.iter().enumerate() {
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        let mut diagonal = last.first().copied().unwrap_or_default();
        let mut neighbour = None;
        let mut swapped_from = 0;
        for (j, y) in b.iter().enumerate() {
            let above = last.get(j + 1).copied().unwrap_or_default();
            let mut cost = (diagonal + usize::from(x != y))
                .min(above + 1)
                .min(left + 1);
            if i > 0 && previous == Some(y) && neighbour == Some(x) {
                cost = cost.min(swapped_from + 1);
            }
            if let Some(cell) = row.get_mut(j + 1) {
                *cell = cost;
            }
            swapped_from = before_last.get(j).copied().unwrap_or_default();
            neighbour = Some(y);
            diagonal = above;
            left = cost;
        }
        previous = Some(x);
        std::mem::swap(&mut before_last, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    last.last().copied().unwrap_or_default()
}
