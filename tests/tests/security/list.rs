//! The list of attacks in `docs/security.md`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every attack of the list that a broker on a network must withstand.
const ATTACKS: [u32; 19] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 25, 29];

/// Where tests stand that may be named.
const FOLDERS: [&str; 6] =
    ["broker/src", "broker/tests", "common/tests", "tests/tests", "transport/src", "transport/tests"];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, into),
            false if path.extension().is_some_and(|end| end == "rs") => into.push(path),
            false => {}
        }
    }
}

#[test]
fn every_attack_of_the_list_has_a_test_by_the_name_that_is_given() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    FOLDERS.iter().for_each(|folder| sources(&repository.join(folder), &mut files));
    let code: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let page = fs::read_to_string(repository.join("docs/security.md")).unwrap();
    let mut found = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| S")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (number, _) = cells[1].split_once(':').expect("a number and what it is");
        found.insert(number[1..].parse::<u32>().expect("the number of an attack"));
        let tests: Vec<&str> = cells[3].split('`').map(str::trim).filter(|name| !name.is_empty()).collect();
        assert!(!tests.is_empty(), "{number} has no test");
        for test in tests {
            assert!(code.contains(&format!("fn {test}(")), "{number}: there is no test {test}");
        }
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ATTACKS);
}
