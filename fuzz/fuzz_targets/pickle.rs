#![no_main]

mod common;

use std::io::{Cursor, Write};
use zip::write::{SimpleFileOptions, ZipWriter};

libfuzzer_sys::fuzz_target!(|pickle: &[u8]| {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("m/data.pkl", pickle), ("m/data/0", &[7; 64])] {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    common::read(&zip.finish().unwrap().into_inner());
});
