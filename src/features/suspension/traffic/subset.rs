//! Names of the subsets of versions: as Kiali names them, if Istio accepts that.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};

/// Longest subset name that Istio accepts.
const MAX_NAME_LEN: usize = 63;
/// Bytes of the hash that keeps replaced names apart.
const HASH_BYTES: usize = 4;

/// Returns a unique subset name for each version: the version itself, or a name derived from it if Istio does not accept the
/// version, such as `1.0.0`. A version always gets the same name, unless another version has that name.
pub(super) fn subset_names(versions: &BTreeSet<String>) -> BTreeMap<&str, String> {
    let (valid, other): (Vec<&str>, Vec<&str>) =
        versions.iter().map(String::as_str).partition(|one| is_subset_name(one));
    let mut names: BTreeMap<&str, String> = valid.iter().map(|version| (*version, (*version).to_owned())).collect();
    for version in other {
        let mut attempts = (0..).map(|attempt| hashed_name(version, attempt));
        let name = attempts.find(|name| !names.values().any(|taken| taken == name));
        names.insert(version, name.expect("there are more names than versions"));
    }
    names
}

/// Returns whether Istio accepts a name: a DNS label, in which capital letters are allowed.
fn is_subset_name(text: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= MAX_NAME_LEN
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

fn hashed_name(version: &str, attempt: usize) -> String {
    let hash = digest(&SHA256, format!("{version}{}", "/".repeat(attempt)).as_bytes());
    let hash: String = hash.as_ref()[..HASH_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    let plain = version.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let plain: String = plain.take(MAX_NAME_LEN - 2 * HASH_BYTES - 1).collect();
    format!("{}-{hash}", plain.trim_matches('-')).trim_start_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(versions: &[&str]) -> Vec<String> {
        let versions: BTreeSet<String> = versions.iter().map(|&version| version.to_owned()).collect();
        subset_names(&versions).into_values().collect()
    }

    #[test]
    fn every_version_has_a_name_that_istio_takes_and_no_two_the_same() {
        let long = "1.".repeat(31) + "1";
        let odd = ["1.0.0", "1_0_0", "1.0_0", "a..b", "v1.", "_", "\u{e9}", &long, "v1", "V1", "1-0-0"];
        let names = named(&odd);
        assert!(names.iter().all(|name| is_subset_name(name)), "{names:?}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), odd.len(), "{names:?}");
        assert_eq!(named(&["V1", "v1-2"]), ["V1", "v1-2"], "what is a name is kept");
        assert_eq!(named(&["1.0.0"]), named(&["1.0.0", "2.0.0"])[..1], "others do not change it");
    }

    #[test]
    fn a_version_that_is_called_as_the_subset_of_another_has_its_name_for_itself() {
        let made = named(&["1.0.0"]).remove(0);
        let names = named(&["1.0.0", &made]);
        assert!(names[0] != names[1] && names.contains(&made), "{names:?}");
    }
}
