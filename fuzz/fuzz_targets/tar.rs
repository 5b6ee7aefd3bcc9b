#![no_main]

mod common;

// The first two bytes are the lengths of the members `storages` and `tensors` of an archive of PyTorch 0.1; what follows
// them is `pickle`.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [first, second, rest @ ..] = input else {
        return;
    };
    let (storages, rest) = rest.split_at(rest.len().min((*first).into()));
    let (tensors, pickle) = rest.split_at(rest.len().min((*second).into()));
    let mut bytes = Vec::new();
    for (name, content) in [("storages", storages), ("tensors", tensors), ("pickle", pickle)] {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    common::read(&bytes);
});
