//! The rules of `CONTRIBUTING.md` about layout, executed. Each rule lies in a file of `tests/tidy/`, with its own tests.
#![expect(clippy::expect_used, reason = "a test that cannot read the sources has failed")]

#[path = "tidy/outbound.rs"]
mod outbound;
#[path = "tidy/size.rs"]
mod size;
#[path = "tidy/statements.rs"]
mod statements;
#[path = "tidy/strata.rs"]
mod strata;
mod support;

use support::sources::{files, rust_files};

#[track_caller]
fn assert_none(faults: impl IntoIterator<Item = String>) {
    let faults: Vec<String> = faults.into_iter().collect();
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n"));
}

#[test]
fn a_stratum_uses_only_those_above_it() {
    assert_none(rust_files("src").iter().flat_map(strata::check));
}

#[test]
fn only_one_module_reaches_outwards() {
    assert_none(rust_files("src").iter().flat_map(outbound::check));
    assert_none(outbound::check_manifest(include_str!("../Cargo.toml")));
}

#[test]
fn a_table_is_written_by_its_store_only() {
    assert_none(rust_files("src").iter().flat_map(statements::check));
}

#[test]
fn the_list_of_tables_is_that_of_the_migrations() {
    assert_none(statements::check_tables(&files("migrations", "sql")));
}

#[test]
fn files_are_short() {
    assert_none(["src", "tests"].into_iter().flat_map(rust_files).filter_map(|file| size::check_file(&file)));
}

#[test]
fn functions_are_short() {
    assert_none(rust_files("src").iter().flat_map(size::check_functions));
}

#[test]
fn each_folder_says_what_it_is_for() {
    assert_none(rust_files("src").iter().filter_map(size::check_header));
}
