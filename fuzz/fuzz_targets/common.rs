//! Reading a tensor file, for the targets `file`, `pickle`, `legacy` and `tar`.

use std::path::Path;
use tensor_parity::file::TensorFile;

/// Reads the bytes as a file, and the first and last bytes of each tensor.
pub fn read(bytes: &[u8]) {
    let file = match TensorFile::from_bytes(Path::new("fuzz.pt"), bytes) {
        Ok(file) => file,
        Err(error) => {
            let message = error.to_string();
            assert!(!message.contains(char::is_control), "{message:?}");
            return;
        }
    };
    for member in file.left_out() {
        let line = member.to_string();
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.len() < 4000, "{line}");
    }
    let mut buffer = Vec::new();
    for (name, tensor) in file.iter() {
        assert!(file.get(name).is_some());
        let numel = tensor.numel();
        for start in [0, numel.saturating_sub(100)] {
            let piece = tensor.read(start..start + 100, &mut buffer);
            assert_eq!(piece.len(), (numel - start).min(100) * tensor.dtype().size());
        }
    }
}
