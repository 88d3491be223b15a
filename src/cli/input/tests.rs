//! Tests of what is read.

use super::*;

fn write(directory: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn bad_files_are_refused_with_their_place_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let check = |name: &str, bytes: &[u8], place: Option<(u32, u32)>, message: &str, hint: &str| {
        let path = write(directory.path(), name, bytes);
        let problem = gather(&[path]).unwrap_err().remove(0);
        assert!(problem.name.ends_with(name), "{problem:?}");
        assert_eq!(problem.place, place, "{problem:?}");
        assert!(problem.message.contains(message) && problem.hint.contains(hint), "{problem:?}");
    };
    check("nul.sql", b"SELECT 1;\n a\0b", Some((2, 3)), "binary", "pg_restore");
    check("latin1.sql", b"SELECT 1;\nSELECT 'gr\xfc\xdfe'", Some((2, 11)), "UTF-8", "iconv");
    check("wide.sql", b"\xff\xfeS\0", None, "UTF-16", "UTF-8");
    check("long.sql", &vec![b' '; MAX_FILE_BYTES + 1], None, "longer than 8 MiB", "split");
    check("other.yaml", b"kind: Pod\n", None, "no Migration", "kind: Migration");
    check("broken.yaml", b"---\nkind: Pod\n---\nkind: Migration\n  a: b: c\n", Some((5, 4)), "YAML", "");
    check(
        "spec.yaml",
        b"kind: Migration\nspec: {up: 1}\n",
        None,
        "spec.up: invalid type",
        "docs/migration.md",
    );
    let text = b"---\nkind: Migration\nspec:\n  upp: a\n  databaseRef: {name: a}\n  version: '1'\n";
    check("unknown.yaml", text, Some((4, 3)), "unknown field spec.upp", "spec has: analysis, databaseRef, ");
    let text = b"kind: Migration\nspec:\n  up: SELECT 1\n  up: SELECT 2\n";
    check("twice.yaml", text, Some((3, 3)), "duplicate entry with key \"up\"", "");
}

#[test]
fn what_is_merged_in_yaml_is_read_as_kubectl_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let text = "kind: Migration\nspec:\n  databaseRef: {name: a}\n  version: '1'\n  steps:\n  - sql: &first {up: SELECT 1, transaction: Single}\n  - sql: {<<: *first, up: SELECT 2}\n";
    let inputs = gather(&[write(directory.path(), "merged.yaml", text)]).unwrap();
    let pieces = inputs[0].pieces();
    assert_eq!(pieces.iter().map(|piece| piece.sql).collect::<Vec<_>>(), ["SELECT 1", "SELECT 2"]);
}

#[test]
fn what_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.sql");
    let problems = gather(&[missing, directory.path().to_owned()]).unwrap_err();
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        ["there is no file of SQL in this directory", "cannot be read: no such file or directory"]
    );
}

#[test]
fn directories_stand_for_their_files_in_order() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["V10__c.sql", "V2__b.sql", "b/1.sql", "readme.txt", ".git/x.sql", "B.SQL"] {
        write(directory.path(), name, "SELECT 1");
    }
    write(
        directory.path(),
        "migration.yaml",
        "kind: Migration\nspec: {databaseRef: {name: a}, version: '1', up: SELECT 1}\n",
    );
    write(directory.path(), "values.yaml", "{{ not yaml }}: [");
    let inputs = gather(&[directory.path().to_owned()]).unwrap();
    let names: Vec<&str> = inputs
        .iter()
        .map(|input| input.name.strip_prefix(directory.path().to_str().unwrap()).unwrap())
        .collect();
    assert_eq!(names, ["/B.SQL", "/V2__b.sql", "/V10__c.sql", "/b/1.sql", "/migration.yaml"]);
}

#[test]
fn a_byte_order_mark_is_no_sql() {
    assert_eq!(decode("a", b"\xef\xbb\xbfSELECT 1".to_vec()).unwrap(), "SELECT 1");
}

const MANIFEST: &str = "\
apiVersion: whimbrel.dev/v1alpha1
kind: Migration
metadata: {name: first}
spec:
  databaseRef: {name: shop}
  version: '1'
  down: DROP TABLE a
  up: |

    CREATE TABLE a (b int);
      -- more

    SELECT 1;
---
kind: Service
---
apiVersion: whimbrel.dev/v1alpha1
kind: Migration
metadata: {name: second}
spec:
  databaseRef: {name: shop}
  version: '2'
  steps:
    - sql:
        up: >
          SELECT
          2
    - sql: {up: 'SELECT 3', transaction: PerStatement}
";

#[test]
fn pieces_of_a_manifest_know_their_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "all.yaml", MANIFEST);
    let inputs = gather(&[path]).unwrap();
    let pieces: Vec<_> = inputs.iter().flat_map(Input::pieces).collect();
    let check = |index: usize, field: &str, inner: (u32, u32), place: Option<(u32, u32)>, found: &str| {
        let piece = &pieces[index];
        assert_eq!((piece.field.as_deref(), piece.place(inner)), (Some(field), place));
        if let Some((line, column)) = place {
            let line = MANIFEST.lines().nth(line as usize - 1).unwrap();
            assert!(line[column as usize - 1..].starts_with(found), "{line}");
        }
    };
    check(0, "spec.up", (2, 1), Some((10, 5)), "CREATE TABLE");
    check(0, "spec.up", (5, 8), Some((13, 12)), "1;");
    check(1, "spec.down", (1, 6), Some((7, 14)), "TABLE a");
    check(2, "spec.steps[0].sql.up", (1, 1), None, "");
    check(3, "spec.steps[1].sql.up", (1, 1), Some((28, 18)), "SELECT 3");
    assert_eq!(
        pieces.iter().map(|piece| piece.per_statement).collect::<Vec<_>>(),
        [false, false, false, true]
    );
    assert!(pieces[1].down && !pieces[0].down);
}
