//! Tests of `inflight backends`, which lists the cells. A cell is a runtime and a client.

use serde_json::{Value, json};

use crate::program::{backends, records, run};

#[test]
fn every_cell_has_features_and_a_compiled_cell_has_capabilities() {
    let ran = run(["backends", "--format", "jsonl"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    let cells = records(&ran.stdout);
    assert_eq!(cells.len(), 13);
    for cell in &cells {
        assert!(!cell["features"].as_array().unwrap().is_empty());
        if cell["compiled"] == json!(false) {
            assert_eq!(cell["library"], Value::Null);
            continue;
        }
        let client = cell["client"].as_str().unwrap();
        assert!(cell["versions"][client].is_string(), "{cell}");
        let supports = cell["supports"].as_object().unwrap();
        assert!(
            supports.contains_key("tls") && supports.contains_key("prompt_cancel"),
            "{cell}"
        );
        for (name, is_supported) in supports {
            assert_eq!(
                cell["reasons"][name].is_null(),
                is_supported.as_bool().unwrap(),
                "{cell}"
            );
        }
        assert!(
            cell["library"].is_string() && cell["ceilings"].is_array(),
            "{cell}"
        );
    }
    let named: Vec<_> = cells
        .iter()
        .filter(|cell| cell["compiled"] == json!(true))
        .filter_map(|cell| cell["name"].as_str())
        .collect();
    for backend in backends() {
        assert!(named.contains(&backend), "{backend}: {named:?}");
    }
}

#[test]
fn the_table_has_a_row_for_each_cell() {
    let jsonl = run(["backends", "--format", "jsonl"]);
    let table = run(["backends"]);
    assert_eq!((table.code, &*table.stderr), (Some(0), ""));
    for cell in records(&jsonl.stdout) {
        let name = cell["backend"].as_str().unwrap();
        let rows = table
            .stdout
            .lines()
            .filter(|line| line.split_whitespace().next() == Some(name));
        assert_eq!(rows.count(), 1, "{name}: {}", table.stdout);
    }
}

#[cfg(all(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "ureq"
))]
#[test]
fn the_table_in_the_book_is_current() {
    let table = run(["backends", "--format", "table"]);
    let shown = include_str!("../../../../docs/output/backends.txt");
    assert!(
        table.stdout == shown,
        "docs/output/backends.txt is out of date; run `just figures backends.txt`: {}",
        table.stdout
    );
}

#[cfg(not(all(feature = "smol", feature = "async-std")))]
#[test]
fn the_error_for_a_backend_that_is_not_compiled_in_names_its_feature() {
    let missing = if cfg!(feature = "smol") {
        "async-std"
    } else {
        "smol"
    };
    let ran = run(["get", "--backend", missing, "http://127.0.0.1/"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("not compiled in") && ran.stderr.contains(&format!("\"{missing}\"")),
        "{ran:?}"
    );
}
