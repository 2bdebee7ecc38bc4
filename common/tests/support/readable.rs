//! Bytes as people read them.

use rmp::Marker;

const WIDTH: usize = 100;

/// MessagePack as text: JSON, with `h'…'` and `b"…"` for binary data.
pub fn readable(bytes: &[u8]) -> String {
    let mut rest = bytes;
    let value = read(&mut rest);
    assert!(rest.is_empty(), "bytes are left");
    let mut out = String::new();
    write(&value, 0, &mut out);
    out
}

/// Every key of every map.
pub fn keys(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    collect(&read(&mut &*bytes), &mut found);
    found
}

enum Value {
    Leaf(String),
    Array(Vec<Value>),
    Map(Vec<(String, Value)>),
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Leaf(_) => {}
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Map(entries) => {
            for (key, value) in entries {
                found.push(key.clone());
                collect(value, found);
            }
        }
    }
}

/// Only for what this project's own encoder wrote.
fn read(rest: &mut &[u8]) -> Value {
    let marker = Marker::from_u8(rest[0]);
    match marker {
        Marker::Null => leaf(rest, "nil"),
        Marker::True => leaf(rest, "true"),
        Marker::False => leaf(rest, "false"),
        Marker::F32 => Value::Leaf(rmp::decode::read_f32(rest).unwrap().to_string()),
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
            let (text, left) = rmp::decode::read_str_from_slice(*rest).unwrap();
            *rest = left;
            Value::Leaf(format!("{text:?}"))
        }
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
            let length = rmp::decode::read_bin_len(rest).unwrap() as usize;
            let (data, left) = rest.split_at(length);
            *rest = left;
            Value::Leaf(binary(data))
        }
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
            let length = rmp::decode::read_array_len(rest).unwrap();
            Value::Array((0..length).map(|_| read(rest)).collect())
        }
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
            let length = rmp::decode::read_map_len(rest).unwrap();
            let entry = |_| match read(rest) {
                Value::Leaf(key) => (key.trim_matches('"').to_owned(), read(rest)),
                _ => panic!("a key is a text"),
            };
            Value::Map((0..length).map(entry).collect())
        }
        _ => Value::Leaf(rmp::decode::read_int::<i64, _>(rest).unwrap().to_string()),
    }
}

fn leaf(rest: &mut &[u8], text: &str) -> Value {
    *rest = &rest[1..];
    Value::Leaf(text.to_owned())
}

fn binary(data: &[u8]) -> String {
    match std::str::from_utf8(data) {
        Ok(text) if text.chars().all(|c| c.is_ascii_graphic() || c == ' ') && data.len() != 16 => {
            format!("b{text:?}")
        }
        _ => format!("h'{}'", hex(data)),
    }
}

pub fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn inline(value: &Value) -> String {
    match value {
        Value::Leaf(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Map(entries) => {
            let entry = |(key, value): &(String, Value)| format!("\"{key}\": {}", inline(value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// On one line if it fits, else one line for each element.
fn write(value: &Value, indent: usize, out: &mut String) {
    let line = inline(value);
    if indent + line.chars().count() <= WIDTH {
        return out.push_str(&line);
    }
    let inner = indent + 2;
    match value {
        Value::Leaf(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                start_line(index, inner, out);
                write(item, inner, out);
            }
            end_lines(indent, ']', out);
        }
        Value::Map(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                start_line(index, inner, out);
                out.push_str(&format!("\"{key}\": "));
                write(value, inner, out);
            }
            end_lines(indent, '}', out);
        }
    }
}

fn start_line(index: usize, indent: usize, out: &mut String) {
    out.push_str(if index == 0 { "\n" } else { ",\n" });
    out.push_str(&" ".repeat(indent));
}

fn end_lines(indent: usize, bracket: char, out: &mut String) {
    out.push('\n');
    out.push_str(&" ".repeat(indent));
    out.push(bracket);
}
