//! `tch-init versions`, and the page that it prints.

use std::path::Path;
use std::process::Command;

fn versions(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tch-init"))
        .arg("versions")
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_page_is_current() {
    let page = file("docs/versions.md");
    let (_, rest) = page
        .split_once("<!-- printed by tch-init versions --markdown -->\n")
        .unwrap();
    let (printed, _) = rest.split_once("<!-- end of what was printed -->").unwrap();
    assert_eq!(
        printed.trim(),
        versions(&["--markdown"]).trim(),
        "run `make versions-page`"
    );
}

#[test]
fn the_table_fits_a_terminal() {
    let text = versions(&[]);
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    for part in ["2.1 to 2.11", "trunc_normal_", "recorded as its steps"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn json_is_the_recorders_table() {
    assert_eq!(versions(&["--json"]), file("python/versions.json"));
}
