//! Owns the tests of the text form.

use ndarray::array;
use proptest::prelude::*;

use super::*;
use crate::data::MAX_CLASSES;

fn table(text: impl AsRef<[u8]>) -> Table {
    parse_table("t.csv", text.as_ref()).unwrap()
}

fn refusal(text: impl AsRef<[u8]>) -> String {
    parse_table("t.csv", text.as_ref()).unwrap_err().to_string()
}

fn labels(table: &Table) -> Vec<(&str, u64)> {
    table.labels().collect()
}

#[test]
fn rows_are_numbers_and_then_the_label() {
    let table = table("1,-2.5,A\n3,4e1,B\n5,6,A\n");
    assert_eq!((table.rows(), table.columns()), (3, 2));
    assert_eq!(labels(&table), [("A", 1), ("B", 2)]);
    let data = table.into_dataset(&Classes::from_labels(["B", "A"]).unwrap()).unwrap();
    assert_eq!(data.to_array(), array![[1.0, -2.5], [3.0, 40.0], [5.0, 6.0]]);
    assert_eq!(data.labels(), [0, 1, 0]);
    assert_eq!(data.classes(), 2);
}

#[test]
fn the_same_rows_are_read_from_every_dress() {
    let expected = table("1,2,A\n3,4,B\n");
    for text in [
        "1,2,A\n3,4,B",
        "1,2,A\r\n3,4,B\r\n",
        "\u{feff}1,2,A\n3,4,B\n",
        " 1 , 2 , A \n 3,4, B",
        "1;2;A\n3;4;B\n",
        "1\t2\tA\n3\t4\tB\n",
        "\"1\",2,\"A\"\n3,\"4\",\" B \"\n",
    ] {
        assert_eq!(table(text), expected, "{text:?}");
    }
}

#[test]
fn header_and_blank_lines_count_in_line_numbers() {
    let table = table("\u{feff}\r\nx,y,letter\r\n\r\n1,2,A\r\n \r\n3,4,B\r\n");
    assert_eq!(labels(&table), [("A", 4), ("B", 6)]);
    assert_eq!(table.rows(), 2);
}

#[test]
fn a_first_line_is_a_header_only_if_it_has_no_numbers() {
    assert_eq!(table("\"x, in cm\",,label\n1,2,A\n").rows(), 1);
    let hint = "expected a number, or a header line that has no numbers at all";
    assert_eq!(refusal("1,x,A\n1,2,B\n"), format!("t.csv:1:2: field 2 is \"x\"; {hint}"));
    assert_eq!(refusal(",,A\n1,2,B\n"), format!("t.csv:1:1: field 1 is \"\"; {hint}"));
    assert_eq!(refusal("\u{ff}x,\n").split(';').next(), Some("t.csv: no rows below the header line"));
    assert_eq!(refusal(b"\xfe\xff,A\n1,B\n"), format!("t.csv:1:1: field 1 is \"\u{fffd}\u{fffd}\"; {hint}"));
    assert_eq!(refusal("nan,inf,A\n1,2,B\n"), "t.csv:1:1: field 1 is \"nan\"; expected a number that is finite");
    assert_eq!(refusal("x,y,l\na,b,l\n"), "t.csv:2:1: field 1 is \"a\"; expected a number");
}

#[test]
fn files_without_rows_are_refused() {
    for text in ["", "\n\n", "\u{feff}", " \r\n"] {
        assert_eq!(refusal(text), "t.csv: no rows; the file is empty", "{text:?}");
    }
    assert_eq!(refusal("x,y,label\n\n"), "t.csv: no rows below the header line");
}

#[test]
fn errors_name_the_place_what_stands_there_and_what_was_expected() {
    let digits = "1".repeat(257);
    for (row, message) in [
        ("1,O,B", "t.csv:3:2: field 2 is \"O\"; expected a number"),
        ("1,,B", "t.csv:3:2: field 2 is \"\"; expected a number"),
        ("1,NaN,B", "t.csv:3:2: field 2 is \"NaN\"; expected a number that is finite"),
        ("-inf,1,B", "t.csv:3:1: field 1 is \"-inf\"; expected a number that is finite"),
        (
            "1,1e39,B",
            "t.csv:3:2: field 2 is \"1e39\"; expected a number that a 32-bit float can hold (up to 3.4e38)",
        ),
        ("1,2, ", "t.csv:3:3: field 3 is \"\"; expected a label"),
        ("1,B", "t.csv:3: found 2 fields; expected 3 fields, as in the lines above"),
        ("1,2,3,B", "t.csv:3: found 4 fields; expected 3 fields, as in the lines above"),
        ("1,x,3,B", "t.csv:3: found 4 fields; expected 3 fields, as in the lines above"),
        ("1,2,B,", "t.csv:3: found 4 fields; expected 3 fields, as in the lines above"),
        ("\"1,2\",B", "t.csv:3: found 2 fields; expected 3 fields, as in the lines above"),
        ("1,2,\"B", "t.csv:3: found a quote that does not end; expected the closing quote in the same line"),
        ("1,\"\n2\",B", "t.csv:3: found a quote that does not end; expected the closing quote in the same line"),
        (
            &format!("{digits},2,B"),
            "t.csv:3:1: field 1 is \"1111111111111111111111111111111111111111…\"; expected a number of at most 256 bytes",
        ),
    ] {
        assert_eq!(refusal(format!("1,2,A\r\n\r\n{row}\r\n1,2,A\r\n")), message);
    }
    let long = refusal(format!("1,2,{}\n", "é".repeat(129)));
    assert!(long.ends_with("…\"; expected a label of at most 256 bytes"), "{long}");
    assert_eq!(refusal(b"1,2,A\n1,2,\xff\n"), "t.csv:2:3: field 3 is \"\u{fffd}\"; expected a label in UTF-8");
    let alone = "t.csv:1: found a single field; expected one or more numbers and a label, separated by commas";
    assert_eq!(refusal("1 2 A\n"), alone);
}

#[test]
fn widths_and_numbers_of_labels_are_limited() {
    assert_eq!(table(format!("{}A\n", "0,".repeat(MAX_COLUMNS))).columns(), MAX_COLUMNS);
    let wide = refusal(format!("{}A\n", "0,".repeat(MAX_COLUMNS + 1)));
    assert_eq!(wide, "t.csv:1: found 65537 features; expected at most 65536");
    let many: String = (0..=MAX_CLASSES).map(|i| format!("0,{}\n", i as f32 / 2.0)).collect();
    let error = refusal(many);
    assert_eq!(error, "t.csv:65537:2: field 2 is \"32768\"; expected one of at most 65536 different labels");
}

#[test]
fn a_lone_carriage_return_hides_no_rows() {
    let found = refusal("1,2\n1,\"A\"\r2,\"B\"\n");
    assert_eq!(found, "t.csv:2: found 3 fields; expected 2 fields, as in the lines above");
}

#[test]
fn labels_that_are_no_class_are_named_with_their_line() {
    let table = || table("x,y\n\n1,3\n1,26\n");
    let error = table().into_dataset(&Classes::integers(26).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "t.csv:4: the label \"26\" is unknown; labels are the integers from 0 to 25");
    let error = table().into_dataset(&Classes::from_labels(["A", "3"]).unwrap()).unwrap_err();
    let expected = "t.csv:4: the label \"26\" is unknown; it is none of the 2 labels of the training rows";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_last_column_may_be_values() {
    let values = |text: &str| parse_values("v.csv", text.as_bytes()).map_err(|error| error.to_string());
    let data = values("x,y,price\n1,2,-0.5\n3,4,1e3\n").unwrap();
    assert_eq!((data.rows(), data.columns(), data.classes()), (2, 2, 0));
    assert_eq!(data.values(), [-0.5, 1000.0]);
    assert!(data.labels().is_empty());
    for (text, message) in [
        ("1,2\n3,A\n", "v.csv:2:2: field 2 is \"A\"; expected a number"),
        ("1,2\n3,\n", "v.csv:2:2: field 2 is \"\"; expected a number"),
        ("1,inf\n", "v.csv:1:2: field 2 is \"inf\"; expected a number that is finite"),
        ("1,\"2\"\n3,4,5\n", "v.csv:2: found 3 fields; expected 2 fields, as in the lines above"),
        ("x,y\n", "v.csv: no rows below the header line"),
    ] {
        assert_eq!(values(text).unwrap_err(), message, "{text:?}");
    }
}

#[test]
fn classes_come_from_all_tables() {
    let classes = Classes::of(&[table("1,10\n1,2\n"), table("1,2\n1,3\n")]).unwrap();
    assert_eq!(classes.labels(), ["2", "3", "10"]);
}

#[test]
fn rows_without_labels_have_the_models_width() {
    let rows = |text: &str| {
        let rows = parse_rows("p.csv", text.as_bytes(), 2).map_err(|error| error.to_string());
        rows.map(|rows| rows.to_array())
    };
    assert_eq!(rows("1,2\n3,4"), Ok(array![[1.0, 2.0], [3.0, 4.0]]));
    assert_eq!(rows("x,y\n\"1\",2\n"), Ok(array![[1.0, 2.0]]));
    let label =
        "p.csv:1: found 3 fields; expected 2 features and nothing else; the last looks like a label, remove it";
    assert_eq!(rows("1,2,A\n").unwrap_err(), label);
    assert_eq!(rows("x,y,label\n1,2,A\n").unwrap_err(), label);
    assert_eq!(rows("1,2\n1\n").unwrap_err(), "p.csv:2: found 1 field; expected 2 features");
    assert_eq!(rows("1,2\n1,2,3,4\n").unwrap_err(), "p.csv:2: found 4 fields; expected 2 features");
    assert_eq!(rows("").unwrap_err(), "p.csv: no rows; the file is empty");
    assert!(parse_rows("p.csv", "1\n".as_bytes(), 0).is_err());
    assert!(parse_rows("p.csv", "".as_bytes(), 0).is_err());
    assert!(parse_rows("p.csv", "1\n".as_bytes(), usize::MAX).is_err());
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_table("t", bytes.as_slice());
        let _ = parse_rows("t", bytes.as_slice(), 3);
    }

    #[test]
    fn almost_data_never_panics(text in "[0-9.,;\"\t\r\nexA\u{feff} -]{0,120}") {
        let _ = parse_rows("t", text.as_bytes(), 2);
        if let Ok(table) = parse_table("t", text.as_bytes()) {
            prop_assert_eq!(table.features.all().len(), table.rows() * table.columns());
            prop_assert_eq!(table.labels.rows.len(), table.rows());
            prop_assert!(table.features.all().iter().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn what_was_written_is_read(rows in proptest::collection::vec(
        (proptest::array::uniform3(any::<f32>().prop_filter("finite", |value| value.is_finite())), "[a-z]{1,3}"), 1..20)
    ) {
        let quote = |label: &str| if label < "m" { format!("\"{label}\"") } else { label.to_owned() };
        let text: String =
            rows.iter().map(|([a, b, c], label)| format!("{a},{b:e},{c},{}\n", quote(label))).collect();
        let table = table(text);
        let features: Vec<f32> = rows.iter().flat_map(|(values, _)| *values).collect();
        prop_assert_eq!(table.features, Features::of_floats(features, 3).unwrap());
        let names: Vec<&str> = table.labels.rows.iter().map(|&row| table.labels.names[row as usize].0.as_str()).collect();
        prop_assert_eq!(names, rows.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>());
    }

    #[test]
    fn the_quick_way_reads_what_the_general_way_reads(
        rows in proptest::collection::vec((proptest::collection::vec("0|0|0|[0-9]{1,4}|-0|0?[.]5| 7", 9), "A|b|0| C"), 1..9),
        values in any::<bool>(),
    ) {
        let field = |field: &str| field.trim().parse::<f32>().unwrap();
        let features: Vec<f32> = rows.iter().flat_map(|(fields, _)| fields.iter().map(|text| field(text))).collect();
        let last = |label: &str| if values { "2.5".to_owned() } else { label.to_owned() };
        let text: String = rows.iter().map(|(fields, label)| format!("{},{}\n", fields.join(","), last(label))).collect();
        let found = if values { parse_values("t", text.as_bytes()).unwrap().features().clone() } else { table(&text).features };
        let bits = |features: &Features| features.all().iter().map(f32::to_bits).collect::<Vec<_>>();
        let expected = Features::of_floats(features, 9).unwrap();
        prop_assert_eq!(bits(&found), bits(&expected));
        prop_assert_eq!(matches!(found.all(), crate::data::Row::U8(_)), matches!(expected.all(), crate::data::Row::U8(_)));
    }
}
