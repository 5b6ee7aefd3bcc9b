#![no_main]

mod common;

// The pickle of the object in a file as PyTorch wrote it before version 1.6, with one storage.
libfuzzer_sys::fuzz_target!(|pickle: &[u8]| {
    let mut bytes = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    bytes.extend_from_slice(pickle);
    bytes.extend_from_slice(b"\x80\x02]X\x01\x00\x00\x000a.");
    bytes.extend_from_slice(&16u64.to_le_bytes());
    bytes.extend_from_slice(&[7; 64]);
    common::read(&bytes);
});
