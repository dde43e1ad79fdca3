//! How the subsets of versions are called: as Kiali calls them, where Istio takes that.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};

/// As long as Istio lets the name of a subset be.
const LONGEST: usize = 63;
/// So many bytes of a hash tell names apart that would else be the same.
const HASHED: usize = 4;

/// The name of each version's subset, no two alike: the version itself, or for one such as `1.0.0`, which Istio takes for no
/// name, one that is made of it. The same version always has the same name, unless that of another is in the way.
pub(super) fn names(versions: &BTreeSet<String>) -> BTreeMap<&str, String> {
    let (valid, other): (Vec<&str>, Vec<&str>) = versions.iter().map(String::as_str).partition(|one| is_name(one));
    let mut names: BTreeMap<&str, String> = valid.iter().map(|version| (*version, (*version).to_owned())).collect();
    for version in other {
        let mut attempts = (0..).map(|attempt| made_of(version, attempt));
        let name = attempts.find(|name| !names.values().any(|taken| taken == name));
        names.insert(version, name.expect("there are more names than versions"));
    }
    names
}

/// What Istio takes: a DNS label, in which it lets capital letters pass.
fn is_name(text: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= LONGEST
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

fn made_of(version: &str, attempt: usize) -> String {
    let hash = digest(&SHA256, format!("{version}{}", "/".repeat(attempt)).as_bytes());
    let hash: String = hash.as_ref()[..HASHED].iter().map(|byte| format!("{byte:02x}")).collect();
    let plain = version.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let plain: String = plain.take(LONGEST - 2 * HASHED - 1).collect();
    format!("{}-{hash}", plain.trim_matches('-')).trim_start_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(versions: &[&str]) -> Vec<String> {
        let versions: BTreeSet<String> = versions.iter().map(|&version| version.to_owned()).collect();
        names(&versions).into_values().collect()
    }

    #[test]
    fn every_version_has_a_name_that_istio_takes_and_no_two_the_same() {
        let long = "1.".repeat(31) + "1";
        let odd = ["1.0.0", "1_0_0", "1.0_0", "a..b", "v1.", "_", "\u{e9}", &long, "v1", "V1", "1-0-0"];
        let names = named(&odd);
        assert!(names.iter().all(|name| is_name(name)), "{names:?}");
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
